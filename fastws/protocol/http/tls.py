"""What TLS says of a connection, as values."""

from __future__ import annotations

from typing import Any

__all__ = ["TLS"]


class TLS:
    """The TLS of a request's connection: ``request.tls``, where the connection itself is encrypted.

    Read it while the connection is open; after its end everything is None. Made of the ``ssl_object`` of
    a transport, an ``ssl.SSLObject``.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def _ask(self, method: str, **arguments: Any) -> Any:
        found = getattr(self._transport.get_extra_info("ssl_object"), method, None)
        return None if found is None else found(**arguments)

    @property
    def version(self) -> str | None:
        """The version, such as ``"TLSv1.3"``."""
        version: str | None = self._ask("version")
        return version

    @property
    def cipher(self) -> tuple[str, str, int] | None:
        """The cipher's name, the version of TLS that defines it, and the bits of its secret."""
        cipher: tuple[str, str, int] | None = self._ask("cipher")
        return cipher

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The client's certificate as ``ssl.SSLSocket.getpeercert()`` gives it; None where it sent none.

        A server asks for one with ``context.verify_mode`` (``--ssl-cert-reqs``), and has verified it then.
        """
        certificate: dict[str, Any] | None = self._ask("getpeercert")
        return certificate

    @property
    def peer_certificate_der(self) -> bytes | None:
        """The same certificate in DER; None where the client sent none."""
        certificate: bytes | None = self._ask("getpeercert", binary_form=True)
        return certificate

    @property
    def cipher_suite(self) -> int | None:
        """The number of the cipher suite in IANA's registry; None where it is not known."""
        cipher, context = self.cipher, getattr(self._transport.get_extra_info("ssl_object"), "context", None)
        if cipher is None or context is None:
            return None
        numbers = {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}
        return numbers.get(cipher[0])

    def __eq__(self, other: object) -> bool:
        """Equal to True: ``request.tls`` was a bool, and programs compare it."""
        return other is True or (isinstance(other, TLS) and other._transport is self._transport)

    def __hash__(self) -> int:
        return 1  # that of True

    def __repr__(self) -> str:
        return f"<TLS {self.version}>"
