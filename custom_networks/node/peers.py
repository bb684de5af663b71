"""Peers of the node: who may send to it, where it sends results, and the certificates for TLS."""

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from custom_networks.errors import UsageError, one_line

Network = IPv4Network | IPv6Network
# PS3.5 6.2: at most 16 ASCII characters, no backslash; leading and trailing spaces are not significant.
_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
ANY = "*"


def checked_title(title: str) -> str:
    """Return `title` if it is a valid AE title; raises UsageError if not."""
    if not _TITLE.fullmatch(title):
        raise UsageError(
            f"An AE title must have 1 to 16 ASCII characters and no backslash, got {one_line(title)!r}: correct it."
        )
    return title


@dataclass(frozen=True)
class Destination:
    """A DICOM node to which results are sent."""

    aet: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


def destination(text: str) -> Destination:
    """Parse a destination of the form AET@HOST:PORT; raises UsageError if it is malformed."""
    title, _, address = text.rpartition("@")
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"--send-to must be AET@HOST:PORT, such as PACS@10.1.2.3:104, got {one_line(text)!r}.")
    return Destination(checked_title(title), host, int(port))


@dataclass(frozen=True)
class Caller:
    """An AE title that may connect ("*" for any), and the networks from which it may do so."""

    aet: str
    networks: tuple[Network, ...]

    def calls_from(self, address: str) -> bool:
        """Whether connections from this address are allowed."""
        here = ip_address(address.partition("%")[0])
        here = getattr(here, "ipv4_mapped", None) or here
        return any(here in network for network in self.networks)

    def has_title(self, aet: str) -> bool:
        """Whether this AE title is allowed."""
        return self.aet in (ANY, aet.strip())


LOOPBACK = Caller(ANY, (ip_network("127.0.0.0/8"), ip_network("::1/128")))


def caller(text: str) -> Caller:
    """Parse an allowed peer of the form AET@HOST.

    HOST is an address, a network or a name, which is resolved immediately; AET "*" allows any title.

    Raises:
        UsageError: the text is malformed, or the name cannot be resolved.
    """
    title, _, host = text.rpartition("@")
    return Caller(title if title == ANY else checked_title(title), _networks(host, text))


def allowed_on(host: str, allow: Sequence[str]) -> tuple[Caller, ...]:
    """Return the peers that may send to a node listening on `host`: those in `allow`, by default only this machine.

    Raises:
        UsageError: an entry is malformed, a name in it cannot be resolved, or `allow` is empty and `host` is not a
            loopback address.
    """
    if not allow and host not in ("localhost", "127.0.0.1", "::1"):
        raise UsageError(
            f"With --host {one_line(host)}, other machines can connect: list the allowed senders with --allow AET@HOST."
        )
    return tuple(map(caller, allow)) or (LOOPBACK,)


def _networks(host: str, text: str) -> tuple[Network, ...]:
    try:
        return (ip_network(host),)
    except ValueError as no_address:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", host) or "/" in host:
            raise UsageError(
                "--allow must be AET@HOST, where HOST is a name, an address or a network, such as PACS@10.1.2.0/24, "
                f"got {one_line(text)!r}."
            ) from no_address
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UsageError(
            f"--allow {one_line(text)}: {host} cannot be resolved ({error.strerror}): check it, or give an address."
        ) from error
    return tuple(ip_network(address) for address in sorted(found))


def may_call(allowed: Sequence[Caller], aet: str, address: str) -> bool:
    """Whether one of the allowed peers has this AE title and may connect from this address."""
    return any(one.calls_from(address) and one.has_title(aet) for one in allowed)


class _LateHandshake(ssl.SSLContext):
    """Server-side TLS context that postpones the handshake to the first read, in the connection's own thread.

    pynetdicom would do the handshake in the thread that accepts connections, where a stalled peer would block all
    others.
    """

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """Call `ssl.SSLContext.wrap_socket` without a handshake on connect."""
        return super().wrap_socket(*arguments, **{**named, "do_handshake_on_connect": False})


@dataclass(frozen=True)
class Certificates:
    """PEM files for TLS: the node's certificate and private key, and certificates of the peers' authorities."""

    certificate: Path
    key: Path
    authority: Path

    def context(self, *, serving: bool) -> ssl.SSLContext:
        """Return a context for TLS 1.2 or newer with mutual authentication, to receive (`serving`) or to send.

        Raises:
            UsageError: a file cannot be used.
        """
        context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER) if serving else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except OSError as error:  # includes SSLError
            raise UsageError(
                f"The TLS certificate, key or CA cannot be used ({error}): check the files given as --tls-cert, "
                "--tls-key and --tls-ca."
            ) from error
        return context


def certificates(certificate: str | None, key: str | None, authority: str | None) -> Certificates | None:
    """Return the files for TLS, or None if none is given; raises UsageError if only some are."""
    given = [Path(path).expanduser() for path in (certificate, key, authority) if path]
    if given and len(given) < 3:
        raise UsageError(
            f"TLS needs three files (--tls-cert, --tls-key and --tls-ca), got {len(given)}: give all of them, or none."
        )
    return Certificates(*given) if given else None
