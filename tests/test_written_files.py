"""Files are written atomically, and tables open safely in a spreadsheet."""

import os
import stat
from pathlib import Path

import pytest

from custom_networks.files import atomic_write, write_csv, write_text


def test_a_file_gets_its_name_at_the_end_of_the_block_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ct.nii.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".nii.gz") and not path.exists()
        temporary.write_bytes(b"voxels")
    assert path.read_bytes() == b"voxels" and list(path.parent.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "earlier")
    with pytest.raises(RuntimeError, match="disk"):
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk is full")
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def test_two_writers_use_different_temporary_files(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    with atomic_write(path) as first, atomic_write(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the block that ends last is the one that stays


def test_a_table_has_plain_numbers_and_no_formulas(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, ["case", "ml"], [["=cmd()", -1.5], ["a, b", None], ["+1", True], ["-x", float("nan")], ["@y", 2]])
    assert path.read_text().splitlines() == ["case,ml", "'=cmd(),-1.5", '"a, b",', "'+1,true", "'-x,", "'@y,2"]
    write_csv(path, ["ml"], [[1234.56789], [0.00001234567]], digits=6)
    assert path.read_text().splitlines() == ["ml", "1234.57", "1.23457e-05"]


def test_a_name_that_is_not_unicode_can_be_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"ct\xff.nii")
    write_csv(tmp_path / "table.csv", ["input"], [[name]])
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == "ct\\udcff.nii"
