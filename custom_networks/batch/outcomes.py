"""The latest outcome of every input of an output folder, for its summary."""

from collections.abc import Iterator
from pathlib import Path

from custom_networks.batch.refusals import Refusal, remembered
from custom_networks.case_folder import MANIFEST, Manifest, whole_manifests
from custom_networks.report.summary import Finished, refused_row


def outcomes(output: Path) -> Iterator[Finished]:
    """Yield each input of an output folder once, with its latest outcome: a whole case folder or a refusal.

    If an input was refused after results had been written for it, only the refusal is yielded, because the results
    belong to an earlier state of the input.
    """
    whole = list(whole_manifests(output).items())
    outdated: set[Path] = set()
    for place, path, refusal in remembered(output):
        earlier = [folder for folder, manifest in whole if _is_earlier_state(manifest, place, refusal)]
        if not any(_is_newer(folder / MANIFEST, path) for folder in earlier):
            outdated.update(earlier)
            yield Finished(path, refused_row(refusal.case, refusal.input, refusal.message))
    yield from (Finished(folder / MANIFEST) for folder, _ in whole if folder not in outdated)


def _is_earlier_state(manifest: Manifest, place: str, refusal: Refusal) -> bool:
    """Whether results belong to an earlier state of the refused input.

    In a container every patient may have the same path, so results whose content and geometry both differ belong to
    another input, as in `case_folder.claim`.
    """
    is_other = refusal.geometry not in ("", manifest["geometry"]) and refusal.content != manifest["content"]
    return (manifest.get("place") or manifest["identity"]) == place and not is_other


def _is_newer(one: Path, other: Path) -> bool:
    """Whether the first file was written after the second; False if one of them no longer exists."""
    try:
        return one.stat().st_mtime_ns > other.stat().st_mtime_ns
    except FileNotFoundError:
        return False
