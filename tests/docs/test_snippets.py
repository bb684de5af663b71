"""Commands on the pages are valid, and snippets that can be run are run."""

import re
import shlex
from pathlib import Path

import nibabel as nib
import pytest
from pages import PAGES, ROOT, commands, snippets

from custom_networks.arguments import check_complete, fire_arguments
from custom_networks.cli import COMMANDS, main
from custom_networks.errors import UsageError
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

QUICKSTART, OUTPUTS = ROOT / "docs" / "quickstart.md", ROOT / "docs" / "outputs.md"
TYPED = [(page, command) for page in PAGES for command in commands(page)]
NUMBER = r"\d+(?:\.\d+)?"


def words_after(program: str) -> list[tuple[str, list[str]]]:
    """Page and arguments of each command on the pages that uses a program."""
    uses = ((page, command) for page, command in TYPED if command.partition(" ")[0].rpartition("/")[2] == program)
    return [(page.name, shlex.split(command)[1:]) for page, command in uses]


def test_every_liverseg_command_on_the_pages_is_valid() -> None:
    uses = [(page, words) for page, words in words_after("liverseg") if words[0] not in ("--version", "--help")]
    assert len(uses) > 20
    refused = []
    for page, (command, *arguments) in uses:
        try:
            if "--help" not in arguments:
                check_complete(command, fire_arguments(COMMANDS[command], arguments))
        except (UsageError, KeyError) as error:
            refused.append((page, command, str(error)))
    assert refused == []


def test_every_make_target_on_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    uses = {word for _, words in words_after("make") for word in words if re.fullmatch("[a-z-]+", word)}
    assert {"run", "test", "train"} <= uses
    assert uses - targets == set()


def test_every_config_on_the_pages_exists() -> None:
    named = {name for _, command in TYPED for name in re.findall(r"bundle/configs/\w+\.json", command)}
    assert len(named) > 2
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.fixture
def folder_of_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that Python snippets on the pages read: scan.nii.gz and dicom/exam."""
    phantom = make_phantom(5, shape=(80, 80, 12), spacing=(1.25, 1.25, 3.0), lesions=1)
    nib.save(nib.Nifti1Image(phantom.image, phantom.affine), tmp_path / "scan.nii.gz")
    write_series(phantom, tmp_path / "dicom" / "exam", "5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_snippets_of_quickstart_and_outputs_run(
    folder_of_scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in [*snippets(QUICKSTART, "python"), *snippets(OUTPUTS, "python")]:
        exec(compile(code, "page", "exec"), {})
    assert re.search(rf"^{NUMBER} ml, verdict \w+$", capsys.readouterr().out, re.MULTILINE)
    assert sorted(path.parent.name for path in folder_of_scans.glob("results/*/manifest.json")) == ["exam", "scan"]


@pytest.mark.slow
def test_the_quickstart_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = [command for command in commands(QUICKSTART) if "phantom_000" in command or " phantom " in command]
    assert len(typed) == 2
    for command, printed in zip(typed, snippets(QUICKSTART, "")):
        assert main(shlex.split(command)[1:]) == 0
        assert shape_of(capsys.readouterr().out) == shape_of(printed)


def shape_of(printed: str) -> list[str]:
    """Printed text without numbers, which depend on the processor."""
    return [re.sub(NUMBER, "N", line) if ":" in line else line for line in printed.splitlines()]
