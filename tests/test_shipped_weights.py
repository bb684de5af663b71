"""The shipped weights have the same results for a phantom as when they were released.

`python tests/test_shipped_weights.py` writes released_phantom.json anew for other weights.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_networks.api import Result, segment
from custom_networks.bundle_files import bundle_root, metadata
from custom_networks.phantom import Phantom, make_phantom

# Float rounding differs between instruction sets, and so do some voxels at the borders of liver and lesions; so "masks"
# has a hash for each kind of processor.
RELEASED = Path(__file__).with_name("released_phantom.json")


def make_reference() -> tuple[Phantom, Result]:
    """The phantom and its reference result: PyTorch in float32 on the whole scan."""
    made = make_phantom(11, shape=(160, 128, 40), spacing=(2.0, 2.0, 5.0), lesions=3)
    return made, segment(
        made.image, affine=made.affine, device="cpu", runtime="torch", precision="float32", scout=False
    )


def values(result: Result) -> dict[str, object]:
    """What released_phantom.json keeps of the reference result."""
    digest = hashlib.sha256(np.ascontiguousarray(result.labels).tobytes()).hexdigest()
    return {
        "liver_ml": round(result.liver_ml, 2),
        "tumor_ml": round(result.tumor_ml, 2),
        "lesions": len(result.lesions),
        "masks": {torch.backends.cpu.get_cpu_capability(): digest},
    }


@pytest.fixture(scope="module")
def released() -> dict[str, Any]:
    return dict(json.loads(RELEASED.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def reference() -> tuple[Phantom, Result]:
    return make_reference()


@pytest.fixture(scope="module")
def phantom(reference: tuple[Phantom, Result]) -> Phantom:
    return reference[0]


@pytest.fixture(scope="module")
def result(reference: tuple[Phantom, Result]) -> Result:
    return reference[1]


def test_the_weights_are_the_released_ones(result: Result) -> None:
    path = bundle_root() / "models" / "model.pt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == metadata(bundle_root())["weights"]["sha256"]
    assert result.run["weights"]["released"] is True


def test_volumes_and_lesions_of_a_phantom_equal_those_of_the_release(result: Result, released: dict[str, Any]) -> None:
    assert result.liver_ml == pytest.approx(released["liver_ml"], rel=2e-3)
    assert result.tumor_ml == pytest.approx(released["tumor_ml"], rel=2e-2)
    assert len(result.lesions) == released["lesions"]


def test_the_mask_of_a_phantom_is_unchanged_on_processors_of_a_known_kind(
    result: Result, released: dict[str, Any]
) -> None:
    kind = torch.backends.cpu.get_cpu_capability()
    if kind not in released["masks"]:
        pytest.skip(f"PROCESSOR UNKNOWN: no mask is known for {kind}; volumes are compared within a tolerance")
    assert values(result)["masks"] == {kind: released["masks"][kind]}


def test_the_default_runtime_gives_the_same_mask_except_for_boundary_voxels(phantom: Phantom, result: Result) -> None:
    default = segment(phantom.image, affine=phantom.affine, device="cpu", scout=False)
    assert default.run["runtime"] == "openvino"
    for ours, reference in ((default.liver, result.liver), (default.tumor, result.tumor)):
        differ = int((ours ^ reference).sum())
        assert differ <= (2e-5 if default.run["precision"] == "float32" else 2e-3) * int(reference.sum()) + 1
    assert len(default.lesions) == len(result.lesions)


if __name__ == "__main__":
    RELEASED.write_text(json.dumps(values(make_reference()[1]), indent=4) + "\n", encoding="utf-8")
