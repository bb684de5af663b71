"""Vary intensities as different scanners and file formats (DICOM, 8-bit windows, JPEG) do.

Ranges were chosen from 33 volumes at 1.25 mm. Their noise in the liver is 10 to 27 HU, and its correlation with the
next pixel 0.2 to 0.54; JPEG copies keep a window of [-45, 160] HU and have only coarse levels outside it.
"""

from collections.abc import Sequence

import torch
from monai.config import KeysCollection

from custom_networks.training.augmentation.rand_image import (
    RandImaged,
    blur_in_plane,
    filter_slices,
    gaussian_kernel,
)

HU_WINDOW = (-160.0, 240.0)  # the HU of intensities 0 and 1


class RandCTNoised(RandImaged):
    """Adds Gaussian noise of a random grain, independent from slice to slice.

    Voxels that the window clips (at 0 and 1) do not change, because air and bone are far outside the window, where
    noise is not visible.

    Args:
        amplitude: range of the standard deviation, in HU.
        grain: range of sigma, in pixels, of the Gaussian that filters the white noise; 0.4 results in a correlation of
            0.2 between neighbours, 0.65 in 0.55.
        window: HU that 0 and 1 stand for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        amplitude: Sequence[float] = (0.0, 20.0),
        grain: Sequence[float] = (0.3, 0.65),
        window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys, prob)
        self.amplitude = tuple(amplitude)
        self.grain = tuple(grain)
        self.width = window[1] - window[0]

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The image with noise added where it is within the window."""
        kernel = gaussian_kernel(self.uniform(self.grain))
        # Filtering along both axes multiplies the standard deviation of white noise by sum(k^2).
        amplitude = self.uniform(self.amplitude) / self.width / float(kernel.square().sum())
        noise = filter_slices(self._white(image.shape, len(kernel) - 1), kernel).permute(0, 2, 3, 1)
        return torch.where((image > 0) & (image < 1), image + amplitude * noise, image)

    def _white(self, shape: Sequence[int], margin: int) -> torch.Tensor:
        """White noise `(C, D, H + margin, W + margin)`, seeded by `self.R`; torch takes a third of NumPy's time."""
        generator = torch.Generator().manual_seed(int(self.R.randint(2**31 - 1)))
        channels, rows, columns, depth = shape
        return torch.randn(channels, depth, rows + margin, columns + margin, generator=generator)


class RandSharpnessd(RandImaged):
    """Imitates softer or sharper reconstruction kernels, within the slices.

    The result is `image + amount * (image - blurred)`: the blurred image for -1, the image itself for 0, and full
    unsharp masking for 1. MONAI's RandGaussianSmoothd and RandGaussianSharpend convolve in 3D, which is ten times
    slower.

    Args:
        amount: range from which `amount` is drawn.
        sigma: range of the blur's sigma, in pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        amount: Sequence[float] = (-1.0, 1.0),
        sigma: Sequence[float] = (0.4, 0.9),
    ) -> None:
        super().__init__(keys, prob)
        self.amount = tuple(amount)
        self.sigma = tuple(sigma)

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The image with detail added or removed."""
        amount = self.uniform(self.amount)
        return torch.lerp(blur_in_plane(image, self.uniform(self.sigma)), image, 1.0 + amount)


class RandQuantised(RandImaged):
    """Rounds intensities as in files with few bits, and sometimes coarsens them outside a narrower window.

    Outside that window, values are either clipped to its ends (8-bit files), or rounded to coarse levels (JPEG copies
    of several windows, in which fat and bone become flat and noise at the window's ends becomes specks).

    Args:
        step: range of the step between values, in HU; its logarithm is drawn uniformly.
        low: range of the narrower window's lower end, in HU.
        high: range of its upper end, in HU.
        coarse: range of the distance between coarse levels, in HU.
        narrow_prob: probability that the window is narrower, given a change.
        coarse_prob: probability of coarse levels instead of clipping, given a narrower window.
        window: HU that 0 and 1 stand for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        step: Sequence[float] = (1.0, 16.0),
        low: Sequence[float] = (-160.0, -45.0),
        high: Sequence[float] = (160.0, 240.0),
        coarse: Sequence[float] = (20.0, 120.0),
        narrow_prob: float = 0.6,
        coarse_prob: float = 0.6,
        window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys, prob)
        self.step = tuple(step)
        self.low = tuple(low)
        self.high = tuple(high)
        self.coarse = tuple(coarse)
        self.narrow_prob = narrow_prob
        self.coarse_prob = coarse_prob
        self.window = tuple(window)

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The rounded image, sometimes clipped or coarsened outside a random window."""
        step = self.step[0] * (self.step[1] / self.step[0]) ** float(self.R.uniform())
        rounded = self._rounded(image, step)
        if self.R.uniform() >= self.narrow_prob:
            return rounded
        low, high = self._fraction(self.uniform(self.low)), self._fraction(self.uniform(self.high))
        inside = rounded.clamp(low, high)
        if self.R.uniform() >= self.coarse_prob:
            return inside
        levels = self._rounded(image, self.uniform(self.coarse)).clamp(0, 1)
        above = torch.where(rounded > high, levels.clamp(min=high), inside)
        return torch.where(rounded < low, levels.clamp(max=low), above)

    def _rounded(self, image: torch.Tensor, step: float) -> torch.Tensor:
        """`image` rounded to multiples of `step` HU from a random origin, because the levels of files differ."""
        width = step / (self.window[1] - self.window[0])
        origin = width * float(self.R.uniform())
        return (image - origin).div_(width).round_().mul_(width).add_(origin)

    def _fraction(self, hu: float) -> float:
        """The intensity, 0 to 1 within the window, of a value in HU."""
        return (hu - self.window[0]) / (self.window[1] - self.window[0])
