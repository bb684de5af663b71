"""The inputs, outputs, commands and exit codes of `liverseg`, for people and for other programs."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from custom_networks import __version__
from custom_networks.arguments import DEBUG
from custom_networks.bundle_files import bundle_root, metadata

OUTPUTS = {
    "<case>/<case>_seg.nii.gz": "label map on the input's grid, uint8",
    "<case>/<case>_tumor_probability.nii.gz": "with --probability: tumor probability, 0 to 1, stored as uint8 x 255",
    "<case>/<case>_segments.nii.gz": "with --segments: Couinaud's segments of the liver, 1 to 8, uint8",
    "<case>/segments.csv": "with --segments: a row for each segment",
    "<case>/<case>_segments.dcm": "with --segments, for DICOM inputs: segments 1 to 8",
    "<case>/<case>_seg.dcm": "for DICOM inputs: segments of the liver and of each lesion",
    "<case>/<case>_sr.dcm": "for DICOM inputs: measurements, TID 1500",
    "<case>/report.json": "volumes and lesions",
    "<case>/lesions.csv": "a row for each lesion",
    "<case>/report.html": "page with viewer, lesions and key images, in a single file",
    "<case>/thumbnail.jpg": "thumbnail for index.html",
    "<case>/overlay.png": "outlines over the CT, every lesion",
    "<case>/<case>_key_<n>.dcm": "with --key-images, for DICOM inputs: key images as secondary captures",
    "<case>/<case>_report.dcm": "with --pdf, for DICOM inputs: an encapsulated PDF of two pages",
    "<case>/manifest.json": "the input, and the files with their SHA-256",
    "summary.csv": "a row for each case",
    "index.html": "sortable list of the cases with thumbnails and links",
}
DEBUG_HELP = "log everything, including the traceback of a failure; messages of libraries can contain patient data."
EXIT_CODES = {
    0: "every input was segmented",
    1: "at least one input was refused or failed, the others are written; verify: results have changed",
    2: "nothing could start: wrong usage, no path that could be an image, missing or wrong weights, an unavailable "
    "device, or an output folder that cannot be written",
    130: "interrupted; the cases reported so far are written",
}


def known_facts(commands: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """Version, labels, inputs, outputs, commands with their flags, and exit codes, ready for JSON.

    Descriptions are taken from the docstrings and signatures of the commands' functions.

    Raises:
        BundleError: the bundle is not found, or its metadata.json cannot be read.
    """
    from custom_networks.io.files import MEDICAL_SUFFIXES
    from custom_networks.report.report import DISCLAIMER, SCHEMA, SCHEMA_VERSION

    bundle = metadata(bundle_root())
    return {
        "name": "liverseg",
        "version": __version__,
        "bundle_version": bundle["version"],
        "disclaimer": DISCLAIMER,
        "labels": bundle["network_data_format"]["outputs"]["pred"]["channel_def"],
        "inputs": {
            "modality": "CT",
            "files": list(MEDICAL_SUFFIXES),
            "folders": ["these files", "DICOM files at any depth"],
            "archives": [".zip of DICOM files"],
            "one_series": "PATH::N takes the series that `liverseg series PATH` numbers N",
        },
        "outputs": OUTPUTS,
        "report_schema": {"version": SCHEMA_VERSION, "path": str(SCHEMA)},
        "commands": {name: _command(function) for name, function in commands.items()},
        "exit_codes": {str(code): meaning for code, meaning in EXIT_CODES.items()},
    }


def info_lines(known: Mapping[str, Any]) -> list[str]:
    """Format the result of `known_facts` as lines of text."""
    lines = [
        f"{known['name']} {known['version']}, bundle {known['bundle_version']}. {known['disclaimer']}",
        f"labels   {', '.join(f'{label} {name}' for label, name in known['labels'].items())}",
        f"inputs   CT as {', '.join(known['inputs']['files'])}; folders of {', '.join(known['inputs']['folders'])}; "
        f"{', '.join(known['inputs']['archives'])}; {known['inputs']['one_series']}",
    ]
    lines += [f"output   {name}: {what}" for name, what in known["outputs"].items()]
    for name, command in known["commands"].items():
        lines.append(f"command  {name}: {command['summary']}")
        for a in command["arguments"]:
            flag = "--" + a["name"].replace("_", "-")
            lines.append(f"           {flag if a['flag'] else a['name'].upper()}: {a['help']}")
    return lines + [f"exit {code:>3} {meaning}" for code, meaning in known["exit_codes"].items()]


def _command(function: Callable[..., Any]) -> dict[str, Any]:
    """Summary and arguments of a command, from its function."""
    doc = inspect.getdoc(function) or ""
    return {"summary": doc.partition("\n")[0], "arguments": described_arguments(function)}


def described_arguments(function: Callable[..., Any]) -> list[dict[str, Any]]:
    """Name, type, default and help of each argument of a command, and of the switch --debug, which all commands have.

    They are taken from the signature and docstring of the command's function.
    """
    block = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", block, flags=re.MULTILINE)
    help_of = {name: " ".join(text.split()) for name, text in entries}
    own = [_argument(p, help_of.get(p.name, "")) for p in inspect.signature(function).parameters.values()]
    return [
        *own,
        {"name": DEBUG, "flag": True, "type": "bool", "required": False, "default": False, "help": DEBUG_HELP},
    ]


def _argument(parameter: inspect.Parameter, text: str) -> dict[str, Any]:
    """Name, type, default and help of one parameter of a command."""
    kind = (getattr(parameter.annotation, "__name__", None) or str(parameter.annotation)).removesuffix(" | None")
    flag, required = parameter.kind is parameter.KEYWORD_ONLY, parameter.default is parameter.empty
    default = {} if required else {"default": parameter.default}
    return {"name": parameter.name, "flag": flag, "type": kind, "required": required, **default, "help": text}
