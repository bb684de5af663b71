"""From a version of a study to its results, without a network or a connection."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from node_scene import StandIn
from pydicom import dcmread
from pydicom.dataset import Dataset

from custom_networks.case_folder import read_manifest
from custom_networks.node.rules import Rule
from custom_networks.node.segmenting import MOST_ATTEMPTS, Segmenter
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE, HELD, REFUSED, WAITING, Version, key_of

TO = "PACS@pacs:104"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def receive(spool: Spool, images: list[Dataset]) -> str:
    """Put a study into the spool and close a version of it; return the study's key."""
    for image in images:
        file = spool.part / "received"
        image.save_as(file, enforce_file_format=True)
        spool.add(image.StudyInstanceUID, image.SOPInstanceUID, file, 0.0)
    spool.close_quiet(0.0, 1.0)
    return key_of(images[0].StudyInstanceUID)


def version_of(spool: Spool, key: str, number: int = 1) -> Version:
    return spool._study(key).versions[number]


def test_each_version_of_a_study_has_its_own_case_folder(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    images = study(1)
    segmenter = Segmenter(spool, tmp_path / "out", StandIn(), destinations=[TO])
    key = receive(spool, images[:6])
    assert segmenter.segment_next()
    receive(spool, images)
    assert segmenter.segment_next() and not segmenter.segment_next()
    for number, slices in ((1, 6), (2, 8)):
        folder, version = tmp_path / "out" / key / str(number), version_of(spool, key, number)
        assert (version.state, version.unsent, version.sent) == (DONE, (TO,), ())
        assert version.files == (f"{number}_seg.dcm", f"{number}_sr.dcm")
        manifest = read_manifest(folder)
        assert manifest is not None and manifest["state"] == "whole"
        assert dcmread(folder / version.files[0]).StudyInstanceUID == images[0].StudyInstanceUID
        assert json.loads((folder / "report.json").read_text())["case"] == str(number)
        assert dcmread(folder / version.files[0]).ContentLabel == str(slices)


def test_a_study_that_is_not_a_volume_is_refused_in_one_line(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = study(1)
    key = receive(spool, images[:3] + images[4:])
    caplog.set_level("INFO", "custom_networks")
    Segmenter(spool, tmp_path / "out", StandIn()).segment_next()
    version = version_of(spool, key)
    assert version.state == REFUSED and "slices are missing" in version.message
    line = json.loads(caplog.messages[-1])
    assert (line["event"], line["level"], line["study"], line["version"]) == ("refused", "warning", key, 1)
    assert "Secret" not in caplog.text and "SECRET" not in caplog.text


def test_an_unexpected_failure_is_refused_without_quoting_it(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = receive(spool, study(1))
    caplog.set_level("INFO", "custom_networks")
    segment = StandIn(error=ValueError("Secret^Name is no number"))
    Segmenter(spool, tmp_path / "out", segment).segment_next()
    assert version_of(spool, key).message == "Failed with an unexpected ValueError (--debug shows where)."
    assert "Secret" not in caplog.text


def test_a_full_disk_leaves_the_study_waiting(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    key, segment = receive(spool, study(1)), StandIn(error=OSError(errno.ENOSPC, "No space left on device"))
    segmenter = Segmenter(spool, tmp_path / "out", segment)
    assert not segmenter.segment_next()
    assert (version_of(spool, key).state, version_of(spool, key).attempts) == (WAITING, 0)
    segment.error = None
    assert segmenter.segment_next()
    assert version_of(spool, key).state == DONE


def test_a_disk_without_room_for_the_record_leaves_the_study_waiting(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, put = receive(spool, study(1)), spool.put

    def full(key: str, version: Version) -> None:
        if version.state == DONE:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(key, version)

    monkeypatch.setattr(spool, "put", full)
    assert not Segmenter(spool, tmp_path / "out", StandIn()).segment_next()
    assert (version_of(spool, key).state, version_of(spool, key).attempts) == (WAITING, 0)


@pytest.mark.parametrize("level, state, unsent", [("stop", HELD, ()), ("review", DONE, (TO,)), ("ok", DONE, (TO,))])
def test_results_with_a_stop_verdict_are_not_sent(
    level: str,
    state: str,
    unsent: tuple[str, ...],
    spool: Spool,
    study: Callable[[int], list[Dataset]],
    tmp_path: Path,
) -> None:
    key = receive(spool, study(1))
    Segmenter(spool, tmp_path / "out", StandIn(verdict=level), destinations=[TO]).segment_next()
    version = version_of(spool, key)
    assert (version.state, version.unsent, version.files) == (state, unsent, ("1_seg.dcm", "1_sr.dcm"))
    assert spool.counts()["held"] == (state == HELD)
    assert all((tmp_path / "out" / key / "1" / name).is_file() for name in version.files)


def test_a_study_without_dicom_results_is_refused_if_there_is_a_destination(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    key = receive(spool, study(1))
    note = "DICOM SR was not written (ValueError; --debug shows where)."
    result = SimpleNamespace(report={"files": {"dicom_seg": "1_seg.dcm"}}, notes=(note, "another note"))
    Segmenter(spool, tmp_path / "out", lambda output, case: result, destinations=[TO]).segment_next()
    assert (version_of(spool, key).state, version_of(spool, key).message) == (REFUSED, note)


def test_a_study_that_crashed_the_node_too_often_is_refused(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    key, segment = receive(spool, study(1)), StandIn()
    spool.put(key, replace(version_of(spool, key), attempts=MOST_ATTEMPTS))
    Segmenter(spool, tmp_path / "out", segment).segment_next()
    assert version_of(spool, key).state == REFUSED and segment.seen == []


def test_late_images_of_a_removed_study_are_refused_until_the_whole_study_is_sent(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    images = study(1)
    segmenter = Segmenter(spool, tmp_path / "out", StandIn())
    key = receive(spool, images[:6])
    segmenter.segment_next()
    spool.drop(older_than=1e9, most_bytes=0)
    receive(spool, images[6:])
    segmenter.segment_next()
    assert version_of(spool, key, 2).message.endswith("send the whole study again.")
    receive(spool, images)
    segmenter.segment_next()
    assert (version_of(spool, key, 3).state, len(version_of(spool, key, 3).images)) == (DONE, 8)


def test_two_patients_in_one_study_are_refused(
    spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path
) -> None:
    images, others = study(1), study(2)
    for one in others:
        one.StudyInstanceUID = images[0].StudyInstanceUID
    key = receive(spool, images + others)
    Segmenter(spool, tmp_path / "out", StandIn()).segment_next()
    assert version_of(spool, key).state == REFUSED
    assert "shared by 2 patients" in version_of(spool, key).message


def test_rules_choose_the_series(spool: Spool, study: Callable[[int], list[Dataset]], tmp_path: Path) -> None:
    key, segment = receive(spool, study(1)), StandIn()
    rules = [Rule(thickness_mm=(1.0, 2.0))]
    Segmenter(spool, tmp_path / "out", segment, rules=rules).segment_next()
    assert (
        version_of(spool, key).message
        == "None of the study's 8 images matches a rule of the node (--rules): add a rule for these images."
    )
    assert segment.seen == []
