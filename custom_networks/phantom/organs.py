"""The organs: spleen, kidneys, stomach, bowel, pancreas, gallbladder, great vessels, and the liver with its vessels.

All lengths are in the standard body's millimetres.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.phantom.canvas import (
    Array,
    Canvas,
    Ellipsoid,
    Points,
    Triple,
    Window,
    capsule,
    coverage,
    smooth_union,
)
from custom_networks.phantom.tissue import AIR, BILE, FAT, FLUID, Enhancement

Vectors = npt.NDArray[np.float64]
Neighbours = Mapping[str, Ellipsoid]


def _vary(rng: np.random.Generator, centre: Triple, radii: Triple, yaw: float = 0.0) -> Ellipsoid:
    """An ellipsoid randomly moved by up to 5 mm, scaled by up to a tenth and rotated by up to 8 degrees."""
    x, y, z = np.asarray(centre) + rng.uniform(-5, 5, 3)
    a, b, c = np.asarray(radii) * rng.uniform(0.9, 1.1)
    return Ellipsoid((x, y, z), (a, b, c), yaw + rng.uniform(-8, 8))


def draw_neighbours(rng: np.random.Generator) -> Neighbours:
    """Draw one patient's organs and vessels around the liver, as ellipsoids by name."""
    return dict(
        right_kidney=_vary(rng, (64, -48, -62), (25, 30, 50), 35),
        left_kidney=_vary(rng, (-66, -48, -48), (25, 30, 52), -35),
        spleen=_vary(rng, (-96, -36, 30), (34, 52, 54), -22),
        stomach=_vary(rng, (-60, 22, 26), (46, 42, 52), 20),
        gallbladder=_vary(rng, (58, 40, -28), (13, 17, 25)),
        aorta=Ellipsoid((-11, -24, 0), (10.5, 10.5, 1e4)),
        cava=Ellipsoid((21, -21, 0), (13, 10.5, 1e4), 15),
    )


def paint_kidney(rng: np.random.Generator, canvas: Canvas, kidney: Ellipsoid, tissue: Enhancement) -> None:
    """Paint cortex, medullary pyramids, and the sinus with fat and pelvis, which is open towards the body's middle."""
    window = canvas.window(kidney.centre, kidney.reach)
    points = canvas.at(window)
    cx, cy, cz = kidney.centre
    towards_middle = -np.sign(cx)
    sinus = Ellipsoid((cx + towards_middle * 14, cy + 7, cz), (17, 10, 24), kidney.yaw).field(points)
    pyramids = np.clip(canvas.texture(rng, 7.0, window) + np.float32(0.6), 0, 1)
    inner = coverage(np.maximum(kidney.field(points) + 6, 4 - sinus), softness=2.0)
    canvas.paint(
        window,
        np.maximum(kidney.field(points), -sinus),
        tissue.cortex + inner * pyramids * (tissue.medulla - tissue.cortex),
    )
    pelvis = Ellipsoid((cx + towards_middle * 9, cy + 4, cz), (10, 5, 12), kidney.yaw)
    canvas.ellipsoid(pelvis, 330.0 if tissue.phase == "delayed" else 12.0)


def paint_stomach(rng: np.random.Generator, canvas: Canvas, stomach: Ellipsoid, room: Array, hu: float) -> None:
    """Paint the stomach's wall and content, with gas at the front above a fluid level."""
    window = canvas.window(stomach.centre, stomach.reach)
    points = canvas.at(window)
    folds = np.float32(2.2) * canvas.texture(rng, 9.0, window)
    field = np.maximum(stomach.field(points) + folds, room[window] + 3)
    level = stomach.centre[1] + np.float32(rng.uniform(-4, 22))
    content = rng.choice([FLUID, 180.0], p=[0.75, 0.25]) + 8 * folds
    canvas.paint(window, field, hu)
    canvas.paint(window, field + 4, content)
    canvas.paint(window, np.maximum(field + 4, level - points[1]), AIR + 30)


def _loop(rng: np.random.Generator, waypoints: npt.ArrayLike, step: float, jitter: float) -> Vectors:
    """Points (n, 3) every `step` mm along a line through the waypoints, with random offsets of about `jitter` mm."""
    corners = np.asarray(waypoints, float)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.arange(0, lengths[-1], step)
    points = np.stack([np.interp(at, lengths, corners[:, axis]) for axis in range(3)], axis=1)
    return points + rng.normal(0, jitter, points.shape)


