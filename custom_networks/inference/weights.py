"""Tells whether weights are those that were released with this version."""

import hashlib
import json
import logging
from pathlib import Path

from custom_networks.files import refuse_damaged_weights

logger = logging.getLogger(__name__)


def announce_weights(checkpoint: str, bundle_root: str, sha256: str | None = None) -> bool:
    """Log a warning where `checkpoint` is not the file whose sha256 stands in the bundle's metadata.json.

    Fine-tuned weights are welcome; but nobody should take their results for those of the model card. Gives whether the
    weights are the released ones. Without a file, which the loader reports, or where metadata.json names no weights,
    nothing is logged and the answer is no. `sha256` is the digest of the file where it is known already.

    Raises:
        BundleError: the file is damaged.
    """
    metadata = json.loads((Path(bundle_root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    if sha256 is None:
        refuse_damaged_weights(checkpoint)
    released = (metadata.get("weights") or {}).get("sha256")
    path = Path(checkpoint)
    if released is None or not path.is_file():
        return False
    if (sha256 or hashlib.sha256(path.read_bytes()).hexdigest()) == released:
        return True
    logger.warning(
        "%s holds other weights than those released with version %s: the model card's scores do not apply to them.",
        checkpoint,
        metadata.get("version"),
    )
    return False
