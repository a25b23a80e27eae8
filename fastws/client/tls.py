"""What of an ``ssl.SSLContext`` goes along to another origin: all but the client's certificate."""

from __future__ import annotations

import os
import ssl
import warnings

__all__ = ["without_certificate"]


def without_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context that trusts and demands the same, and has no certificate to present.

    A context does not tell whether it has one, and it cannot be taken out, so this makes another. Which
    authorities came from a folder, as the system's may, is not told either. The system's are taken when none
    were loaded, or when one that was loaded is the system's; with others alone, which a program chose,
    they are not.
    """
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other.check_hostname = context.check_hostname
    other.verify_mode = context.verify_mode
    other.verify_flags = context.verify_flags
    with warnings.catch_warnings():
        # Whoever asked for an old version has been warned.
        warnings.simplefilter("ignore", DeprecationWarning)
        other.options = context.options
        other.minimum_version = context.minimum_version
        other.maximum_version = context.maximum_version
    other.hostname_checks_common_name = context.hostname_checks_common_name
    # The suites of TLS 1.3 are not named in a list of ciphers.
    names = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]
    if names:
        other.set_ciphers(":".join(names))
    if context.keylog_filename:
        other.keylog_filename = context.keylog_filename
    trusted = context.get_ca_certs(binary_form=True)
    if trusted:
        other.load_verify_locations(cadata=b"".join(trusted))
    if not trusted or not _system_authorities().isdisjoint(trusted):
        other.load_default_certs()
    return other


def _system_authorities() -> set[bytes]:
    """Return the certificates of the system's authorities, those of its folder included."""
    paths = ssl.get_default_verify_paths()
    files = [paths.cafile] if paths.cafile else []
    if paths.capath:
        files += [entry.path for entry in os.scandir(paths.capath) if entry.is_file()]
    reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for file in files:
        try:
            reader.load_verify_locations(cafile=file)
        except OSError:  # not a certificate, or not for us to read
            continue
    return set(reader.get_ca_certs(binary_form=True))
