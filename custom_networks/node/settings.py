"""The settings of a node."""

from dataclasses import dataclass
from pathlib import Path

from custom_networks.errors import UsageError
from custom_networks.node.peers import LOOPBACK, Caller, Certificates, Destination
from custom_networks.node.rules import Rule

FIRST_PAUSE = 5.0  # seconds before the first retry of a destination that is down


@dataclass(frozen=True)
class Settings:
    """The settings of a node.

    Attributes:
        output: folder for results.
        spool: folder for received images and their state.
        host: address to listen on.
        port: port to listen on; 0 selects a free one.
        aet: AE title of the node.
        allowed: peers that may send.
        destinations: nodes that results are sent to.
        rules: rules for selecting a series.
        quiet_seconds: seconds without a new image after which a study is considered complete.
        http_port: port of `/healthz`; None turns it off, 0 selects a free port.
        keep_days: days for which the images of a segmented study are kept, counted from the arrival of the latest one.
        quota_bytes: maximum total size of received images.
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
        least = {"port": 0, "quiet_seconds": 0, "keep_days": 0, "quota_bytes": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UsageError(f"{name} must be at least {value}, got {getattr(self, name)}.")
        if max(self.port, self.http_port or 0) > 65535 or (self.http_port or 0) < 0:
            raise UsageError(f"A port must be between 0 and 65535, got {self.port} and {self.http_port}.")
        if self.send_tls and self.certificates is None:
            raise UsageError("--send-tls needs --tls-cert, --tls-key and --tls-ca.")
