"""Faults of every kind, on nodes in processes of their own, with dcmtk and pynetdicom as senders.

After each: images acknowledged are images in the spool, and the destination holds one result per study version.
"""

import json
import random
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from node_scene import (
    MOMENTS,
    NodeProcess,
    Pacs,
    RunningNode,
    StandIn,
    associate,
    encoded,
    expected,
    in_spool,
    send,
    send_all,
    send_bytes,
    until,
)
from pydicom.dataset import Dataset

from custom_networks.node.guard import Limits
from custom_networks.node.peers import LOOPBACK, Certificates, destination
from custom_networks.node.receiver import Receiver
from custom_networks.node.settings import Settings
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE

pytestmark = pytest.mark.slow
Study = Callable[[int], list[Dataset]]
Make = Callable[..., Settings]


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    server = Pacs().start()
    yield server
    server.stop()


def versions_in(spool: Path) -> list[dict[str, object]]:
    """The records of all versions in a spool."""
    return [json.loads(path.read_text()) for path in sorted(spool.glob("studies/*/[0-9]*.json"))]


def is_settled(spool: Path) -> bool:
    """Whether every image has a version, and every version is done and sent."""
    records = versions_in(spool)
    listed = {name for record in records for name in record["images"]}  # type: ignore[attr-defined]
    images = {name for names in in_spool(spool).values() for name in names}
    return images == listed and all(record["state"] == DONE and not record["unsent"] for record in records)


def check_accounts(spool: Path, images: Sequence[Dataset], pacs: Pacs) -> None:
    """What was acknowledged lies there; the destination has one SEG and one SR per version, and no more."""
    assert in_spool(spool) == expected(images)
    records = {path: json.loads(path.read_text()) for path in spool.glob("studies/*/[0-9]*.json")}
    versions = Counter(path.parent.name for path, record in records.items() if record["state"] == DONE)
    keys = {image.StudyInstanceUID: next(iter(expected([image]))) for image in images}
    of_each = {study: sorted(["SEG", "SR"] * versions[key]) for study, key in keys.items()}
    assert pacs.by_study() == of_each


def test_twenty_studies_interleaved_over_four_associations_each_get_one_result(
    settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    images = [image for number in range(20) for image in study(number)]
    random.Random(0).shuffle(images)
    shares = [images[number::4] for number in range(4)]
    folder, has_dcmtk = tmp_path / "for storescu", shutil.which("storescu") is not None
    folder.mkdir()
    for number, image in enumerate(shares[3]):
        image.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,), quiet_seconds=20), StandIn()) as running:
        port = running.node.port
        command = ["storescu", "-aec", "LIVERSEG", "+sd", "127.0.0.1", str(port), str(folder)]
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(send_all, lambda: port, share) for share in shares[: 3 if has_dcmtk else 4]]
            if has_dcmtk:
                assert subprocess.run(command, check=False).returncode == 0
        assert [answer.result() for answer in answers] == [None] * len(answers)
        until(lambda: running.counts()["sent"] == 20, 300)
        send_all(lambda: port, images)  # all again: copies, which start nothing
        assert running.counts()["duplicates"] >= 160
        time.sleep(21)
        assert (running.counts()["done"], running.counts()["waiting"]) == (20, 0)
    check_accounts(tmp_path / "spool", images, pacs)


