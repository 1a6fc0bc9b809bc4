"""Turn any picture into the one form the models see: one decoder and one preprocessing for files, uploads and canvases.

The canonical form is a uint8 tensor `(channels, size, size)`:

- `channels == 1`: an *ink* picture. Light ink (255) on a dark background (0), whichever way round the source was.
- `channels == 3`: a photograph in RGB, colours as they are.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.preprocessing import Preprocessing

Ink = Literal["dark", "light", "auto"]
Source = str | Path | bytes | memoryview | BinaryIO  # an upload box hands over a memoryview

MAX_PIXELS = 50_000_000  # a phone's 48 megapixels still pass
MAX_SIDE = 20_000  # a strip of one pixel by millions is decoded row by row, which takes minutes
# Named one by one: Pillow knows formats that start other programs (EPS), and nobody's drawing is in them.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
_MID_GRAY = 127.5
_BLOCK = 1_000_000  # values that are changed at a time

_warnings_lock = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be used; the message names it, says what is wrong and what to do."""


def read_image(source: Source, *, name: str | None = None) -> np.ndarray:
    """Decode one picture into uint8, `(height, width)` if it is gray, else `(height, width, 3)` RGB.

    EXIF orientation is applied, transparency is laid on white, of an animation the first frame is taken, and deeper
    pixels are scaled (not clipped) to 0..255. `name` is what errors call the picture. Every failure is an `ImageError`.
    """
    name = name or _name_of(source)
    with _open_stream(source, name) as stream, _pillow_warnings():
        return _decode(stream, name)


def preprocess(image: np.ndarray, preprocessing: Preprocessing, ink: Ink = "auto") -> Tensor:
    """Bring one picture into the canonical form, uint8 `(channels, size, size)`.

    `image` is `(h, w)`, `(h, w, 1)`, `(h, w, 3)` or `(h, w, 4)` (alpha is laid on white), of uint8, bool, or floats in 0..1.
    `ink` says what the ink of the source is; "auto" takes it as dark where the border is mostly light. It is unused for
    photographs. Ink pictures keep their aspect ratio and are centred on their background; photographs are cropped to the
    central square. A picture that has the size already is not resampled.
    """
    if ink not in get_args(Ink):
        raise ValueError(f"ink must be one of {', '.join(get_args(Ink))}, but is {ink!r}")
    image = _to_uint8(image)
    if preprocessing.channels == 1:
        return torch.from_numpy(_ink_picture(image, preprocessing.size, ink)).unsqueeze(0)
    return torch.from_numpy(_photograph(image, preprocessing.size)).permute(2, 0, 1).contiguous()


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 pictures into float32 in 0..1; floats pass unchanged. Values become floats here and nowhere else."""
    if images.is_floating_point():
        return images
    if images.dtype != torch.uint8:
        raise ValueError(f"pictures must be uint8, or floats in 0..1, but are {images.dtype}")
    return images.float() / 255


def channel_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each channel of uint8 pictures (n, channels, h, w), of values in 0..1."""
    total = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in images.split(1000):  # not all as floats at once
        values = part.double() / 255
        total += torch.stack([values.mean((0, 2, 3)), values.square().mean((0, 2, 3))]) * (len(part) / len(images))
    return total[0].tolist(), (total[1] - total[0].square()).clamp(min=1e-12).sqrt().tolist()


def _name_of(source: Source) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "name", "the picture"))


def _as_stream(source: Source) -> BinaryIO:
    if isinstance(source, str | Path):
        return open_regular(Path(source))
    return BytesIO(source if isinstance(source, bytes | memoryview) else source.read())


def _open_stream(source: Source, name: str) -> BinaryIO:
    """Open a source for seeking, once it is known to hold something."""
    try:
        stream = _as_stream(source)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be opened ({error}); give the path of a picture that you may read") from error
    if not stream.read(1):
        stream.close()
        raise ImageError(f"{name} is empty (0 bytes); save or copy the picture again")
    stream.seek(0)
    return stream


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on odd headers to ourselves, and make its warning of a too large picture an error."""
    with _warnings_lock, warnings.catch_warnings():  # catch_warnings swaps state of the whole process: one thread at a time
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decode(stream: BinaryIO, name: str) -> np.ndarray:
    too_large = f"more than the {MAX_PIXELS:,} pixels allowed; scale the picture down first"
    try:
        with Image.open(stream, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:  # known from the header: nothing is decoded yet
                raise ImageError(f"{name} says that it is {width} x {height}, {too_large}")
            if max(width, height) > MAX_SIDE:
                raise ImageError(f"{name} says that it is {width} x {height}, but a side may have {MAX_SIDE:,} pixels; scale it first")
            ImageOps.exif_transpose(picture, in_place=True)
            return _to_array(picture, name)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} says that it has {too_large}") from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise ImageError(f"{name} is not a picture of a known kind ({kinds}), whatever its name says; save it as PNG") from error
    except Exception as error:  # a damaged file makes Pillow raise anything from OSError to struct.error and KeyError
        raise ImageError(f"{name} is cut short or damaged ({error}); save or download it again") from error


def _to_array(picture: Image.Image, name: str) -> np.ndarray:
    """Turn an opened picture of any Pillow mode into uint8 gray or RGB."""
    if picture.mode.startswith("I;16"):
        bits = getattr(picture, "tag_v2", {}).get(258, (16,))[0]  # TIFF's BitsPerSample: scanners write 12
        return _scaled(np.asarray(picture), 2**bits - 1)
    if picture.mode in ("I", "F"):
        return _scaled_by_range(np.asarray(picture), name)
    is_gray = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"))
        return _on_white(rgba[..., ::3])[..., 0] if is_gray else _on_white(rgba)
    return np.array(picture.convert("L" if is_gray else "RGB"))


def _by_blocks(change: Callable[[np.ndarray], np.ndarray], values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return uint8 of this shape from a few rows at a time: what lies between would need many times the memory of a large picture."""
    result = np.empty(shape, np.uint8)
    n_rows = max(1, _BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), n_rows):
        result[start : start + n_rows] = change(values[start : start + n_rows])
    return result


