"""The commands `series`, `phantom`, `pack` and `export`."""

from pathlib import Path

from custom_networks.bundle_files import bundle_version
from custom_networks.commands.terminal import OK, say
from custom_networks.errors import UsageError


def series(path: str) -> int:
    """List the DICOM series of a folder or zip archive, and which of them would be segmented or skipped, and why.

    Args:
        path: a folder (of any depth) or zip archive of DICOM files.

    Examples:
        liverseg series exam.zip
    """
    from custom_networks.io import list_dicom
    from custom_networks.io.files import is_zip

    source = Path(path).expanduser()
    if not source.is_dir() and not (source.is_file() and is_zip(source)):
        raise UsageError(f"{source} is neither a folder nor a zip archive: give one that contains DICOM files.")
    for line in list_dicom(source):
        say(line)
    return OK


def phantom(output: str, *, cases: int = 1, seed: int = 0, format: str = "nifti") -> int:
    """Write synthetic abdominal CT with exact ground truth, in the layout of the Medical Segmentation Decathlon.

    Args:
        output: folder to write to.
        cases: number of cases.
        seed: random seed; the same seed gives the same cases.
        format: nifti or dicom.

    Examples:
        liverseg phantom phantoms --cases 2 --format dicom
    """
    from custom_networks.phantom import write_phantoms

    for path in write_phantoms(output, cases, seed, format):  # type: ignore[arg-type]
        say(str(path))
    return OK


def pack(output: str, *, weights_url: str | None = None) -> int:
    """Pack the bundle and the code that it needs into a reproducible zip archive.

    The archive contains one folder, liver_tumor_ct_25d, which MONAI can run without this package. The bundle is checked
    first.

    Args:
        output: the archive to write, OUT.zip.
        weights_url: leave out files over 1 MiB, and give this address for them in large_files.yml; if it ends
            in /, each file's path in the bundle is appended.

    Examples:
        liverseg pack liver_tumor_ct_25d.zip
    """
    from custom_networks.packing import pack_bundle

    packed = pack_bundle(output, weights_url)
    say(f"{packed.path}: version {bundle_version()}, {len(packed.files)} files, {packed.size} bytes")
    say(f"  sha256  {packed.sha256}")
    for name, size in packed.left_out.items():
        say(f"  left out {name}, {size} bytes")
    return OK


def export(format: str, output: str, *, bundle: str | None = None, checkpoint: str | None = None) -> int:
    """Export the network to a file that runs without this package, and check that it computes the same output.

    The exported network accepts any batch size and depth, and heights and widths that are multiples of 16.
    Reading, resampling and the anatomy rules are not included.

    Args:
        format: torchscript or onnx.
        output: the file to write, OUT.ts or OUT.onnx.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.

    Examples:
        liverseg export onnx network.onnx
    """
    from custom_networks.packing.export import export_network

    exported = export_network(format, output, bundle, checkpoint)
    say(f"{exported.path}: {format}, {exported.size} bytes")
    say(f"  sha256  {exported.sha256}")
    say(f"  logits differ from the network's by at most {exported.difference:.1e}")
    return OK
