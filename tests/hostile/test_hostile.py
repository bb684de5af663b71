"""Each hostile input is read, noted or refused in one clear line as required, and never read wrongly in silence."""

import re
from pathlib import Path

import pytest
from hostile import MEMORY_LIMIT, Hostile, all_inputs, outcome_of

INPUTS = all_inputs()


def parameters() -> list[object]:
    marks = {True: [], False: [pytest.mark.slow]}
    return [
        pytest.param(hostile, id=f"{hostile.family}-{hostile.name}", marks=marks[hostile.quick]) for hostile in INPUTS
    ]


def test_all_hostile_inputs_are_collected_and_have_unique_names() -> None:
    names = [hostile.name for hostile in INPUTS]
    assert len(names) == len(set(names))
    assert len(names) >= 300  # else a module of them is not found any more


@pytest.mark.parametrize("hostile", parameters())
def test_a_hostile_input_is_read_noted_or_refused_as_stated(hostile: Hostile, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    outcome = outcome_of(hostile.make(folder))
    assert outcome.ended in hostile.ends.split("|"), f"{hostile.name}: {outcome}"
    assert outcome.peak_mb < MEMORY_LIMIT / 2**20, outcome
    assert re.search(hostile.says, " ".join(outcome.said)), outcome
    if outcome.ended != "refused" and hostile.truth is not None:
        assert outcome.slices and outcome.slices <= hostile.truth, "other voxels were read than the file holds"
    if outcome.ended == "refused":
        assert all(len(line) < 1000 and "\n" not in line for line in outcome.said)
