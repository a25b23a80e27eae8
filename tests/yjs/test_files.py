"""Documents in files: what a crash leaves, who may write, and when the disk is waited for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from fastws.testing import Clock
from fastws.yjs import Documents, FileStore, StoreError
from fastws.yjs.document_files import DocumentFiles
from fastws.yjs.records import MAGIC, encode_record, file_name, read_contents
from tests.kit import until
from tests.rows import all_rows
from tests.yjs.editors import Editor, site


def files(folder: Path, name: str = "a", *, most: int | None = None, is_synced: bool = True) -> DocumentFiles:
    return DocumentFiles(folder, name, most=most, is_synced=is_synced)


def locked(folder: Path, name: str = "a", **options: Any) -> DocumentFiles:
    found = files(folder, name, **options)
    assert found.lock()
    return found


class TestNames:
    def test_each_document_has_its_own(self) -> None:
        assert file_name("notes-1_a") == "notes-1_a"
        assert file_name("A/../é .") == "%41%2f%2e%2e%2f%c3%a9%20%2e"
        assert file_name("") != file_name("%")

    def test_long_ones(self) -> None:
        one, other = "é" * 99 + "a", "é" * 99 + "b"
        assert file_name(one) != file_name(other)
        assert len(file_name(one)) == len(file_name(other)) == 200


class TestRecords:
    CONTENT = MAGIC + encode_record(b"a") + encode_record(b"one") + encode_record(b"two")

    def test_whole(self) -> None:
        contents = read_contents(self.CONTENT)
        assert contents == ([b"a", b"one", b"two"], len(self.CONTENT))

    def test_an_end_that_is_not_whole(self) -> None:
        ends = [len(MAGIC + b"".join(map(encode_record, [b"a", b"one", b"two"][:n]))) for n in range(4)]
        with all_rows() as row:
            for end in range(len(self.CONTENT)):
                with row("cut at", end):
                    contents = read_contents(self.CONTENT[:end])
                    assert contents is not None
                    assert contents.good_bytes == max((each for each in ends if each <= end), default=0)

    def test_zeros_behind_the_end(self) -> None:
        contents = read_contents(self.CONTENT + bytes(4096))
        assert contents is not None
        assert contents.good_bytes == len(self.CONTENT)

    def test_another_file(self) -> None:
        assert read_contents(b"#!/bin/sh") is None


class TestDocumentFiles:
    def test_what_was_written_is_there(self, tmp_path: Path) -> None:
        one = locked(tmp_path)
        assert one.lock()
        assert one.load() == []
        one.append([b"one", b"two"])
        one.sync()
        assert files(tmp_path).load() == [b"one", b"two"], "without the lock too"
        one.replace(b"both")
        one.append([b"three"])
        one.close()
        one.close()
        again = locked(tmp_path)
        assert again.load() == [b"both", b"three"]
        again.close()
        assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600

    def test_one_writes(self, tmp_path: Path) -> None:
        one, other = locked(tmp_path), files(tmp_path)
        assert not other.lock()
        one.append([b"x"])
        one.close()
        assert other.lock()
        other.close()

    def test_nothing_is_left_of_a_document_without_content(self, tmp_path: Path) -> None:
        locked(tmp_path).close()
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_was_removed_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = locked(tmp_path)
        flock = __import__("fcntl").flock

        def slow(fd: int, operation: int) -> None:
            one.close()
            flock(fd, operation)

        monkeypatch.setattr("fcntl.flock", slow)
        assert not files(tmp_path).lock()

    def test_a_crash_in_the_middle_of_a_write(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        one = locked(tmp_path)
        one.append([b"one", b"two"])
        one.close()
        path, whole = tmp_path / "a.log", (tmp_path / "a.log").read_bytes()
        path.write_bytes(whole[:-2])
        again = locked(tmp_path)
        assert again.load() == [b"one"]
        again.append([b"three"])
        again.close()
        assert locked(tmp_path).load() == [b"one", b"three"]
        assert (tmp_path / "a.cut").read_bytes() == encode_record(b"two")[:-2]
        assert "the last 9 bytes were not whole" in caplog.text

    def test_a_crash_in_the_first_write(self, tmp_path: Path) -> None:
        (tmp_path / "a.log").write_bytes(MAGIC + encode_record(b"a")[:-1])
        one = locked(tmp_path)
        one.append([b"one"])
        one.close()
        assert files(tmp_path).load() == [b"one"]

    def test_a_crash_between_snapshot_and_log(self, tmp_path: Path) -> None:
        """What is in both is applied twice."""
        one = locked(tmp_path)
        one.append([b"one"])
        log = (tmp_path / "a.log").read_bytes()
        one.replace(b"all")
        one.close()
        (tmp_path / "a.log").write_bytes(log)
        assert locked(tmp_path).load() == [b"all", b"one"]

    def test_damage(self, tmp_path: Path) -> None:
        one = locked(tmp_path)
        one.replace(b"all")
        one.close()
        path = tmp_path / "a.snapshot"
        path.write_bytes(path.read_bytes()[:-1] + b"X")
        with pytest.raises(StoreError, match="damaged"):
            files(tmp_path).load()
        path.write_bytes(MAGIC + encode_record(b"b") + encode_record(b"all"))
        with pytest.raises(StoreError, match="no file of this document"):
            files(tmp_path).load()
        path.unlink()
        (tmp_path / "a.log").write_bytes(b"#!/bin/sh")
        with pytest.raises(StoreError, match="no file of this document"):
            files(tmp_path).lock()
        assert (tmp_path / "a.log").read_bytes() == b"#!/bin/sh"

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = locked(tmp_path)
        one.append([b"one"])
        write = os.write

        def half(fd: int, data: Any) -> int:
            if len(data) < 10:
                raise OSError(28, "No space left on device")
            return write(fd, data[:10])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(StoreError, match=r"cannot write .*/a\.\*: No space left"):
            one.append([b"x" * 30])
        monkeypatch.undo()
        one.append([b"two"])
        one.close()
        assert files(tmp_path).load() == [b"one", b"two"]

    def test_a_folder_that_is_full(self, tmp_path: Path) -> None:
        one = locked(tmp_path, most=1)
        one.append([b"x"])
        with pytest.raises(StoreError, match="has 1 documents, and takes no more"):
            files(tmp_path, "b", most=1).lock()
        one.close()
        assert locked(tmp_path, most=1).load() == [b"x"]

    def test_a_folder_that_has_gone(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot lock"):
            files(tmp_path / "none").lock()


class TestStore:
    async def test_editors(self, tmp_path: Path) -> None:
        documents = Documents(FileStore(tmp_path / "made"))
        link = site(documents)
        async with link as ws:
            ann = Editor(ws, 1)
            ann.text += "kept"
            await until(lambda: ann.is_synced)
            await ws.close()
            await until(lambda: not documents.names)
            bob = Editor(await link.connect("/yjs/a"), 2)
            await until(lambda: str(bob) == "kept")
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize(("fsync", "syncs"), [("always", 3), (1, 1), ("never", 0)])
    async def test_when_the_disk_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, syncs: int
    ) -> None:
        counted = []
        monkeypatch.setattr(os, "fsync", lambda fd: counted.append(fd))
        clock = Clock()
        log = tmp_path / "a.log"
        async with site(Documents(FileStore(tmp_path, fsync=fsync)), clock=clock) as ws:
            ann = Editor(ws, 1)
            sizes = set()
            for _ in range(3):
                ann.text += "x"
                await until(lambda: log.exists() and log.stat().st_size > max(sizes, default=0))
                sizes.add(log.stat().st_size)
                await clock.advance(0.1)
            await until(lambda: len(counted) >= (syncs if fsync == "always" else 0))
            before = len(counted)
            await clock.advance(1)
            await until(lambda: len(counted) >= syncs)
            assert (before, len(counted)) == (3 if fsync == "always" else 0, syncs)

    async def test_a_disk_that_fails_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(fd: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", fails)
        clock = Clock()
        with caplog.at_level(logging.ERROR):
            async with site(Documents(FileStore(tmp_path, fsync=1.5)), clock=clock) as ws:
                ann = Editor(ws, 1)
                ann.text += "x"
                # The file grows in another thread, before the loop hears of it and sets the timer.
                await until(lambda: 1.5 in clock.timers)
                await clock.advance(2)
                await until(lambda: "Input/output error" in caplog.text)
                monkeypatch.undo()

    def test_what_it_takes(self, tmp_path: Path) -> None:
        wrong: Any
        for wrong in ("sometimes", True, None, 0, -1, float("inf")):
            with pytest.raises(ValueError, match="fsync is"):
                FileStore(tmp_path, fsync=wrong)
        with pytest.raises(TypeError, match="max_documents"):
            FileStore(tmp_path, max_documents=wrong)
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="cannot make"):
            FileStore(tmp_path / "file")
