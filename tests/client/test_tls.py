"""A client certificate is for the first origin alone."""

from __future__ import annotations

import ssl
import warnings
from typing import Any

import pytest

import fastws
from fastws.client import tls as client_tls
from fastws.client.tls import without_certificate
from tests.client.loops import both_loops
from tests.client.peers import Certificates, Reader, Talk, Writer, answer, listening


def seeing(seen: list[Any], response: bytes) -> Talk:
    """Notes the client's certificate and answers."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("ssl_object").getpeercert())
        writer.write(response)
        await writer.drain()
        await reader.read()

    return talk


@pytest.mark.live
@both_loops
async def test_another_origin_is_shown_no_certificate(tls: Certificates) -> None:
    there: list[Any] = []
    here: list[Any] = []
    async with listening(seeing(there, answer(403)), ssl=tls.asking) as other:
        redirect = answer(302, f"Location: wss://127.0.0.1:{other}/")
        async with listening(seeing(here, redirect), ssl=tls.asking) as port:
            with pytest.raises(fastws.HandshakeRefused, match="status 403"):
                await fastws.connect(f"wss://127.0.0.1:{port}/", ssl=tls.known)
    assert len(here) == len(there) == 1
    assert here[0]
    assert not there[0]


@pytest.mark.live
@both_loops
async def test_the_same_origin_is_shown_it_again(tls: Certificates) -> None:
    seen: list[Any] = []
    async with listening(seeing(seen, answer(302, "Location: /next")), ssl=tls.asking) as port:
        with pytest.raises(fastws.HandshakeRefused, match="more than 2 redirects"):
            await fastws.connect(f"wss://127.0.0.1:{port}/", ssl=tls.known, max_redirects=2)
    assert len(seen) == 3
    assert all(seen)


def test_the_rest_of_the_settings_is_kept(tls: Certificates) -> None:
    context = tls.known
    other = without_certificate(context)
    for name in (
        "verify_mode",
        "check_hostname",
        "verify_flags",
        "options",
        "minimum_version",
        "maximum_version",
    ):
        assert getattr(other, name) == getattr(context, name), name
    assert other.get_ca_certs() == context.get_ca_certs(), "with an authority of its own, not the system's"
    assert [cipher["name"] for cipher in other.get_ciphers()] == [
        cipher["name"] for cipher in context.get_ciphers()
    ]
    lenient = ssl.create_default_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        lenient.options |= ssl.OP_NO_TLSv1_1  # asking for it warns; taking it over must not
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    lenient.minimum_version = ssl.TLSVersion.TLSv1_3
    other = without_certificate(lenient)
    assert (other.check_hostname, other.verify_mode) == (False, ssl.CERT_NONE)
    assert other.options == lenient.options
    assert other.minimum_version is ssl.TLSVersion.TLSv1_3


def test_who_trusts_the_system_trusts_it_there(tls: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ssl.SSLContext] = []

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context: loaded.append(context))
    without_certificate(tls.client)
    assert not loaded
    # None loaded: the authorities are in a folder, as the system's are.
    other = without_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert loaded == [other]
    ours = set(tls.client.get_ca_certs(binary_form=True))
    monkeypatch.setattr(client_tls, "_system_authorities", lambda: ours)
    other = without_certificate(tls.client)
    assert loaded[1:] == [other]


def test_the_systems_authorities_are_found() -> None:
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        pytest.skip("this system has none")
    context = ssl.create_default_context()
    assert client_tls._system_authorities().issuperset(context.get_ca_certs(binary_form=True))
