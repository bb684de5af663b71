"""Who may send to the node, whom it sends to, and the certificates that both sides show."""

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
# PS3.5 6.2: at most 16 characters of ASCII, no backslash; spaces at the ends do not count.
_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
ANY = "*"


def checked_title(title: str) -> str:
    """The AE title; UsageError if it is not one."""
    if not _TITLE.fullmatch(title):
        raise UsageError(f"An AE title is 1 to 16 characters of ASCII without a backslash, got {one_line(title)!r}.")
    return title


@dataclass(frozen=True)
class Destination:
    """A node that results are sent to."""

    aet: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


def destination(text: str) -> Destination:
    """The node that AET@HOST:PORT names; UsageError if the text names none."""
    title, _, address = text.rpartition("@")
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"--send-to is AET@HOST:PORT, got {one_line(text)!r}.")
    return Destination(checked_title(title), host, int(port))


@dataclass(frozen=True)
class Caller:
    """An AE title, or any, and the addresses that it may call from."""

    aet: str
    networks: tuple[Network, ...]

    def calls_from(self, address: str) -> bool:
        """Whether it may call from the address."""
        here = ip_address(address.partition("%")[0])
        here = getattr(here, "ipv4_mapped", None) or here
        return any(here in network for network in self.networks)

    def is_called(self, aet: str) -> bool:
        """Whether the AE title is the one, or any may call."""
        return self.aet in (ANY, aet.strip())


LOOPBACK = Caller(ANY, (ip_network("127.0.0.0/8"), ip_network("::1/128")))


def caller(text: str) -> Caller:
    """The peers that AET@HOST allows: a HOST by name (looked up now) or address, or a network; * allows any title.

    UsageError if HOST is none of these, or a name that cannot be resolved.
    """
    title, _, host = text.rpartition("@")
    return Caller(title if title == ANY else checked_title(title), _networks(host, text))


def allowed_on(host: str, allow: Sequence[str]) -> tuple[Caller, ...]:
    """Who may send to a node that listens on `host`: each AET@HOST, by default programs on this machine.

    UsageError if others can reach the host and nobody is named.
    """
    if not allow and host not in ("localhost", "127.0.0.1", "::1"):
        raise UsageError(f"--host {one_line(host)} can be reached by others: say who may send, with --allow AET@HOST.")
    return tuple(map(caller, allow)) or (LOOPBACK,)


def _networks(host: str, text: str) -> tuple[Network, ...]:
    try:
        return (ip_network(host),)
    except ValueError as no_address:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", host) or "/" in host:
            raise UsageError(
                f"--allow is AET@HOST, a name, an address or a network such as 10.1.2.0/24, got {one_line(text)!r}."
            ) from no_address
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UsageError(f"--allow {one_line(text)}: the name {host} is not known here ({error.strerror}).") from error
    return tuple(ip_network(address) for address in sorted(found))


def may_call(allowed: Sequence[Caller], aet: str, address: str) -> bool:
    """Whether a peer with this AE title may send from this address."""
    return any(one.calls_from(address) and one.is_called(aet) for one in allowed)


class _LateHandshake(ssl.SSLContext):
    """The context of a server that does the handshake when it reads the first byte, in the connection's own thread.

    pynetdicom would do it where it accepts connections, so that a peer that never begins would keep all others out.
    """

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        return super().wrap_socket(*arguments, **{**named, "do_handshake_on_connect": False})


@dataclass(frozen=True)
class Certificates:
    """Files for TLS: the node's own certificate and key, and the authority that signed those of its peers."""

    certificate: Path
    key: Path
    authority: Path

    def context(self, *, serving: bool) -> ssl.SSLContext:
        """TLS 1.2 or newer, in which both sides must show a certificate; UsageError if a file cannot be used."""
        context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER) if serving else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except OSError as error:  # SSLError is one
            raise UsageError(f"The certificates for TLS cannot be used ({error}): check the three files.") from error
        return context


def certificates(certificate: str | None, key: str | None, authority: str | None) -> Certificates | None:
    """The files for TLS, None if none is named; UsageError if only some are."""
    given = [Path(path).expanduser() for path in (certificate, key, authority) if path]
    if given and len(given) < 3:
        raise UsageError("TLS needs three files: --tls-cert, --tls-key and --tls-ca, the authority of the peers.")
    return Certificates(*given) if given else None
