"""The spool: a restart restores its state from the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from custom_networks.errors import UsageError
from custom_networks.node.spool import MOST_LOADED, Spool
from custom_networks.node.study import DONE, HELD, REFUSED, WAITING, Version, key_of

A, B = "1.2.3", "1.2.4"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def add(spool: Spool, study: str, image: str, now: float = 100.0, size: int = 10) -> bool:
    """Put an image of a given size into a study."""
    file = spool.part / "received"
    file.write_bytes(bytes(size))
    return spool.add(study, image, file, now)


def again(spool: Spool) -> Spool:
    """The spool as opened by the next process."""
    spool.close()
    return Spool(spool.folder)


def test_file_names_in_the_spool_are_digests(spool: Spool) -> None:
    add(spool, "../../etc", "passwd")
    paths = [path.relative_to(spool.folder) for path in spool.folder.rglob("*.dcm")]
    assert paths == [Path("studies") / key_of("../../etc") / "images" / f"{key_of('passwd')}.dcm"]


def test_a_second_copy_is_not_counted_as_an_image(spool: Spool) -> None:
    assert [add(spool, A, "1"), add(spool, A, "1"), add(spool, B, "1")] == [True, False, True]
    assert spool.counts()["received"] == 2
    assert spool.size == 20


def test_a_study_closes_when_no_image_has_arrived_for_the_quiet_time(spool: Spool) -> None:
    add(spool, A, "1", now=100.0)
    add(spool, A, "2", now=105.0)
    assert spool.close_quiet(10.0, now=114.9) == []
    [(key, version)] = spool.close_quiet(10.0, now=115.0)
    assert (key, version.number, version.state) == (key_of(A), 1, WAITING)
    assert set(version.images) == {f"{key_of(image)}.dcm" for image in ("1", "2")}
    assert spool.close_quiet(10.0, now=1000.0) == []


def test_late_images_make_a_new_version_and_copies_do_not(spool: Spool) -> None:
    add(spool, A, "1")
    spool.close_quiet(1.0, now=102.0)
    add(spool, A, "1", now=103.0)
    assert spool.close_quiet(1.0, now=105.0) == []
    add(spool, A, "2", now=106.0)
    [(_, version)] = spool.close_quiet(1.0, now=108.0)
    assert (version.number, len(version.images)) == (2, 2)


def test_a_clock_set_back_does_not_keep_a_study_open(spool: Spool) -> None:
    add(spool, A, "1", now=10_000.0)
    assert len(spool.close_quiet(30.0, now=100.0)) == 1


def test_a_restart_restores_every_image_and_state(spool: Spool) -> None:
    add(spool, A, "1")
    [(key, version)] = spool.close_quiet(0.0, now=100.0)
    spool.put(key, replace(version, state=DONE, files=("1_seg.dcm",), unsent=("PACS@pacs:104", "B@b:1")))
    spool.mark_sent(key, 1, "PACS@pacs:104")
    add(spool, B, "2")
    (spool.part / "half").write_bytes(b"half an image")
    before, found = spool.counts(), again(spool)
    assert found.counts() == before
    assert before == {
        **{"received": 2, "receiving": 1, "waiting": 0, "done": 1, "held": 0, "refused": 0},
        **{"sent": 1, "unsent": 1},
    }
    assert {type(count) for count in before.values()} == {int}  # JSON tells 1 from true
    assert found.unsent("PACS@pacs:104") == []
    assert [version.files for _, version in found.unsent("B@b:1")] == [("1_seg.dcm",)]
    assert list(found.part.iterdir()) == []


def test_after_a_restart_a_study_stays_open_for_the_quiet_time(spool: Spool) -> None:
    add(spool, A, "1", now=100.0)
    found = again(spool)
    latest = found._study(key_of(A)).latest_image
    assert found.close_quiet(30.0, now=latest + 29.0) == []
    assert len(found.close_quiet(30.0, now=latest + 30.0)) == 1


def test_the_version_waiting_longest_comes_next(spool: Spool) -> None:
    for number, study in enumerate((B, A)):
        add(spool, study, "1", now=100.0 + number)
        spool.close_quiet(0.0, now=100.0 + number)
    found = spool.next_waiting()
    assert found is not None and found[0].key == key_of(B)
    spool.put(key_of(B), replace(found[1], state=REFUSED))
    found = spool.next_waiting()
    assert found is not None and found[0].key == key_of(A)


def test_a_damaged_record_counts_as_refused_and_its_number_is_not_reused(spool: Spool) -> None:
    add(spool, A, "1")
    spool.close_quiet(0.0, now=100.0)
    record = spool.folder / "studies" / key_of(A) / "1.json"
    for text in ("{", "[]", json.dumps({**json.loads(record.read_text()), "files": ["../../other"]})):
        record.write_text(text)
        found = again(spool)
        assert found.counts()["refused"] == 1, text
        [(_, version)] = found.close_quiet(0.0, now=1e12)
        assert version.number == 2
        (record.parent / "2.json").unlink()
        spool = found


def test_a_spool_is_locked_by_one_node(spool: Spool) -> None:
    with pytest.raises(UsageError, match="Another node is using the spool"):
        Spool(spool.folder)


def test_old_images_are_removed_unless_a_version_still_needs_them(spool: Spool) -> None:
    for number, study in enumerate(("1", "2", "3", "4")):
        add(spool, study, "image", now=100.0 + number)
    for key, version in spool.close_quiet(0.0, now=200.0):
        if key != key_of("1"):  # it waits still
            spool.put(key, replace(version, state=DONE))
    assert spool.drop(older_than=101.5, most_bytes=100) == [key_of("2")]
    assert spool.size == 30
    assert spool.drop(older_than=0.0, most_bytes=25) == [key_of("3")]
    assert spool.drop(older_than=1e9, most_bytes=0) == [key_of("4")]
    assert spool.size == 10
    assert spool.counts()["received"] == 4


def test_images_sent_again_after_removal_make_no_new_version(spool: Spool) -> None:
    add(spool, A, "1")
    [(key, version)] = spool.close_quiet(0.0, now=100.0)
    spool.put(key, replace(version, state=HELD))
    spool.drop(older_than=1e9, most_bytes=0)
    assert add(spool, A, "1", now=300.0)
    assert spool.close_quiet(0.0, now=400.0) == []


def test_counts_survive_studies_dropped_from_memory(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custom_networks.node.spool.MOST_LOADED", 1)
    for number in range(3):
        add(spool, f"1.{number}", "image", now=100.0 + number)
        [(key, version)] = spool.close_quiet(0.0, now=100.0 + number)
        spool.put(key, replace(version, state=DONE, sent=("P@p:1",)))
    before = spool.counts()
    spool.drop(older_than=1e9, most_bytes=0)
    assert len(spool._studies) == 1 < MOST_LOADED
    assert spool.counts() == before == again(spool).counts()
    add(spool, "1.0", "late", now=500.0)
    assert spool.counts() == {**before, "received": 4, "receiving": 1}


def test_version_records_are_read_back_unchanged(spool: Spool) -> None:
    version = Version(1, HELD, ("a.dcm",), 5.5, 2, "why", ("1_seg.dcm",), ("P@p:1",), ("Q@q:2",))
    spool.put(key_of(A), version)
    assert again(spool)._study(key_of(A)).versions == {1: version}
