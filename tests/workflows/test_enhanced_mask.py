"""The shipped weights have the same results for an enhanced CT as for the classic series it was made from."""

from pathlib import Path

import enhanced_scene as scene
import numpy as np
import pytest
from pydicom import dcmread

from custom_networks.api import segment
from custom_networks.io.dicom.case import dicom_case


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_enhanced_ct_has_the_same_mask_and_seg_as_the_classic_series(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="highdicom, of the extra dicom, makes enhanced CT")
    folder = shared_data / "dicom" / "liver_siemens_kits00072_plus_foreign_topogram"
    files = [Path(str(header.file)) for header in dicom_case(folder).stack.slices]
    image = scene.converted(files, tmp_path / "exam" / "image")
    classic = segment(folder, tmp_path / "classic", overlay=False, device="cpu")
    enhanced = segment(image.parent, tmp_path / "enhanced", overlay=False, device="cpu")
    assert np.array_equal(classic.labels, enhanced.labels) and classic.labels.any()
    assert np.array_equal(classic.ct.affine, enhanced.ct.affine)
    segs = [dcmread(next((tmp_path / name).rglob("*_seg.dcm"))) for name in ("classic", "enhanced")]
    assert segs[0].PixelData == segs[1].PixelData and segs[0].NumberOfFrames == segs[1].NumberOfFrames
