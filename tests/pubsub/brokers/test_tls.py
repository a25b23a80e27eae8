"""Brokers that speak TLS: whose certificate is taken, and what is said of one that is not."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fastws import BrokerUnavailable, Hub
from fastws.pubsub.brokers.urls import broker_at
from tests.cli.helpers import fastws
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.nodes import heard, nodes, of_topic
from tests.kit.ports import free_port
from tests.kit.redis import Redis, need_redis
from tests.live.servers import make_certificates

pytestmark = pytest.mark.system

PASSWORD = "s3cret"
NOT_TLS = "Connection closed by server. Does it want TLS, rediss://?"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server's certificate; ``other/ca.pem``; and a client, signed by itself."""
    folder = make_certificates(tmp_path_factory.mktemp("certificates"))
    make_certificates(folder / "other")
    make_client(folder)
    return folder


def make_client(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "client.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "client-key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class Site:
    """A server, and how it is reached over TLS, and without."""

    def __init__(self, folder: Path, scheme: str, ca: str, plain: int, tls: int) -> None:
        self.folder = folder
        self.scheme = scheme
        self.ca = ca
        self.plain = plain
        self.tls = tls

    def url(
        self, *, host: str = "127.0.0.1", ca: str | None = "ca.pem", more: str = "", user: str = ""
    ) -> str:
        query = "&".join(filter(None, [f"{self.ca}={self.folder / ca}" if ca else "", more]))
        return f"{self.scheme}://{user}{host}:{self.tls}?{query}"


@pytest.fixture(scope="module")
def redis(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_redis()
    tls = free_port()
    with Redis(tmp_path_factory.mktemp("redis"), *redis_options(certificates, tls)) as server:
        yield Site(certificates, "rediss", "ssl_ca_certs", server.port, tls)


def redis_options(certificates: Path, port: int, clients: str = "no") -> list[str]:
    options = {
        "port": port,
        "cert-file": certificates / "server.pem",
        "key-file": certificates / "server-key.pem",
        "ca-cert-file": certificates / "client.pem",
        "auth-clients": clients,
    }
    return [text for name, value in options.items() for text in (f"--tls-{name}", str(value))]


@pytest.fixture(scope="module")
def nats(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_nats()
    files = [f"--tls{name}={certificates / file}" for name, file in NATS_FILES.items()]
    with Nats(tmp_path_factory.mktemp("nats"), *files) as server:
        yield Site(certificates, "tls", "ca", server.port, server.port)


NATS_FILES = {"cert": "server.pem", "key": "server-key.pem"}


@pytest.fixture(params=["redis", "nats"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


async def refusal(url: str) -> str:
    """What a hub says that cannot start: one line."""
    hub = Hub(broker=url)
    with pytest.raises(BrokerUnavailable) as failure:
        await hub.start(5)
    await hub.close()
    text = str(failure.value)
    assert "\n" not in text and PASSWORD not in text
    return text


async def share(url: str) -> None:
    """Two nodes hear each other."""
    async with nodes(lambda: broker_at(url)) as (one, two):
        kept, plain = await of_topic(two, "h"), await of_topic(two, "t")
        await one.publish_confirmed("h", "1")
        one.publish("t", "1")
        await until(lambda: heard(kept) == heard(plain) == ["1"])


async def test_a_certificate_of_the_right_authority(site: Site) -> None:
    await share(site.url())
    await share(site.url(host="localhost"))


async def test_one_of_an_authority_that_is_not_trusted(site: Site) -> None:
    for ca in ("other/ca.pem", None):
        text = await refusal(site.url(ca=ca))
        assert "certificate" in text and f"127.0.0.1:{site.tls}" in text


@pytest.mark.parametrize("which", ["redis", "nats"])
async def test_one_for_another_name(which: str, certificates: Path, tmp_path: Path) -> None:
    named = shutil.copytree(certificates, tmp_path / "named")
    assert fastws("cert", "example.org", "--directory", named).returncode == 0
    if which == "redis":
        need_redis()
        tls = free_port()
        with Redis(tmp_path / "redis", *redis_options(named, tls)):
            text = await refusal(Site(named, "rediss", "ssl_ca_certs", 0, tls).url())
    else:
        need_nats()
        files = [f"--tls{name}={named / file}" for name, file in NATS_FILES.items()]
        with Nats(tmp_path / "nats", *files) as server:
            text = await refusal(Site(named, "tls", "ca", 0, server.port).url())
    assert "not valid for '127.0.0.1'" in text


async def test_a_server_without_tls(redis: Site) -> None:
    plain = f"rediss://127.0.0.1:{redis.plain}?ssl_ca_certs={redis.folder / 'ca.pem'}"
    assert "it does not speak TLS" in await refusal(plain)
    text = await refusal(f"rediss+sentinel://127.0.0.1:{redis.plain}/main")
    assert f": 127.0.0.1:{redis.plain}: it does not speak TLS" in text


async def test_a_nats_server_without_tls(certificates: Path, tmp_path: Path) -> None:
    need_nats()
    with Nats(tmp_path / "nats") as server:
        text = await refusal(f"tls://127.0.0.1:{server.port}?ca={certificates / 'ca.pem'}")
    assert "it does not speak TLS" in text


async def test_a_server_with_tls_for_a_url_without(redis: Site) -> None:
    for user in ("", f":{PASSWORD}@"):
        for scheme in ("redis", "redis+cluster"):
            text = await refusal(f"{scheme}://{user}127.0.0.1:{redis.tls}")
            assert text.endswith(f"127.0.0.1:{redis.tls}: {NOT_TLS}")
    text = await refusal(f"redis+sentinel://127.0.0.1:{redis.tls}/main")
    assert text.endswith(f": 127.0.0.1:{redis.tls}: {NOT_TLS}")


async def test_a_nats_server_with_tls_for_a_url_without(nats: Site) -> None:
    """It says that it wants TLS; without its authority nobody can know who it is."""
    text = await refusal(f"nats://127.0.0.1:{nats.tls}")
    assert "TLS: " in text and "certificate" in text


async def test_a_nats_server_that_wants_tls_itself_is_known_by_its_authority(nats: Site) -> None:
    await share(nats.url().replace("tls:", "nats:"))
    text = await refusal(nats.url(ca="other/ca.pem").replace("tls:", "nats:"))
    assert "TLS: " in text and "certificate" in text


async def test_a_file_that_is_not_there(site: Site) -> None:
    url = site.url(ca="none.pem")
    try:
        text = await refusal(url)
    except ValueError as error:
        text = str(error)
    assert "none.pem" in text and "No such file" in text


async def test_a_file_that_holds_no_certificate(site: Site) -> None:
    (site.folder / "empty.pem").write_text("nothing\n")
    try:
        text = await refusal(site.url(ca="empty.pem"))
    except ValueError as error:
        text = str(error)
    assert "empty.pem" in text


def test_a_password_from_a_file(certificates: Path, tmp_path: Path) -> None:
    need_redis()
    tls, options = free_port(), ["--requirepass", PASSWORD]
    with Redis(tmp_path / "redis", *redis_options(certificates, tls), *options):
        site = Site(certificates, "rediss", "ssl_ca_certs", 0, tls)
        secret = tmp_path / "broker"
        for password, code in ((PASSWORD, 0), ("wr0ng", 3)):
            secret.write_text(site.url(user=f":{password}@") + "\n")
            (tmp_path / "app.py").write_text("routes = []\n")
            result = fastws("check", "app:routes", "--broker-file", secret, cwd=tmp_path)
            assert result.returncode == code, result.stderr
            assert password not in result.stdout + result.stderr
        assert "wrong user or password" in result.stderr


async def test_client_certificates_of_redis(certificates: Path, tmp_path: Path) -> None:
    need_redis()
    tls = free_port()
    with Redis(tmp_path / "redis", *redis_options(certificates, tls, "yes")):
        site = Site(certificates, "rediss", "ssl_ca_certs", 0, tls)
        folder = certificates
        await share(
            site.url(more=f"ssl_certfile={folder / 'client.pem'}&ssl_keyfile={folder / 'client-key.pem'}")
        )
        for more in ("", "ssl_min_version=771"):
            assert "it asks for a certificate" in await refusal(site.url(more=more))


async def test_sentinels_and_their_master(certificates: Path, tmp_path: Path) -> None:
    """The parameters of the URL are for both."""
    need_redis()
    master_port, port = free_port(), free_port()
    folder = tmp_path / "sentinel"
    folder.mkdir()
    (folder / "sentinel.conf").write_text(f"sentinel monitor main 127.0.0.1 {master_port} 1\n")
    options = [*redis_options(certificates, port), "--tls-replication", "yes"]
    options[options.index("--tls-ca-cert-file") + 1] = str(certificates / "ca.pem")
    sentinel = Redis(folder, *options, config=folder / "sentinel.conf")
    with Redis(tmp_path / "redis", *redis_options(certificates, master_port)), sentinel:
        site = Site(certificates, "rediss+sentinel", "ssl_ca_certs", 0, port)
        await share(site.url().replace("?", "/main?"))
        text = await refusal(site.url(ca="other/ca.pem").replace("?", "/main?"))
        assert f"127.0.0.1:{port}: " in text and "certificate verify failed" in text


async def test_client_certificates_of_nats(certificates: Path, tmp_path: Path) -> None:
    need_nats()
    files = [f"--tls{name}={certificates / file}" for name, file in NATS_FILES.items()]
    verified = ["--tlsverify", f"--tlscacert={certificates / 'client.pem'}"]
    with Nats(tmp_path / "nats", *files, *verified) as server:
        site = Site(certificates, "tls", "ca", 0, server.port)
        folder = certificates
        url = site.url(more=f"cert={folder / 'client.pem'}&key={folder / 'client-key.pem'}")
        await share(url)
        await share(url.replace("tls:", "nats:"))
        assert "it asks for a certificate" in await refusal(site.url())
