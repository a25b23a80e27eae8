"""What is done to a payload beside framing it: permessage-deflate, and JSON through orjson."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bench.micro.material import DOCUMENT, JSON_TEXT, TEXT
from fastws.config import Compression
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool
from fastws.protocol.websocket.frames import encode

PARAMS = {
    "shared": DeflateParams(server_no_context_takeover=True, client_no_context_takeover=True),
    "takeover": DeflateParams(server_no_context_takeover=False, client_no_context_takeover=False),
}


@pytest.mark.parametrize("context", PARAMS)
def test_deflate(benchmark: Any, context: str) -> None:
    benchmark.group = "deflate 1 KiB of JSON"
    deflate = DeflatePool(Compression()).deflater(PARAMS[context], client=False)
    assert len(benchmark(deflate, JSON_TEXT.encode())) < len(JSON_TEXT) / 2


def test_inflate(benchmark: Any) -> None:
    benchmark.group = "inflate 1 KiB of JSON"
    pool = DeflatePool(Compression())
    data = pool.deflater(PARAMS["shared"], client=False)(JSON_TEXT.encode())
    assert benchmark(pool.inflater(PARAMS["shared"], client=False), data, 1 << 20) == JSON_TEXT.encode()


def by_orjson() -> bytes:
    return encode(TEXT, orjson.dumps(DOCUMENT))


def by_json() -> bytes:
    return encode(TEXT, json.dumps(DOCUMENT, separators=(",", ":")))


@pytest.mark.parametrize("make", [by_orjson, by_json])
def test_json_frame(benchmark: Any, make: Callable[[], bytes]) -> None:
    benchmark.group = "a frame of 1 KiB of JSON, from an object"
    assert benchmark(make)[4:].decode() == JSON_TEXT


@pytest.mark.parametrize("loads", [orjson.loads, json.loads], ids=["orjson", "json"])
def test_json_read(benchmark: Any, loads: Callable[[str], Any]) -> None:
    benchmark.group = "an object, from 1 KiB of JSON text"
    assert benchmark(loads, JSON_TEXT) == DOCUMENT
