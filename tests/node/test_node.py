"""A whole node in this process, with a pipeline without a network."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from node_accounts import check
from node_scene import Pacs, RunningNode, StandIn, send, until
from pydicom.dataset import Dataset

from custom_networks.errors import UsageError
from custom_networks.node.health import HealthServer
from custom_networks.node.node import Node
from custom_networks.node.peers import destination
from custom_networks.node.settings import Settings

Study = Callable[[int], list[Dataset]]


@pytest.fixture
def pacs() -> Pacs:
    server = Pacs().start()
    yield server  # type: ignore[misc]
    server.stop()


def test_a_study_is_returned_as_seg_and_sr(
    settings: Callable[..., Settings], study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    images, to = study(1), destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,), http_port=0), StandIn()) as running:
        assert send(running.node.port, images) == [0] * 8
        until(lambda: running.counts()["sent"] == 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.node.http_port}/healthz") as answer:
            health = json.load(answer)
        assert send(running.node.port, pacs.stored, classes=[one.SOPClassUID for one in pacs.stored]) == [0, 0]
        assert send(running.node.port, images[:3]) == [0] * 3
        until(lambda: running.counts()["ignored"] == 2)
    assert [one.Modality for one in pacs.stored] == ["SEG", "SR"]
    assert pacs.by_study() == {images[0].StudyInstanceUID: ["SEG", "SR"]}
    known = {"received": 8, "receiving": 0, "waiting": 0, "done": 1, "held": 0, "refused": 0, "sent": 1, "unsent": 0}
    assert known.items() <= health.items() and health["status"] == "ok"
    check(
        "own SEG and SR sent back, by hand and by rules of Orthanc's",
        "acknowledged; nothing starts",
        tmp_path / "spool",
        images,
        pacs.by_study(),
    )


def test_a_destination_that_is_down_gets_the_same_objects_later(
    settings: Callable[..., Settings], study: Study, pacs: Pacs
) -> None:
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    pacs.refusing = True
    with RunningNode(settings(destinations=(to,)), StandIn()) as running:
        send(running.node.port, study(1))
        until(lambda: running.counts()["unsent"] == 1)
    stored = sorted(path.name for path in running.node._settings.output.glob("*/1/*.dcm"))
    assert stored == ["1_seg.dcm", "1_sr.dcm"] and pacs.stored == []
    pacs.refusing = False
    segment = StandIn()
    with RunningNode(settings(destinations=(to,)), segment) as running:
        until(lambda: running.counts()["sent"] == 1)
    assert segment.seen == []
    assert len(pacs.stored) == 2


def test_a_refused_result_does_not_delay_others(settings: Callable[..., Settings], study: Study, pacs: Pacs) -> None:
    first, second = study(1), study(2)
    pacs.refused.add(first[0].StudyInstanceUID)
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,), first_pause=1000), StandIn()) as running:
        send(running.node.port, first)
        until(lambda: running.counts()["unsent"] == 1)
        send(running.node.port, second)
        until(lambda: running.counts()["sent"] == 1)
        assert running.counts()["unsent"] == 1
    assert pacs.by_study() == {second[0].StudyInstanceUID: ["SEG", "SR"]}


def test_late_images_make_a_second_result(
    settings: Callable[..., Settings], study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    images, to = study(1), destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,)), StandIn()) as running:
        send(running.node.port, images[:6])
        until(lambda: running.counts()["sent"] == 1)
        send(running.node.port, images[6:])
        until(lambda: running.counts()["sent"] == 2)
    assert pacs.by_study() == {images[0].StudyInstanceUID: ["SEG", "SEG", "SR", "SR"]}
    assert sorted(path.parent.name for path in tmp_path.glob("out/*/*/report.json")) == ["1", "2"]
    outcome = "version 2, of all images"
    check("two of eight images come late", outcome, tmp_path / "spool", images, pacs.by_study())


def test_old_images_are_removed(settings: Callable[..., Settings], study: Study, tmp_path: Path) -> None:
    with RunningNode(settings(keep_days=0), StandIn()) as running:
        send(running.node.port, study(1))
        until(lambda: running.counts()["done"] == 1 and running.counts()["spool_bytes"] == 0)
    assert list(tmp_path.glob("spool/studies/*/images/*")) == []
    assert len(list(tmp_path.glob("out/*/1/1_seg.dcm"))) == 1


def test_a_failing_step_does_not_stop_the_node(
    settings: Callable[..., Settings], study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([RuntimeError("once")])
    real = Node._clean_up

    def fails_once(node: Node) -> float:
        for error in failures:
            raise error
        return real(node)

    monkeypatch.setattr("custom_networks.node.node.WITHOUT_ROOM", 0.05)
    monkeypatch.setattr(Node, "_clean_up", fails_once)
    with RunningNode(settings(), StandIn()) as running:
        send(running.node.port, study(1))
        until(lambda: running.counts()["done"] == 1)
    assert list(failures) == []  # it did fail


def test_the_health_page_reports_a_failing_part() -> None:
    server = HealthServer(0, lambda: (False, {"received": 3}))
    with pytest.raises(urllib.error.HTTPError) as failing:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz")
    assert failing.value.code == 503 and json.load(failing.value)["status"] == "failing"
    with pytest.raises(urllib.error.HTTPError) as other:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/")
    assert other.value.code == 404
    with pytest.raises(UsageError, match="cannot be used"):
        HealthServer(server.port, lambda: (True, {}))
    server.close()


def test_a_port_in_use_is_a_usage_error(settings: Callable[..., Settings], pacs: Pacs) -> None:
    node = Node(settings(port=pacs.port), StandIn())
    with pytest.raises(UsageError, match="Cannot listen"):
        node.start()
    node.stop()
