"""JSON of an application's values: what JSON has not is an error, and never another value."""

from __future__ import annotations

import asyncio
import datetime
import enum
import math
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from fastws import Hub
from fastws.feed.access import Publication
from fastws.json import finite_dumps
from tests.kit import ManualLoop
from tests.kit.served import collect


@dataclass
class Point:
    x: float
    y: Any = None


class Colour(enum.Enum):
    NONE = None
    HOT = math.inf


FINE: list[tuple[Any, bytes]] = [
    (None, b"null"),
    ({"a": [None, 1.5, "null", True]}, b'{"a":[null,1.5,"null",true]}'),
    ([Point(1.5), None], b'[{"x":1.5,"y":null},null]'),
    ([Colour.NONE, uuid.UUID(int=1), None], b'[null,"00000000-0000-0000-0000-000000000001",null]'),
    ([datetime.date(2026, 1, 2), None], b'["2026-01-02",null]'),
    (1e300, b"1e+300"),
]  # fmt: skip
NOT_FINITE = [
    math.nan, math.inf, -math.inf, [1, [math.nan]], {"a": {"b": -math.inf}}, (math.nan,), Point(math.nan),
    [Point(1, Point(math.inf))], Colour.HOT,
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), FINE)
def test_what_json_has(value: Any, text: bytes) -> None:
    assert finite_dumps(value) == text


@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_json_has_not(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON has no NaN and no infinity"):
        finite_dumps(value)


@pytest.mark.parametrize("value", [math.nan, {"price": math.inf}])
def test_all_that_takes_a_value_refuses_it(value: Any, loop: ManualLoop) -> None:
    client, ws, _ = collect(loop)
    hub = Hub("of-json", broker="memory")
    hub.topic("kept", history=5)
    hub.subscribe(ws, "t")

    async def scenario() -> None:
        async with hub:
            for call in (
                lambda: hub.publish("t", json=value),
                lambda: hub.publish_threadsafe("t", json=value),
                lambda: ws.send_json_nowait(value),
                lambda: Publication("t", source="1").with_value(value),
            ):
                with pytest.raises(ValueError, match="JSON has no"):
                    call()
            for wait in (hub.publish_confirmed("kept", json=value), ws.send_json(value)):
                with pytest.raises(ValueError, match="JSON has no"):
                    await wait

    loop.run(scenario())
    loop.settle()
    assert client.texts() == []


def test_a_thread_hears_of_it_itself(loop: ManualLoop) -> None:
    hub = Hub("of-json", broker="memory")
    found: list[BaseException] = []

    def publish() -> None:
        try:
            hub.publish_threadsafe("t", json=math.nan)
        except ValueError as error:
            found.append(error)

    async def scenario() -> None:
        async with hub:
            thread = threading.Thread(target=publish)
            thread.start()
            await asyncio.sleep(0)
            thread.join()

    loop.run(scenario())
    assert len(found) == 1
