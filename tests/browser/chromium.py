"""A real Chromium, headless: where it is, how it is started, and what to say when it is not there."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium", "expect", "missing", "require"]

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _executable() -> str | None:
    names = [name for name in (os.environ.get("FASTWS_CHROMIUM"), *NAMES) if name]
    return next(filter(None, map(shutil.which, names)), None)


def missing() -> str | None:
    """What keeps a browser from being started here, in one sentence; None when nothing does."""
    if find_spec("playwright") is None:
        return "the Python package playwright is not installed (pip install playwright)"
    if _executable() is None:
        return "no Chromium found (apt install chromium, or set FASTWS_CHROMIUM to its path)"
    return None


def require() -> None:
    """Skip where there is no browser; with TESTS_REQUIRE_BROWSER=1, as CI has it, fail."""
    if reason := missing():
        if os.environ.get("TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(f"TESTS_REQUIRE_BROWSER is set, but {reason}", pytrace=False)
        pytest.skip(reason)


def expect(target: Any) -> Any:
    """Playwright's ``expect``, imported late: without playwright these tests are skipped, not broken."""
    from playwright.sync_api import expect

    expect.set_options(timeout=20_000)
    return expect(target)


@contextmanager
def chromium(certificate: Path | None = None) -> Iterator[Browser]:
    """A browser that trusts ``certificate`` (PEM) as well, and no other that it would refuse.

    While it runs, its thread has a running event loop: no test that needs one of its own may run.
    """
    from playwright.sync_api import sync_playwright

    trust = [f"--ignore-certificate-errors-spki-list={_key_digest(certificate)}"] if certificate else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=ARGUMENTS + trust)
        try:
            yield browser
        finally:
            browser.close()


def _key_digest(certificate: Path) -> str:
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()
