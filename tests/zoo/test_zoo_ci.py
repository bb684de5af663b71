"""The zoo's continuous integration on the packed bundle: our unit test in the zoo's form, and its own scripts."""

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
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(python: Run, clean_environment: dict[str, str]) -> Run:
    """Run Python in the zoo's folder, with the bundle on its path as in the zoo's CI."""
    environment = {**clean_environment, "PYTHONPATH": "models/liver_tumor_ct_25d"}
    foreign = os.environ.get("LIVERSEG_BUNDLE_PYTHON")

    def started(zoo: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        if not foreign:
            return python(*arguments, cwd=zoo, env=environment)
        return subprocess.run([foreign, *arguments], cwd=zoo, env=environment, capture_output=True, text=True)

    return started


@pytest.mark.slow  # make test-bundle runs it, too
def test_the_unit_test_runs_each_config_of_the_packed_bundle(run: Run, packed: PackedBundle, unpack: Unpack) -> None:
    zoo = unpack(packed.path).parents[1]
    shutil.copy(UNIT_TESTS / "test_liver_tumor_ct_25d.py", zoo)
    answer = run(zoo, "-m", "unittest", "test_liver_tumor_ct_25d")
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert "Ran 2 tests" in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["min", "full"])
def test_the_zoos_own_script_accepts_the_bundle(
    clean_environment: dict[str, str], packed: PackedBundle, unpack: Unpack, schema: Path, mode: str
) -> None:
    checkout = os.environ.get("LIVERSEG_MODEL_ZOO")
    if not checkout:
        pytest.skip("MODEL ZOO ABSENT: set LIVERSEG_MODEL_ZOO to a checkout of Project-MONAI/model-zoo")
    bundle = unpack(packed.path)
    zoo = bundle.parents[1]
    shutil.copytree(Path(checkout) / "ci", zoo / "ci")
    (bundle / "eval").mkdir()
    shutil.copy(schema, bundle / "eval" / "schema.json")  # as the zoo's prepare_schema.py does
    command = [os.environ.get("LIVERSEG_BUNDLE_PYTHON", sys.executable), "ci/verify_bundle.py", "--b", bundle.name]
    environment = {**clean_environment, "PYTHONPATH": "models/liver_tumor_ct_25d"}
    command += ["--p", "models", "-m", mode]
    answer = subprocess.run(command, cwd=zoo, env=environment, capture_output=True, text=True)
    print(answer.stdout)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert "metadata format is verified correctly." in answer.stdout
    assert ("export weights into TorchScript module successfully." in answer.stdout) == (mode == "full")
