"""The settings of a node."""

from dataclasses import dataclass
from pathlib import Path

from custom_networks.errors import UsageError
from custom_networks.node.peers import LOOPBACK, Caller, Certificates, Destination
from custom_networks.node.rules import Rule

FIRST_PAUSE = 5.0  # seconds until a destination that was down is tried again


@dataclass(frozen=True)
class Settings:
    """The settings of a node.

    Attributes:
        output: folder for results.
        spool: folder for what is received.
        host: address to listen on.
        port: to listen on; 0 takes any free one.
        aet: its own AE title.
        allowed: who may send.
        destinations: where results go.
        rules: which series is taken.
        quiet_seconds: without a new image, after which a study is complete.
        http_port: of `/healthz`; None for none, 0 for any free one.
        keep_days: how long images are kept after a study was segmented.
        quota_bytes: for all images.
        certificates: for TLS on the port that it listens on.
        send_tls: send over TLS, with the same certificates.
        first_pause: seconds until a destination that was down is tried again.
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
            raise UsageError(f"A port is a number up to 65535, got {self.port} and {self.http_port}.")
        if self.send_tls and self.certificates is None:
            raise UsageError("--send-tls needs --tls-cert, --tls-key and --tls-ca.")
