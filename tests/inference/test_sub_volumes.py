"""Running some sub-volumes and interpolating the slices between them."""

import pytest
import torch

from custom_networks.inference import SliceStackInferer
from custom_networks.inference.sub_volumes import chosen_offsets, fill_between


def test_sub_volumes_are_spread_evenly() -> None:
    assert [chosen_offsets(4, wanted) for wanted in (1, 2, 3, 4, 9, None)] == [
        {0},
        {0, 2},
        {0, 1, 2},
        {0, 1, 2, 3},
        {0, 1, 2, 3},
        {0, 1, 2, 3},
    ]
    assert chosen_offsets(1, 1) == {0}


def test_slices_between_are_interpolated_and_ends_are_repeated() -> None:
    answer = torch.zeros(1, 2, 1, 1, 8, dtype=torch.uint8)
    answer[0, :, 0, 0, 1], answer[0, :, 0, 0, 5] = torch.tensor([0, 200]), torch.tensor([101, 0])
    fill_between(answer, [1, 5])
    assert answer[0, 0].flatten().tolist() == [0, 0, 25, 50, 76, 101, 101, 101]  # 25.25, 50.5 to even, 75.75
    assert answer[0, 1].flatten().tolist() == [200, 200, 150, 100, 50, 0, 0, 0]


def test_predicted_slices_are_not_changed() -> None:
    answer = torch.rand(1, 3, 2, 2, 5)
    kept = answer.clone()
    fill_between(answer, range(5))
    assert torch.equal(answer, kept)


def test_a_single_sub_volume_equals_that_of_the_full_output() -> None:
    volume = torch.rand(1, 1, 16, 16, 11)
    seen: list[int] = []

    def network(stack: torch.Tensor) -> torch.Tensor:
        seen.append(stack.shape[-1])
        return torch.cat([stack, 1 - stack], dim=1)

    thin = _thin(volume)
    full = SliceStackInferer(compact=False)(thin, network)
    answered, seen[:] = sum(seen), []
    one = SliceStackInferer(compact=False, sub_volumes=1)(thin, network)
    assert (answered, sum(seen)) == (11, 4)  # slices 0, 3, 6, 9
    assert torch.equal(one[..., ::3], full[..., ::3])
    assert torch.allclose(one[..., 4], full[..., 3] * 2 / 3 + full[..., 6] / 3)
    assert torch.equal(one[..., 10], one[..., 9])


def test_a_number_of_sub_volumes_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="sub_volumes must be at least one"):
        SliceStackInferer(sub_volumes=0)


def _thin(volume: torch.Tensor) -> torch.Tensor:
    """The volume with slices 1 mm apart, so that a stack has every third slice."""
    from monai.data import MetaTensor

    return MetaTensor(volume, affine=torch.eye(4, dtype=torch.float64))