def paint_gut(
    rng: np.random.Generator, canvas: Canvas, path: Vectors, radius: float, room: Array, wall_hu: float
) -> None:
    """Paint bowel as a chain of pouches: first all walls, then the content, with gas at the front of some pouches."""
    radii = radius * rng.uniform(0.75, 1.15, len(path))
    fill = rng.choice([-1.0, -0.1, 0.5, 2.0], len(path), p=[0.2, 0.25, 0.25, 0.3])
    for inset in (0.0, 2.5):
        for centre, size, level in zip(path, radii, fill):
            window = canvas.window(centre, (size, size, size))
            points = canvas.at(window)
            pouch = capsule(points, centre, centre, size - inset)
            share = coverage(np.maximum(pouch, room[window] + 3 + inset))
            gas = coverage(np.float32(centre[1] + level * size) - points[1])
            canvas.blend(window, share, wall_hu if inset == 0 else FLUID + gas * (AIR + 40 - FLUID))


def paint_bowel(rng: np.random.Generator, canvas: Canvas, room: Array, tissue: Enhancement) -> None:
    """Paint loops of small bowel, the colon from flexure to flexure, the duodenum, and the pancreas."""
    for _ in range(4):
        turns = np.array([-15, 12, -85]) + rng.uniform(-1, 1, (7, 3)) * [75, 42, 25]
        paint_gut(rng, canvas, _loop(rng, turns, 9, 3), 11, room, tissue.gut)
    colon = np.array([98, -5, -110, 102, 8, -84, 80, 40, -72, 20, 62, -80, -50, 58, -62, -98, 18, -20, -106, 0, -110])
    paint_gut(rng, canvas, _loop(rng, colon.reshape(-1, 3), 15, 3), 20, room, 55.0)
    duodenum = [(36, 20, -12), (46, 2, -28), (44, -6, -60), (0, -6, -68)]
    paint_gut(rng, canvas, _loop(rng, duodenum, 8, 1), 11, room, tissue.gut)
    for centre in _loop(rng, [(30, 10, -42), (22, 14, -26), (-10, 16, -14), (-45, 2, 0), (-78, -18, 12)], 6, 2.5):
        canvas.ellipsoid(Ellipsoid((centre[0], centre[1], centre[2]), (9, 7, 8)), tissue.gut + 12)


def paint_great_vessels(canvas: Canvas, organs: Neighbours, under: Array, tissue: Enhancement) -> None:
    """Paint aorta with two branches, vena cava up to the heart, and the veins that lead to the liver's hilum."""
    canvas.ellipsoid(organs["aorta"], tissue.aorta)
    window = canvas.window(organs["cava"].centre, organs["cava"].reach)
    canvas.paint(window, np.maximum(organs["cava"].field(canvas.at(window)), under[window] - 8), tissue.veins)
    trunks = (  # start, end, radius and HU; the first three meet on their way to the hilum
        ((12, 4, -20), (30, 4, 4), 6.5, tissue.portal),
        ((-75, -16, 10), (12, 4, -20), 4.5, tissue.portal),
        ((8, 12, -110), (12, 4, -20), 5, tissue.portal),
        ((-10, -18, -22), (-12, 10, -26), 3.5, tissue.aorta),
        ((-10, -18, 4), (-10, 4, 8), 3.5, tissue.aorta),
    )
    for first, last, radius, hu in trunks:
        start, end = np.array(first), np.array(last)
        window = canvas.window((start + end) / 2, np.abs(end - start) / 2 + radius)
        canvas.paint(window, capsule(canvas.at(window), start, end, radius), hu)


