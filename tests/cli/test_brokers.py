"""``fastws serve --broker``: what is said of one that cannot be, before anything is served."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fastws import Hub
from fastws.cli.brokers import check_reachable, choose_broker, gateway_hello, joined, use_in_worker
from fastws.cli.errors import CannotStart
from fastws.pubsub.bus import registry
from tests.cli.helpers import assert_one_line, fastws
from tests.kit.ports import free_port


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these commands settle for the process ends with the test."""
    for name in ("_installed", "_asks_environment", "_default"):
        monkeypatch.setattr(registry, name, getattr(registry, name))
    monkeypatch.setattr(registry, "_groups", {})


def options(broker: str | None = None, file: Path | None = None) -> dict[str, str | None]:
    return {"broker": broker, "broker_file": None if file is None else str(file)}


def test_which_one(tmp_path: Path) -> None:
    file = tmp_path / "broker"
    file.write_text("redis://:secret@h\n")
    assert choose_broker(options()) is None
    assert choose_broker(options("memory")) == "memory"
    assert choose_broker(options("redis://h")) == "redis://h"
    assert choose_broker(options(file=file)) == "redis://:secret@h"
    assert choose_broker(options("memory", file)) == "memory"


@pytest.mark.parametrize(
    ("broker", "text"),
    [("kafka://h", "broker= is 'memory'"), ("redis://:s3cret@h/x", "no number of a database")],
)
def test_a_mistake_is_a_usage_error(broker: str, text: str) -> None:
    with pytest.raises(click.UsageError, match=text) as failure:
        choose_broker(options(broker))
    assert "s3cret" not in str(failure.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="cannot be read"):
        choose_broker(options(file=tmp_path / "none"))


def test_one_that_cannot_be_reached() -> None:
    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(CannotStart, match=r"--broker redis://\*\*\*@127.0.0.1:\d+: Error 111"):
        check_reachable(url)
    check_reachable(None)
    check_reachable("memory")


async def test_a_single_process_does_not_serve_without_its_broker() -> None:
    serve = joined(f"redis://127.0.0.1:{free_port()}")
    served = False

    async def serving() -> int:
        nonlocal served
        served = True
        return 0

    with pytest.raises(CannotStart, match="--broker redis://127.0.0.1"):
        await serve(serving())
    assert not served


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_a_server_does_not_start_without_the_broker_of_one_of_its_hubs(
    tmp_path: Path, options: list[str]
) -> None:
    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    (tmp_path / "app.py").write_text(f"import fastws\nhub = fastws.Hub(broker={url!r})\nroutes = []\n")
    done = fastws("serve", "app:routes", "--port", 0, *options, cwd=tmp_path)
    assert_one_line(done, 3, "fastws serve: broker redis://***@127.0.0.1")


async def test_without_a_broker_nothing_changes() -> None:
    async def serving() -> int:
        return 7

    assert await joined(None)(serving()) == 7
    assert await joined("memory")(serving()) == 7


def test_what_the_keeper_and_workers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateway_hello(None) == gateway_hello("memory") == {}
    hello = gateway_hello("redis://h")
    assert hello["broker"] == "redis://h" and hello["node"] != gateway_hello("redis://h")["node"]
    monkeypatch.setenv("FASTWS_BROKER", "redis://elsewhere")
    use_in_worker("redis://h")  # behind the worker's bus
    assert registry.bus_of(None) is registry._installed
    use_in_worker(None)
    Hub(broker="memory")
