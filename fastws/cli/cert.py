"""``fastws cert``: an authority and a certificate for a developer's machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.options import Command, option

if TYPE_CHECKING:
    from fastws.cli.dev_ca import Authority, Issued

__all__ = ["cert"]

DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")

TRUST = """\
Trust the authority {ca} once, wherever a client runs:
  Chrome    Settings > Privacy and security > Security > Manage certificates > Authorities > Import
            on Linux also: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n fastws -i {quoted}
  Firefox   Settings > Privacy & Security > Certificates > View Certificates > Authorities > Import
  system    Debian: sudo cp {quoted} /usr/local/share/ca-certificates/fastws.crt
                    sudo update-ca-certificates
            macOS: sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {quoted}
            Windows: certutil -addstore Root {quoted}
  curl      curl --cacert {quoted} https://{host}:8443/
  Python    ssl.create_default_context(cafile={ca!r})
A program with {ca_key} can pretend to be any site to all who trust {ca}: do not share it.

Serve over TLS:
  fastws serve --port 8443 --ssl-certfile {certfile} --ssl-keyfile {keyfile}
"""


@click.command(cls=Command)
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@option(
    "--directory",
    section="Certificate",
    type=click.Path(file_okay=False, path_type=Path),
    default="certs",
    show_default=True,
    help="Where the files go. An authority that is already there is used again.",
)
@option(
    "--days",
    section="Certificate",
    type=click.IntRange(1, 825),
    default=397,
    show_default=True,
    help="Days that the server certificate is valid. Apple's systems accept at most 825.",
)
def cert(hosts: tuple[str, ...], directory: Path, days: int) -> int:
    """Make a local certificate authority and a server certificate for each HOST, in one file.

    HOST is a name, a wildcard such as *.example.test, or an IP address; without one the certificate
    is for localhost, 127.0.0.1 and ::1. Trust the authority once: certificates that are made later are
    trusted with it.
    """
    # Imported here, because the import takes as long as the rest of the command.
    from fastws.cli import dev_ca

    try:
        names = [dev_ca.subject_name(host) for host in hosts or DEFAULT_HOSTS]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        prepare(directory)
        authority = dev_ca.ensure_authority(directory)
        issued = dev_ca.issue(authority, directory, names, days)
    except dev_ca.AuthorityError as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"cannot write to {directory}: {os_error_text(error)}") from error

    how = "made" if authority.created else "used again"
    click.echo(f"Authority ({how}): {authority.path}")
    click.echo(f"Certificate: {issued.certfile} for {', '.join(hosts or DEFAULT_HOSTS)}")
    click.echo(f"Valid until {issued.expires:%Y-%m-%d}. Its private key: {issued.keyfile}\n")
    click.echo(trust_text(authority, issued, str(names[0].value)), nl=False)
    return 0


def trust_text(authority: Authority, issued: Issued, name: str) -> str:
    """How to trust the authority, and how to serve ``name`` with the certificate."""
    return TRUST.format(
        ca=str(authority.path),
        ca_key=authority.key_path,
        quoted=shlex.quote(str(authority.path)),
        host=url_host(name),
        certfile=shlex.quote(str(issued.certfile)),
        keyfile=shlex.quote(str(issued.keyfile)),
    )


def url_host(name: str) -> str:
    """A host as it stands in a URL."""
    host = name.replace("*", "www")
    return f"[{host}]" if ":" in host else host


def prepare(directory: Path) -> None:
    """Make the directory, and a .gitignore that keeps its files out of a repository."""
    if directory.is_dir():
        return
    directory.mkdir(parents=True)
    (directory / ".gitignore").write_text("*\n", encoding="utf-8")
