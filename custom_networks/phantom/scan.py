"""The scanner: blur of the point spread function, and noise with the grain of a reconstruction kernel."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.phantom.fields import Array, Triple

LOWEST, HIGHEST = -1024, 3071  # what 12 bits hold with the usual intercept of -1024


def _blur(image: Array, sigma_mm: float, spacing: Triple, sigma_slices: float = 0.0) -> Array:
    """Gaussian blur of `sigma_mm` in-plane and of a part of a slice along the stack."""
    sigmas = (sigma_mm / spacing[0], sigma_mm / spacing[1], sigma_slices)
    return ndimage.gaussian_filter(image, sigmas, truncate=3.0, output=np.float32)


def reconstruction_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing: Triple) -> Array:
    """Noise of unit standard deviation with a band of in-plane frequencies, as filtered back-projection makes it."""
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = _blur(white, 0.75, spacing, 0.35)
    grain = fine - np.float32(0.75) * _blur(fine, 1.6, spacing)
    grain /= np.float32(grain.std())
    return grain


def acquire(rng: np.random.Generator, hu: Array, spacing: Triple) -> npt.NDArray[np.int16]:
    """A CT image (int16 HU) of the painted tissue: sharpness and dose vary; noise is strongest in the middle."""
    image = _blur(hu, rng.uniform(0.55, 0.85), spacing, 0.2)
    grain = reconstruction_noise(rng, hu.shape, spacing) * np.float32(rng.uniform(8, 22))
    x, y = (np.linspace(-1, 1, n, dtype=np.float32)[:, None] for n in hu.shape[:2])
    middle = np.exp(-1.2 * (x**2 + y.T**2)) * np.float32(0.5) + np.float32(0.65)
    image += grain * middle[:, :, None]
    return np.clip(np.rint(image), LOWEST, HIGHEST).astype(np.int16)
