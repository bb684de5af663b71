"""Any damaged header is either read completely or refused in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_networks.errors import InputError
from custom_networks.io.image_files import read_file

sys.path.insert(0, str(Path(__file__).parents[1] / "hostile"))
from inputs_volume_files import SHAPE, meta, nifti, nrrd, voxels  # noqa: E402

FILES = {"ct.nii": nifti(), "ct.nrrd": nrrd(), "ct.mha": meta()}
HEADER = {name: len(content) - voxels().nbytes for name, content in FILES.items()}
bend = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refused(path: Path) -> None:
    try:
        volume = read_file(path, None)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
    else:
        assert volume.array.shape == SHAPE and np.isfinite(volume.affine).all()


@pytest.mark.parametrize("name", list(FILES))
@given(data=st.data())
@bend
def test_headers_with_replaced_bytes_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, HEADER[name] - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    read_or_refused(tmp_path / name)


WORDS = st.one_of(
    st.sampled_from(["none", "nan", "inf", "-1", "0", "1e999", "%s%n", "LIST", "/dev/zero", "..", "(1,2,3)", '"m"']),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.text(max_size=12),
    st.sampled_from(["9", "(", "x"]).map(lambda letter: letter * 5000),
)
FIELDS = {
    "ct.nrrd": [
        *("type", "dimension", "space", "sizes", "space directions", "endian", "encoding", "space origin", "data file"),
        *("space units", "byte skip", "line skip", "kinds", "spacings", "foo"),
    ],
    "ct.mha": [
        *("NDims", "DimSize", "ElementType", "ElementSpacing", "TransformMatrix", "Offset", "CompressedData"),
        *("BinaryData", "CompressedDataSize", "HeaderSize", "DistanceUnits", "ElementNumberOfChannels"),
        *("ElementDataFile", "Comment"),
    ],
}


@pytest.mark.parametrize("name, write", [("ct.nrrd", nrrd), ("ct.mha", meta)])
@given(data=st.data())
@bend
def test_text_headers_with_replaced_values_are_read_or_refused(
    tmp_path: Path, name: str, write: object, data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from(FIELDS[name]))
    value = " ".join(data.draw(st.lists(WORDS, max_size=4)))
    content = write({field: value})  # type: ignore[operator]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    read_or_refused(tmp_path / name)
