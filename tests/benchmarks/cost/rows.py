"""The rows of the table: the compared pipelines and networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.benchmarks.cost.contestants import Contestant, Setting, Skipped
from tests.benchmarks.cost.machine import openvino_formats, torch_formats
from tests.benchmarks.cost.networks import nnunet_3d, spleen_unet, whole_body_segresnet, with_ordinary_convolutions
from tests.benchmarks.cost.ours import Ours, Variant
from tests.benchmarks.cost.peers import KuLeuven, Peer

FORMATS = {"float32": "float32", "bfloat16": "bf16"}
RUNTIMES = {"torch": "PyTorch", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Row:
    """One row: what is run, in which runtime and number format.

    Attributes:
        name: short name, the same for every runtime and format.
        title: name for the table.
        group: "ours", "variant" or "peer".
        build: makes the contestant from setting, runtime and number format.
        times: how often every window is run; above 1, the measurement of `name_once` is multiplied.
        name_once: the row whose measurement is used for this one.
    """

    name: str
    title: str
    group: str
    runtime: str
    precision: str
    build: Callable[[Setting, str, str], Contestant]
    times: int = 1
    name_once: str | None = None

    @property
    def id(self) -> str:
        """The id for `--rows`."""
        return f"{self.name}-{self.runtime}-{FORMATS[self.precision]}"

    @property
    def measured_by(self) -> str:
        """The id of the row that is run for this one: itself, or the one whose measurement is multiplied."""
        return self.id if self.name_once is None else self.id.replace(self.name, self.name_once, 1)

    def contestant(self, setting: Setting) -> Contestant:
        """The contestant to run; Skipped if this machine lacks the runtime or the number format."""
        formats = openvino_formats() if self.runtime == "openvino" else torch_formats()
        if not formats:
            raise Skipped("OpenVINO is not installed")
        if self.precision not in formats:
            raise Skipped("this processor has no instructions for bfloat16")
        return self.build(setting, self.runtime, self.precision)


def _ours(switches: Mapping[str, Any], setting: Setting, runtime: str, precision: str) -> Contestant:
    return Ours(setting, {"runtime": runtime, "precision": precision, **switches})


BOTH = tuple((runtime, precision) for runtime in RUNTIMES for precision in FORMATS)
WITHOUT_EAGER_BF16 = tuple(pair for pair in BOTH if pair != ("torch", "bfloat16"))
COMPILED = tuple(pair for pair in BOTH if pair[0] == "openvino")
EAGER = (("torch", "float32"),)

_KINDS: tuple[tuple[str, str, str, Any, tuple[tuple[str, str], ...]], ...] = (
    ("full", "this pipeline, full pass", "ours", partial(_ours, {"scout": False, "fast": False}), BOTH),
    ("scout", "this pipeline, scout (default)", "ours", partial(_ours, {"scout": True, "fast": False}), COMPILED),
    ("fast", "this pipeline, --fast", "ours", partial(_ours, {"scout": True, "fast": True}), COMPILED),
    (
        "ordinary",
        "ordinary 3D convolutions",
        "variant",
        partial(Variant, change=with_ordinary_convolutions),
        WITHOUT_EAGER_BF16,
    ),
    ("stacks", "stack by stack", "variant", partial(Variant, slab=1), WITHOUT_EAGER_BF16),
    (
        "dynunet",
        "DynUNet",
        "peer",
        partial(Peer, build=nnunet_3d, spacing=(), roi=128, overlap=0.5),
        BOTH,
    ),
    (
        "spleen",
        "UNet, zoo's spleen",
        "peer",
        partial(Peer, build=spleen_unet, spacing=(1.5, 1.5, 2.0), roi=96, overlap=0.5, mode="constant"),
        WITHOUT_EAGER_BF16,
    ),
    (
        "wholebody",
        "SegResNet, zoo's wholeBody",
        "peer",
        partial(Peer, build=whole_body_segresnet, spacing=(1.5, 1.5, 1.5), roi=96, overlap=0.25),
        EAGER,
    ),
    ("kuleuven", "pyliverlesionseg 0.3", "peer", KuLeuven, EAGER),
)


def _rows() -> list[Row]:
    rows = [Row(*kind[:3], *pair, kind[3]) for kind in _KINDS for pair in kind[4]]
    once = [row for row in rows if row.name == "dynunet"]
    mirrored = [
        Row(
            "mirrored",
            "DynUNet, 8 mirrorings",
            row.group,
            row.runtime,
            row.precision,
            row.build,
            8,
            row.name,
        )
        for row in once
    ]
    after = rows.index(once[-1]) + 1
    return rows[:after] + mirrored + rows[after:]


ROWS: dict[str, Row] = {row.id: row for row in _rows()}
# What growth is measured of: what a user gets, and the same without the scout.
GROWTH: dict[str, Mapping[str, Any]] = {"default": {}, "full pass": {"scout": False}}
