"""Pictures of an embedding: images at their places among the centres of their classes, and what one query is closest to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image, ImageDraw

from fewshot_kit.plots.basics import INK, PALE, TAGS, shorten
from fewshot_kit.plots.texts import embedding_text
from fewshot_kit.plots.tiles import color_of, is_hollow, picture_of, tile, wrong_badge
from fewshot_kit.plots.verdicts import answer_to, verdict

MAP = (10, 26, 570, 526)  # left, top, width, height of the map in the large picture, in pixels from the upper left corner
TABLE = 600  # left of what stands beside it
SMALL = 7.5  # of text, in points
SCALE = {"other": 0.75, "query": 1.0, "support": 1.0, "asked": 1.3}  # of images

Window = tuple[tuple[float, float], tuple[float, float]]
Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class _Scene:
    """What a map shows."""

    images: np.ndarray  # (n, channels, height, width), 0..1
    labels: np.ndarray  # (n,)
    roles: np.ndarray  # (n,): "support", "query" or "other"
    places: np.ndarray  # (n, 2)
    centres: np.ndarray  # (n_way, k, 2)
    class_names: Sequence[str]
    window: Window
    note: str = ""
    asked: int | None = None  # the image whose distances are shown
    distances: np.ndarray | None = None  # (n_way, k), its distances
    probabilities: np.ndarray | None = None  # (n_way,), its probabilities
    wrong: np.ndarray | None = None  # (n,), bool: the queries that are answered wrong

    @property
    def nearest(self) -> tuple[int, int]:
        """Return the class and the centre that is nearest to the asked image."""
        return np.unravel_index(int(self.distances.argmin()), self.distances.shape)


def embedding_figure(*, centre_name: str = "prototype", **arrays) -> Figure:
    """Draw the map of an episode, with the distances and probabilities of the query that is asked about beside it.

    images (n, channels, height, width), labels (n,), roles (n,) of "support", "query" and "other", places (n, 2), centres (n_way, k, 2),
    class_names, window ((x, x), (y, y)): what to show; note: how the places came about. For a query: asked, its index, with distances
    (n_way, k) and probabilities (n_way,). wrong (n,), bool: which queries are answered wrong, to be marked.
    """
    scene = _Scene(**arrays)
    figure = Figure(figsize=(9.2, 5.6), dpi=100)
    figure.set_label(embedding_text(**arrays))
    below, above = _layers(figure)
    _draw_map(figure, below, above, scene, MAP, size=_image_size(scene, MAP))
    above.text(MAP[0], 14, _headline(scene), fontsize=9, va="center")
    bottom = _draw_table(figure, above, scene)
    _draw_key(figure, above, max(bottom + 8, 470), centre_name, scene)
    return figure


def moments_figure(moments: Sequence[tuple[str, dict]], *, spokes: bool = True) -> Figure:
    """Draw maps of the same images side by side: (title, what `embedding_figure` takes). Spokes join images to their nearest own centre."""
    columns, side = min(len(moments), 3), 300
    rows, names = -(-len(moments) // columns), moments[0][1]["class_names"]
    label = f"{len(moments)} maps of the same pictures: {'; '.join(title for title, _ in moments)}"
    legend = 20 * -(-len(names) // 4) + 8
    width, height = columns * (side + 10) + 10, rows * (side + 26) + legend
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.set_label(label)
    below, above = _layers(figure)
    for i, (title, arrays) in enumerate(moments):
        box = (10 + i % columns * (side + 10), 24 + i // columns * (side + 26), side, side)
        scene = replace(_Scene(**arrays), roles=np.full(len(arrays["labels"]), "query"), wrong=None)  # all alike
        if spokes:
            _draw_spokes(below, scene, box)
        _draw_map(figure, below, above, scene, box, size=_image_size(scene, box))
        above.text(box[0], box[1] - 11, title, fontsize=9, va="center")
    for label, name in enumerate(names):
        x, y = 20 + label % 4 * width / 4, rows * (side + 26) + 14 + 20 * (label // 4)
        _badge(above, x, y, label)
        above.text(x + 14, y, shorten(name, 26), fontsize=8, va="center")
    return figure


def _layers(figure: Figure) -> tuple[Axes, Axes]:
    """Return two axes over the whole figure, in pixels from its upper left corner; images go between them."""
    width, height = figure.get_size_inches() * figure.dpi
    axes = [figure.add_axes((0, 0, 1, 1), zorder=zorder) for zorder in (-1, 1)]
    for layer in axes:
        layer.set(xlim=(0, width), ylim=(height, 0))
        layer.set_axis_off()
    return axes[0], axes[1]


def _image_size(scene: _Scene, box: Box) -> int:
    """Return how many pixels wide an image is: less where there are many."""
    marked = max(int((scene.roles != "other").sum()), len(scene.roles) / 4)
    return int(np.clip(np.sqrt(0.2 * box[2] * box[3] / marked), 16, 40))


def _pixels(scene: _Scene, box: Box, places: np.ndarray) -> np.ndarray:
    """Return places (..., 2) in pixels: one scale for both directions, or distances could not be compared by eye."""
    left, top, width, height = box
    low, high = np.array(scene.window).T
    margin = 50 if width > 400 else 26
    scale = min((width - 2 * margin) / max(high[0] - low[0], 1e-9), (height - 2 * margin) / max(high[1] - low[1], 1e-9))
    offset = (np.asarray(places) - (low + high) / 2) * scale
    return np.stack([left + width / 2 + offset[..., 0], top + height / 2 - offset[..., 1]], axis=-1)


# --- the map ---


def _draw_map(figure: Figure, below: Axes, above: Axes, scene: _Scene, box: Box, size: int) -> None:
    left, top, width, height = box
    below.add_artist(Rectangle((left, top), width, height, fill=False, color="#c9ced6"))
    places, centres = _pixels(scene, box, scene.places), _pixels(scene, box, scene.centres)
    bottom, inside = figure.get_size_inches()[1] * figure.dpi - top - height, places - [left, top]
    figure.figimage(_raster(scene, inside, (round(width), round(height)), size), left, bottom, origin="upper", zorder=0)
    radius = 0.74 * (size + 8) if centres.shape[1] == 1 else 11  # around an image: the only one of its class lies at the centre
    taken = [(*(place - radius), 2 * radius, 2 * radius) for place in centres.reshape(-1, 2)]
    if scene.asked is not None:
        _draw_lines(above, scene, places[scene.asked], centres, 0.7 * size, radius)
        reach = SCALE["asked"] * size / 2 + 4
        taken.append((*(places[scene.asked] - reach), 2 * reach, 2 * reach))
        raster = _raster(scene, inside, (round(width), round(height)), size, asked=True)
        figure.figimage(raster, left, bottom, origin="upper", zorder=2)
        above.add_artist(Circle(centres[scene.nearest], radius + 4, fill=False, edgecolor=INK, linewidth=3, zorder=2))
    for label, own in enumerate(centres):
        for i, (x, y) in enumerate(own):
            _draw_centre(above, x, y, label, radius)
            if scene.asked is not None:
                _write_distance(above, box, (x, y, radius), scene.distances[label, i], (label, i) == scene.nearest, taken)


def _draw_centre(axes: Axes, x: float, y: float, label: int, radius: float) -> None:
    style = "--" if is_hollow(label) else "-"
    for color, linewidth in (("white", 5), (color_of(label), 2.6)):
        axes.add_artist(Circle((x, y), radius, fill=False, edgecolor=color, linewidth=linewidth, linestyle=style, zorder=3))
    _badge(axes, x, y - radius, label, size=7 if radius < 12 else 8)


def _badge(axes: Axes, x: float, y: float, label: int, size: float = 8) -> None:
    face, ink = ("white", color_of(label)) if is_hollow(label) else (color_of(label), "white")
    rim = color_of(label) if is_hollow(label) else "white"
    axes.add_artist(Circle((x, y), 1.3 * size, facecolor=face, edgecolor=rim, zorder=4))
    axes.text(x, y + 0.3, TAGS[label], fontsize=size, color=ink, ha="center", va="center_baseline", weight="bold", zorder=5)


def _draw_lines(axes: Axes, scene: _Scene, place: np.ndarray, centres: np.ndarray, gap: float, radius: float) -> None:
    """Draw a line from the asked image's edge (`gap` from its place) to each centre's ring."""
    nearest = scene.nearest
    for label, own in enumerate(centres):
        for i, centre in enumerate(own):
            length = np.linalg.norm(centre - place)
            if length > gap + radius:
                ends = place + (centre - place) * np.array([[gap / length], [1 - radius / length]])
                style = {"color": INK, "linewidth": 3} if (label, i) == nearest else {"linewidth": 1.1, "dashes": (4, 2)}
                axes.plot(*ends.T, zorder=2, **{"color": "#374151", **style})


def _write_distance(axes: Axes, box: Box, ring: tuple[float, float, float], distance: float, is_near: bool, taken: list[Box]) -> None:
    """Write a distance beside its centre, where it covers no other; at first to the right."""
    x, y, radius, width, height = *ring, 36 if is_near else 30, 14
    around = []
    for out in (0, 16, 32):  # pixels further out
        far, near = radius + 3 + out, 0.72 * radius + 2 + out
        around += [(far, -height / 2), (-far - width, -height / 2), (-width / 2, far), (-width / 2, -far - 21)]
        around += [(near, near), (-near - width, near), (near, -near - height), (-near - width, -near - height)]
    boxes = [(x + dx, y + dy, width, height) for dx, dy in around]
    # Rounded: of places that are as free, the first.
    best = min(boxes, key=lambda own: round(sum(_overlap(own, other) for other in taken) + 10 * (width * height - _overlap(own, box)), 3))
    left, top, *_ = best
    taken.append(best)
    style = {"weight": "bold", "color": "white"} if is_near else {"color": "#111827"}
    face = INK if is_near else "white"
    patch = {"boxstyle": "round,pad=0.15", "facecolor": face, "edgecolor": "none", "alpha": 1 if is_near else 0.8}
    axes.text(left + width / 2, top + height / 2, _number(distance), fontsize=8, ha="center", va="center", zorder=6, bbox=patch, **style)


def _overlap(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _draw_spokes(axes: Axes, scene: _Scene, box: Box) -> None:
    places, centres = _pixels(scene, box, scene.places), _pixels(scene, box, scene.centres)
    for label, own in enumerate(centres):
        members = places[scene.labels == label]
        nearest = np.linalg.norm(members[:, None] - own, axis=-1).argmin(1)
        lines = np.stack([members, own[nearest]], axis=1)
        axes.add_collection(LineCollection(lines, colors=color_of(label), linewidths=0.8, alpha=0.55))


# --- its images ---


def _raster(scene: _Scene, places: np.ndarray, size: tuple[int, int], side: int, *, asked: bool = False) -> np.ndarray:
    """Return the images at their places (n, 2) on a transparent ground, those that matter on top; or only the one asked about."""
    canvas = Image.new("RGBA", size, (255, 255, 255, 0))
    order = {"other": 0, "query": 1, "support": 2}
    badges = []  # put on last: no picture may hide one
    for i in [scene.asked] if asked else sorted(range(len(places)), key=lambda i: order[scene.roles[i]]):
        role = "asked" if asked else scene.roles[i]
        picture = tile(scene.images[i], round(side * SCALE[role]), int(scene.labels[i]), role)
        corner = [round(float(place) - length / 2) for place, length in zip(places[i], picture.size, strict=True)]
        corner = [int(np.clip(value, 0, most - length)) for value, most, length in zip(corner, size, picture.size, strict=True)]
        canvas.alpha_composite(picture, tuple(corner))
        if scene.wrong is not None and scene.wrong[i]:
            badge = wrong_badge(max(11, min(15, round(0.45 * side))))
            badges.append(
                (
                    badge,
                    tuple(min(start + length, most) - badge.width for start, length, most in zip(corner, picture.size, size, strict=True)),
                )
            )
    for badge, corner in badges:
        canvas.alpha_composite(badge, corner)
    return np.asarray(canvas)


# --- beside the map ---


def _headline(scene: _Scene) -> str:
    caution = "; far apart means little" if "t-SNE" in scene.note else ""
    return f"{scene.note}{': ' if scene.note else ''}close together means alike{caution}"


def _draw_table(figure: Figure, axes: Axes, scene: _Scene) -> float:
    """Draw the classes with their letters, and for the asked query its distances and probabilities; return where it ends."""
    n_way, top = len(scene.class_names), 26.0
    if scene.asked is not None:
        top = _draw_asked(figure, axes, scene)
    step = min(24, (462 - top) / n_way)
    for label, name in enumerate(scene.class_names):
        y = top + step * (label + 0.5)
        _badge(axes, TABLE + 10, y, label, size=8 if step > 20 else 6.5)
        axes.text(TABLE + 25, y, shorten(name, 36 if scene.asked is None else 14), fontsize=8, va="center")
        if scene.asked is not None:
            _draw_row(axes, y, step, scene, label)
    return top + step * n_way


def _draw_row(axes: Axes, y: float, step: float, scene: _Scene, label: int) -> None:
    probability, is_near = float(scene.probabilities[label]), label == scene.nearest[0]
    weight = "bold" if is_near else "normal"
    axes.text(TABLE + 168, y, _number(scene.distances[label].min()), fontsize=8, va="center", ha="right", weight=weight)
    axes.barh(y, 80 * probability, left=TABLE + 185, height=0.6 * step, color=INK if is_near else PALE)
    axes.text(TABLE + 189 + 80 * probability, y, f"{100 * probability:.0f} %", fontsize=8, va="center", weight=weight)


def _draw_asked(figure: Figure, axes: Axes, scene: _Scene) -> float:
    text, color = verdict(answer_to(scene.probabilities), int(scene.labels[scene.asked]))
    picture = Image.new("RGB", (48, 48), "white")
    ink = picture_of(scene.images[scene.asked], 46, "#111827")
    picture.paste(ink, (1, 1), ink)
    ImageDraw.Draw(picture).rectangle((0, 0, 47, 47), outline="#111827", width=2)
    figure.figimage(np.asarray(picture), TABLE, figure.get_size_inches()[1] * figure.dpi - 26 - 48, origin="upper", zorder=2)
    axes.text(TABLE + 60, 40, "the query asked about (?)", fontsize=8.5, va="center")
    axes.text(TABLE + 60, 60, text, fontsize=9, va="center", weight="bold", color=color)
    for x, text, side in ((168, "distance", "right"), (185, "probability", "left")):
        axes.text(TABLE + x, 92, text, fontsize=SMALL, ha=side, va="center", color="#4b5563")
    return 102.0


def _draw_key(figure: Figure, axes: Axes, top: float, centre_name: str, scene: _Scene) -> None:
    """Say what frames, rings and badges mean."""
    frames = [("thick frame: support", 3), ("thin frame: query", 1), ("faint: others of the class", 0)][: 2 + ("other" in scene.roles)]
    texts = [*(text for text, _ in frames), f"ring: {centre_name}", *(["query answered wrong"] if scene.wrong is not None else [])]
    places = [(TABLE + 10 + 155 * (i % 2), top + 10 + 21 * (i // 2)) for i in range(len(texts))]
    for (x, y), text in zip(places, texts, strict=True):
        axes.text(x + 14, y, text, fontsize=SMALL, va="center")
    for (x, y), (_, border) in zip(places, frames, strict=False):
        if border:
            axes.plot(x, y, "s", markersize=9, markerfacecolor="white", markeredgecolor="#374151", markeredgewidth=border * 0.8)
        else:
            axes.text(x, y, "a", fontsize=10, color="#9ca3af", ha="center", va="center")
    axes.plot(*places[len(frames)], "o", markersize=11, markerfacecolor="none", markeredgecolor="#374151", markeredgewidth=2)
    if scene.wrong is not None:
        badge, (x, y) = wrong_badge(13), places[-1]
        figure.figimage(np.asarray(badge), x - 6, figure.bbox.height - y - 7, origin="upper", zorder=2)
    if scene.asked is not None:
        axes.text(TABLE, top + 76, "distances: between all features, not only two", fontsize=SMALL, va="center", color="#4b5563")


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
