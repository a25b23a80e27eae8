"""Files of a folder over HTTP: conditional requests, ranges, compressed siblings, and no way out of it.

Reading is synchronous: a small file is read at once, a larger one becomes a stream whose reads are short.
POSIX only: the server walks through the folder by descriptors of directories.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastws.protocol.http.headers import checked_field
from fastws.protocol.http.messages import Headers, Request, Response, error_response
from fastws.web.content_types import content_type
from fastws.web.dates import http_date, seconds_of
from fastws.web.negotiation import entity_tag_matches, preferred_codings, requested_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["FileStream", "Static", "packaged_static"]

#: Files up to this many bytes are read at once; larger ones become a stream.
WHOLE_FILE_SIZE = 64 * 1024

#: Content codings whose files may lie beside a file, and how their names end. The first is preferred.
SIBLINGS = {"br": ".br", "gzip": ".gz"}


def _flags(*names: str) -> int:
    """Return those of the named flags that this system has, for opening to read."""
    return sum(getattr(os, name, 0) for name in names) | os.O_RDONLY


# O_NONBLOCK: opening a FIFO must not wait for its writer.
_FILE = _flags("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW")
_FOLDER = _flags("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW")
#: The served folder itself may be a link: whoever started the server has named it.
_ROOT = _flags("O_CLOEXEC", "O_DIRECTORY")


def packaged_static() -> Path:
    """The folder with the pages that fastws brings along.

    An installed wheel has it in the package, as ``fastws.static``; a source tree and an editable
    install have it beside the package. Raises FileNotFoundError when both are missing.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "static", package.parent / "static"):
        if (folder / "chat.html").is_file():
            return folder
    raise FileNotFoundError(errno.ENOENT, "fastws was installed without its pages", str(package / "static"))


class FileStream:
    """A part of an open file as the body of a response. It owns the file; ``close`` may be called again."""

    __slots__ = ("_file", "_left", "length")

    def __init__(self, file: io.FileIO, part: range) -> None:
        file.seek(part.start)
        self._file = file
        self._left = self.length = len(part)

    def read(self, n: int) -> bytes:
        """Return ``n`` bytes at most; ``b""`` at the end, after ``close``, and where the file was cut."""
        data = self._file.read(min(n, self._left)) if self._left else b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._left = 0
        self._file.close()


