"""Messages of 1 MiB that come and go: malloc keeps their pages, without being told so by the program."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from fastws.protocol.websocket.frames import ENGINE

#: Four connections at once, whose messages arrive in parts and are sent back masked, as an echoing client's.
CODE = """
import resource
from fastws.protocol.websocket._frames import Reader, encode
SIZE, READ, ROUNDS = 2**20, 2**16, 50
frame = encode(2, bytes(SIZE))
readers = [Reader(SIZE, 100, 10, None, client=True) for _ in range(4)]

def turn():
    for start in range(0, len(frame), READ):
        part = frame[start : start + READ]
        for reader in readers:
            for message in reader.receive(part):
                encode(2, message, b"mask")

turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(ROUNDS):
    turn()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / ROUNDS / len(readers))
"""


@pytest.mark.skipif(ENGINE != "c", reason="the C engine's own allocations")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc's malloc does by itself")
@pytest.mark.skipif("san" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has a malloc of its own")
def test_a_large_message_is_not_made_of_new_pages_each_time() -> None:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "PYTHONMALLOC"))
    }
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env, check=True)
    # 256 pages each, or 512 with its frame, where they are mapped anew.
    assert float(done.stdout) < 64
