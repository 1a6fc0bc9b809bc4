"""Draw the two bundled data sets, `characters.zip` and `drawings.zip`, from the stroke tables in `strokes.py`.

Every picture is drawn by one of a few imagined people. A `Writer` holds what stays the same from picture to picture (slant, size,
pen); `draw_picture` adds what differs each time. All randomness comes from `SEED`, so a second run writes the same bytes.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

# isort: split
from strokes import ALPHABETS, DOODLES, Stroke

SEED = 20240
SIDE = 105  # pixels, as in Omniglot (Lake et al. 2015)
MARGIN = 5  # pixels kept free of ink at each border
SUPERSAMPLING = 4
STEP = 0.006  # distance between neighbouring points of a drawn stroke; the stroke tables' box has side 1
N_WRITERS = 20
N_DRAWINGS = 12


@dataclass(frozen=True)
class Writer:
    """Hold what one person does in every picture; lengths are in sides of the stroke tables' box."""

    slant: float  # horizontal shear
    tilt: float  # radians
    size: float  # side of the box over the side of the picture
    aspect: float  # width over height
    offset: tuple[float, float]  # of the picture's centre, in sides of the picture
    pen: float  # pixels
    rounding: float  # standard deviation of the smoothing along a stroke, which rounds its corners
    wobble: float  # amplitude of the slow sideways sway of a stroke
    sloppiness: float  # scale of everything that differs between two pictures of one class
    overshoot: float  # mean length by which a stroke runs past its end; negative stops short


def draw_writer(rng: np.random.Generator, pen: tuple[float, float], size: tuple[float, float], sloppiness: tuple[float, float]) -> Writer:
    """Draw one person's habits; the three ranges are the data set's."""
    return Writer(
        slant=rng.normal(0.04, 0.13),
        tilt=rng.normal(0, 0.05),
        size=rng.uniform(*size),
        aspect=float(np.exp(rng.normal(0, 0.13))),
        offset=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        pen=rng.uniform(*pen),
        rounding=rng.uniform(0.004, 0.035),
        wobble=rng.uniform(0.002, 0.011),
        sloppiness=rng.uniform(*sloppiness),
        overshoot=rng.normal(0.005, 0.015),
    )


def rotation(angle: float) -> np.ndarray:
    """Return the (2, 2) matrix that turns row vectors by `angle` radians."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def shake(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Jitter control points (n, 2) one by one, then shift, scale and turn the stroke as a whole."""
    extent = np.ptp(points, axis=0).max()
    noise = rng.normal(0, 0.026, points.shape) * min(1, extent / 0.25)  # a dot stays a dot
    if len(points) > 4:  # neighbours on a long curve move together: a hand draws an egg for a circle, not a cog
        noise[1:-1] = 0.3 * noise[:-2] + 0.6 * noise[1:-1] + 0.3 * noise[2:]
    centre = points.mean(axis=0)
    turned = (points - centre) @ rotation(rng.normal(0, 0.05) * writer.sloppiness)
    scaled = turned * np.exp(rng.normal(0, 0.05, 2) * writer.sloppiness)
    return centre + scaled + (rng.normal(0, 0.018, 2) + noise) * writer.sloppiness


def spline(points: np.ndarray, n_per_piece: int = 16) -> np.ndarray:
    """Sample the uniform Catmull-Rom spline through points (n, 2)."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, n_per_piece)[None, :, None]
    slopes = (end - before) * t + (2 * before - 5 * start + 4 * end - after) * t**2 + (3 * start - before - 3 * end + after) * t**3
    return (start + slopes / 2).reshape(-1, 2)


def resample(points: np.ndarray) -> np.ndarray:
    """Return points about `STEP` apart along the polyline (n, 2)."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0], np.cumsum(lengths)])
    wanted = np.linspace(0, along[-1], max(3, int(along[-1] / STEP)))
    return np.stack([np.interp(wanted, along, axis) for axis in points.T], axis=1)


def round_corners(points: np.ndarray, deviation: float) -> np.ndarray:
    """Smooth evenly spaced points (n, 2) along the stroke; the two ends stay where they are."""
    reach = min(int(3 * deviation / STEP), len(points) - 1)
    if reach < 1:
        return points
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP / deviation) ** 2)
    before = 2 * points[0] - points[reach:0:-1]
    after = 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.vstack([before, points, after])
    return np.stack([np.convolve(axis, kernel / kernel.sum(), mode="valid") for axis in padded.T], axis=1)


