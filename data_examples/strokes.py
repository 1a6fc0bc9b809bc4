"""List the strokes of the bundled characters and drawings, all invented for this project.

Coordinates lie in a 10 x 10 box, x to the right and y down; angles are in degrees, 0 to the right and 90 down.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Rng = np.random.Generator


class Stroke(NamedTuple):
    """Hold one movement of the pen through control points; `smooth` joins them by a curve, else by straight lines."""

    points: list[tuple[float, float]]
    smooth: bool


def line(*xy: float) -> Stroke:
    """Return straight pieces through x0, y0, x1, y1, ..."""
    return Stroke(list(zip(xy[::2], xy[1::2], strict=True)), smooth=False)


def curve(*xy: float) -> Stroke:
    """Return a smooth curve through x0, y0, x1, y1, ..."""
    return Stroke(list(zip(xy[::2], xy[1::2], strict=True)), smooth=True)


def arc(x: float, y: float, rx: float, ry: float, start: float = -90, end: float = 270) -> Stroke:
    """Return part of an ellipse around (x, y), by default all of it, begun at the top."""
    n_points = 2 + int(abs(end - start) / 46)
    angles = np.radians(np.linspace(start, end, n_points))
    return Stroke([(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles], smooth=True)


def dot(x: float, y: float) -> Stroke:
    """Return a mark just larger than the pen."""
    return arc(x, y, 0.2, 0.2)


GROUND = line(0.8, 9, 9.2, 9)

ALPHABETS: dict[str, list[list[Stroke]]] = {
    # Round and flowing: bowls, loops and curled ends.
    "Velmic": [
        [curve(2, 2, 5.5, 0.8, 8.5, 4.5, 7, 8.6, 3, 8.8, 1.4, 6, 3.5, 4.2, 5.4, 6, 5.8, 7.4)],
        [curve(9, 6.5, 8.7, 3, 7, 1.4, 5.2, 3.4, 5, 7), curve(5, 4, 4, 1.8, 2, 1.5, 1, 4, 1.2, 7.4, 3, 9.4, 6, 9, 8.6, 9.6)],
        [arc(3, 4, 2.1, 2.2), curve(5, 4, 6, 1.4, 8.4, 1.8, 9, 4.6, 7.6, 7.4, 5, 9.4)],
        [curve(1.5, 2, 1.5, 7, 3.3, 9, 5, 7, 5, 3.5), curve(5, 7, 6.8, 9, 8.7, 6.5, 8.6, 3, 7, 1, 5.6, 1.8)],
        [curve(8, 2.5, 5.5, 0.8, 2.8, 2.4, 5, 5, 7.6, 7, 5.2, 9.4, 2.6, 7.6, 5, 5, 9, 4.6)],
        [curve(5, 1, 5, 5, 2.8, 7.4, 1, 5, 2.8, 2.8, 5, 5, 7.2, 7.4, 9, 5, 7.2, 2.8, 5, 5, 4.6, 9.4)],
        [curve(2, 9.4, 2, 4, 4, 1, 7, 1.3, 8.2, 4, 6.2, 5.8, 4.4, 4.2), curve(4.6, 9, 6.6, 7.4, 8.8, 9.2)],
        [curve(1.5, 1.6, 3.4, 2.8, 6, 1.2, 8.5, 2), curve(5, 2.2, 2.8, 5, 3.2, 8.8, 6.6, 9.2, 7.6, 6.8, 5.2, 5.8)],
        [arc(4.6, 6.8, 2.9, 2.6), curve(4.6, 4.2, 3.8, 2, 5.6, 0.6, 7.8, 1.4, 8.4, 3.4)],
        [curve(1.2, 3.5, 2.6, 1.2, 4.8, 2.6, 4.6, 7, 6.4, 9.2, 8.9, 7), curve(8.8, 1.2, 7, 2.4, 7.2, 4.6, 9, 5.2)],
    ],
    # Cut rather than written: stems with slanting branches, no curve anywhere.
    "Torrak": [
        [line(2.5, 0.8, 2.5, 9.3), line(2.5, 4, 8, 1, 8, 5), line(2.5, 6.4, 8.2, 9)],
        [line(5, 0.8, 5, 9.3), line(1.5, 4.8, 5, 1.2), line(5, 5, 8.6, 8.4)],
        [line(2, 1, 8, 3, 2, 5.4, 8, 9), line(2, 9.3, 2, 5.4)],
        [line(5, 0.6, 8.6, 5, 5, 9.4, 1.4, 5, 5, 0.6), line(1.4, 5, 8.6, 5)],
        [line(1.6, 9.2, 5, 1, 8.4, 9.2), line(5, 1, 5, 6.4)],
        [line(7.4, 0.8, 7.4, 9.3), line(7.4, 3.5, 2, 1), line(7.4, 6.5, 2, 9), line(7.4, 5, 2, 5)],
        [line(8.5, 1.5, 1.5, 8.5, 1.5, 1.5, 8.5, 8.5)],
        [line(2, 1, 2, 5.5, 8, 5.5, 8, 1), line(5, 5.5, 5, 9.4)],
        [line(1.2, 7, 3.8, 1, 6, 6.4, 8.6, 1), line(3.4, 9.2, 8.8, 9)],
        [line(1.6, 1, 6.6, 5, 1.6, 9), line(8.8, 1, 8.8, 9)],
    ],
    # Everything grows from a ground line.
    "Osheni": [
        [GROUND, line(3, 9, 3, 0.9), curve(3, 5.2, 5.6, 6.6, 8.2, 5, 7.4, 2.2, 5.2, 3)],
        [GROUND, curve(2.4, 9, 2.2, 5.6, 5, 4, 7.8, 5.6, 7.6, 9), line(5, 4, 5, 0.9)],
        [GROUND, line(7.4, 9, 7.4, 5.4), curve(7.4, 5.4, 4.8, 6.4, 2, 4.4, 3, 1.4, 6.8, 1.1)],
        [GROUND, line(5, 9, 5, 6.4), arc(5, 3.8, 2.9, 2.6)],
        [GROUND, line(7.6, 9, 7.6, 1.1, 2.2, 5.4), line(2.2, 9, 2.2, 1)],
        [GROUND, curve(6.6, 9, 4.6, 5.8, 2, 6.6, 3, 7.6, 5.6, 4.8, 3.2, 3, 5.6, 1, 8, 2.4)],
        [GROUND, line(5, 9, 2, 5, 5, 1, 8, 5, 5, 9)],
        [GROUND, line(7.6, 9, 7.6, 1), line(7.6, 6.2, 2.4, 6.2, 2.4, 4.4), line(7.6, 3, 4.4, 3)],
        [GROUND, curve(1.6, 5, 3.4, 6.8, 5, 5.4, 6.6, 4.2, 8.4, 6), curve(1.6, 1.4, 3.4, 3.2, 5, 1.8, 6.6, 0.6, 8.4, 2.4)],
        [GROUND, line(7, 9, 7, 4), curve(7, 6.4, 4, 7.8, 1.6, 5.4, 3, 3.2), line(1.4, 1.4, 8.6, 1.4)],
    ],
    # Crescents, bars and points.
    "Quilda": [
        [arc(5, 5, 3.9, 4, 320, 40), dot(5.2, 5)],
        [arc(5, 4.6, 3.7, 3.4, 180, 360), line(5, 0.8, 5, 9.4)],
        [arc(5, 1.6, 3.7, 4.6, 0, 180), dot(3.2, 8.8), dot(6.8, 8.8)],
        [line(2, 0.8, 2, 9.4), arc(2, 5, 6, 3.4, -90, 90), dot(4.6, 5)],
        [arc(0.6, 5, 3.4, 4.4, -75, 75), arc(9.4, 5, 3.4, 4.4, 255, 105), dot(1.2, 5), dot(8.8, 5)],
        [arc(5, 2.4, 1.7, 1.6), line(5, 4, 5, 9.2), arc(5, 5.8, 3.8, 3.4, 0, 90), dot(2.2, 7.4)],
        [arc(6.8, 5, 5, 4.2, 275, 85), line(6.4, 2.8, 6.4, 7.2), line(1.8, 5, 6.4, 5)],
        [line(1, 1.4, 9, 1.4), arc(5, 1.4, 2.9, 5, 0, 180), dot(5, 8.8)],
        [line(5, 0.8, 5, 9.4), arc(5, 9.4, 3.8, 3.4, 180, 360), dot(2.4, 2.8), dot(7.6, 2.8)],
        [arc(2.8, 5, 1.9, 3.6), line(4.7, 5, 8.8, 5), line(8.8, 2, 8.8, 8)],
    ],
}


def polar(x: float, y: float, r: float, degrees: float) -> tuple[float, float]:
    """Return the point at distance `r` from (x, y)."""
    return x + r * np.cos(np.radians(degrees)), y + r * np.sin(np.radians(degrees))


def mirrored(strokes: list[Stroke], rng: Rng) -> list[Stroke]:
    """Return the strokes, facing the other way one time in three."""
    if rng.random() < 2 / 3:
        return strokes
    return [Stroke([(10 - x, y) for x, y in stroke.points], stroke.smooth) for stroke in strokes]


def maybe(rng: Rng, *strokes: Stroke, chance: float = 0.5) -> list[Stroke]:
    """Return the strokes, or none of them."""
    return list(strokes) if rng.random() < chance else []


def bumps(x: float, y: float, rx: float, ry: float, n: int, turn: float = 0) -> Stroke:
    """Return a closed outline of `n` round bumps around an ellipse, as of a cloud."""
    angles = np.radians(turn + np.arange(4 * n + 1) * 360 / (4 * n))
    reach = np.tile([0.8, 0.98, 1.04, 0.98], n + 1)[: 4 * n + 1]
    return Stroke([(x + rx * r * np.cos(a), y + ry * r * np.sin(a)) for a, r in zip(angles, reach, strict=True)], smooth=True)


def fish(rng: Rng) -> list[Stroke]:
    top, bottom = curve(1, 5, 3, 2.6, 5.6, 3, 7, 4.4, 9.2, 7.2), curve(1, 5, 3, 7.4, 5.6, 7, 7, 5.6, 9.2, 2.8)
    tail = [line(9.2, 2.8, 8.4, 5, 9.2, 7.2)] if rng.random() < 0.5 else [line(9.2, 2.8, 9.2, 7.2)]
    return mirrored([top, bottom, *tail, dot(2.6, 4.4), *maybe(rng, arc(2.4, 5, 1.6, 2, -50, 50))], rng)


def house(rng: Rng) -> list[Stroke]:
    wide = rng.uniform(-0.6, 0.6)
    body = [line(2, 4.6, 2, 9.2, 8, 9.2, 8, 4.6), line(1 - wide / 2, 4.8, 5, 1 + wide, 9 + wide / 2, 4.8, 1 - wide / 2, 4.8)]
    door = [line(4.2, 9.2, 4.2, 6.4, 5.8, 6.4, 5.8, 9.2)] if rng.random() < 0.6 else [line(2.8, 9.2, 2.8, 6.4, 4.2, 6.4, 4.2, 9.2)]
    window = maybe(rng, line(6.4, 5.6, 7.5, 5.6, 7.5, 7, 6.4, 7, 6.4, 5.6), chance=0.4)
    return mirrored([*body, *door, *window, *maybe(rng, line(6.8, 2.8, 6.8, 1, 7.8, 1, 7.8, 3.6), chance=0.6)], rng)


def triangle(rng: Rng) -> list[Stroke]:
    top, left, right = rng.uniform(2.8, 7.2), rng.uniform(0.4, 1.8), rng.uniform(8.2, 9.6)
    return [line(top, 1.4, right, 8.6, left, 8.6, top, 1.4)]


def sun(rng: Rng) -> list[Stroke]:
    n, radius, turn = rng.integers(6, 11), rng.uniform(1.9, 2.7), rng.uniform(0, 60)
    rays = [line(*polar(5, 5, radius + 0.7, turn + i * 360 / n), *polar(5, 5, 4.6, turn + i * 360 / n)) for i in range(n)]
    return [arc(5, 5, radius, radius), *rays]


def tree(rng: Rng) -> list[Stroke]:
    trunk = [line(4.2, 6, 4.2, 9.6), line(5.8, 6, 5.8, 9.6)]
    if rng.random() < 0.6:
        return [bumps(5, 3.4, 3.4, 3, rng.integers(5, 8), 90), *trunk, *maybe(rng, line(4.2, 9.6, 5.8, 9.6))]
    tiers = [line(5, 0.6, 7.4, 3.6, 6.2, 3.6, 8.6, 7, 1.4, 7, 3.8, 3.6, 2.6, 3.6, 5, 0.6)]
    return [*tiers, line(4.3, 7, 4.3, 9.4, 5.7, 9.4, 5.7, 7)]


def star(rng: Rng) -> list[Stroke]:
    tips = [polar(5, 5.3, 4.7, -90 + 72 * i) for i in range(5)]
    if rng.random() < 0.5:  # five straight lines without lifting the pen
        return [Stroke([tips[i] for i in (3, 0, 2, 4, 1, 3)], smooth=False)]
    dents = [polar(5, 5.3, rng.uniform(1.9, 2.3), -54 + 72 * i) for i in range(5)]
    outline = [point for pair in zip(tips, dents, strict=True) for point in pair]
    return [Stroke([*outline, tips[0]], smooth=False)]


def cup(rng: Rng) -> list[Stroke]:
    body = [arc(4.2, 3.2, 3.2, 0.9), curve(1, 3.2, 1.3, 7, 2.2, 9, 4.2, 9.2, 6.2, 9, 7.1, 7, 7.4, 3.2)]
    if rng.random() < 0.5:
        body = [line(1, 3, 1.5, 9.2, 6.9, 9.2, 7.4, 3, 1, 3)]
    steam = [curve(x, 2, x - 0.5, 1.4, x + 0.4, 0.8, x, 0.1) for x in (3.2, 5.2)]
    return mirrored([*body, curve(7.2, 4.4, 9.2, 4.2, 9.4, 6.4, 7, 7.4), *maybe(rng, *steam, chance=0.4)], rng)


def key(rng: Rng) -> list[Stroke]:
    teeth = [line(x, 5, x, rng.uniform(6.6, 7.4)) for x in (8.9, 7.7, 6.5)[: rng.integers(2, 4)]]
    return mirrored([arc(2.5, 5, 1.9, 2, 0, 360), line(4.4, 5, 9, 5), *teeth, *maybe(rng, arc(2.2, 5, 0.6, 0.6))], rng)


def umbrella(rng: Rng) -> list[Stroke]:
    n = rng.integers(2, 5)
    scallops = [arc(0.8 + 8.4 * (i + 0.5) / n, 5.2, 4.2 / n, 0.9, 180, 360) for i in range(n)]
    handle = Stroke([(5, 5), (5, 7), (5, 8.6), (4.5, 9.4), (3.6, 9.3), (3.3, 8.4)], smooth=True)
    return mirrored([arc(5, 5.2, 4.2, 4, 180, 360), *scallops, handle, *maybe(rng, line(5, 1.2, 5, 0.4))], rng)


def flower(rng: Rng) -> list[Stroke]:
    n, turn = rng.integers(5, 8), rng.uniform(0, 72)
    petals = []
    for angle in turn + np.arange(n) * 360 / n:
        near, left, far, right = ((1, -24), (2.6, -25), (3.3, 0), (2.6, 25))
        points = [polar(5, 3.5, r, angle + a) for r, a in (near, left, far, right, (1, 24))]
        petals.append(Stroke(points, smooth=True))
    leaf = [curve(5, 8.6, 6, 7, 7.8, 7, 7, 8.4, 5, 8.8)]
    return [arc(5, 3.5, 0.9, 0.9), *petals, curve(5, 6.6, 5.2, 8, 5, 9.8), *maybe(rng, *leaf, chance=0.6)]


def car(rng: Rng) -> list[Stroke]:
    roof = rng.uniform(2.4, 3.2)
    body = line(0.6, 7.2, 0.6, 5.2, 2.4, 4.8, 3.4, roof, 6.6, roof, 7.8, 4.8, 9.4, 5.4, 9.4, 7.2, 0.6, 7.2)
    window = [line(3.2, 4.8, 3.9, roof + 0.6, 6.2, roof + 0.6, 6.9, 4.8, 3.2, 4.8)]
    wheels = [arc(2.7, 7.4, 1.1, 1.1), arc(7.3, 7.4, 1.1, 1.1)]
    return mirrored([body, *wheels, *maybe(rng, *window, chance=0.6), *maybe(rng, line(5, roof, 5, 4.8), chance=0.3)], rng)


def boat(rng: Rng) -> list[Stroke]:
    hull = line(0.8, 6.8, 2.4, 9, 7.6, 9, 9.2, 6.8, 0.8, 6.8)
    sails = [line(5.2, 1.4, 8.6, 6, 5.2, 6), *maybe(rng, line(4.8, 2, 2, 6, 4.8, 6))]
    return mirrored([hull, line(5, 6.8, 5, 0.8), *sails], rng)


def face(rng: Rng) -> list[Stroke]:
    eyes = [dot(3.5, 3.8), dot(6.5, 3.8)] if rng.random() < 0.6 else [arc(3.4, 3.8, 0.5, 0.6), arc(6.6, 3.8, 0.5, 0.6)]
    smile = arc(5, 5.6, 2.3, rng.uniform(1.2, 2.2), 10, 170)
    return [arc(5, 5, 4.3, 4.4), *eyes, smile, *maybe(rng, line(5, 4.6, 4.8, 5.7), chance=0.4)]


def heart(rng: Rng) -> list[Stroke]:
    dip = rng.uniform(2.6, 3.4)
    left = Stroke([(5, dip), (4, 1.5), (2.2, 1.2), (0.8, 3), (1.6, 5.6), (3.4, 7.6), (5, 9.3)], smooth=True)
    return [left, Stroke([(10 - x, y) for x, y in left.points], smooth=True)]


def cloud(rng: Rng) -> list[Stroke]:
    if rng.random() < 0.5:
        return [bumps(5, 5, 4.6, rng.uniform(2.4, 3), rng.integers(6, 9), rng.uniform(0, 60))]
    top = Stroke([(1.6, 7.4), (0.6, 6), (1.6, 4.6), (2.6, 4.8), (2.8, 3), (4.6, 2.2), (6.2, 3.4), (7.4, 3), (8.4, 4.6)], smooth=True)
    return [top, curve(8.4, 4.6, 9.6, 5.2, 9.4, 7, 8.4, 7.4), line(1.6, 7.4, 8.4, 7.4)]


def lightning(rng: Rng) -> list[Stroke]:
    y = rng.uniform(-0.4, 0.4)
    if rng.random() < 0.75:
        return mirrored([line(5.6, 0.6, 2.2, 5.6 + y, 4.6, 5.4 + y, 3.2, 9.6, 7.8, 4 + y, 5.2, 4.2 + y, 7.8, 0.6, 5.6, 0.6)], rng)
    return mirrored([line(6.4, 0.4, 3, 5 + y, 6.6, 4.6 + y, 3.2, 9.6)], rng)


def arrow(rng: Rng) -> list[Stroke]:
    if rng.random() < 0.65:
        back = rng.uniform(6, 7.2)
        return mirrored([line(0.6, 5, 9.3, 5), line(back, 2.8, 9.4, 5, back, 7.2)], rng)
    return mirrored([line(0.6, 4, 5.6, 4, 5.6, 2, 9.4, 5, 5.6, 8, 5.6, 6, 0.6, 6, 0.6, 4)], rng)


def moon(rng: Rng) -> list[Stroke]:
    thickness = rng.uniform(2.2, 2.9)
    outer = arc(6, 5, 4.4, 4.5, -70, -290)
    (x0, y0), (x1, y1) = outer.points[0], outer.points[-1]
    inner = curve(x0, y0, 1.6 + thickness + 0.9, 2.7, 1.6 + thickness, 5, 1.6 + thickness + 0.9, 7.3, x1, y1)
    return mirrored([outer, inner], rng)


def mushroom(rng: Rng) -> list[Stroke]:
    spots = [arc(x, y, 0.5, 0.5) for x, y in ((3.2, 3.9), (5.2, 2.4), (6.8, 4))[: rng.integers(0, 4)]]
    stalk = curve(3.9, 5.4, 4, 7.4, 3.5, 9.2, 5, 9.5, 6.5, 9.2, 6, 7.4, 6.1, 5.4)
    return [arc(5, 5.4, 4.3, 4.4, 180, 360), line(0.7, 5.4, 9.3, 5.4), stalk, *spots]


def glasses(rng: Rng) -> list[Stroke]:
    if rng.random() < 0.65:
        lenses = [arc(2.7, 5.4, 1.9, 1.8), arc(7.3, 5.4, 1.9, 1.8)]
    else:
        lenses = [line(x, 3.8, x + 3.8, 3.8, x + 3.3, 7, x + 0.5, 7, x, 3.8) for x in (0.8, 5.4)]
    temples = [curve(0.8, 5, 0.2, 3.4, 1, 2.4), curve(9.2, 5, 9.8, 3.4, 9, 2.4)]
    return [*lenses, arc(5, 5.2, 0.5, 0.5, 180, 360), *maybe(rng, *temples, chance=0.7)]


def ladder(rng: Rng) -> list[Stroke]:
    n, lean = rng.integers(4, 7), rng.uniform(0, 0.6)
    rails = [line(3 + lean, 0.5, 3 - lean, 9.5), line(7 - lean, 0.5, 7 + lean, 9.5)]
    return [*rails, *(line(3, y, 7, y) for y in np.linspace(1.7, 8.3, n))]


def snail(rng: Rng) -> list[Stroke]:
    turns = rng.uniform(2, 2.6)
    angles = np.linspace(0, turns * 360, int(turns * 9))
    shell = Stroke([polar(5.8, 5, 0.3 + 3 * a / angles[-1], 100 + a - turns * 360) for a in angles], smooth=True)
    body = curve(9.6, 8.8, 6, 8.5, 3, 8.8, 1.6, 7.8, 1.3, 6.2, 1.8, 5.2, 2.6, 6.4)
    return mirrored([shell, body, line(9.6, 8.8, 2.6, 9.2), line(1.5, 5.3, 0.9, 3.6), line(2, 5.2, 2.2, 3.5)], rng)


def butterfly(rng: Rng) -> list[Stroke]:
    upper = [(5, 4.6), (3.4, 1.8), (1.2, 1.2), (0.6, 3), (2, 4.8), (5, 5)]
    lower = [(5, 5.2), (2.4, 5.4), (1.4, 7.2), (2.6, 8.8), (4.2, 7.8), (5, 5.8)]
    wings = [Stroke(side, smooth=True) for wing in (upper, lower) for side in (wing, [(10 - x, y) for x, y in wing])]
    body = [line(5, 3, 5, 8.4)] if rng.random() < 0.5 else [arc(5, 5.6, 0.5, 2.7)]
    return [*wings, *body, *maybe(rng, curve(5, 3, 4.6, 1.8, 3.8, 1.2), curve(5, 3, 5.4, 1.8, 6.2, 1.2), chance=0.8)]


def bird(rng: Rng) -> list[Stroke]:
    body = curve(3.3, 3.2, 3.6, 5.8, 5.4, 7, 7.6, 6.4, 9.4, 4.2, 7.4, 4.4, 5.2, 4, 4, 3.6)
    head = [arc(2.8, 3, 1.4, 1.3), line(1.5, 2.6, 0.2, 3.2, 1.5, 3.6), dot(2.6, 2.7)]
    wing = curve(4.8, 4.6, 5.2, 6, 6.6, 5.8, 7.2, 4.8)
    legs = [line(5, 7, 4.8, 9, 4, 9.2), line(6.2, 7, 6.2, 9, 5.4, 9.2)]
    return mirrored([body, *head, *maybe(rng, wing, chance=0.7), *maybe(rng, *legs, chance=0.8)], rng)


def hat(rng: Rng) -> list[Stroke]:
    top = rng.uniform(1, 2.6)
    crown = line(2.6, 7.4, 2.9, top, 7.1, top, 7.4, 7.4) if rng.random() < 0.6 else arc(5, 7.4, 2.6, 5.4, 180, 360)
    brim = line(0.5, 7.4, 9.5, 7.4) if rng.random() < 0.4 else arc(5, 7.5, 4.6, 1.1)
    return [crown, brim, *maybe(rng, line(2.7, 5.8, 7.3, 5.8), chance=0.6)]


def clock(rng: Rng) -> list[Stroke]:
    hour, minute = rng.uniform(0, 360, 2)
    hands = [line(5, 5, *polar(5, 5, 2, hour)), line(5, 5, *polar(5, 5, 3, minute))]
    n = rng.choice([0, 4, 4, 12])
    return [arc(5, 5, 4.4, 4.4), *hands, *(line(*polar(5, 5, 3.6, 360 * i / n), *polar(5, 5, 4.2, 360 * i / n)) for i in range(n))]


def envelope(rng: Rng) -> list[Stroke]:
    y = rng.uniform(-0.4, 0.4)
    box = line(0.7, 2.2 - y, 9.3, 2.2 - y, 9.3, 8 + y, 0.7, 8 + y, 0.7, 2.2 - y)
    folds = [line(0.7, 8 + y, 3.9, 4.8), line(9.3, 8 + y, 6.1, 4.8)]
    return [box, line(0.7, 2.2 - y, 5, 5.8, 9.3, 2.2 - y), *maybe(rng, *folds, chance=0.4)]


def balloon(rng: Rng) -> list[Stroke]:
    string = curve(5, 6.9, 5.5, 7.8, 4.5, 8.8, 5.1, 9.8)
    shine = arc(5, 3.4, 1.7, 2, 200, 250)
    return mirrored([arc(5, 3.4, 2.7, 3), line(5, 6.4, 4.6, 7, 5.4, 7, 5, 6.4), string, *maybe(rng, shine, chance=0.3)], rng)


def ice_cream(rng: Rng) -> list[Stroke]:
    cone = line(2.6, 5.2, 5, 9.7, 7.4, 5.2)
    scoops = [arc(5, 5, 2.7, 3, 180, 360), *maybe(rng, arc(5, 2.4, 1.8, 2, 150, 390))]
    crossing = [line(3.4, 6.6, 6.4, 7), line(3.6, 7, 6.4, 5.4)]
    return [cone, line(2.3, 5.2, 7.7, 5.2), *scoops, *maybe(rng, *crossing, chance=0.4)]


def cat(rng: Rng) -> list[Stroke]:
    ears = [line(1.6, 4.4, 1.7, 0.8, 4, 2.4), line(8.4, 4.4, 8.3, 0.8, 6, 2.4)]
    n = rng.integers(2, 4)
    whiskers = [line(5 + side * 1.8, 6.4 + 0.3 * i, 5 + side * 4.7, 5.7 + 0.9 * i) for side in (-1, 1) for i in range(n)]
    mouth = [curve(3.8, 7, 4.4, 7.7, 5, 6.9, 5.6, 7.7, 6.2, 7)]
    return [arc(5, 5.6, 3.8, 3.5), *ears, dot(3.6, 4.8), dot(6.4, 4.8), *mouth, *whiskers]


DOODLES: dict[str, Callable[[Rng], list[Stroke]]] = {
    doodle.__name__: doodle
    for doodle in (
        *(arrow, balloon, bird, boat, butterfly, car, cat, clock, cloud, cup, envelope, face, fish, flower, glasses),
        *(hat, heart, house, ice_cream, key, ladder, lightning, moon, mushroom, snail, star, sun, tree, triangle, umbrella),
    )
}
