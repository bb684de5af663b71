"""The trunk: skin, fat, muscle, ribs, spine, lung bases and heart, in the standard body's millimetres."""

import numpy as np

from custom_networks.phantom.canvas import WHOLE, Array, Canvas, Ellipsoid, Points, coverage, norm, voxel_steps
from custom_networks.phantom.tissue import CARTILAGE, CORTICAL_BONE, FAT, LUNG, SKIN, SPONGY_BONE, Enhancement

HALF_WIDTH, HALF_DEPTH, HALF_HEIGHT = 165.0, 112.0, 105.0
WALL = 12.0  # mm of muscle between subcutaneous and visceral fat
RIB_DISTANCE = 27.0
VERTEBRA = 33.0


def diaphragm_height(points: Points) -> Array:
    """Height z (mm) of the diaphragm at each (x, y): a right dome, a lower left one, and the tendon between them."""
    x, y, _ = points
    domes = ((78.0, 64.0, 2.0, 74.0, 92.0), (66.0, -66.0, 2.0, 72.0, 88.0), (58.0, 0.0, 26.0, 80.0, 76.0))
    heights = [
        np.float32(top) - np.float32(75) * norm((x - cx) / np.float32(rx), (y - cy) / np.float32(ry)) ** 3
        for top, cx, cy, rx, ry in domes
    ]
    return np.maximum.reduce(heights)


def paint_trunk(rng: np.random.Generator, canvas: Canvas, tissue: Enhancement) -> tuple[Array, Array]:
    """Paint skin, subcutaneous fat, muscle and visceral fat.

    Returns:
        The field of the cavity within the wall, and the depth below the wall's outer surface, both in mm.
    """
    x, y, _ = canvas.points
    exponent = np.float32(2.35)
    level = np.abs(x / np.float32(HALF_WIDTH)) ** exponent + np.abs(y / np.float32(HALF_DEPTH)) ** exponent
    groove = 9 * np.exp(-((x / np.float32(16)) ** 2)) * (y < -40)  # along the back, over the spinous processes
    # The trunk is a superellipse; depth is measured along the ray from the body's axis and is negative outside.
    depth = norm(x, y) * (np.maximum(level, 1e-6) ** (-1 / exponent) - 1) - groove
    steps = voxel_steps(depth)
    fat = rng.uniform(7, 24) + 2.5 * canvas.texture(rng, 50.0)
    wall = depth - np.maximum(fat, 4)
    strands = np.float32(9) * canvas.texture(rng, 5.0)
    canvas.paint(WHOLE, -depth, SKIN, steps)
    canvas.paint(WHOLE, 2 - depth, FAT + strands, steps)
    canvas.paint(WHOLE, -wall, tissue.muscle, steps)
    cavity = WALL - wall
    canvas.paint(WHOLE, cavity, FAT + strands, steps)
    return cavity, wall


def paint_table(canvas: Canvas) -> None:
    """Paint the scanner's table under the back: a curved shell of carbon around foam."""
    # Only the patient is warped, so the table uses the axes without the warp.
    x, y = canvas.axes[0][:, None, None].astype(np.float32), canvas.axes[1][None, :, None].astype(np.float32)
    drop = y + np.float32(HALF_DEPTH + 15) - (x / np.float32(70)) ** 2
    field = np.broadcast_to(np.maximum(np.abs(drop) - 11, np.abs(x) - 190), canvas.hu.shape)
    empty = canvas.hu < -990
    steps = voxel_steps(field)
    canvas.blend(WHOLE, coverage(field, steps) * empty, 60.0)
    canvas.blend(WHOLE, coverage(field + 3, steps) * empty, -930.0)


