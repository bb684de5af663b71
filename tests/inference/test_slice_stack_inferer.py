"""A volume of any size, run in slabs and tiles, has the same output as if run at once."""

import io
import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.inference import SliceStackInferer
from custom_networks.networks import ContextNet25D

same = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


class Neighbour(nn.Module):
    """Returns for each slice the one `shift` further in its stack of `2 * halo + 1` slices; 0 is the identity.

    Records the shape of every slab.
    """

    def __init__(self, halo: int = 0, shift: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.halo, self.shift, self.stride = halo, shift, stride
        self.shapes: list[tuple[int, ...]] = []

    def slab(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        first = self.halo + self.shift
        return x[..., first : first + x.shape[-1] - 2 * self.halo]


class Wrapper(nn.Module):
    """Hides the network's own attributes, as DistributedDataParallel does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def arange_volume(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def with_spacing(volume: Tensor, millimetres: float) -> MetaTensor:
    """Slices `millimetres` apart on a rotated grid, with pixels of another size."""
    affine = torch.tensor(
        [[0.0, 0.9, 0.6, 10.0], [0.0, 0.0, 0.8, -20.0], [0.7, 0.0, 0.0, 30.0], [0.0, 0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    affine[:3, 2] *= millimetres  # the direction (0.6, 0.8, 0) has length 1
    return MetaTensor(volume, affine=affine)


def logits_of(volume: Tensor, network: nn.Module, **options: Any) -> Tensor:
    return SliceStackInferer(precision="float32", compact=False, **options)(volume, network)


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 13),
    slab=st.integers(1, 6),
    halo=st.integers(0, 3),
    millimetres=st.sampled_from([0.7, 1.0, 1.6, 2.0, 5.0]),
)
def test_identity_network_gives_the_volume_back(depth: int, slab: int, halo: int, millimetres: float) -> None:
    volume = arange_volume(2, 1, 3, 4, depth)
    answer = logits_of(with_spacing(volume, millimetres), Neighbour(halo), slab=slab)
    assert torch.equal(answer.as_tensor(), volume)  # type: ignore[attr-defined]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    roi=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_identity_network_gives_the_volume_back_from_tiles(
    height: int, width: int, roi: tuple[int, int], overlap: float
) -> None:
    network, volume = Neighbour(stride=4), arange_volume(1, 2, height, width, 2)
    same(logits_of(volume, network, roi_size=roi, overlap=overlap), volume, atol=1e-4)
    for shape in network.shapes:
        assert shape[2] % 4 == 0 and shape[3] % 4 == 0
        assert shape[2] <= max(4, roi[0]) and shape[3] <= max(4, roi[1])


@pytest.mark.parametrize("millimetres, step", [(0.7, 4), (1.0, 3), (2.0, 2), (2.5, 1), (5.0, 1)])
@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_neighbours_of_a_slice_are_one_step_apart_and_end_slices_are_repeated(
    millimetres: float, step: int, shift: int
) -> None:
    depth = 11
    expected = []
    for own in range(depth):
        neighbour = own + shift * step
        while neighbour < 0:
            neighbour += step
        while neighbour >= depth:
            neighbour -= step
        expected.append(neighbour)
    answer = logits_of(with_spacing(arange_volume(1, 1, 1, 1, depth), millimetres), Neighbour(2, shift), slab=3)
    assert answer.flatten().tolist() == expected


@pytest.mark.parametrize("millimetres, step", [(1.0, 3), (2.0, 2), (5.0, 1)])
@torch.no_grad()
def test_thin_slices_are_run_as_interleaved_volumes(millimetres: float, step: int, network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 10)
    answer = logits_of(with_spacing(volume, millimetres), network, slab=3)
    for offset in range(step):
        same(answer.as_tensor()[..., offset::step], network(volume[..., offset::step]))  # type: ignore


@pytest.mark.parametrize("depth, slab", [(1, 16), (3, 16), (7, 3), (6, 2), (5, 1)])
@torch.no_grad()
def test_a_batch_in_slabs_equals_the_network_on_the_whole(depth: int, slab: int, network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(2, 1, 8, 12, depth)
    same(logits_of(volume, network, slab=slab), network(volume))


def test_every_slice_is_run_once_in_slabs_of_the_given_size() -> None:
    network = Neighbour(halo=2)
    logits_of(with_spacing(arange_volume(1, 1, 4, 4, 15), 1.0), network, slab=3)
    # three interleaved volumes of five slices: slabs of three and two, each with two more at either end
    assert [shape[-1] for shape in network.shapes] == [7, 6, 7, 6, 7, 6]


def test_a_plain_tensor_has_no_spacing_and_is_run_with_consecutive_slices() -> None:
    answer = logits_of(arange_volume(1, 1, 1, 1, 5), Neighbour(1, shift=1))
    assert answer.flatten().tolist() == [1, 2, 3, 4, 4]


def test_context_spacing_sets_the_step() -> None:
    volume = with_spacing(arange_volume(1, 1, 1, 1, 6), 2.5)
    answer = logits_of(volume, Neighbour(1, shift=1), context_spacing=5.0)
    assert answer.flatten().tolist() == [2, 3, 4, 5, 4, 5]


@torch.no_grad()
def test_slices_are_padded_to_the_stride_with_air_and_cropped_again(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.rand(1, 1, 6, 9, 3)
    padded = F.pad(volume, [0, 0, 0, 3, 0, 2])  # to 8 x 12; zero is the darkest intensity
    same(logits_of(volume, network), network(padded)[:, :, :6, :9])


@torch.no_grad()
def test_tiles_of_a_pixelwise_network_agree_with_the_whole() -> None:
    torch.manual_seed(1)
    pixelwise, volume = nn.Sequential(nn.Conv3d(1, 3, 1)), torch.randn(1, 1, 19, 27, 3)
    same(logits_of(volume, pixelwise, roi_size=(8, 8)), pixelwise(volume))


@torch.no_grad()
def test_tiles_are_blended_by_the_distance_from_their_centres() -> None:
    class TileMean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3), keepdim=True).expand_as(x)

    volume = torch.zeros(1, 1, 8, 12, 1)
    volume[:, :, :, 8:] = 1
    # tiles of columns 0-7 and 4-11 have the means 0 and 0.5
    row = logits_of(volume, TileMean(), roi_size=(8, 8), overlap=0.5)[0, 0, 0, :, 0]
    assert row[:4].tolist() == [0] * 4 and row[8:].tolist() == [0.5] * 4
    assert (row.diff() >= 0).all() and 0 < row[4] < row[7] < 0.5
    assert (row[4:8] + row[4:8].flip(0)).tolist() == pytest.approx([0.5] * 4)  # the weights mirror each other


def test_a_network_without_slab_is_called_directly() -> None:
    volume = arange_volume(1, 2, 5, 3, 4)
    assert torch.equal(logits_of(volume, nn.Identity(), slab=3), volume)


@torch.no_grad()
def test_a_wrapped_network_has_the_same_output(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 4)
    alone = logits_of(volume, network)
    assert torch.equal(logits_of(volume, Wrapper(network)), alone)
    assert torch.equal(logits_of(volume, nn.DataParallel(network, device_ids=[])), alone)


@torch.no_grad()
def test_a_scripted_network_has_the_same_output_after_saving_and_loading(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    volume = with_spacing(torch.randn(1, 1, 6, 9, 7), 1.6)  # padded, two interleaved volumes, halo
    same(logits_of(volume, loaded, slab=3), logits_of(volume, network, slab=3))


@torch.no_grad()
def test_compact_output_is_the_rounded_softmax_times_255(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = 3 * torch.randn(2, 1, 8, 8, 5)
    compact = SliceStackInferer(precision="float32")(volume, network)
    assert compact.dtype == torch.uint8 and compact.shape == (2, 3, 8, 8, 5)
    expected = (network(volume).double().softmax(1) * 255).round()
    assert (compact.double() - expected).abs().max() <= 1  # a float32 next to a half may round the other way
    assert (compact.double() == expected).double().mean() > 0.999


def test_compact_output_spans_0_to_255() -> None:
    logits = torch.tensor([30.0, -30.0, 0.0]).view(1, 3, 1, 1, 1)
    assert SliceStackInferer(precision="float32")(logits, nn.Identity()).flatten().tolist() == [255, 0, 0]
    equal = torch.zeros(1, 3, 1, 1, 1)
    assert SliceStackInferer(precision="float32")(equal, nn.Identity()).flatten().tolist() == [85, 85, 85]


@pytest.mark.parametrize("compact", [True, False])
def test_the_output_for_a_metatensor_is_a_metatensor_with_the_same_affine(compact: bool) -> None:
    volume = with_spacing(arange_volume(1, 2, 4, 4, 5), 2.5)
    volume.meta["filename_or_obj"] = "case.nii.gz"
    answer = SliceStackInferer(precision="float32", compact=compact)(volume, nn.Identity())
    assert isinstance(answer, MetaTensor)
    assert torch.equal(answer.affine, volume.affine)
    assert answer.meta["filename_or_obj"] == "case.nii.gz"
    assert torch.equal(volume.as_tensor(), arange_volume(1, 2, 4, 4, 5))


def test_the_output_for_a_plain_tensor_is_a_plain_tensor_without_gradient(network: ContextNet25D) -> None:
    answer = logits_of(torch.zeros(1, 1, 4, 4, 2), network)
    assert type(answer) is Tensor and not answer.requires_grad


def test_a_batch_of_affines_shares_a_step_and_keeps_the_affines() -> None:
    pair = arange_volume(2, 1, 2, 2, 6)
    affines = torch.stack([with_spacing(pair[:1], spacing).affine for spacing in (1.5, 2.0)])
    answer = logits_of(MetaTensor(pair, affine=affines), Neighbour(1, shift=1))
    assert torch.equal(answer.affine, affines)  # type: ignore[attr-defined]
    assert torch.equal(answer.as_tensor(), pair[..., [2, 3, 4, 5, 4, 5]])  # type: ignore[attr-defined]


def test_a_batch_of_volumes_that_need_different_steps_is_refused() -> None:
    pair = arange_volume(2, 1, 2, 2, 6)
    affines = torch.stack([with_spacing(pair[:1], spacing).affine for spacing in (1.0, 5.0)])
    with pytest.raises(ValueError, match=r"\[1.0, 5.0\] mm: run them one by one"):
        logits_of(MetaTensor(pair, affine=affines), Neighbour(1))


@torch.no_grad()
def test_bfloat16_logits_are_float32_and_close_to_those_of_float32(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 4)
    half = SliceStackInferer(precision="bfloat16", compact=False)(volume, network)
    full = logits_of(volume, network)
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    same(half, full, rtol=0, atol=0.1 * float(full.abs().max()))


class RanOn(Exception):
    pass


class SaysDevice(nn.Module):
    def slab(self, x: Tensor) -> Tensor:
        raise RanOn(x.device.type)


@pytest.mark.parametrize("sw_device, expected", [(None, "cpu"), ("cpu", "cpu"), (torch.device("meta"), "meta")])
def test_slabs_are_run_on_sw_device(
    sw_device: torch.device | str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the meta device has no autocast
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    with pytest.raises(RanOn, match=expected):
        SliceStackInferer(precision="float32", sw_device=sw_device)(torch.zeros(1, 1, 4, 4, 2), SaysDevice())


@pytest.mark.parametrize("device, expected", [(None, "cpu"), ("cpu", "cpu"), (torch.device("meta"), "meta")])
def test_the_output_is_assembled_on_device(device: torch.device | str | None, expected: str) -> None:
    answer = logits_of(torch.zeros(1, 1, 4, 4, 2), nn.Identity(), device=device)
    assert answer.device.type == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_slabs_run_on_the_gpu_and_the_output_is_on_the_inputs_device(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 7)
    expected = network(volume)
    try:
        answer = logits_of(volume, network.to("cuda"), slab=3, sw_device="cuda")
    finally:
        network.to("cpu")
    assert answer.device.type == "cpu"
    same(answer, expected, rtol=1e-3, atol=1e-3)  # TF32 convolutions


def test_a_progress_bar_is_shown_on_request_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits_of(torch.zeros(1, 1, 4, 4, 6), nn.Identity(), slab=2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    logits_of(torch.zeros(1, 1, 4, 4, 6), nn.Identity(), slab=2, progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logits_of(torch.zeros(1, 1, 4, 4, 6), nn.Identity(), slab=2, progress=True)
    captured = capsys.readouterr()
    assert "slabs" in captured.err and "3/3" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    "options, message",
    [
        ({"slab": 0}, "slab must be at least one slice, got 0"),
        ({"overlap": 1.0}, "overlap must be at least 0 and below 1, got 1.0"),
        ({"overlap": -0.1}, "overlap must be at least 0 and below 1, got -0.1"),
        ({"roi_size": [-1, -1]}, r"height and a width in pixels, got \[-1, -1\]"),
        ({"roi_size": [512, 512, -1]}, r"height and a width in pixels, got \[512, 512, -1\]"),
        ({"roi_size": [512]}, r"height and a width in pixels, got \[512\]"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SliceStackInferer(**options)


def test_unknown_precision_and_context_spacing_are_refused_when_run() -> None:
    volume = with_spacing(torch.zeros(1, 1, 4, 4, 2), 1.0)
    with pytest.raises(ValueError, match="precision must be one of"):
        SliceStackInferer(precision="half")(volume, nn.Identity())
    with pytest.raises(ValueError, match="positive"):
        SliceStackInferer(precision="float32", context_spacing=0.0)(volume, nn.Identity())


def test_a_volume_without_slices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no slices: shape \(1, 1, 4, 4, 0\)"):
        logits_of(torch.zeros(1, 1, 4, 4, 0), nn.Identity())
