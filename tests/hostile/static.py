"""Attacks on static files: a folder with a secret beside it."""

from __future__ import annotations

import os
import random
import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.hostile.harness import Arena
from tests.hostile.payloads import MS, request
from tests.kit.process import open_files

SECRET = b"SECRET-BESIDE"
PAGE = b"<p>a page</p>"


def make_folder(folder: Path) -> None:
    """``files``, which is served, and what must not be."""
    root = folder / "files"
    (root / "deep").mkdir(parents=True)
    (root / "page.html").write_bytes(PAGE)
    (root / "deep" / "page.html").write_bytes(PAGE)
    with (root / "large.bin").open("wb") as large:
        large.truncate(100_000_000)
    (folder / "secret.txt").write_bytes(SECRET)
    for name in ("files1", "files.bak"):
        (folder / name).mkdir()
        (folder / name / "secret.txt").write_bytes(SECRET)
    (root / "link.txt").symlink_to(folder / "secret.txt")
    (root / "absolute").symlink_to("/etc")
    (root / "outside").symlink_to(folder / "files1")
    (root / "page.html.gz").symlink_to(folder / "secret.txt")
    (root / "page.html.br").symlink_to(folder / "secret.txt")
    (root / "inside.html").symlink_to("page.html")
    os.mkfifo(root / "fifo")
    os.mkfifo(root / "deep" / "page.html.gz")
    (root / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as bound, suppress(OSError):
        bound.bind(str(root / "sock"))
    with suppress(OSError):  # only root may
        os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))


TARGETS = [
    *[
        f"/files/{up}{target}"
        for up in ("../", "%2e%2e/", "%2e%2e%2f", "%252e%252e/", "..%5c", "..\\", ".%2e/", "%c0%ae%c0%ae/")
        for target in ("secret.txt", "files1/secret.txt")
    ],
    "/files/../files1/secret.txt",
    "/files1/secret.txt",
    "/files.bak/secret.txt",
    "/files/deep/../../secret.txt",
    "/files/./../secret.txt",
    "/files/....//secret.txt",
    "/files/;/../../secret.txt",
    "/files/..;/secret.txt",
    "//etc/passwd",
    "/files//etc/passwd",
    "/files/%2fetc/passwd",
    "/files/absolute/passwd",
    "/files/page.html%00",
    "/files/%00",
    "/files/page.html.",
    "/files/page.html%20",
    "/files/page.html/",
    "/files/page.html/.",
    "/files/page.html::$DATA",
    "/files/" + "../" * 40 + "etc/passwd",
    "/files/" + "a/" * 2000,
    "/files/" + "a" * 300,
    "/files/%ff%fe",
    "/files/%",
]


def traversal(arena: Arena) -> None:
    for target in TARGETS:
        with arena.peer() as peer, arena.bounds(cpu=5 * MS):
            outcome = peer.exchange(request(target, "Connection: close"))
        assert outcome.statuses in ([400], [404]), (target, outcome.statuses)
        assert SECRET not in outcome.data and b"root:" not in outcome.data
    with arena.peer() as peer:
        assert peer.exchange(request("/files/page.html", "Connection: close")).data.endswith(PAGE)


def links_and_devices(arena: Arena) -> None:
    for name in (
        "link.txt",
        "outside/secret.txt",
        "absolute/passwd",
        "inside.html",
        "fifo",
        "sock",
        "null",
        "zero",
    ):
        with arena.peer() as peer:
            outcome = peer.exchange(request(f"/files/{name}", "Connection: close"), 2)
        assert (outcome.statuses, outcome.ended) == ([404], True), name
    for name in ("page.html", "deep/page.html"):
        with arena.peer() as peer:
            outcome = peer.exchange(
                request(f"/files/{name}", "Accept-Encoding: br, gzip", "Connection: close")
            )
        assert outcome.data.endswith(PAGE) and b"content-encoding" not in outcome.data.lower()


def swapped_links(arena: Arena) -> None:
    """A file and its folder that become links to the secret and back while they are asked for."""
    root = next(Path(each.split("=", 2)[2]) for each in arena.site.child.process.args if "=/files=" in each)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (root / "swap").symlink_to(root.parent / "secret.txt")
            os.replace(root / "swap", root / "swapped.txt")
            (root / "swap").write_bytes(PAGE)
            os.replace(root / "swap", root / "swapped.txt")

    thread = threading.Thread(target=swap)
    thread.start()
    statuses = set()
    try:
        with arena.peer() as peer:
            for _ in range(arena.choose(300, 20_000)):
                peer.send(request("/files/swapped.txt"))
                head, body = peer.response()
                statuses.add(head.split()[1])
                assert SECRET not in body
    finally:
        done.set()
        thread.join()
        (root / "swapped.txt").unlink()
    assert statuses <= {b"200", b"404"}


RANGES = {
    "bytes=" + ",".join(["0-0"] * 2000): (200, 416),
    "bytes=" + ",".join(f"{n}-" for n in range(1500)): (200, 416),
    "bytes=0-,0-,0-": (200, 416),
    "bytes=\u0663".encode().decode("latin-1") + "-": (200, 416),
    "bytes=--1": (200, 416),
    "bytes=-0": (200, 416),
    "bytes=5-1": (200, 416),
    "bytes=1-+2": (200, 416),
    "bytes= 0 - 1": (200, 416),
    "bytes=99999999999999999999999-": (200, 416),
    "bytes=0-99999999999999999999999": (200, 206),
    "octets=0-1": (200,),
    "bytes": (200,),
    "": (200,),
}


def hostile_ranges(arena: Arena) -> None:
    for value, statuses in RANGES.items():
        with arena.peer() as peer, arena.bounds(cpu=5 * MS):
            outcome = peer.exchange(request("/files/page.html", f"Range: {value}", "Connection: close"))
        assert len(outcome.statuses) == 1 and outcome.statuses[0] in statuses, (value[:40], outcome.statuses)
    too_long = "Range: bytes=" + ",".join(["0-1"] * 10_000)
    with arena.peer() as peer:
        assert peer.exchange(request("/files/page.html", too_long)).statuses == [431]


def aborted_downloads(arena: Arena) -> None:
    for _ in range(arena.choose(200, 1000)):
        with arena.peer() as peer:
            peer.send(request("/files/large.bin"))
            received = 0
            while received < 1_000_000:
                received += len(peer.sock.recv(1 << 18))
    arena.until(lambda: open_files(arena.pid) <= arena.stage.files, 2, "files are closed")


def unread_downloads(arena: Arena) -> None:
    """Who asks for much and reads nothing costs a piece of it, and is cut."""
    chance = random.Random(arena.chance.random())
    limit = arena.choose(2, 10)
    with arena.many(20) as peers, arena.bounds(grows=20 * (1 << 20)):
        for peer in peers:
            peer.send(request("/files/large.bin") * chance.randrange(1, 50))
        arena.until(lambda: open_files(arena.pid) <= arena.stage.files, limit + 5, "they are cut")