def sway(points: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Push evenly spaced points (n, 2) sideways by a few slow waves."""
    along = np.arange(len(points)) * STEP
    waves = np.zeros(len(points))
    for length in (0.9, 0.45, 0.22):
        waves += rng.normal(0, amplitude * length) * np.sin(2 * np.pi * (along / length + rng.random()))
    tangents = np.gradient(points, axis=0)
    tangents /= np.maximum(np.hypot(*tangents.T), 1e-9)[:, None]
    return points + 2 * waves[:, None] * tangents[:, ::-1] * [-1, 1]


def move_ends(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Let each end of a stroke run on straight, or stop short, by a random length."""
    longest = len(points) // 8  # a short tick changes little, or it would vanish
    for _ in range(2):
        n_steps = int(np.clip(rng.normal(writer.overshoot, 0.016 * writer.sloppiness) / STEP, -longest, longest))
        run_on = points[-1] + (points[-1] - points[-3]) / 2 * np.arange(1, n_steps + 1)[:, None]
        points = np.vstack([points, run_on]) if n_steps > 0 else points[: len(points) + n_steps]
        points = points[::-1]
    return points


def draw_stroke(stroke: Stroke, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Return the pen's path (n, 2) for one stroke, centred on the origin of a box of side 1."""
    control = shake(np.array(stroke.points) / 10 - 0.5, writer, rng)
    path = round_corners(resample(spline(control) if stroke.smooth else control), writer.rounding)
    return move_ends(sway(path, writer.wobble, rng), writer, rng)


def place(paths: list[np.ndarray], writer: Writer, rng: np.random.Generator) -> list[np.ndarray]:
    """Bend, slant, turn and scale all strokes together, and return them in pixels, inside the margin."""
    bend = rng.normal(0, 0.11 * writer.sloppiness, (3, 2))
    aspect = np.sqrt(writer.aspect * np.exp(rng.normal(0, 0.06)))
    shear = np.array([[1, 0], [-writer.slant - rng.normal(0, 0.05), 1]])
    matrix = shear @ np.diag([aspect, 1 / aspect]) @ rotation(writer.tilt + rng.normal(0, 0.05))
    size = SIDE * writer.size * np.exp(rng.normal(0, 0.06))
    centre = SIDE * (0.5 + np.array(writer.offset) + rng.normal(0, 0.025, 2))
    bent = [path + np.stack([path[:, 0] ** 2, path.prod(axis=1), path[:, 1] ** 2], axis=1) @ bend for path in paths]
    everything = np.vstack(bent) @ matrix * size
    low, high = everything.min(axis=0), everything.max(axis=0)
    room = SIDE - 2 * MARGIN
    shrink = min(1, room / (high - low).max())
    centre = np.clip(centre, MARGIN - low * shrink, SIDE - MARGIN - high * shrink)
    return [path @ matrix * size * shrink + centre for path in bent]


def ink(paths: list[np.ndarray], pen: float) -> Image.Image:
    """Return the 1-bit picture of a round pen, `pen` pixels wide, that followed `paths`: black on white."""
    canvas = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING), 255)
    drawing = ImageDraw.Draw(canvas)
    radius = pen * SUPERSAMPLING / 2
    for path in paths:
        points = np.vstack([path[:-1:3], path[-1:]]) * SUPERSAMPLING
        drawing.line(points.ravel().tolist(), fill=0, width=round(2 * radius))
        for x, y in points.tolist():  # round joins and ends
            drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    return canvas.reduce(SUPERSAMPLING).convert("1", dither=Image.Dither.NONE)


def draw_picture(strokes: list[Stroke], writer: Writer, rng: np.random.Generator) -> Image.Image:
    """Return `strokes` as `writer` draws them this time."""
    paths = [draw_stroke(stroke, writer, rng) for stroke in strokes]
    return ink(place(paths, writer, rng), writer.pen * np.exp(rng.normal(0, 0.04)))


def draw_characters() -> Iterator[tuple[str, Image.Image]]:
    """Yield (path in the archive, picture): every writer draws every character once."""
    habits = {"pen": (2.0, 3.4), "size": (0.58, 0.82), "sloppiness": (0.6, 1.35)}
    writers = [draw_writer(np.random.default_rng([SEED, 0, i]), **habits) for i in range(N_WRITERS)]
    for number, (alphabet, characters) in enumerate(ALPHABETS.items()):
        for character, strokes in enumerate(characters, start=1):
            for i, writer in enumerate(writers):
                rng = np.random.default_rng([SEED, 1, number, character, i])
                yield f"{alphabet}_character{character:02d}/writer_{i + 1:02d}.png", draw_picture(strokes, writer, rng)


def draw_drawings() -> Iterator[tuple[str, Image.Image]]:
    """Yield (path in the archive, picture): every person draws every thing once, choosing its parts anew."""
    habits = {"pen": (2.5, 4.2), "size": (0.72, 0.9), "sloppiness": (0.5, 1.0)}
    writers = [draw_writer(np.random.default_rng([SEED, 2, i]), **habits) for i in range(N_DRAWINGS)]
    for number, (name, doodle) in enumerate(DOODLES.items()):
        for i, writer in enumerate(writers):
            rng = np.random.default_rng([SEED, 3, number, i])
            yield f"{name}/{i + 1:02d}.png", draw_picture(doodle(rng), writer, rng)


def write_archive(path: Path, pictures: Iterator[tuple[str, Image.Image]]) -> None:
    """Write pictures as PNG files into a zip archive that carries no date, so that its bytes depend on the pictures alone."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, picture in pictures:
            png = io.BytesIO()
            picture.save(png, "PNG", optimize=True)
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01, stored: PNG files do not shrink further
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every operating system
            archive.writestr(entry, png.getvalue())


def main() -> None:
    """Write both archives into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Draw characters.zip and drawings.zip.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the archives (default: beside this script)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    write_archive(out / "characters.zip", draw_characters())
    write_archive(out / "drawings.zip", draw_drawings())


if __name__ == "__main__":
    main()
