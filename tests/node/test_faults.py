"""Faults of many kinds, on nodes in separate processes, with dcmtk and pynetdicom as senders.

After each, every acknowledged image is accounted for, and the destination has one result for each study
version: `node_accounts.check`.
"""

import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from node_accounts import check, is_settled
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

pytestmark = pytest.mark.slow
Study = Callable[[int], list[Dataset]]
Make = Callable[..., Settings]


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    server = Pacs().start()
    yield server
    server.stop()


def dcmtk_storescu() -> str:
    """Path of dcmtk's storescu, empty if it is missing; pynetdicom has a program of that name with other flags."""
    folders = os.environ["PATH"].split(os.pathsep)
    elsewhere = [folder for folder in folders if Path(folder) != Path(sys.executable).parent]
    return shutil.which("storescu", path=os.pathsep.join(elsewhere)) or ""


def test_twenty_studies_interleaved_over_four_associations_each_get_one_result(
    settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    images = [image for number in range(20) for image in study(number)]
    random.Random(0).shuffle(images)
    shares = [images[number::4] for number in range(4)]
    folder, storescu = tmp_path / "for storescu", dcmtk_storescu()
    folder.mkdir()
    for number, image in enumerate(shares[3]):
        image.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,), quiet_seconds=20), StandIn()) as running:
        port = running.node.port
        command = [storescu, "-aec", "LIVERSEG", "+sd", "127.0.0.1", str(port), str(folder)]
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(send_all, lambda: port, share) for share in shares[: 3 if storescu else 4]]
            if storescu:
                assert subprocess.run(command, check=False).returncode == 0
        assert [answer.result() for answer in answers] == [None] * len(answers)
        until(lambda: running.counts()["sent"] == 20, 300)
        check(
            "20 studies interleaved over 4 associations",
            "a result for each",
            tmp_path / "spool",
            images,
            pacs.by_study(),
        )
        send_all(lambda: port, images)  # all again: copies, which start nothing
        assert running.counts()["duplicates"] >= 160
        time.sleep(21)
        assert (running.counts()["done"], running.counts()["waiting"]) == (20, 0)
    check("all 160 images sent again", "acknowledged; nothing starts", tmp_path / "spool", images, pacs.by_study())


