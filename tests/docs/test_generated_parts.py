"""Tables on the pages that repeat the code are up to date."""

import re
import sys

from pages import ROOT

from custom_networks import __version__
from custom_networks.cli import COMMANDS
from custom_networks.info import EXIT_CODES

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

from report_keys import PAGE, page, table  # noqa: E402


def test_the_table_of_report_keys_is_made_from_the_schema() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python tests/benchmarks/report_keys.py --write"


def test_the_table_includes_keys_inside_lists_and_references() -> None:
    for key in ("liver.volume_ml", "verdict.findings[].code", "lesions[].longest_mm", "run.scout.box"):
        assert f"| `{key}` | " in table()


def test_readme_and_agents_list_all_commands_and_exit_codes() -> None:
    agents, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("AGENTS.md", "README.md"))
    assert set(re.findall(r"^\| `liverseg (\w+)", agents, re.MULTILINE)) == set(COMMANDS)
    for text in (agents, readme):
        assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == set(EXIT_CODES)


def test_the_citation_has_the_version_of_the_package() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
