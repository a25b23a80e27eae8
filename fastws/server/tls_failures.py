"""Why a TLS handshake failed, in plain words."""

from __future__ import annotations

import logging

__all__ = ["failure_text"]

#: OpenSSL's reasons for first bytes that are no TLS; the last one is for HTTP methods that it does not know.
NOT_TLS = {"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"}

#: A word of OpenSSL's reason, and what it means here. The first that fits counts.
REASONS = [
    ("UNKNOWN_CA", "the client does not trust the authority of our certificate"),
    ("CERTIFICATE_EXPIRED", "the client says that our certificate has expired"),
    ("ALERT_BAD_CERTIFICATE", "the client refuses our certificate"),
    ("ALERT_CERTIFICATE", "the client refuses our certificate"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "the client sent no certificate, and one is required"),
    ("UNSUPPORTED_PROTOCOL", "client and server have no TLS version in common"),
    ("PROTOCOL_VERSION", "client and server have no TLS version in common"),
    ("VERSION_TOO", "client and server have no TLS version in common"),
    ("NO_PROTOCOLS_AVAILABLE", "client and server have no TLS version in common"),
    ("NO_SHARED", "client and server have no cipher, group or signature in common"),
    ("NO_SUITABLE", "client and server have no cipher, group or signature in common"),
    ("ALERT_HANDSHAKE_FAILURE", "the client found no parameters that it accepts"),
    ("UNRECOGNIZED_NAME", "the client asks for a name that is not served"),
]


def failure_text(error: OSError, seconds: float) -> tuple[int, str]:
    """Return the level and the text of the line that tells of a failed handshake; its ``%s`` is the peer.

    Args:
        error: what the loop's ``connect_accepted_socket`` raised.
        seconds: how long a handshake may take.
    """
    reason = getattr(error, "reason", None)
    if reason in NOT_TLS:
        return logging.WARNING, "%s does not speak TLS on a port with TLS: use https:// or wss:// here"
    if isinstance(error, (ConnectionAbortedError, TimeoutError)):
        return logging.INFO, f"%s did not complete its TLS handshake within {seconds:g} s"
    if not isinstance(reason, str) or "UNEXPECTED_EOF" in reason:
        # A reset, or the end of TCP: probes of load balancers do so all the time.
        return logging.DEBUG, "%s left during its TLS handshake"
    if reason == "CERTIFICATE_VERIFY_FAILED":
        words = f"the client's certificate is not trusted: {getattr(error, 'verify_message', 'no reason')}"
    else:
        openssl = reason.replace("_", " ").lower()
        known = next((words for word, words in REASONS if word in reason), None)
        words = f"{known} ({openssl})" if known else openssl
    return logging.INFO, "%s failed its TLS handshake: " + words.replace("%", "%%")