def test_a_hanging_sender_does_not_block_others(settings: Make, study: Study, pacs: Pacs, tmp_path: Path) -> None:
    images, others = study(1), study(2)
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    with RunningNode(settings(destinations=(to,), quiet_seconds=3), StandIn()) as running:
        hanging = associate(running.node.port)
        assert [hanging.send_c_store(image).Status for image in images[:5]] == [0] * 5
        with socket.create_connection(("127.0.0.1", running.node.port)):  # one that never says anything
            send_all(lambda: running.node.port, others)
            until(lambda: running.counts()["sent"] == 2)
        assert [hanging.send_c_store(image).Status for image in images[5:]] == [0] * 3
        until(lambda: running.counts()["sent"] == 3)
        hanging.abort()
    outcome = "others are served meanwhile; the rest of its study makes version 2"
    check("a sender that hangs in the middle of a study", outcome, tmp_path / "spool", images + others, pacs.by_study())


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_node_killed_at_any_moment_loses_nothing_and_sends_each_result_once(
    moment: str, settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    to = destination(f"PACS@127.0.0.1:{pacs.port}")
    asked = settings(destinations=(to,), quiet_seconds=3)
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
    fault = f"kill -9, at {len(MOMENTS)} moments from an image's first bytes to the last result"
    check(fault, "the next start goes on", tmp_path / "spool", images, pacs.by_study())


def test_a_destination_that_was_down_later_gets_each_result_once(settings: Make, study: Study, tmp_path: Path) -> None:
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
    outcome = "results wait; sent once it is back"
    check("a destination that is down for a while", outcome, tmp_path / "spool", images, pacs.by_study())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 KB; the test is skipped if it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_has_only_acknowledged_images(small_disk: Path, study: Study) -> None:
    images = [image for number in range(4) for image in study(number)]
    spool = Spool(small_disk / "spool")
    receiver = Receiver(spool, "LIVERSEG", (LOOPBACK,), limits=Limits(reserve_bytes=0))
    receiver.start("127.0.0.1", 0)
    answered: dict[str, int | None] = {}
    for image in images:  # an association each: one that met the full disk may be gone
        answered[image.SOPInstanceUID] = send(receiver.port, [image])[0]
    taken = [image for image in images if answered[image.SOPInstanceUID] == 0]
    assert 0 < len(taken) < len(images) and set(answered.values()) <= {0, 0xA700, None}
    outcome = "refused (A700, or the association ends); taken once there is room"
    check("a full disk while images come", outcome, small_disk / "spool", taken, {})
    for path in list(small_disk.glob("spool/studies/*/images/*.dcm"))[:3]:
        path.unlink()
    spool.close()
    receiver.stop()
    receiver = Receiver(spool := Spool(small_disk / "spool"), "LIVERSEG", (LOOPBACK,), limits=Limits(reserve_bytes=0))
    receiver.start("127.0.0.1", 0)
    assert send(receiver.port, study(9)[:1]) == [0]
    receiver.stop()
    spool.close()


def test_results_wait_while_their_disk_is_full(
    small_disk: Path,
    settings: Make,
    study: Study,
    pacs: Pacs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("custom_networks.node.node.WITHOUT_ROOM", 0.2)
    other, images = small_disk / "other", study(1)
    with suppress(OSError), other.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
    asked = settings(destinations=(destination(f"PACS@127.0.0.1:{pacs.port}"),), quiet_seconds=3)
    with RunningNode(replace(asked, output=small_disk / "out"), StandIn()) as running:
        send_all(lambda: running.node.port, images)
        until(lambda: "no room" in caplog.text)
        assert (running.counts()["waiting"], running.counts()["done"], pacs.stored) == (1, 0, [])
        other.unlink()
        until(lambda: running.counts()["sent"] == 1)
    outcome = "the study waits; its results are written once there is room"
    check("a full disk when results are written", outcome, tmp_path / "spool", images, pacs.by_study())


def test_a_full_quota_refuses_images_until_a_study_is_finished(
    settings: Make, study: Study, pacs: Pacs, tmp_path: Path
) -> None:
    first, second = study(1), study(2)
    size = 8 * (len(encoded(first[0])) + 500)  # of a study, with room for the meta information of its files
    asked = settings(destinations=(destination(f"PACS@127.0.0.1:{pacs.port}"),), quota_bytes=size, quiet_seconds=4)
    with RunningNode(asked, StandIn(seconds=1)) as running:
        send_all(lambda: running.node.port, first)
        assert 0xA700 in send(running.node.port, second)  # the first is still needed
        until(lambda: running.counts()["sent"] == 1)
        until(lambda: set(send(running.node.port, second)) == {0})  # the first makes room
        until(lambda: running.counts()["sent"] == 2)
    assert in_spool(tmp_path / "spool")[next(iter(expected(first)))] == set()
    outcome = "refused with A700 until a study that is done makes room"
    check("a quota of one study", outcome, tmp_path / "spool", first + second, pacs.by_study())


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], Certificates]:
    """A function that makes a certificate for a name, signed by an authority of that name; each is made once."""
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
    outcome = "no association without TLS, with no certificate or with a stranger's; results go over TLS, too"
    check("TLS", outcome, tmp_path / "spool", images, pacs.by_study())


def malformed_pdus(random_bytes: random.Random) -> Iterator[bytes]:
    """100 PDUs: noise, wrong lengths, requests with flipped bytes, data before an association."""
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
    """100 data sets: noise, truncated ones, flipped bytes, wrong lengths, deeply nested sequences."""
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
    from pynetdicom.dsutils import decode
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
        acknowledged: list[Dataset] = []
        for number, garbage in enumerate(malformed_data_sets(noise, encoded(images[0]))):
            if not association.is_established:
                association = associate(port)
            uid = images[0].SOPInstanceUID if number % 2 else f"1.2.3.{number}"
            statuses[status := send_bytes(association, uid, garbage)] += 1
            if status == 0:  # its damage is in what the receiver does not look at
                acknowledged.append(decode(BytesIO(garbage), False, True))
                acknowledged[-1].SOPInstanceUID = uid  # where it was damaged, the announced one counts
            count += 1
            assert count % 20 or until(answers)
        association.release()
        assert count == 200
        assert set(statuses) <= {0, 0xA900, 0xC000, None} and statuses[0xC000] >= 20
        assert send(port, images[1:]) == [0] * 7
        stored = sum(len(names) for names in in_spool(tmp_path / "spool").values())
        assert stored == running.counts()["received"]
    outcome = "refused or cut off; it answers C-ECHO after every 20, and takes a study after all"
    check("200 malformed PDUs and data sets", outcome, tmp_path / "spool", acknowledged + images[1:], {})