class Static:
    """Serves the regular files beneath ``directory`` under the path ``prefix``, for GET and HEAD.

    A path that ends in a slash stands for ``index.html`` in that folder; a folder without the slash
    is redirected to the one with it; there are no listings. Names that begin with a dot are not
    there (``.git``, ``.env``), but for ``.well-known``.

    The folder itself may be a symbolic link, and may be exchanged while the server runs. Inside of it **no
    link is followed**, wherever it points: the server opens each component relative to the descriptor of the
    one before, so that nothing swapped in during a request leads out. A link, a FIFO, a socket, a device and
    a file that cannot be read are answered 404; without a free descriptor it is 503.

    A client that accepts the coding gets ``name.br`` or ``name.gz`` in place of ``name``. You keep those
    files up to date: the server does not compare them. Entity tags are made of a file's size and time of
    change, so several servers need equal times to agree on them.

    Files are read in the event loop: up to 64 KiB at once, larger ones in steps of 256 KiB as the socket
    takes them.

    Args:
        prefix: the path under which the files are, with a slash at its beginning.
        directory: the folder.
        cache_control: the Cache-Control of each file. The default ``no-cache`` lets browsers ask each time,
            which is a 304 where nothing has changed; None leaves the field out.

    Raises:
        NotADirectoryError: there is no such directory.
        ValueError: the prefix does not begin with a slash, or no header can carry ``cache_control``.
        NotImplementedError: the system cannot open files relative to a directory.
    """

    __slots__ = ("_fixed_headers", "directory", "prefix")

    def __init__(
        self, prefix: str, directory: str | os.PathLike[str], *, cache_control: str | None = "no-cache"
    ) -> None:
        if not prefix.startswith("/"):
            raise ValueError(f"a prefix begins with a slash, {prefix!r} does not")
        if os.open not in os.supports_dir_fd:
            raise NotImplementedError("static files need a system that opens relative to a directory")
        self.prefix = prefix.rstrip("/") + "/"
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
        self._fixed_headers = [
            (b"Accept-Ranges", b"bytes"),
            # Always, so that a cache never gives a compressed file to whom it was not meant for.
            (b"Vary", b"Accept-Encoding"),
            (b"X-Content-Type-Options", b"nosniff"),
        ]
        if cache_control is not None:
            self._fixed_headers.append(checked_field("Cache-Control", cache_control))

    @classmethod
    def packaged(cls, prefix: str = "/fastws", *, cache_control: str | None = "no-cache") -> Static:
        """Serve what fastws brings along for pages: ``feed.js``, its types ``feed.d.ts``, and its own assets.

        A page then says ``import { Feed } from "/fastws/feed.js"``.

        Args:
            prefix: As for the class. Default ``"/fastws"``.
            cache_control: As for the class.

        Raises:
            FileNotFoundError: fastws was installed without its pages.
            ValueError: As for the class.
        """
        return cls(prefix, packaged_static() / "assets", cache_control=cache_control)

    def page(self, name: str) -> Callable[[Request], Response]:
        """Return what answers with one file of the folder, whatever the path: for ``http=`` of a
        :class:`fastws.Route`.

        Args:
            name: The path of the file in the folder, such as ``"chat.html"``.

        Raises:
            FileNotFoundError: There is no such file now. If it goes later, it is answered 404.
        """
        if not (self.directory / name).is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.directory / name))
        return lambda request: self.respond(request, name)

    def respond(self, request: Request, path: str) -> Response:
        """Answer a request for ``path``, which is percent-decoded and relative to the prefix.

        Raises nothing for what a client sends. A response with a ``stream`` holds an open file until the
        stream is closed; the answer to HEAD never does.
        """
        if request.method not in ("GET", "HEAD"):
            # RFC 9110, section 15.5.6: with 405 Allow has to name the methods.
            return error_response(405, headers=[("Allow", "GET, HEAD")])
        names = path.split("/")
        names[-1] = names[-1] or "index.html"
        if not all(map(_may_be_asked_for, names)):
            return error_response(404)
        codings = preferred_codings(request.headers.get_list("accept-encoding"), list(SIBLINGS))
        try:
            file = self._open(names, codings)
        except IsADirectoryError:
            return self.redirect(request, names[-1])
        except (OSError, ValueError) as error:
            # RFC 9110, section 15.6.4: 503, for there may be a descriptor again soon.
            exhausted = getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
            return error_response(503 if exhausted else 404)
        response = None
        try:
            response = self._answer(request, file)
        finally:
            if response is None or response.stream is None:
                file.raw.close()
        if response.stream is not None and request.method == "HEAD":
            response.stream.close()
        return response

    @staticmethod
    def redirect(request: Request, name: str) -> Response:
        """Redirect the path of a folder, whose last segment is ``name``, to the one with a slash behind it.

        RFC 9110, section 15.4.8. The query is kept.
        """
        # Relative, so that it holds behind a proxy too. No slash or colon before the slash at its end, and
        # all else behind a question mark: it leads to no other host.
        location = quote(name, safe="") + "/"
        query = f"?{request.query}" if "?" in request.target else ""
        return Response(307, headers=[("Location", location + query)])

    def _open(self, names: Sequence[str], codings: Sequence[str]) -> _File:
        """Open the file, or its sibling in the best of ``codings`` that is there."""
        with _folder(self.directory, names[:-1]) as folder:
            # A sibling without its file is not served, so the file itself comes first.
            file = _File(folder, names[-1])
            for coding in codings:
                try:
                    sibling = _File(folder, names[-1], coding)
                except OSError:
                    continue
                file.raw.close()
                return sibling
            return file

    def _answer(self, request: Request, file: _File) -> Response:
        headers = [*self._fixed_headers, *file.headers()]
        if _not_modified(request.headers, file):
            return Response(304, headers=headers)  # RFC 9110, section 15.4.5
        # What was read decides the length of a small file: it may have been cut since fstat.
        content = file.raw.read(file.size) if file.size <= WHOLE_FILE_SIZE else None
        size = file.size if content is None else len(content)
        part = _asked_range(request, file, size)
        status = 200
        if part is None:
            part = range(size)
        elif not part:
            # RFC 9110, section 15.5.17: with 416 Content-Range tells the size.
            return error_response(416, headers=[("Content-Range", f"bytes */{size}")])
        else:
            status = 206
            headers.append((b"Content-Range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)))
        if file.coding is not None:
            headers.append((b"Content-Encoding", file.coding.encode()))
        if content is not None:
            return Response(status, content[part.start : part.stop], headers, file.content_type)
        return Response(status, b"", headers, file.content_type, stream=FileStream(file.raw, part))


class _File:
    """An open regular file, with what a response says about it."""

    __slots__ = ("coding", "content_type", "etag", "modified", "raw", "size")

    def __init__(self, folder: int, name: str, coding: str | None = None) -> None:
        """Raises OSError when it is not there, is a link, or is no regular file; ValueError for NUL."""
        asked = name + SIBLINGS[coding] if coding else name
        self.raw, status = _open_regular(folder, asked)
        self.coding = coding
        self.content_type = content_type(name)
        self.size = status.st_size
        self.modified = int(status.st_mtime)
        self.etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}{"-" + coding if coding else ""}"'

    @property
    def last_modified(self) -> str:
        # RFC 9110, section 8.8.2.1: never later than the response itself.
        return http_date(max(0, min(self.modified, int(time.time()))))

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"ETag", self.etag.encode()), (b"Last-Modified", self.last_modified.encode())]


def _may_be_asked_for(name: str) -> bool:
    """True unless a component is empty, ".", "..", hidden, or a path of another system."""
    return bool(name) and (name[0] != "." or name == ".well-known") and "\\" not in name


@contextmanager
def _folder(directory: Path, names: Sequence[str]) -> Iterator[int]:
    """Open the folder that ``names`` lead to, one component after the other; gives its descriptor."""
    folder = os.open(directory, _ROOT)
    try:
        for name in names:
            inner = os.open(name.encode(), _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open_regular(folder: int, name: str) -> tuple[io.FileIO, os.stat_result]:
    descriptor = os.open(name.encode(), _FILE, dir_fd=folder)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return io.FileIO(descriptor, "rb"), status
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.ENOENT
    raise OSError(code, os.strerror(code))


def _not_modified(headers: Headers, file: _File) -> bool:
    """RFC 9110, section 13.2.2: If-None-Match decides alone where it is sent."""
    tags = headers.get_list("if-none-match")
    if tags:
        return entity_tag_matches(tags, file.etag)
    since = headers.get_list("if-modified-since")
    moment = seconds_of(since[0]) if len(since) == 1 else None
    return moment is not None and file.modified <= moment


def _asked_range(request: Request, file: _File, size: int) -> range | None:
    """Return the range to send, None for the whole (RFC 9110, sections 13.1.5 and 14.2)."""
    fields = request.headers.get_list("range")
    if request.method != "GET" or len(fields) != 1:
        return None
    condition = request.headers.get("if-range")
    if condition is not None and condition not in (file.etag, file.last_modified):
        return None
    return requested_range(fields[0], size)
