"""`liverseg serve`: a DICOM node that receives studies from a PACS and sends back the results."""

import logging
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom_networks.commands.terminal import BANNER, OK
from custom_networks.errors import UsageError

if TYPE_CHECKING:
    from custom_networks.batch.work import Work
    from custom_networks.node.segmenting import Segment
    from custom_networks.node.settings import Settings

logger = logging.getLogger(__name__)


def serve(
    *,
    output: str,
    spool: str,
    host: str = "127.0.0.1",
    port: int = 11112,
    aet: str = "LIVERSEG",
    allow: tuple[str, ...] = (),
    send_to: tuple[str, ...] = (),
    rules: str | None = None,
    quiet_seconds: int = 30,
    http_port: int = 8080,
    keep_days: int = 7,
    quota_gb: int = 100,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    tls_ca: str | None = None,
    send_tls: bool = False,
    device: str | None = None,
    runtime: str = "auto",
    precision: str = "auto",
    scout: bool = True,
    fast: bool = False,
    overlay: bool = True,
    keep_empty_frames: bool = False,
    bundle: str | None = None,
    checkpoint: str | None = None,
) -> int:
    """Receive CT studies by DICOM, segment each once it is complete, and send SEG and SR back.

    A study is considered complete when no image has arrived for a while. If more images arrive later, the whole study
    is segmented again as its next version. The results of version n are in OUTPUT/<study>/<n>/, a case folder as
    written by `liverseg segment`; <study> is a digest. Acknowledged images are on disk, and a node that was killed
    resumes its work at the next start. The log on stderr is JSON, one event per line. SIGTERM and Ctrl-C stop the node
    with exit code 0.

    Args:
        output: folder for the results.
        spool: folder for received images, on a local disk; used by one node at a time.
        host: address to listen on; one that other machines can reach needs --allow.
        port: port to listen on.
        aet: AE title of the node.
        allow: AET@HOST that may send; can be repeated. HOST is a name, an address or a network, AET may be *. By
            default, only this machine may send.
        send_to: AET@HOST:PORT that SEG and SR are sent to; can be repeated. By default, they stay in OUTPUT.
        rules: JSON file with rules for selecting the series of a study.
        quiet_seconds: seconds without a new image after which a study is complete.
        http_port: port of http://127.0.0.1:PORT/healthz; 0 turns it off.
        keep_days: days for which the images of a segmented study are kept after the latest one arrived.
        quota_gb: GB for received images; if exceeded, images of the oldest segmented studies are removed, and if that
            is not enough, new ones are refused.
        tls_cert: certificate of the node, PEM; the port then accepts only TLS, and peers also need a certificate.
        tls_key: private key of that certificate.
        tls_ca: certificates of the authorities that signed the peers' certificates.
        send_tls: also send over TLS.
        device: device, as for segment; the flags below also mean the same as there.
        runtime: torch, openvino or auto.
        precision: float32, bfloat16 or auto.
        scout: find the liver first.
        fast: a coarser result in about a third of the time.
        overlay: draw overlay.png.
        keep_empty_frames: write a DICOM SEG frame for every slice and segment, which some viewers need.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.

    Examples:
        liverseg serve --output results --spool spool
        liverseg serve --output results --spool spool --host 0.0.0.0 --allow PACS@pacs --send-to PACS@pacs:104
    """
    _check_installed()
    from custom_networks.node.log import log_to_stderr, record
    from custom_networks.node.peers import allowed_on, certificates, checked_title, destination
    from custom_networks.node.rules import read_rules
    from custom_networks.node.settings import Settings

    settings = Settings(
        output=Path(output).expanduser(),
        spool=Path(spool).expanduser(),
        host=host,
        port=port,
        aet=checked_title(aet),
        allowed=allowed_on(host, allow),
        destinations=tuple(map(destination, send_to)),
        rules=read_rules(rules),
        quiet_seconds=quiet_seconds,
        http_port=http_port or None,
        keep_days=keep_days,
        quota_bytes=quota_gb * 10**9,
        certificates=certificates(tls_cert, tls_key, tls_ca),
        send_tls=send_tls,
    )
    log_to_stderr(debug=logger.isEnabledFor(logging.DEBUG))
    record("starting", message=BANNER)  # before PyTorch is imported, which takes seconds
    from custom_networks.batch.work import Work
    from custom_networks.inference.settings import settings as overrides

    asked = overrides(device, runtime, precision, scout, fast) | {"progress": False}
    written = {"overlay": overlay, "keep_empty_frames": keep_empty_frames}
    return _run(settings, _segmenter(Work(settings.output, asked, bundle, checkpoint, options=written)))


def _segmenter(work: "Work") -> "Segment":
    """Load the network, check that the output folder is writable, and return the function that segments a case."""
    from custom_networks.batch.run import ready_folder, segment_into
    from custom_networks.batch.work import tune_this_process

    tune_this_process()
    pipeline = work.pipeline()
    ready_folder(work.output)
    options: dict[str, Any] = {"probability": work.probability, **work.options}
    return partial(segment_into, pipeline=pipeline, **options)


def _run(settings: "Settings", segment: "Segment") -> int:
    """Run the node until the process is interrupted, and return the exit code."""
    from custom_networks.node.log import record
    from custom_networks.node.node import Node

    threading.excepthook = _log_failure
    node = Node(settings, segment)
    try:
        node.start()
        node.run()
    except KeyboardInterrupt:  # also for SIGTERM
        record("stopping", message="Received images remain in the spool.")
    finally:
        node.stop()
    return OK


def _log_failure(failed: threading.ExceptHookArgs) -> None:
    """Log one line for a thread that failed, as pynetdicom's threads do if a peer sends invalid data."""
    from custom_networks.node.log import record

    record("failed", level=logging.WARNING, part="connection", error=failed.exc_type.__name__)
    logger.debug("a thread", exc_info=failed.exc_value)


def _check_installed() -> None:
    """Raise UsageError if the optional dependencies of the node are not installed."""
    missing = [name for name in ("pynetdicom", "highdicom") if find_spec(name) is None]
    if missing:
        named = " and ".join(missing)
        raise UsageError(f"liverseg serve needs {named}: in a checkout, run pip install '.[dicom,node]'.")
