"""The liver's outline and its vessels, in the standard body's millimetres."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.phantom.canvas import Canvas, Window
from custom_networks.phantom.fields import Array, Ellipsoid, Points, capsule, coverage, smooth_union
from custom_networks.phantom.organs import Neighbours, impressions
from custom_networks.phantom.tissue import Enhancement

Vectors = npt.NDArray[np.float64]
Segment = tuple[Vectors, Vectors, float]


def liver_window(canvas: Canvas) -> Window:
    """Index box that holds any liver."""
    return canvas.window((30, 0, 0), (125, 100, 95))


def _lobes(rng: np.random.Generator, points: Points) -> Array:
    """Right lobe, left lobe that tapers to the left, and the fissures between them."""
    size, left = rng.uniform(0.95, 1.05), rng.uniform(0.8, 1.15)
    right_lobe = Ellipsoid((76, -8, 8), (66 * size, 78 * size, 84 * size)).field(points)
    left_lobe = Ellipsoid((0, 38, 34), (82 * left, 34, 40 * left), 10).field(points)
    x, y, z = points
    visceral = (np.minimum(np.float32(0.62) * (118 - x), 72) - np.float32(78) - z) * np.float32(0.8)
    medial = np.float32(22) - x - np.float32(0.62) * (y - 4)
    lobes = smooth_union(np.maximum(right_lobe, medial * np.float32(0.6)), left_lobe, 22)
    hilum = Ellipsoid((30, 2, 0), (15, 9, 12)).field(points)
    ligament = Ellipsoid((2, 36, 8), (2.5, 24, 22), -18).field(points)
    return np.maximum.reduce([lobes, visceral, -hilum, -ligament])


def _without_islands(field: Array) -> Array:
    """The field with only its largest connected part inside."""
    parts, count = ndimage.label(field < 0)
    if count < 2:
        return field
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.where((parts > 0) & (parts != largest), np.abs(field), field)


def liver_field(rng: np.random.Generator, canvas: Canvas, organs: Neighbours, cavity: Array, under: Array) -> Array:
    """Field of the whole organ inside `liver_window`: under the diaphragm, within the wall, beside its neighbours."""
    window = liver_window(canvas)
    points = canvas.at(window)
    surface = np.float32(2.0) * canvas.texture(rng, 16.0, window)
    limits = [cavity[window] + 3, under[window] + 4, impressions(points, organs)]
    return _without_islands(np.maximum.reduce([_lobes(rng, points) + surface, *limits]))


def grow_tree(root: Vectors, targets: Vectors, root_radius: float) -> list[Segment]:
    """Vessel tree from a root to all targets (n, 3): each branch heads for its targets' centre, then they are parted.

    Radii follow Murray's law: a vessel's cube of the radius is shared out among its branches. Units mm.
    """
    total = len(targets)
    segments: list[Segment] = []
    stack = [(root, targets)]
    while stack:
        start, served = stack.pop()
        last = len(served) == 1
        end = served[0] if last else start + 0.45 * (served.mean(axis=0) - start)
        segments.append((start, end, max(root_radius * (len(served) / total) ** (1 / 3), 0.9)))
        if not last:
            spread = served - served.mean(axis=0)
            main = np.linalg.svd(spread, full_matrices=False)[2][0]
            order = np.argsort(spread @ main, kind="stable")
            half = len(served) // 2
            stack += [(end, served[order[:half]]), (end, served[order[half:]])]
    return segments


def paint_liver(rng: np.random.Generator, canvas: Canvas, field: Array, tissue: Enhancement) -> None:
    """Paint the parenchyma, then portal and hepatic veins inside it (the truth counts both as liver)."""
    window = liver_window(canvas)
    share = coverage(field)
    canvas.blend(window, share, tissue.liver + 3.5 * canvas.texture(rng, 6.0, window))
    inside = np.stack([p[window][field < -4] for p in canvas.points], axis=1).astype(float)
    trees = (((30, 4, 4), tissue.portal, 6.5, 70), ((22, -14, 62), tissue.veins, 7.5, 45))
    for root, hu, radius, branches in trees:
        targets = inside[rng.choice(len(inside), branches)] if len(inside) else np.empty((0, 3))
        for start, end, size in grow_tree(np.array(root, float), targets, radius) if len(targets) else []:
            _paint_vessel(canvas, window, share, (start, end, size), hu)


def _paint_vessel(canvas: Canvas, liver: Window, share: Array, segment: Segment, hu: float) -> None:
    """Paint one segment of a vessel where the liver is."""
    start, end, radius = segment
    window = canvas.window((start + end) / 2, np.abs(end - start) / 2 + radius)
    low = [max(w.start, v.start) for w, v in zip(window, liver)]
    high = [min(w.stop, v.stop) for w, v in zip(window, liver)]
    if min(h - b for b, h in zip(low, high)) < 2:
        return
    x, y, z = (slice(b, h) for b, h in zip(low, high))
    local = tuple(slice(b - v.start, h - v.start) for b, h, v in zip(low, high, liver))
    field = capsule(canvas.at((x, y, z)), start, end, radius)
    canvas.blend((x, y, z), coverage(field) * share[local], hu)
