"""`liverseg measure`: measure a mask that a person made or corrected."""

from pathlib import Path

from custom_networks.commands.terminal import BANNER, OK, SOME_FAILED, complain, say
from custom_networks.errors import InputError


def measure(
    ct: str,
    mask: str,
    *,
    output: str,
    earlier: str | None = None,
    overlay: bool = True,
    keep_empty_frames: bool = False,
    allow_large: bool = False,
) -> int:
    """Measure a mask that a person made or corrected, for example in 3D Slicer or MONAI Label.

    Writes the same files as `liverseg segment`, marked as a person's mask and without confidence, to OUTPUT/<case>, or
    to OUTPUT/<case>_measured if OUTPUT/<case> has the network's result. `liverseg segment` never replaces them. Exit
    code 0: measured; 1: the CT or the mask was refused, or summary.csv could not be written; 2: nothing could start.

    Args:
        ct: a NIfTI, NRRD or MetaImage file, or a folder or zip archive of DICOM files.
        mask: its mask on the same grid: NIfTI, NRRD or MetaImage (0 background, 1 liver, 2 tumor), or a DICOM SEG.
        output: folder for the results.
        earlier: a report.json whose lesions keep their numbers; by default the one in the mask's folder.
        overlay: draw overlay.png.
        keep_empty_frames: write a DICOM SEG frame for every slice and segment, which some viewers need.
        allow_large: read inputs that exceed the memory limits; the limits on physical size still apply.

    Examples:
        liverseg measure ct.nii.gz corrected.nrrd --output results
        liverseg measure exam/ corrected_seg.dcm -o results --earlier results/exam/report.json
    """
    from dataclasses import replace

    from custom_networks.batch.run import KeptSummary, ready_folder
    from custom_networks.commands.talk import case_lines, note_lines
    from custom_networks.io import only_case
    from custom_networks.measured import measure_mask
    from custom_networks.result import write

    say(BANNER, "stderr")
    try:
        case = replace(only_case(ct), allow_large=allow_large)
        folder = ready_folder(output)
        result = measure_mask(case, mask, folder, earlier)
        result = write(result, folder, overlay=overlay, keep_empty_frames=keep_empty_frames)
    except InputError as error:
        complain(str(error))
        return SOME_FAILED
    for line in note_lines(result):
        say(line, "stderr")
    for line in case_lines(result):
        say(line)
    if unwritten := KeptSummary(Path(folder), {}).write():
        complain(unwritten)
    return SOME_FAILED if unwritten else OK