def paint_organs(
    rng: np.random.Generator, canvas: Canvas, organs: Neighbours, cavity: Array, under: Array, tissue: Enhancement
) -> None:
    """Paint all organs under the diaphragm except the liver; an organ that covers another is painted after it."""
    room = np.maximum(cavity, under)
    paint_bowel(rng, canvas, room, tissue)
    paint_stomach(rng, canvas, organs["stomach"], room, tissue.gut)
    spleen = organs["spleen"]  # limited by wall and diaphragm, and hollow on the stomach's side
    window = canvas.window(spleen.centre, spleen.reach)
    points = canvas.at(window)
    hollow = Ellipsoid((-56, 2, spleen.centre[2] - 8), (34, 50, 90)).field(points)
    parts = [spleen.field(points), cavity[window] + 3, under[window] + 4, -hollow]
    canvas.paint(window, np.maximum.reduce(parts), tissue.spleen)
    for kidney in (organs["right_kidney"], organs["left_kidney"]):
        canvas.ellipsoid(Ellipsoid(kidney.centre, (kidney.radii[0] + 9, kidney.radii[1] + 9, 60), kidney.yaw), FAT)
        paint_kidney(rng, canvas, kidney, tissue)
    paint_great_vessels(canvas, organs, under, tissue)
    canvas.ellipsoid(organs["gallbladder"], 60.0)
    a, b, c = organs["gallbladder"].radii
    canvas.ellipsoid(Ellipsoid(organs["gallbladder"].centre, (a - 2, b - 2, c - 2)), BILE)


def liver_window(canvas: Canvas) -> Window:
    """Index box large enough for any patient's liver."""
    return canvas.window((30, 0, 0), (125, 100, 95))


def _lobes(rng: np.random.Generator, points: Points) -> Array:
    """Field of the liver's two lobes above its visceral surface, with the hilum and the ligament's fissure cut out.

    The left lobe tapers to the left.
    """
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


def liver_field(rng: np.random.Generator, canvas: Canvas, organs: Neighbours, cavity: Array, under: Array) -> Array:
    """Field of the liver inside `liver_window`: under the diaphragm, within the wall, outside its neighbours.

    Only its largest connected part is kept.
    """
    window = liver_window(canvas)
    points = canvas.at(window)
    surface = np.float32(2.0) * canvas.texture(rng, 16.0, window)
    neighbours = [2 - organs[name].field(points) for name in ("right_kidney", "gallbladder", "cava", "aorta")]
    field = np.maximum.reduce([_lobes(rng, points) + surface, cavity[window] + 3, under[window] + 4, *neighbours])
    parts, _ = ndimage.label(field < 0)
    islands = (parts > 0) & (parts != 1 + np.argmax(np.bincount(parts.ravel(), minlength=2)[1:]))
    field[islands] = np.abs(field[islands])
    return field


def grow_tree(root: Vectors, targets: Vectors, root_radius: float) -> list[tuple[Vectors, Vectors, float]]:
    """Grow a vessel tree from a root to all targets (n, 3); each branch heads for its targets' centre and then splits.

    Radii follow Murray's law (the cube of a vessel's radius is the sum of the cubes of its branches' radii), but are at
    least 0.9 mm.

    Returns:
        Start, end and radius of each segment, mm.
    """
    total = len(targets)
    segments = []
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
    """Paint the parenchyma, then portal and hepatic veins inside it (liver in the truth)."""
    window = liver_window(canvas)
    share = coverage(field)
    canvas.blend(window, share, tissue.liver + 3.5 * canvas.texture(rng, 6.0, window))
    inside = np.stack([p[window][field < -4] for p in canvas.points], axis=1).astype(float)
    trees = (((30, 4, 4), tissue.portal, 6.5, 70), ((22, -14, 62), tissue.veins, 7.5, 45))
    for root, hu, radius, branches in trees:
        targets = inside[rng.choice(len(inside), branches)] if len(inside) else np.empty((0, 3))
        for start, end, size in grow_tree(np.array(root, float), targets, radius) if len(targets) else []:
            _paint_vessel(canvas, window, share, start, end, size, hu)


def _paint_vessel(
    canvas: Canvas, liver: Window, share: Array, start: Vectors, end: Vectors, radius: float, hu: float
) -> None:
    """Paint one segment of a vessel inside the liver."""
    window = canvas.window((start + end) / 2, np.abs(end - start) / 2 + radius)
    low = [max(w.start, v.start) for w, v in zip(window, liver)]
    high = [min(w.stop, v.stop) for w, v in zip(window, liver)]
    if min(h - b for b, h in zip(low, high)) < 2:
        return
    x, y, z = (slice(b, h) for b, h in zip(low, high))
    local = tuple(slice(b - v.start, h - v.start) for b, h, v in zip(low, high, liver))
    field = capsule(canvas.at((x, y, z)), start, end, radius)
    canvas.blend((x, y, z), coverage(field) * share[local], hu)