def paint_chest(rng: np.random.Generator, canvas: Canvas, cavity: Array, tissue: Enhancement) -> Array:
    """Paint diaphragm, lung bases with vessels, mediastinum and heart.

    Returns:
        A field (mm) that is negative under the diaphragm.
    """
    window = canvas.window((0, 0, 50), (HALF_WIDTH, HALF_DEPTH, 75))
    x, y, _ = points = canvas.at(window)
    under = canvas.points[2] - diaphragm_height(canvas.points)
    heart = Ellipsoid((-26, 34, 92), (62, 46, 40), -25)
    mediastinum = np.maximum(np.abs(x + 4) - np.float32(27), np.abs(y + 8) - np.float32(52))
    canvas.paint(window, np.maximum(-under[window], cavity[window]), tissue.muscle)
    lung = np.maximum.reduce([3 - under[window], cavity[window] + 1, -mediastinum, -heart.field(points)])
    branches = np.maximum(canvas.texture(rng, 4.0, window) - np.float32(1.7), 0)
    gradient = np.float32(-1.1) * (y + 40)  # the dependent lung is denser
    canvas.paint(window, lung, np.minimum(LUNG + np.clip(gradient, -40, 60) + 650 * branches, 30))
    canvas.blend(window, coverage(np.maximum(mediastinum, -lung)) * coverage(2 - under[window]), FAT + 20)
    canvas.ellipsoid(heart, tissue.muscle + 25)
    canvas.ellipsoid(Ellipsoid((-34, 28, 98), (30, 24, 26), -25), 0.75 * tissue.aorta + 0.25 * tissue.veins)
    canvas.ellipsoid(Ellipsoid((8, 44, 98), (20, 26, 24), -25), tissue.veins)
    canvas.ellipsoid(Ellipsoid((-2, -14, 80), (8, 6, 45)), 45.0)
    return under


def paint_ribs(rng: np.random.Generator, canvas: Canvas, wall: Array) -> None:
    """Paint ribs: arcs in the wall that descend to the front, are cartilage there, and stop at the costal margin."""
    x, y, z = canvas.points
    height = z + np.float32(0.62) * y + np.float32(rng.uniform(0, RIB_DISTANCE))
    along = (height + RIB_DISTANCE / 2) % np.float32(RIB_DISTANCE) - np.float32(RIB_DISTANCE / 2)
    thickness = norm((wall - np.float32(WALL * 0.52)) / np.float32(3.6), along / np.float32(6.2))
    margin = (np.maximum(y, -40) * np.float32(0.9) - np.float32(62) - z) / np.float32(5)
    spine = (np.float32(24) - np.abs(x)) / 5  # no ribs at the back where the vertebrae are
    field = np.maximum(np.maximum(thickness - 1, margin), np.minimum(spine, -y))
    steps = voxel_steps(field)
    front = np.clip((y - 48) / np.float32(8), 0, 1)
    for inset, bone in ((0, CORTICAL_BONE), (0.42, SPONGY_BONE)):
        canvas.paint(WHOLE, field + np.float32(inset), bone + front * (CARTILAGE - bone), steps)


def paint_spine(rng: np.random.Generator, canvas: Canvas, tissue: Enhancement) -> None:
    """Paint the back and psoas muscles, then vertebrae with discs, canal and processes."""
    for side in (-1, 1):
        canvas.ellipsoid(Ellipsoid((side * 34, -82, 0), (28, 17, 1e4), -side * 12), tissue.muscle)
        canvas.ellipsoid(Ellipsoid((side * 33, -50, -95), (17, 19, 80)), tissue.muscle)
    window = canvas.window((0, -70, 0), (60, 50, 1e4))
    x, y, z = points = canvas.at(window)
    level = np.abs((z + np.float32(rng.uniform(0, VERTEBRA))) % np.float32(VERTEBRA) - np.float32(VERTEBRA / 2))
    body = Ellipsoid((0, -50, 0), (22, 17, 1e6)).field(points)
    gap = level - np.float32(VERTEBRA / 2 - 4)
    canal = Ellipsoid((0, -73, 0), (10, 8, 1e6)).field(points)
    lamina = np.maximum(canal - 5, level - 10)
    spinous = np.maximum.reduce([np.abs(x) - 3, np.abs(y + 90) - 12, level - 8])
    transverse = np.maximum.reduce([np.abs(x) - 36, np.abs(y + 66 + np.abs(x) * np.float32(0.15)) - 4, level - 5])
    arch = np.minimum.reduce([lamina, spinous, transverse])
    trabeculae = np.float32(22) * canvas.texture(rng, 3.0, window)
    canvas.paint(window, body, 85.0)  # discs
    canvas.paint(window, arch, CORTICAL_BONE - 60)
    canvas.paint(window, arch + 2, SPONGY_BONE + 40)
    vertebra = np.maximum(body, gap)
    canvas.paint(window, vertebra, CORTICAL_BONE - 130)
    canvas.paint(window, vertebra + np.float32(1.8), SPONGY_BONE + trabeculae)
    canvas.paint(window, canal, 28.0)
