"""Case folders belong to one input and are whole or unfinished, whenever a run is killed."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.case_folder import (
    Input,
    claim,
    forget,
    read_manifest,
    remove_abandoned_staging,
    whole_folders,
)
from custom_networks.errors import InputError

OURS = Input("ct", identity="/a/ct.nii.gz", content="bytes a", geometry="grid a")
OTHER = Input("ct", identity="/b/ct.nii.gz", content="bytes b", geometry="grid b")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
SOME_STEPS = pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow, id="every step")])


def run(output: Path, of: Input, text: str, endings: tuple[str, ...] = ("seg.nii.gz", "report.json")) -> Path:
    """Write results whose files all contain `text`, after cleaning up after earlier runs as the program does."""
    remove_abandoned_staging(output)
    with claim(output, of) as claimed:
        for ending in endings:
            (claimed.staging / f"{claimed.name}_{ending}").write_text(text)
        return claimed.commit({"precision": "float32"})


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "manifest.json"}


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def in_a_process(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; returns its process id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that is killed before its `step`-th file system change; False if it makes fewer."""

    def count_down(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal step
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            step -= 1
            if not step:
                os._exit(9)

    def until_killed() -> None:
        sys.addaudithook(count_down)
        work()

    _, status = os.waitpid(in_a_process(until_killed), 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


def assert_of_one_run(folder: Path) -> None:
    """Assert that all files in a whole folder's manifest exist unchanged and were written by the same run."""
    listed = (read_manifest(folder) or {})["files"]
    assert listed and len({(folder / name).read_text() for name in listed}) == 1
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_new_folder_is_claimed_at_once_and_whole_after_commit(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with claim(output, OURS) as claimed:
        assert claimed.name == "ct" and not claimed.content_changed
        assert read_manifest(output / "ct") == {
            "state": "writing",
            "identity": "/a/ct.nii.gz",
            "content": "bytes a",
            "geometry": "grid a",
            "old": [],
            "new": [],
        }
        assert claimed.staging.parent == output and claimed.staging.name.startswith(".ct.")
        assert whole_folders(output) == []
        (claimed.staging / "ct_seg.nii.gz").write_bytes(b"mask")
        assert claimed.commit({"precision": "float32", "anatomy": True}) == output / "ct"
    assert json.loads((output / "ct" / "manifest.json").read_text()) == {
        "state": "whole",
        "files": {"ct_seg.nii.gz": hashlib.sha256(b"mask").hexdigest()},
        "options": {"precision": "float32", "anatomy": True},
        "identity": "/a/ct.nii.gz",
        "content": "bytes a",
        "geometry": "grid a",
    }
    assert entries(output) == ["ct"] and entries(output / "ct") == ["ct_seg.nii.gz", "manifest.json"]
    assert whole_folders(output) == [output / "ct"]


@pytest.mark.parametrize(
    ("second", "folder", "changed"),
    [
        (OURS, "ct", False),
        (Input("ct", "/a/ct.nii.gz", "bytes b", "grid a"), "ct", True),  # the file was edited
        (Input("ct", "/a/ct.nii.gz", "bytes b", "grid b"), "ct_2", False),  # another patient at the same path
        (Input("ct", "/b/ct.nii.gz", "bytes a", "grid a"), "ct", False),  # the file was moved
        (Input("ct", "/b/ct.nii.gz", "bytes b", "grid a"), "ct_2", False),
        (Input("CT", "/a/ct.nii.gz", "bytes a", "grid a"), "ct", False),
        (Input("CT", "/b/CT.nii.gz", "bytes b", "grid b"), "CT_2", False),
        (Input("head", "/a/ct.nii.gz", "bytes a", "grid a"), "head", False),  # compared only with folders of its name
    ],
)
def test_results_are_replaced_only_by_the_same_input(tmp_path: Path, second: Input, folder: str, changed: bool) -> None:
    run(tmp_path, OURS, "first", ("seg.nii.gz", "overlay.png"))
    with claim(tmp_path, second) as claimed:
        assert (claimed.name, claimed.content_changed) == (folder, changed)
        assert texts(tmp_path / "ct") == {"ct_seg.nii.gz": "first", "ct_overlay.png": "first"}  # until the commit
        (claimed.staging / f"{claimed.name}_seg.nii.gz").write_text("second")
        claimed.commit({})
    assert texts(tmp_path / folder) == {f"{folder}_seg.nii.gz": "second"}
    assert len(whole_folders(tmp_path)) == (1 if folder == "ct" else 2)
    assert (read_manifest(tmp_path / folder) or {})["identity"] == second.identity


def test_a_series_that_grew_replaces_its_results(tmp_path: Path) -> None:
    run(tmp_path, Input("ct", "uids", "100 slices"), "first")
    with claim(tmp_path, Input("ct", "uids", "120 slices")) as claimed:
        assert claimed.name == "ct" and claimed.content_changed


def test_two_patients_at_the_same_path_in_turn_keep_their_own_folders(tmp_path: Path) -> None:
    first = Input("ct", "/in/ct.nii.gz", "bytes a", "grid a")
    second = Input("ct", "/in/ct.nii.gz", "bytes b", "grid b")
    for _ in range(2):
        assert run(tmp_path, first, "a") == tmp_path / "ct"
        assert run(tmp_path, second, "b") == tmp_path / "ct_2"
    assert set(texts(tmp_path / "ct").values()) == {"a"} and set(texts(tmp_path / "ct_2").values()) == {"b"}


def test_an_unfinished_folder_is_taken_over_only_by_the_same_path(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    unfinished = {"state": "writing", "identity": OURS.identity, "content": "bytes a", "geometry": "grid a"}
    (folder / "manifest.json").write_text(json.dumps({**unfinished, "old": ["old.png", "gone"], "new": ["new.json"]}))
    for name in ("old.png", "new.json", "notes.txt"):
        (folder / name).write_text("earlier")
    for other in (
        OTHER,
        Input("ct", "/b/ct.nii.gz", "bytes a", "grid a"),  # an equal file elsewhere
        Input("ct", "/a/ct.nii.gz", "bytes b", "grid b"),  # another patient at the same path
    ):
        with claim(tmp_path, other) as claimed:
            assert claimed.name == "ct_2"
    assert run(tmp_path, OURS, "again") == folder
    assert texts(folder) == {"ct_seg.nii.gz": "again", "ct_report.json": "again", "notes.txt": "earlier"}


def test_foreign_folders_and_files_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "notes.txt").write_text("mine")
    (tmp_path / "ct_2").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ct_3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "CT_4").mkdir()
    (tmp_path / "CT_4" / "manifest.json").write_text("{")
    (tmp_path / "ct_5").mkdir()
    assert run(tmp_path, OURS, "results") == tmp_path / "ct_5"  # an empty folder is free
    assert texts(tmp_path / "ct") == {"notes.txt": "mine"} and entries(tmp_path / "elsewhere") == []
    assert whole_folders(tmp_path) == [tmp_path / "ct_5"]


def test_a_foreign_file_is_not_replaced_by_a_result(tmp_path: Path) -> None:
    run(tmp_path, OURS, "first", ("seg.nii.gz",))
    (tmp_path / "ct" / "ct_report.json").write_text("mine")
    with pytest.raises(InputError, match="ct_report.json is not a result of this program"):
        run(tmp_path, OURS, "second")
    assert texts(tmp_path / "ct") == {"ct_seg.nii.gz": "first", "ct_report.json": "mine"}
    assert whole_folders(tmp_path) == [tmp_path / "ct"] and entries(tmp_path) == ["ct"]


def test_an_abandoned_claim_keeps_earlier_results(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        with claim(tmp_path / "out", OURS) as claimed:
            (claimed.staging / "ct_seg.nii.gz").write_text("half")
            raise RuntimeError("refused")
    assert entries(tmp_path / "out") == []
    run(tmp_path, OURS, "first")
    before = (tmp_path / "ct" / "manifest.json").read_bytes()
    claimed = claim(tmp_path, OURS)
    (claimed.staging / "ct_seg.nii.gz").write_text("half")
    claimed.abandon()
    assert set(texts(tmp_path / "ct").values()) == {"first"}
    assert (tmp_path / "ct" / "manifest.json").read_bytes() == before and entries(tmp_path) == ["ct", "out"]


def test_an_abandoned_new_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    with claim(tmp_path, OURS):
        (tmp_path / "ct" / "notes.txt").write_text("mine")
    assert texts(tmp_path / "ct") == {"notes.txt": "mine"}
    assert run(tmp_path, OURS, "later") == tmp_path / "ct"


def test_a_manifest_that_names_files_outside_its_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    run(tmp_path, OURS, "first")
    sound = read_manifest(tmp_path / "ct") or {}
    for name in ("../precious", str(tmp_path / "precious"), "..", "", ".hidden", "a\\b", "c:x", "Manifest.json", 7):
        state = {**sound, "state": "writing", "old": [name], "new": []}
        (tmp_path / "ct" / "manifest.json").write_text(json.dumps(state))
        assert read_manifest(tmp_path / "ct") is None
        forget(tmp_path / "ct")
    assert (tmp_path / "precious").read_text() == "mine" and len(texts(tmp_path / "ct")) == 2


@pytest.mark.parametrize(
    "damaged",
    ["", "[]", "{}", '{"state": "done"}', '{"state": "whole", "identity": 1}', "[" * 100_000, "\udcff"],
)
def test_a_damaged_manifest_counts_as_missing(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "manifest.json").write_bytes(damaged.encode(errors="surrogateescape"))
    assert read_manifest(tmp_path) is None


def test_a_manifest_of_wrong_types_counts_as_missing(tmp_path: Path) -> None:
    run(tmp_path, OURS, "first")
    sound = dict(read_manifest(tmp_path / "ct") or {})
    for key, value in {"files": ["a"], "options": [], "old": "a", "new": {"a": "b"}, "geometry": None}.items():
        (tmp_path / "ct" / "manifest.json").write_text(json.dumps({**sound, key: value}))
        assert read_manifest(tmp_path / "ct") is None


@pytest.mark.parametrize("name", ["", ".", "..", ".ct", "a/b", "manifest.json"])
def test_a_case_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        Input(name, "identity", "content")
    with pytest.raises(ValueError, match="must not be empty"):
        Input("ct", "", "content")


def test_only_plain_files_are_staged(tmp_path: Path) -> None:
    with claim(tmp_path, OURS) as claimed:
        (claimed.staging / "pictures").mkdir()
        with pytest.raises(ValueError, match="'pictures'"):
            claimed.commit({})


def test_forget_removes_what_the_manifest_lists(tmp_path: Path) -> None:
    run(tmp_path, OURS, "first")
    (tmp_path / "ct" / "notes.txt").write_text("mine")
    forget(tmp_path / "ct")
    assert entries(tmp_path / "ct") == ["notes.txt"] and entries(tmp_path) == ["ct"]
    forget(tmp_path / "ct")
    forget(tmp_path / "nothing")
    assert entries(tmp_path) == ["ct"]


def test_a_folder_with_files_of_two_runs_is_never_whole(tmp_path: Path) -> None:
    """The second run for an input is killed at each of its steps; then another input and the first one are run."""

    def second_run(output: Path) -> None:
        run(output, OURS, "second", ("seg.nii.gz", "report.html"))

    step, killed, states = 1, True, set()
    while killed:
        output = tmp_path / str(step)
        run(output, OURS, "first", ("seg.nii.gz", "overlay.png"))
        (output / "ct" / "notes.txt").write_text("mine")
        killed = killed_at(step, lambda output=output: second_run(output))  # type: ignore[misc]
        for folder in whole_folders(output):
            assert_of_one_run(folder)
        states.add(f"{(read_manifest(output / 'ct') or {})['state']} {'ct_seg.nii.gz' in entries(output / 'ct')}")
        assert run(output, OTHER, "other") == output / "ct_2"
        assert run(output, OURS, "third") == output / "ct"
        assert entries(output) == ["ct", "ct_2"]
        assert entries(output / "ct") == ["ct_report.json", "ct_seg.nii.gz", "manifest.json", "notes.txt"]
        assert texts(output / "ct") == {"ct_report.json": "third", "ct_seg.nii.gz": "third", "notes.txt": "mine"}
        assert set(texts(output / "ct_2").values()) == {"other"}
        step += 1
    assert step > 15 and states == {"whole True", "writing True", "writing False"}


@SOME_STEPS
def test_a_killed_first_run_does_not_block_its_name_for_ever(tmp_path: Path, stride: int) -> None:
    step, killed = 1, True
    while killed:
        output = tmp_path / str(step)
        output.mkdir()
        killed = killed_at(step, lambda output=output: run(output, OURS, "first"))  # type: ignore[misc]
        for folder in whole_folders(output):
            assert_of_one_run(folder)
        other = run(output, OTHER, "other")
        own = run(output, OURS, "again")
        assert {own.name, other.name} == {"ct", "ct_2"} and entries(output) == ["ct", "ct_2"]
        assert entries(own) == [f"{own.name}_report.json", f"{own.name}_seg.nii.gz", "manifest.json"]
        step += stride


@pytest.mark.parametrize("work", [lambda output: claim(output, OURS).abandon(), lambda output: forget(output / "ct")])
@pytest.mark.parametrize("with_results", [True, False])
@SOME_STEPS
def test_a_run_killed_while_abandoning_or_forgetting_leaves_a_valid_state(
    tmp_path: Path, work: Callable[[Path], None], with_results: bool, stride: int
) -> None:
    step, killed = 1, True
    while killed:
        output = tmp_path / str(step)
        output.mkdir()
        if with_results:
            run(output, OURS, "first")
        killed = killed_at(step, lambda output=output: work(output))  # type: ignore[misc]
        for folder in whole_folders(output):
            assert_of_one_run(folder)
        assert run(output, OURS, "again") == output / "ct"
        assert entries(output) == ["ct"] and set(texts(output / "ct").values()) == {"again"}
        step += stride


@SOME_STEPS
def test_an_interrupted_clean_up_is_completed_later(tmp_path: Path, stride: int) -> None:
    step, killed = 1, True
    while killed:
        output = tmp_path / str(step)
        output.mkdir()
        assert killed_at(12, lambda output=output: run(output, OURS, "first"))  # type: ignore[misc]
        assert any(name.startswith(".ct.") for name in entries(output))
        killed = killed_at(step, lambda output=output: remove_abandoned_staging(output))  # type: ignore[misc]
        remove_abandoned_staging(output)
        assert entries(output) == ["ct"]
        step += stride


def test_staging_of_a_running_process_stays_and_that_of_an_ended_one_is_removed(tmp_path: Path) -> None:
    with claim(tmp_path, OURS) as claimed:
        days_ago = claimed.staging.stat().st_mtime - 5 * 86400
        os.utime(claimed.staging, (days_ago, days_ago))
        _, status = os.waitpid(in_a_process(lambda: remove_abandoned_staging(tmp_path)), 0)
        remove_abandoned_staging(tmp_path)
        assert status == 0 and claimed.staging.is_dir()


def test_staging_of_another_host_is_removed_after_a_day(tmp_path: Path) -> None:
    other = tmp_path / ".ct.00000000aaaaaaaaaaaaaaaa"
    other.mkdir()
    (other / "ct_seg.nii.gz").write_text("half")
    remove_abandoned_staging(tmp_path)
    assert entries(tmp_path) == [other.name]
    yesterday = other.stat().st_mtime - 25 * 3600
    os.utime(other, (yesterday, yesterday))
    remove_abandoned_staging(tmp_path)
    assert entries(tmp_path) == []


def test_other_hidden_folders_are_not_staging(tmp_path: Path) -> None:
    for name in (".git", ".ct.short", ".ct.00000000aaaaaaaaaaaaaaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / ".ct.11111111aaaaaaaaaaaaaaaa").write_text("a file")
    (tmp_path / ".git" / "manifest.json").write_text((run(tmp_path, OURS, "first") / "manifest.json").read_text())
    assert whole_folders(tmp_path) == [tmp_path / "ct"]
    assert len(entries(tmp_path)) == 5
    remove_abandoned_staging(tmp_path / "nothing")


def test_processes_that_claim_the_same_name_at_once(tmp_path: Path) -> None:
    """Different inputs get separate folders; runs of the same input commit one after the other."""
    inputs = [Input("ct", f"identity {index % 4}", f"content {index % 4}") for index in range(12)]

    def work(of: Input, text: str) -> None:
        for _ in range(10):
            run(tmp_path, of, text, tuple(f"{part}.json" for part in range(8)))

    processes = [in_a_process(lambda i=i, of=of: work(of, f"run {i}")) for i, of in enumerate(inputs)]  # type: ignore
    assert all(os.waitpid(process, 0)[1] == 0 for process in processes)
    folders = whole_folders(tmp_path)
    assert [folder.name for folder in folders] == ["ct", "ct_2", "ct_3", "ct_4"] == entries(tmp_path)
    assert len({(read_manifest(folder) or {})["identity"] for folder in folders}) == 4
    for folder in folders:
        assert_of_one_run(folder)
        assert len(texts(folder)) == 8


def test_a_folder_removed_meanwhile_is_created_again(tmp_path: Path) -> None:
    with claim(tmp_path, OURS) as first, claim(tmp_path, OURS) as second:
        (second.staging / "ct_seg.nii.gz").write_text("second")
        first.abandon()
        assert entries(tmp_path) == [second.staging.name]
        assert second.commit({}) == tmp_path / "ct"
    assert texts(tmp_path / "ct") == {"ct_seg.nii.gz": "second"}


def test_abandoning_during_another_commit_of_the_same_input_changes_nothing(tmp_path: Path) -> None:
    """Only the manifest exists, as after the old files were removed and before the new ones are moved in."""
    claimed = claim(tmp_path, OURS)
    state = {**(read_manifest(tmp_path / "ct") or {}), "new": ["ct_seg.nii.gz"]}
    (tmp_path / "ct" / "manifest.json").write_text(json.dumps(state))
    claimed.abandon()
    assert read_manifest(tmp_path / "ct") == state and entries(tmp_path) == ["ct"]


def test_a_folder_that_another_input_took_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with claim(tmp_path, OURS) as first, claim(tmp_path, OURS) as second:
        first.abandon()
        run(tmp_path, OTHER, "other")
        (second.staging / "ct_seg.nii.gz").write_text("second")
        with pytest.raises(InputError, match="was changed by another process"):
            second.commit({})
    assert set(texts(tmp_path / "ct").values()) == {"other"} and entries(tmp_path) == ["ct"]


def test_without_locks_staging_is_removed_only_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custom_networks.staging.fcntl", None)
    claimed = claim(tmp_path, OURS)
    remove_abandoned_staging(tmp_path)
    assert claimed.staging.is_dir()
    yesterday = claimed.staging.stat().st_mtime - 25 * 3600
    os.utime(claimed.staging, (yesterday, yesterday))
    remove_abandoned_staging(tmp_path)
    assert entries(tmp_path) == ["ct"]
    assert run(tmp_path, OURS, "again") == tmp_path / "ct"
