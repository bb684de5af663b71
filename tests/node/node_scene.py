"""Small studies, a pipeline without a network, nodes, and a PACS that sends and receives."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from custom_networks.case_folder import Input, claim
from custom_networks.io import Case
from custom_networks.node.node import Node
from custom_networks.node.settings import Settings
from custom_networks.node.study import key_of
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

SHAPE, SPACING = (32, 32, 8), (8.0, 8.0, 12.0)  # voxels, mm: as small as a body may be
SEG, SR = UID("1.2.840.10008.5.1.4.1.1.66.4"), UID("1.2.840.10008.5.1.4.1.1.88.34")


def phantom_slices(folder: Path) -> list[Dataset]:
    """The eight slices of a phantom, written to a folder and read back."""
    write_series(make_phantom(3, shape=SHAPE, spacing=SPACING, lesions=1), folder, "000")
    return [dcmread(path) for path in sorted(folder.iterdir())]


def as_study(slices: Iterable[Dataset], number: int) -> list[Dataset]:
    """The same slices as another patient's study."""
    study = []
    for slice_number, one in enumerate(slices, start=1):
        copy = deepcopy(one)
        copy.PatientID, copy.PatientName = f"SECRET-{number}", f"Secret^Name{number}"
        copy.StudyInstanceUID, copy.SeriesInstanceUID = f"1.2.826.1.{number}", f"1.2.826.1.{number}.1"
        copy.FrameOfReferenceUID = f"1.2.826.1.{number}.2"
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.1.{number}.1.{slice_number}"
        study.append(copy)
    return study


@dataclass
class StandIn:
    """Replaces network and writer: reads the case and writes two objects of the classes of SEG and SR.

    Attributes:
        seconds: how long it takes.
        error: the error that it raises.
        verdict: the level of its verdict.
        seen: the cases that it was asked to segment.
    """

    seconds: float = 0.0
    error: Exception | None = None
    verdict: str = "ok"
    seen: list[str] = field(default_factory=list)

    def __call__(self, output: Path, case: Case) -> Any:
        self.seen.append(case.source)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        headers = case.read().headers
        with claim(output, Input(case.name, case.identity, case.content, case.geometry, case.place)) as claimed:
            files = {f"dicom_{kind}": f"{claimed.name}_{kind}.dcm" for kind in ("seg", "sr")}
            for sop_class, name in zip((SEG, SR), files.values(), strict=True):
                write_result(claimed.staging / name, sop_class, headers)
            report = {"case": claimed.name, "files": files, "verdict": {"level": self.verdict}}
            (claimed.staging / "report.json").write_text(json.dumps(report))
            claimed.commit({})
        return SimpleNamespace(report=report, notes=())


