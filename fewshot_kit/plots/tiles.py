"""Images of classes as small tiles: framed in the colour of their class, with its letter."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from fewshot_kit.plots.basics import TAGS, WRONG, font

# Chosen from colour-blind-safe schemes so that protanopes and deuteranopes tell any two apart as well, the first five most easily. The
# second ten classes have them again, with hollow marks; every mark and picture bears its class's letter besides.
CLASS_COLORS = ("#0072b2", "#c08a00", "#44aa99", "#8c510a", "#4d4d4d", "#332288", "#56a0d3", "#cc6677", "#007a5a", "#5aae61")


def color_of(label: int) -> str:
    return CLASS_COLORS[label % len(CLASS_COLORS)]


def is_hollow(label: int) -> bool:
    return label // len(CLASS_COLORS) % 2 == 1


def tile(image: np.ndarray, side: int, label: int, role: str) -> Image.Image:
    """Return one image with its frame and its class's letter: thick for the support, thin for a query, dark for the one asked about."""
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return _tile(pixels.tobytes(), pixels.shape, side, label, role)


@lru_cache(maxsize=2000)
def _tile(pixels: bytes, shape: tuple[int, int, int], side: int, label: int, role: str) -> Image.Image:
    border = {"support": 3, "query": 1, "asked": 3, "other": 0}[role]
    full, color = side + 2 * border + 2, "#111827" if role == "asked" else color_of(label)
    square = Image.new("RGBA", (full, full), (255, 255, 255, {"other": 0, "support": 235, "asked": 215}.get(role, 150)))
    square.alpha_composite(
        _picture(np.frombuffer(pixels, np.uint8).reshape(shape), side, color if role == "other" else "#111827"),
        (border + 1, border + 1),
    )
    if role == "other":
        square.putalpha(square.getchannel("A").point(lambda value: int(0.5 * value)))
    pen = ImageDraw.Draw(square)
    if border:
        pen.rectangle((0, 0, full - 1, full - 1), outline=color, width=border)
    height = max(9, min(13, round(0.4 * side)))
    text = "?" if role == "asked" else TAGS[label]
    tab = (0, 0, int(font(height - 1).getlength(text)) + 3, height)
    if role == "other":
        pen.text((0, -1), text, fill=color, font=font(height - 1))
    else:
        ground, ink = ("white", color) if role != "asked" and is_hollow(label) else (color, "white")
        pen.rectangle(tab, fill=ground, outline=color)
        pen.text((tab[2] / 2 + 0.5, height / 2 + 0.5), text, fill=ink, font=font(height - 1), anchor="mm")
    return square


@lru_cache
def wrong_badge(side: int) -> Image.Image:
    """Return the mark of a wrong answer: a white cross on a round badge, which no colour is needed to see."""
    large = Image.new("RGBA", (4 * side, 4 * side), (255, 255, 255, 0))
    pen, far = ImageDraw.Draw(large), 4 * side - 1
    pen.ellipse((0, 0, far, far), fill="white")
    pen.ellipse((4, 4, far - 4, far - 4), fill=WRONG)
    for ends in ((0.31, 0.31, 0.69, 0.69), (0.31, 0.69, 0.69, 0.31)):
        pen.line([far * end for end in ends], fill="white", width=max(6, round(0.5 * side)))
    return large.resize((side, side), Image.Resampling.BOX)


def picture_of(image: np.ndarray, side: int, ink: str) -> Image.Image:
    """Return an image (channels, height, width) as it is, or ink pictures as ink on a transparent ground."""
    return _picture(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), side, ink)


def _picture(pixels: np.ndarray, side: int, ink: str) -> Image.Image:
    if len(pixels) > 1:
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).resize((side, side), Image.Resampling.BOX).convert("RGBA")
    picture = Image.new("RGBA", (side, side), ink)
    alpha = Image.fromarray(pixels[0]).resize((side, side), Image.Resampling.BILINEAR)
    picture.putalpha(alpha.point(lambda value: min(255, int(1.6 * value))))  # a thin stroke made small is pale
    return picture
