"""Settings from keyword arguments."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws import Limits, Route, Settings, Timeouts
from fastws.server.settings import settings_from
from tests.kit import ManualLoop
from tests.kit.served import served
from tests.server.sites import page


class TestSettings:
    def test_defaults(self) -> None:
        assert settings_from() == Settings()

    def test_each(self) -> None:
        settings = settings_from(
            limits={"send_queue": 3},
            timeouts=Timeouts(write=1.0),
            compression=None,
            origins=["https://a.example"],
            allowed_hosts=["A.example", "*.b.example"],
            require_origin=True,
            headers=[("x-server", "mine"), ("X-More", "1")],
            access_log=False,
            limit_concurrency=5,
            limit_connections_per_address=2,
            limit_handshakes_per_address=3,
            proxy_headers=True,
            forwarded_allow_ips=["*"],
            socket_send_buffer=65536,
            notsent_lowat=16384,
            memory_budget=2**30,
        )
        assert settings == Settings(
            limits=Limits(send_queue=3),
            timeouts=Timeouts(write=1.0),
            compression=None,
            origins=frozenset(["https://a.example"]),
            allowed_hosts=frozenset(["a.example", "*.b.example"]),
            require_origin=True,
            headers=((b"x-server", b"mine"), (b"X-More", b"1")),
            access_log=False,
            limit_concurrency=5,
            limit_connections_per_address=2,
            limit_handshakes_per_address=3,
            trusted_proxies=("*",),
            socket_send_buffer=65536,
            notsent_lowat=16384,
            memory_budget=2**30,
        )
        assert settings_from(forwarded_allow_ips=["*"]).trusted_proxies == ()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limits": {"nonsense": 1}},
            {"nonsense": 1},
            {"headers": [("a b", "x")]},
            {"headers": [("A", "x\n")]},
            {"allowed_hosts": "localhost"},
            {"allowed_hosts": ["http://localhost"]},
            {"origins": ["https://exa*mple.com"]},
        ],
    )
    def test_what_fits_nothing(self, wrong: dict[str, Any]) -> None:
        with pytest.raises((TypeError, ValueError)):
            fastws.serve(page, **wrong)

    @pytest.mark.parametrize(
        "wrong",
        [{"headers": [("Connection", "x")]}, {"proxy_headers": True, "forwarded_allow_ips": ["host"]}],
    )
    def test_what_the_start_refuses(self, loop: ManualLoop, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="host|Connection|connection"):
            served(loop, Route("/", http=page), **wrong)
        assert loop.network.listeners == {}
