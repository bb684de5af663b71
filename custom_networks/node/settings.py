"""The settings of a node."""

from dataclasses import dataclass
from pathlib import Path

from custom_networks.errors import UsageError
from custom_networks.node.peers import LOOPBACK, Caller, Certificates, Destination
from custom_networks.node.rules import Rule

FIRST_PAUSE = 5.0  # seconds before the first retry of a destination that is down


@dataclass(frozen=True)
class Settings:
    """The settings of a node, as given to `liverseg serve`.

    Attributes:
        output: folder for results.
        spool: folder for received images and their state.
        host: address to listen on.
        port: port to listen on; 0 selects a free port.
        aet: AE title of the node.
        allowed: peers that may send to the node.
        destinations: nodes to which results are sent.
        rules: rules for selecting the series of a study.
        quiet_seconds: seconds without a new image after which a study is considered complete.
        http_port: port of `/healthz`; None turns it off, 0 selects a free port.
        keep_days: days for which the images of a segmented study are kept, counted from the arrival of the latest one.
        quota_bytes: maximum total size of the images in the spool.
        certificates: certificates for receiving over TLS, or None for unencrypted connections.
        send_tls: send over TLS, with the same certificates.
        first_pause: seconds before the first retry of a destination that is down.

    Raises:
        UsageError: a number is out of range, or `send_tls` is set without certificates.
    """

    output: Path
    spool: Path
    host: str = "127.0.0.1"
    port: int = 11112
    aet: str = "LIVERSEG"
    allowed: tuple[Caller, ...] = (LOOPBACK,)
    destinations: tuple[Destination, ...] = ()
    rules: tuple[Rule, ...] = ()
    quiet_seconds: float = 30.0
    http_port: int | None = 8080
    keep_days: float = 7.0
    quota_bytes: int = 100 * 10**9
    certificates: Certificates | None = None
    send_tls: bool = False
    first_pause: float = FIRST_PAUSE

    def __post_init__(self) -> None:
        for flag, port in (("--port", self.port), ("--http-port", self.http_port or 0)):
            if not 0 <= port <= 65535:
                raise UsageError(f"{flag} must be from 0 to 65535, got {port}: choose another port.")
        least = {"--quiet-seconds": self.quiet_seconds, "--keep-days": self.keep_days}
        for flag, value in {**least, "--quota-gb": self.quota_bytes / 1e9}.items():
            if value < 0:
                raise UsageError(f"{flag} must be at least 0, got {value:g}.")
        if self.send_tls and self.certificates is None:
            raise UsageError("--send-tls needs --tls-cert, --tls-key and --tls-ca: give all three.")