def write_result(path: Path, sop_class: UID, headers: Sequence[Dataset]) -> None:
    """Write a small object of a class, in the study of some slices, with a new UID."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = headers[0].StudyInstanceUID, generate_uid()
    dataset.Modality, dataset.PatientID = "SEG" if sop_class == SEG else "SR", headers[0].PatientID
    dataset.ContentLabel = str(len(headers))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


@dataclass
class Pacs:
    """A node that receives and stores results; while `refusing`, it responds that it is out of resources."""

    stored: list[Dataset] = field(default_factory=list)
    refusing: bool = False
    refused: set[str] = field(default_factory=set)  # StudyInstanceUIDs
    server: Any = None

    def start(self, port: int = 0, tls: Any = None) -> "Pacs":
        from pynetdicom import AE, evt

        entity = AE("PACS")
        for sop_class in (SEG, SR):
            entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
        self.server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)], ssl_context=tls
        )
        return self

    def stop(self) -> None:
        self.server.shutdown()

    @property
    def port(self) -> int:
        return int(self.server.socket.getsockname()[1])

    def by_study(self) -> dict[str, list[str]]:
        """The modalities of the distinct objects of each study."""
        kinds: dict[str, dict[str, str]] = defaultdict(dict)
        for one in self.stored:
            kinds[one.StudyInstanceUID][one.SOPInstanceUID] = one.Modality
        return {study: sorted(of.values()) for study, of in kinds.items()}

    def _keep(self, event: Any) -> int:
        dataset = event.dataset
        if self.refusing or dataset.StudyInstanceUID in self.refused:
            return 0xA700
        dataset.file_meta = event.file_meta
        self.stored.append(dataset)
        return 0x0000


def associate(port: int, aet: str = "SENDER", to: str = "LIVERSEG", tls: Any = None, **contexts: Any) -> Any:
    """Open an association for CT, or for other classes."""
    from pynetdicom import AE

    entity = AE(aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    for sop_class in contexts.get("classes", (CTImageStorage,)):
        entity.add_requested_context(sop_class, contexts.get("syntaxes", [ExplicitVRLittleEndian]))
    return entity.associate("127.0.0.1", port, ae_title=to, tls_args=(tls, "localhost") if tls else None)


def send(port: int, images: Iterable[Dataset], **how: Any) -> list[int | None]:
    """Send images over one association; return the status of each, None if there was no response."""
    association = associate(port, **how)
    statuses: list[int | None] = []
    for image in images:
        try:
            answer = association.send_c_store(image)
            statuses.append(answer.get("Status") if answer else None)
        except (RuntimeError, ValueError):  # the association is gone; the context was not accepted
            statuses.append(None)
        if statuses[-1] is None:
            association.abort()
    if association.is_established:
        association.release()
    return statuses


def encoded(dataset: Dataset) -> bytes:
    """A data set encoded for the network in explicit VR, little endian."""
    from pynetdicom.dsutils import encode

    return bytes(encode(dataset, False, True) or b"")


def send_bytes(association: Any, uid: str, body: bytes) -> int | None:
    """Send any bytes by C-STORE as a CT image with a UID; return the status, None if there was no response."""
    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, uid
    request.DataSet = BytesIO(body)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.01)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer.Status if answer else None


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until a condition is true and return its value; AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if held := condition():
            return held
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {condition}")


def in_spool(spool: Path) -> dict[str, set[str]]:
    """Names of the images in a spool, by key of the study."""
    return {folder.name: {path.name for path in folder.glob("images/*.dcm")} for folder in spool.glob("studies/*")}


def expected(images: Iterable[Dataset]) -> dict[str, set[str]]:
    """The names that `in_spool` should return for sent images."""
    names: dict[str, set[str]] = defaultdict(set)
    for one in images:
        names[key_of(one.StudyInstanceUID)].add(f"{key_of(one.SOPInstanceUID)}.dcm")
    return dict(names)


class RunningNode:
    """A node in threads of this process."""

    def __init__(self, settings: Settings, segment: Any) -> None:
        self.node = Node(settings, segment)
        self.node.start()
        self.thread = threading.Thread(target=self.node.run, daemon=True)
        self.thread.start()

    def counts(self) -> Any:
        return self.node.state()[1]

    def __enter__(self) -> "RunningNode":
        return self

    def __exit__(self, *error: object) -> None:
        self.node.stop()
        self.thread.join(10)


# What a node does at the moments at which it is killed: the module's attribute that is called then, and whether the
# process ends before or after the call; the number is that of the call.
MOMENTS = {
    "an image is being received": ("custom_networks.node.guard.Guard._on_data", "before", 30),
    "an image is whole, not yet flushed": ("custom_networks.node.receiver.flush_file", "before", 4),
    "an image is flushed, not yet in the study": ("custom_networks.node.study.Study.add", "before", 5),
    "an image is in the study, not yet acknowledged": ("custom_networks.node.study.Study.add", "after", 6),
    "a study is quiet": ("custom_networks.node.study.Study.put", "before", 1),
    "a version has its record": ("custom_networks.node.study.Study.put", "after", 1),
    "the network runs": ("node_scene.StandIn.__call__", "before", 1),
    "results are being written": ("custom_networks.case_folder.Claim.commit", "before", 1),
    "results are written, the record does not say so": (
        *("custom_networks.node.segmenting.Segmenter._with_results", "before", 1),
    ),
    "results are to be sent": ("custom_networks.node.segmenting.Segmenter._log", "before", 1),
    "the SEG is sent, the SR is not": ("custom_networks.node.sending._store", "before", 2),
    "both are sent, the record does not say so": ("custom_networks.node.spool.Spool.mark_sent", "before", 1),
    "everything is done": ("custom_networks.node.spool.Spool.mark_sent", "after", 1),
}


def run_node(settings: Settings, ready: Any, moment: str | None) -> None:
    """Run a node in a separate process, which kills itself at a given moment."""
    if moment:
        _kill_at(*MOMENTS[moment])
    node = Node(settings, StandIn())
    node.start()
    ready.send(node.port)
    node.run()


def _kill_at(place: str, when: str, number: int) -> None:
    """Make a function kill the process at its n-th call."""
    from pydoc import locate

    owner, _, name = place.rpartition(".")
    target = locate(owner)
    real = getattr(target, name)
    calls: list[None] = []

    def wrapped(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*arguments, **named)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(target, name, wrapped)


class NodeProcess:
    """A node in a separate process, forked from one that has loaded the libraries."""

    context = multiprocessing.get_context("forkserver")

    def __init__(self, settings: Settings, moment: str | None = None) -> None:
        self.context.set_forkserver_preload(["node_scene", "pynetdicom"])
        parent, child = self.context.Pipe()
        self.process = self.context.Process(target=run_node, args=(settings, child, moment), daemon=True)
        self.process.start()
        child.close()
        if not parent.poll(120):
            raise AssertionError("the node did not start")
        self.port = int(parent.recv())

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(10)


def send_all(port: Callable[[], int], images: Iterable[Dataset], seconds: float = 300.0) -> None:
    """Send images until each is acknowledged, as a PACS does, to the node that listens at the time.

    pynetdicom's sender can miss a response on a busy machine; images that were not acknowledged are sent again.
    """
    left, deadline = list(images), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        statuses = send(port(), left)
        left = [image for image, status in zip(left, statuses, strict=True) if status != 0]
    if left:
        raise AssertionError(f"{len(left)} images were not acknowledged")
