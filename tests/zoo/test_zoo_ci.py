"""The zoo's continuous integration on the packed bundle: our unit test in its form, and its own scripts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from custom_networks.packing import PackedBundle

UNIT_TESTS = Path(__file__).with_name("unit_tests")
Unpack = Callable[[Path], Path]


def run(zoo: Path, *arguments: object, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run Python in the zoo's folder, with the bundle on its path as the zoo's CI has it."""
    python = os.environ.get("LIVERSEG_BUNDLE_PYTHON", sys.executable)
    environment = {**environment, "PYTHONPATH": "models/liver_tumor_ct_25d"}
    return subprocess.run([python, *map(str, arguments)], cwd=zoo, env=environment, capture_output=True, text=True)


def test_the_unit_test_runs_each_config_of_the_packed_bundle(
    packed: PackedBundle, unpack: Unpack, clean_environment: dict[str, str]
) -> None:
    zoo = unpack(packed.path).parents[1]
    shutil.copy(UNIT_TESTS / "test_liver_tumor_ct_25d.py", zoo)
    answer = run(zoo, "-m", "unittest", "test_liver_tumor_ct_25d", environment=clean_environment)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert "Ran 2 tests" in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["min", "full"])
def test_the_zoos_own_script_accepts_the_bundle(
    packed: PackedBundle, unpack: Unpack, clean_environment: dict[str, str], schema: Path, mode: str
) -> None:
    checkout = os.environ.get("LIVERSEG_MODEL_ZOO")
    if not checkout:
        pytest.skip("MODEL ZOO ABSENT: set LIVERSEG_MODEL_ZOO to a checkout of Project-MONAI/model-zoo")
    bundle = unpack(packed.path)
    zoo = bundle.parents[1]
    shutil.copytree(Path(checkout) / "ci", zoo / "ci")
    (bundle / "eval").mkdir()
    shutil.copy(schema, bundle / "eval" / "schema.json")  # as the zoo's prepare_schema.py does
    answer = run(
        zoo, "ci/verify_bundle.py", "--b", bundle.name, "--p", "models", "-m", mode, environment=clean_environment
    )
    print(answer.stdout)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert "metadata format is verified correctly." in answer.stdout
    assert ("export weights into TorchScript module successfully." in answer.stdout) == (mode == "full")
