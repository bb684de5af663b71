"""What was scored of folds is summed up by mask and way."""

from pathlib import Path

from custom_networks.files import write_csv
from custom_networks.tuning.segments import CASE_COLUMNS, LESION_COLUMNS, summary


def test_the_summary_counts_cases_segments_and_lesions(tmp_path: Path) -> None:
    rows = [[0, name, "expert", "planes", *[dice] * 8, dice] for name, dice in (("a", 0.8), ("b", 0.6))]
    lesions = [
        [0, "a", "expert", "planes", n, volume, 5, found, False] for n, volume, found in ((1, 900, 5), (2, 9, 8))
    ]
    write_csv(tmp_path / "cases.csv", CASE_COLUMNS, rows)
    write_csv(tmp_path / "lesions.csv", LESION_COLUMNS, lesions)
    lines = list(summary(tmp_path))
    assert lines[0] == "expert liver, planes: mean 0.700 of 2 cases; segments 1 to 8: " + " ".join(["0.700"] * 8)
    assert lines[1:] == [
        "  lesions in the right segment: 1 of 2",
        "  lesions of 0.52 ml and more in the right segment: 1 of 1",
    ]