def _scaled(values: np.ndarray, full_scale: float) -> np.ndarray:
    return _by_blocks(lambda rows: np.rint(rows.astype(np.float64) * (255 / full_scale)).astype(np.uint8), values, values.shape)


def _scaled_by_range(values: np.ndarray, name: str) -> np.ndarray:
    """Scale 32-bit pixels, whose files do not say what white is: the smallest usual full scale that holds them all."""
    if not np.isfinite(values).all() or values.min() < 0:
        raise ImageError(f"{name} has pixels below zero or not finite; scale them to 0..255 and save it as PNG")
    # Whole numbers of this width come from 16-bit files (PGM); only floats are ever in 0..1 or 0..255.
    usual = (1, 255, 65_535, 2**32 - 1) if values.dtype.kind == "f" else (65_535, 2**32 - 1)
    full_scale = next((scale for scale in usual if values.max() <= scale), float(values.max()))
    return _scaled(values, full_scale)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Lay pixels `(h, w, colours and alpha)` on white."""

    def laid(rows: np.ndarray) -> np.ndarray:
        color, alpha = rows[..., :-1].astype(np.uint16), rows[..., -1:].astype(np.uint16)
        summed = color * alpha + (255 - alpha) * np.uint16(255) + np.uint16(128)
        return (summed + (summed >> 8)) >> 8  # divided by 255 and rounded, in a tenth of the time of a division

    return _by_blocks(laid, pixels, (*pixels.shape[:2], pixels.shape[2] - 1))


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Check an array and bring it to uint8, `(h, w)` or `(h, w, 3)`."""
    image = np.asarray(image)
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))):
        raise ImageError(f"a picture must be (h, w) or (h, w, 1, 3 or 4) with at least one pixel, but is {image.shape}")
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype.kind == "f":
        if not (image.min() >= 0 and image.max() <= 1):
            raise ImageError(f"a float picture must be in 0..1, but is in {image.min()}..{image.max()}; divide it by its full scale")
        image = _scaled(image, 1)
    elif image.dtype != np.uint8:
        raise ImageError(f"a picture must be uint8, bool or floats in 0..1, but is {image.dtype}; scale it to 0..255 first")
    if image.ndim == 3 and image.shape[2] == 1:
        return image[..., 0]
    return _on_white(image) if image.ndim == 3 and image.shape[2] == 4 else image


def _ink_picture(image: np.ndarray, size: int, ink: Ink) -> np.ndarray:
    gray = image if image.ndim == 2 else np.array(Image.fromarray(image).convert("L"))
    if ink == "dark" or (ink == "auto" and _border_level(gray) > _MID_GRAY):
        gray = 255 - gray
    height, width = gray.shape
    scale = size / max(height, width)
    # Shrunk before it is padded: a square around a long strip could be thousands of times its size.
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = gray.copy() if fitted == (width, height) else np.array(Image.fromarray(gray).resize(fitted, Image.Resampling.LANCZOS))
    return resized if fitted == (size, size) else _centred(resized, size, _background_level(gray))


def _background_level(gray: np.ndarray) -> int:
    level = _border_level(gray)
    return int(level) if level <= _MID_GRAY else 0  # a border full of ink says nothing about the background


def _border_level(gray: np.ndarray) -> float:
    return float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))


def _centred(gray: np.ndarray, size: int, background: int) -> np.ndarray:
    height, width = gray.shape
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size), background, dtype=np.uint8)
    square[top : top + height, left : left + width] = gray
    return square


def _photograph(image: np.ndarray, size: int) -> np.ndarray:
    """Scale the central square to `size`: what scaling the short side and cropping gives, with less to hold."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).convert("RGB")
    return np.array(square if side == size else square.resize((size, size), Image.Resampling.LANCZOS))
