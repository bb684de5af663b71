"""What became of every input of an output folder: the rows of its summary."""

from collections.abc import Iterator
from pathlib import Path

from custom_networks.batch.refusals import Refusal, remembered
from custom_networks.case_folder import MANIFEST, Manifest, whole_manifests
from custom_networks.report.summary import Finished, refused_row


def outcomes(output: Path) -> Iterator[Finished]:
    """The whole case folders and the refused inputs, each input once, by what became of it last.

    Where an input was refused after results of it had been written, the refusal counts: the results, though whole,
    belong to the input as it was before.
    """
    whole = list(whole_manifests(output).items())
    outdated: set[Path] = set()
    for place, path, refusal in remembered(output):
        earlier = [folder for folder, manifest in whole if _is_of(manifest, place, refusal)]
        if not any(_is_newer(folder / MANIFEST, path) for folder in earlier):
            outdated.update(earlier)
            yield Finished(path, refused_row(refusal.case, refusal.input, refusal.message))
    yield from (Finished(folder / MANIFEST) for folder, _ in whole if folder not in outdated)


def _is_of(manifest: Manifest, place: str, refusal: Refusal) -> bool:
    """Whether results are of an earlier state of the input that was refused.

    In containers every patient is the same path: where content and geometry are both known to be others, it is another
    input, as in `case_folder.claim`.
    """
    is_other = refusal.geometry not in ("", manifest["geometry"]) and refusal.content != manifest["content"]
    return (manifest.get("place") or manifest["identity"]) == place and not is_other


def _is_newer(one: Path, other: Path) -> bool:
    """Whether a file was written after another one; False where one of them has just gone."""
    try:
        return one.stat().st_mtime_ns > other.stat().st_mtime_ns
    except FileNotFoundError:
        return False
