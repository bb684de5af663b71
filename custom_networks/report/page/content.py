"""The content of report.html and the PDF, taken from report.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from custom_networks.report.pictures import lesion_title

Report = Mapping[str, Any]
Fact = tuple[str, str]

MEANINGS = {
    "ok": "No problem was found.",
    "look": "Look at the result before you use it.",
    "stop": "Do not use the result unless you have checked it yourself.",
}
BY_PERSON = "A person made or corrected this mask; the program only measured it."
PATIENT_TEXT = {
    "PatientName": "Patient",
    "PatientID": "Patient ID",
    "PatientBirthDate": "Born",
    "PatientSex": "Sex",
    "StudyDate": "Study date",
    "AccessionNumber": "Accession number",
    "SeriesDescription": "Series",
}


def patient_text(headers: Sequence[Dataset]) -> dict[str, str]:
    """Return the attributes in PATIENT_TEXT that are not empty in the first slice's header, by their labels."""
    texts = {name: str(headers[0].get(keyword) or "") for keyword, name in PATIENT_TEXT.items()} if headers else {}
    return {name: text for name, text in texts.items() if text}


def verdict_of(report: Report) -> dict[str, Any] | None:
    """Return the verdict's level, meaning and findings, or None if the report has no verdict."""
    verdict = report.get("verdict")
    if not verdict:
        return None
    return {"level": verdict["level"], "meaning": MEANINGS.get(verdict["level"], ""), "findings": verdict["findings"]}


def by_person(report: Report) -> bool:
    """Whether a person made or corrected the mask; if so, lesions have no confidence."""
    return bool(report["mask_by"] == "person")


def source_facts(report: Report) -> list[Fact]:
    """Return facts about the input, without text about the patient."""
    source = report["run"]["source"]
    spacing, number = source["spacing_mm"], source["series_number"]
    facts = [
        ("Slices", source["slices"]),
        ("Voxel, mm", " x ".join(f"{mm:.2f}" for mm in spacing) if spacing else None),
        ("Series number", number),
        ("Seen by the network", _seen_by_network(report)),
        ("Mask", Path(report["run"]["mask"]["file"]).name if by_person(report) else None),
    ]
    return [(name, str(value)) for name, value in facts if value is not None]


def _seen_by_network(report: Report) -> str | None:
    """Return which part of the scan was segmented, or None for a person's mask."""
    if by_person(report):
        return None
    return "a box around the liver" if report["run"]["scout"]["state"] == "found" else "the whole scan"


def made_facts(report: Report) -> list[Fact]:
    """Return facts about how the result was made: versions, date, and the network or the measured mask."""
    run = report["run"]
    return [
        ("Version", f"{report['software']['name']} {report['software']['version']}"),
        *([("Mask, SHA-256", run["mask"]["sha256"][:16])] if by_person(report) else _network_facts(run)),
        ("Date", run["date"]),
        ("Report", f"report.json {report['schema_version']}"),
    ]


def _network_facts(run: Mapping[str, Any]) -> list[Fact]:
    """Return facts about the weights and how the network was run."""
    weights = run["weights"]
    return [
        ("Weights, SHA-256", f"{weights['sha256'][:16]}, {'released' if weights['released'] else 'not released'}"),
        ("Run", f"{run['runtime']}, {run['precision']}, {run['device']}{', fast' if run['fast'] else ''}"),
        ("Processor", run["processor"]),
    ]


def segments_of(report: Report) -> dict[str, Any]:
    """Return `volumes`, pairs of a segment's Roman numeral and its volume in ml, and `of_lesions`.

    The latter has the segments of each lesion as text, such as "VIII, VII", by the lesion's id.
    """
    table = (report.get("segments") or {}).get("table", [])
    roman = {row["segment"]: row["roman"] for row in table}
    of_lesions = {
        lesion["id"]: ", ".join(roman[item["segment"]] for item in lesion["segments"])
        for lesion in report["lesions"]
        if lesion.get("segments")
    }
    return {"volumes": [(row["roman"], row["volume_ml"]) for row in table], "of_lesions": of_lesions}


def viewer_data(report: Report) -> dict[str, Any]:
    """Return the lesions' data for the viewer's script, with points in LPS mm."""
    return {
        "lesions": [
            {
                "id": lesion["id"],
                "title": lesion_title(
                    lesion["id"], lesion["longest_mm"], lesion["perpendicular_mm"], lesion["slice_number"]
                ),
                "centroid": lesion["centroid"],
                "longestEnds": lesion["longest_ends"],
                "perpendicularEnds": lesion["perpendicular_ends"],
                "heightMm": lesion["extent_mm"][2],
            }
            for lesion in report["lesions"]
        ]
    }