def test_a_hanging_sender_does_not_block_others(settings: Make, study: Study, pacs: Pacs, tmp_path: Path) -> None:
    images, others = study(1), study(2)
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,)), StandIn()) as running:
        hanging = associate(running.node.port)
        assert [hanging.send_c_store(image).Status for image in images[:5]] == [0] * 5
        with socket.create_connection(("127.0.0.1", running.node.port)):  # one that never says anything
            send_all(lambda: running.node.port, others)
            until(lambda: running.counts()["sent"] == 2)
        assert [hanging.send_c_store(image).Status for image in images[5:]] == [0] * 3
        until(lambda: running.counts()["sent"] == 3)
        hanging.abort()
    check_accounts(tmp_path / "spool", images + others, pacs)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_node_killed_at_any_moment_loses_nothing_and_sends_each_result_once(
    moment: str, settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    asked = settings(destinations=(to,), quiet_seconds=1.5)
    images = study(1) + study(2)
    running = [NodeProcess(asked, moment)]

    def node() -> NodeProcess:
        if not running[-1].alive:
            running.append(NodeProcess(asked))
        return running[-1]

    try:
        send_all(lambda: node().port, images)
        until(lambda: node() and is_settled(tmp_path / "spool"))
    finally:
        running[-1].kill()
    assert len(running) == 2  # it was killed, and once
    check_accounts(tmp_path / "spool", images, pacs)


def test_a_destination_that_was_down_gets_each_result_once(settings: Make, study: Study, tmp_path: Path) -> None:
    pacs = Pacs().start()
    port = pacs.port
    pacs.stop()
    to, images = destination(f"PACS@127.0.0.1:{port}"), study(1) + study(2)
    with RunningNode(settings(destinations=(to,)), StandIn()) as running:
        send_all(lambda: running.node.port, images)
        until(lambda: running.counts()["unsent"] == 2)
        time.sleep(1)
        pacs.start(port)
        until(lambda: running.counts()["sent"] == 2)
    pacs.stop()
    check_accounts(tmp_path / "spool", images, pacs)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 KB; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_takes_only_acknowledged_images(small_disk: Path, study: Study) -> None:
    images = [image for number in range(4) for image in study(number)]
    spool = Spool(small_disk / "spool")
    receiver = Receiver(spool, "LIVERSEG", (LOOPBACK,), limits=Limits(reserve_bytes=0))
    receiver.start("127.0.0.1", 0)
    answered: dict[str, int | None] = {}
    for image in images:  # an association each: one that met the full disk may be gone
        answered[image.SOPInstanceUID] = send(receiver.port, [image])[0]
    taken = [image for image in images if answered[image.SOPInstanceUID] == 0]
    assert 0 < len(taken) < len(images)
    assert in_spool(small_disk / "spool") == expected(taken)
    for path in list(small_disk.glob("spool/studies/*/images/*.dcm"))[:3]:
        path.unlink()
    spool.close()
    receiver.stop()
    receiver = Receiver(spool := Spool(small_disk / "spool"), "LIVERSEG", (LOOPBACK,), limits=Limits(reserve_bytes=0))
    receiver.start("127.0.0.1", 0)
    assert send(receiver.port, study(9)[:1]) == [0]
    receiver.stop()
    spool.close()


def test_a_full_quota_refuses_images_until_a_study_is_finished(
    settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    size = 8 * (len(encoded(study(1)[0])) + 500)  # of a study, with room for the meta information of its files
    answers: list[list[int | None]] = []
    with RunningNode(settings(destinations=(to,), quota_bytes=size), StandIn(seconds=1)) as running:
        answers.append(send(running.node.port, study(1)))
        answers.append(send(running.node.port, study(2)))  # study 1 is still needed
        until(lambda: running.counts()["sent"] >= 1)
        until(lambda: set(send(running.node.port, study(2))) == {0})  # study 1 makes room
        until(lambda: running.counts()["sent"] >= 2)
    assert answers[0] == [0] * 8 and 0xA700 in answers[1]
    assert in_spool(tmp_path / "spool")[next(iter(expected(study(2))))] <= expected(study(2)).popitem()[1]
    assert {study(1)[0].StudyInstanceUID, study(2)[0].StudyInstanceUID} == set(pacs.by_study())


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], Certificates]:
    """Certificates of a name, signed by an authority of that name; made once each."""
    folder = tmp_path / "certificates"
    folder.mkdir()

    def made(name: str) -> Certificates:
        ca, ca_key, own, key, asked = (folder / f"{name}.{end}" for end in ("ca", "cakey", "pem", "key", "csr"))
        if not ca.exists():
            new = ("-newkey", "rsa:2048", "-nodes", "-subj")
            openssl("req", "-x509", *new, f"/CN={name} authority", "-keyout", ca_key, "-out", ca, "-days", 2)
            openssl("req", *new, "/CN=localhost", "-keyout", key, "-out", asked)
            (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
            signed = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", 2, "-extfile", folder / "names")
            openssl("x509", "-req", "-in", asked, *signed, "-out", own)
        return Certificates(own, key, ca)

    return made


def test_tls_accepts_only_peers_with_a_trusted_certificate(
    settings: Make, study: Study, certificates: Callable[[str], Certificates], tmp_path: Path
) -> None:
    own = certificates("hospital")
    pacs = Pacs().start(tls=own.context(serving=True))
    to, images = destination(f"PACS@localhost:{pacs.port}"), study(1)
    asked = settings(destinations=(to,), certificates=own, send_tls=True)
    with RunningNode(asked, StandIn()) as running:
        port = running.node.port
        with socket.create_connection(("127.0.0.1", port)):  # it never begins to speak TLS
            assert not associate(port).is_established
            assert not associate(port, tls=certificates("stranger").context(serving=False)).is_established
            anonymous = ssl.create_default_context(cafile=own.authority)
            association = associate(port, tls=anonymous)
            assert not association.is_established or association.send_c_store(images[0]).get("Status") is None
            assert send(port, images, tls=own.context(serving=False)) == [0] * 8
        until(lambda: running.counts()["sent"] == 1)
    pacs.stop()
    check_accounts(tmp_path / "spool", images, pacs)


def malformed_pdus(random_bytes: random.Random) -> Iterator[bytes]:
    """100 PDUs: noise, heads that lie about their length, requests with flipped bytes, data before an association."""
    from pynetdicom import AE
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification

    primitive = A_ASSOCIATE()
    primitive.calling_ae_title, primitive.called_ae_title = "SENDER", "LIVERSEG"
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = 16382
    primitive.user_information = [maximum]
    entity = AE()
    entity.add_requested_context("1.2.840.10008.1.1")
    primitive.presentation_context_definition_list = entity.requested_contexts
    primitive.presentation_context_definition_list[0].context_id = 1
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    request = pdu.encode()
    for _ in range(25):
        yield random_bytes.randbytes(random_bytes.randrange(1, 400))
    for kind in range(25):
        yield bytes([kind % 9, 0]) + random_bytes.choice([b"\xff" * 4, b"\0" * 4, b"\0\1\0\0"]) + request[6:]
    for _ in range(25):
        damaged = bytearray(request)
        for _ in range(random_bytes.randrange(1, 12)):
            damaged[random_bytes.randrange(6, len(damaged))] = random_bytes.randrange(256)
        yield bytes(damaged)
    for _ in range(25):
        yield request + b"\x04\x00" + random_bytes.choice(
            [b"\0\0\0\x0a\0\0\0\2\1\3\0\0\0\0", random_bytes.randbytes(64)]
        )


def malformed_data_sets(random_bytes: random.Random, body: bytes) -> Iterator[bytes]:
    """100 data sets: noise, cut ends, flipped bytes, lengths that lie, a bomb of sequences."""
    for _ in range(20):
        yield random_bytes.randbytes(random_bytes.randrange(1, 2000))
    for _ in range(20):
        yield body[: random_bytes.randrange(1, len(body))]
    for _ in range(30):
        damaged = bytearray(body)
        for _ in range(random_bytes.randrange(1, 30)):
            damaged[random_bytes.randrange(len(damaged))] = random_bytes.randrange(256)
        yield bytes(damaged)
    for number in range(20):
        yield body[: 8 * number + 4] + b"\xff\xff\xff\xff" + body[8 * number + 8 :]
    for depth in range(10):
        yield b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * (200 * depth + 1)


def test_the_node_keeps_answering_after_malformed_input(settings: Make, study: Study, tmp_path: Path) -> None:
    from pynetdicom.sop_class import Verification

    noise, images = random.Random(7), study(1)
    with RunningNode(settings(quiet_seconds=60), StandIn()) as running:
        port = running.node.port

        def answers() -> bool:
            association = associate(port, classes=[Verification])
            status = association.send_c_echo().get("Status") if association.is_established else None
            association.release()
            return status == 0

        count = 0
        for garbage in malformed_pdus(noise):
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(garbage)
            count += 1
            assert count % 20 or until(answers)
        association = associate(port)
        statuses: Counter[int | None] = Counter()
        acknowledged = set()
        for number, garbage in enumerate(malformed_data_sets(noise, encoded(images[0]))):
            if not association.is_established:
                association = associate(port)
            uid = images[0].SOPInstanceUID if number % 2 else f"1.2.3.{number}"
            statuses[status := send_bytes(association, uid, garbage)] += 1
            acknowledged |= {uid} if status == 0 else set()
            count += 1
            assert count % 20 or until(answers)
        association.release()
        assert count == 200
        assert set(statuses) <= {0, 0xA900, 0xC000, None} and statuses[0xC000] >= 20
        assert send(port, images[1:]) == [0] * 7
        stored = sum(len(names) for names in in_spool(tmp_path / "spool").values())
        assert stored == running.counts()["received"]
