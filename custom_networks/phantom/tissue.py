"""Hounsfield units of the tissues, by contrast phase."""

from dataclasses import dataclass, replace

import numpy as np

AIR, LUNG, FAT, SKIN, BILE, FLUID, WATER = -1000.0, -850.0, -100.0, 20.0, 6.0, 22.0, 5.0
SPONGY_BONE, CORTICAL_BONE, CARTILAGE = 190.0, 520.0, 110.0


@dataclass(frozen=True)
class Enhancement:
    """Mean HU of tissues in one contrast phase; `cortex` and `medulla` are the kidneys'."""

    phase: str
    liver: float
    spleen: float
    cortex: float
    medulla: float
    aorta: float
    portal: float
    veins: float
    gut: float
    muscle: float


# Typical means of abdominal CT at 120 kVp, rounded; patients vary around them (see draw_enhancement).
PHASES = (
    Enhancement("unenhanced", 58, 48, 34, 30, 42, 42, 42, 40, 55),
    Enhancement("arterial", 70, 115, 185, 75, 300, 95, 65, 75, 60),
    Enhancement("portal", 108, 122, 195, 160, 165, 175, 160, 85, 64),
    Enhancement("delayed", 95, 102, 165, 175, 125, 128, 125, 75, 66),
)
PERFUSED = ("liver", "spleen", "cortex", "medulla", "aorta", "portal", "veins")


def draw_enhancement(rng: np.random.Generator) -> Enhancement:
    """Draw a contrast phase (mostly portal venous) and one patient's HU in it; one liver in five is fatty."""
    mean = PHASES[rng.choice(len(PHASES), p=(0.1, 0.2, 0.6, 0.1))]
    strength = rng.uniform(0.88, 1.12)
    own = {name: getattr(mean, name) * strength for name in PERFUSED}
    own["liver"] -= rng.uniform(10, 30) if rng.random() < 0.2 else 0.0
    return replace(mean, **own)
