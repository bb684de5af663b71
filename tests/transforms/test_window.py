import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRanged

from custom_networks.errors import UsageError
from custom_networks.transforms import WindowIntensityd


def test_a_window_is_clipped_and_scaled_to_zero_to_one() -> None:
    hu = torch.tensor([-1024, -160, 40, 240, 3000], dtype=torch.int16)
    windowed = WindowIntensityd("image", [-160, 240])({"image": hu})["image"]
    assert windowed.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert hu.tolist() == [-1024, -160, 40, 240, 3000]


def test_the_result_equals_monais_and_keeps_the_metadata() -> None:
    image = MetaTensor(
        torch.linspace(-500, 500, 60).reshape(1, 3, 4, 5), affine=torch.diag(torch.tensor([2.0, 3, 4, 1]))
    )
    ours = WindowIntensityd("image", [-160, 240])({"image": image})["image"]
    theirs = ScaleIntensityRanged("image", -160, 240, 0.0, 1.0, clip=True)({"image": image})["image"]
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, image.affine)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(UsageError, match="from low to high, got"):
        WindowIntensityd("image", [240, -160])
