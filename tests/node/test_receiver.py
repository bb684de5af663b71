"""How the receiver responds to what a peer sends, over a connection on this machine."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from node_scene import SEG, associate, encoded, expected, in_spool, send, send_bytes, until
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from custom_networks.node.guard import Limits
from custom_networks.node.peers import LOOPBACK, Caller, caller
from custom_networks.node.receiver import NO_ROOM, Receiver
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE

Study = Callable[[int], list[Dataset]]
Start = Callable[..., Receiver]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def listen(spool: Spool) -> Iterator[Start]:
    """A function that starts receivers, which stop after the test."""
    started = []

    def start(*allowed: Caller, **limits: float) -> Receiver:
        asked = Limits(**limits)  # type: ignore[arg-type]
        receiver = Receiver(spool, "LIVERSEG", allowed or (LOOPBACK,), limits=asked)
        receiver.start("127.0.0.1", 0)
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.stop()


def test_c_echo_is_answered(listen: Start) -> None:
    from pynetdicom.sop_class import Verification

    association = associate(listen().port, classes=[Verification])
    assert association.send_c_echo().Status == 0
    association.release()


def test_acknowledged_images_are_in_the_spool(listen: Start, spool: Spool, study: Study) -> None:
    images = study(1)
    receiver = listen()
    assert send(receiver.port, images) == [0] * 8
    assert in_spool(spool.folder) == expected(images)
    assert list(spool.part.iterdir()) == []
    assert send(receiver.port, images[:2]) == [0, 0]
    assert receiver.counts() == {"duplicates": 2, "ignored": 0, "rejected": 0, "cut_off": 0}


def test_an_image_is_flushed_to_the_disk_before_it_enters_the_spool(
    listen: Start, spool: Spool, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, int]] = []

    def flush_file(path: Path) -> None:
        seen.append((path.parent, spool.counts()["received"]))

    monkeypatch.setattr("custom_networks.node.receiver.flush_file", flush_file)
    assert send(listen().port, study(1)[:2]) == [0, 0]
    assert seen == [(spool.part, 0), (spool.part, 1)]


def test_received_images_equal_those_that_were_sent(listen: Start, spool: Spool, study: Study) -> None:
    from pydicom import dcmread

    image = study(1)[0]
    send(listen().port, [image])
    [path] = spool.folder.rglob("images/*.dcm")
    received = dcmread(path)
    assert received == image and received.PixelData == image.PixelData
    assert received.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_only_transfer_syntaxes_that_can_be_decoded_are_accepted(listen: Start) -> None:
    port = listen().port
    native = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
    coded = [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1]
    for syntax in [*native, *coded]:
        association = associate(port, syntaxes=[syntax])
        assert association.is_established, syntax.name
        association.release()
    assert not associate(port, syntaxes=[JPEGExtended12Bit]).is_established


def test_segmentations_are_acknowledged_and_not_kept(listen: Start, spool: Spool, study: Study) -> None:
    result = study(1)[0]
    result.SOPClassUID = result.file_meta.MediaStorageSOPClassUID = SEG
    receiver = listen()
    assert send(receiver.port, [result], classes=[SEG]) == [0]
    assert in_spool(spool.folder) == {} and list(spool.part.iterdir()) == []
    assert receiver.counts()["ignored"] == 1


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


def other_uid(dataset: Dataset) -> None:
    dataset.StudyInstanceUID = "../../../etc/passwd"


@pytest.mark.parametrize("change, status", [(without("StudyInstanceUID"), 0xC000), (other_uid, 0xC000)])
def test_an_image_without_study_or_instance_uid_is_refused(
    change: Callable[[Dataset], None], status: int, listen: Start, spool: Spool, study: Study
) -> None:
    image = study(1)[0]
    change(image)
    receiver = listen()
    assert send(receiver.port, [image, study(1)[1]]) == [status, 0]
    assert receiver.counts()["rejected"] == 1
    assert in_spool(spool.folder) == expected([study(1)[1]])


def test_an_object_that_differs_from_its_announcement_is_refused(listen: Start, spool: Spool, study: Study) -> None:
    image = study(1)[0]
    association = associate(listen().port)
    assert send_bytes(association, "1.2.3.4", encoded(image)) == 0xA900
    assert send_bytes(association, image.SOPInstanceUID, encoded(image)) == 0
    association.release()
    assert in_spool(spool.folder) == expected([image])


def test_beyond_the_quota_images_are_refused(listen: Start, spool: Spool, study: Study) -> None:
    images = study(1)
    quota = 5 * (len(encoded(images[0])) + 500)  # a file has some meta information, too
    statuses = send(listen(quota_bytes=quota).port, images)
    assert statuses == [0] * 5 + [0xA700] * 3
    assert in_spool(spool.folder) == expected(images[:5])
    assert spool.size <= quota


def test_no_image_is_accepted_on_a_nearly_full_disk(listen: Start, spool: Spool, study: Study) -> None:
    assert send(listen(reserve_bytes=1 << 60).port, study(1)[:2]) == [0xA700, 0xA700]
    assert in_spool(spool.folder) == {}


def test_callers_that_are_not_on_the_list_get_no_association(listen: Start, study: Study) -> None:
    receiver = listen(caller("CT1@127.0.0.1"), caller("CT2@192.0.2.1"))
    assert not associate(receiver.port, aet="CT3").is_established
    assert not associate(receiver.port, aet="CT1", to="OTHER").is_established
    assert not associate(receiver.port, aet="CT2").is_established  # the title of another address
    assert send(receiver.port, study(1)[:1], aet="CT1") == [0]
    elsewhere = listen(caller("CT1@192.0.2.1"))
    assert not associate(elsewhere.port, aet="CT1").is_established
    assert elsewhere.counts()["rejected"] == 1


def test_an_address_that_is_not_allowed_is_disconnected_at_once(listen: Start) -> None:
    receiver = listen(caller("*@192.0.2.1"))
    with socket.create_connection(("127.0.0.1", receiver.port), 10) as connection:
        connection.settimeout(5)  # seconds, fewer than a peer has to ask for an association
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_images_of_finished_studies_make_room_for_new_ones(listen: Start, spool: Spool, study: Study) -> None:
    assert send(listen().port, study(1)) == [0] * 8
    [(key, version)] = spool.close_quiet(0.0, time.time() + 1)
    spool.put(key, replace(version, state=DONE))
    assert send(listen(quota_bytes=spool.size).port, study(2)) == [0] * 8
    assert expected(study(2)).items() <= in_spool(spool.folder).items()


def test_the_number_of_associations_is_limited(listen: Start) -> None:
    receiver = listen(associations=2)
    held = [associate(receiver.port) for _ in range(2)]
    assert [one.is_established for one in held] == [True, True]
    assert not associate(receiver.port).is_established
    held[0].release()
    until(lambda: associate(receiver.port).is_established)


def test_an_overlong_pdu_is_not_read(listen: Start, study: Study) -> None:
    receiver = listen()
    with socket.create_connection(("127.0.0.1", receiver.port), 10) as connection:
        connection.sendall(b"\x01\x00\xff\xff\xff\xff" + bytes(1000))
        connection.settimeout(10)
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert send(receiver.port, study(1)[:1]) == [0]


def test_a_peer_with_too_large_a_data_set_is_disconnected(listen: Start, spool: Spool, study: Study) -> None:
    image = study(1)[0]
    image.add_new(0x00091010, "OB", bytes(2_000_000))
    receiver = listen(object_bytes=1_000_000)
    assert send(receiver.port, [image]) == [None]
    assert receiver.counts()["cut_off"] >= 1
    assert in_spool(spool.folder) == {}
    assert send(receiver.port, study(1)[1:2]) == [0]


def test_too_large_a_data_set_that_arrives_whole_is_refused(
    listen: Start, spool: Spool, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are in the socket's buffer when the guard closes the connection are still read."""
    monkeypatch.setattr("custom_networks.node.guard._disconnect", lambda association: None)
    image = study(1)[0]
    image.add_new(0x00091010, "OB", bytes(2_000_000))
    receiver = listen(object_bytes=1_000_000)
    assert send(receiver.port, [image]) == [NO_ROOM]
    assert in_spool(spool.folder) == {}


def test_a_silent_peer_is_disconnected(listen: Start) -> None:
    receiver = listen(silent_seconds=0.3)
    quiet = socket.create_connection(("127.0.0.1", receiver.port), 10)
    quiet.sendall(b"\x01\x00")  # the head of a PDU that never comes
    until(lambda: receiver._guard.connections == 1)
    time.sleep(0.5)
    receiver.clean_up()
    quiet.settimeout(10)
    assert quiet.recv(100) == b""
    quiet.close()
    until(lambda: receiver._guard.connections == 0)
