"""One decoder and one preprocessing: every way of saving a picture gives the same tensor, every broken one a named error."""

import struct
import tracemalloc
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fewshot_kit.data.images import MAX_PIXELS, ImageError, preprocess, read_image, to_float
from fewshot_kit.data.preprocessing import Preprocessing


def letter(height: int = 60, width: int = 60) -> np.ndarray:
    """Draw a lopsided F, dark ink (0) on white (255): every turn and every flip of it looks different."""
    picture = np.full((height, width), 255, dtype=np.uint8)
    picture[8 : height - 6, 12:20] = 0
    picture[8:15, 12 : width - 10] = 0
    picture[26:32, 12 : width - 25] = 0
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def canonical(content: bytes | Path, ink: str = "auto", **preprocessing) -> torch.Tensor:
    return preprocess(read_image(content), Preprocessing(**preprocessing), ink)


def exif_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def transparent(picture: np.ndarray, mode: str) -> Image.Image:
    """Ink as opacity: black everywhere, seen only where the picture is dark."""
    black = Image.new("L", picture.shape[::-1], 0)
    bands = [black] * (len(mode) - 1) + [Image.fromarray(255 - picture)]
    return Image.merge(mode, bands)


def png_header(width: int, height: int) -> bytes:
    """A PNG which announces a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


F = letter()
GRAY = Image.fromarray(F)
TURNED = {  # orientation tag -> how the stored pixels are turned away from the picture meant
    1: GRAY,
    2: ImageOps.mirror(GRAY),
    3: GRAY.rotate(180),
    4: ImageOps.flip(GRAY),
    5: GRAY.transpose(Image.Transpose.TRANSPOSE),
    6: GRAY.transpose(Image.Transpose.ROTATE_90),
    7: GRAY.transpose(Image.Transpose.TRANSVERSE),
    8: GRAY.transpose(Image.Transpose.ROTATE_270),
}
SAME_PICTURE = {
    "8-bit": saved(GRAY),
    "1-bit": saved(GRAY.convert("1")),
    "16-bit": saved(Image.fromarray(F.astype(np.uint16) * 257)),
    "16-bit tiff": saved(Image.fromarray(F.astype(np.uint16) * 257), "TIFF"),
    "32-bit tiff": saved(Image.fromarray(F.astype(np.int32) * 257), "TIFF"),
    "float tiff, 0..1": saved(Image.fromarray(F.astype(np.float32) / 255), "TIFF"),
    "float tiff, 0..255": saved(Image.fromarray(F.astype(np.float32)), "TIFF"),
    "palette": saved(GRAY.convert("P")),
    "palette with transparency": saved(GRAY.convert("P"), transparency=255),
    "rgb": saved(GRAY.convert("RGB")),
    "rgb with a transparent color": saved(GRAY.convert("RGB"), transparency=(255, 255, 255)),
    "rgba": saved(transparent(F, "RGBA")),
    "gray and alpha": saved(transparent(F, "LA")),
    "gif": saved(GRAY, "GIF"),
    "animated gif": saved(GRAY, "GIF", save_all=True, append_images=[Image.new("L", GRAY.size, 90)] * 2),
    "animated png": saved(GRAY, "PNG", save_all=True, append_images=[Image.new("L", GRAY.size, 90)] * 2),
    "webp": saved(GRAY.convert("RGB"), "WEBP", lossless=True),
    "bmp": saved(GRAY, "BMP"),
    "pgm": saved(GRAY, "PPM"),
    "inverted": saved(ImageOps.invert(GRAY)),
    "inverted 1-bit": saved(ImageOps.invert(GRAY).convert("1")),
} | {f"png, orientation {tag}": saved(turned, exif=exif_orientation(tag)) for tag, turned in TURNED.items()}
LOSSY_PICTURE = {
    "jpeg": saved(GRAY, "JPEG", quality=95),
    "jpeg, orientation 6": saved(TURNED[6], "JPEG", quality=95, exif=exif_orientation(6)),
    "cmyk jpeg": saved(GRAY.convert("RGB").convert("CMYK"), "JPEG", quality=95),
}


@pytest.mark.parametrize("kind", SAME_PICTURE)
def test_every_way_of_saving_gives_the_same_tensor(kind):
    expected = preprocess(255 - F, Preprocessing(), "light")
    assert torch.equal(canonical(SAME_PICTURE[kind]), expected)


@pytest.mark.parametrize("kind", LOSSY_PICTURE)
def test_lossy_ways_of_saving_give_nearly_the_same_tensor(kind):
    expected = preprocess(255 - F, Preprocessing(), "light").int()
    assert (canonical(LOSSY_PICTURE[kind]).int() - expected).abs().max() <= 12


def test_every_source_of_the_same_bytes_gives_the_same_array(tmp_path):
    path = tmp_path / "f.png"
    path.write_bytes(SAME_PICTURE["8-bit"])
    with path.open("rb") as stream:
        sources = [path, str(path), path.read_bytes(), memoryview(path.read_bytes()), BytesIO(path.read_bytes()), stream]
        assert all(np.array_equal(read_image(source), F) for source in sources)


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65_535, 256, dtype=np.uint16).reshape(16, 16)
    assert np.array_equal(read_image(saved(Image.fromarray(ramp))), np.arange(256).reshape(16, 16))


def test_a_scanners_twelve_bits_are_scaled_by_their_depth():
    # A TIFF by hand: little-endian, one strip with two pixels of 12 bits (0 and 4095), an IFD of (tag, SHORT, count 1, value).
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    tiff = struct.pack("<2sHI", b"II", 42, 12) + b"\x00\x0f\xff\x00" + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert read_image(tiff).tolist() == [[0, 255]]


def test_colors_stay_in_a_photograph():
    colors = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    images = canonical(saved(Image.fromarray(colors)), size=40, channels=3)
    assert np.array_equal(images.permute(1, 2, 0).numpy(), colors)


def test_a_photograph_is_cropped_to_its_central_square():
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20, 0] = 200
    images = preprocess(wide, Preprocessing(size=10, channels=3))
    assert (images[0] == 200).all() and not images[1:].any()
    resized = preprocess(np.kron(wide, np.ones((4, 4, 1), dtype=np.uint8)), Preprocessing(size=10, channels=3))
    assert torch.equal(resized, images)


def test_a_gray_photograph_fills_three_equal_channels():
    images = preprocess(F, Preprocessing(size=60, channels=3))
    assert all(np.array_equal(channel.numpy(), F) for channel in images)


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40), (1, 70), (61, 60)])
def test_ink_keeps_its_aspect_ratio_and_is_centred(height, width):
    block = np.zeros((height, width), dtype=np.uint8)
    filled = preprocess(block, Preprocessing(), "dark")[0] > 127
    rows, columns = filled.any(1).nonzero().flatten(), filled.any(0).nonzero().flatten()
    expected_height, expected_width = (28 * side / max(block.shape) for side in (height, width))
    assert abs(len(rows) - expected_height) <= 1 and abs(len(columns) - expected_width) <= 1
    assert abs(int(rows[0]) - (27 - int(rows[-1]))) <= 1 and abs(int(columns[0]) - (27 - int(columns[-1]))) <= 1


def test_padding_takes_the_level_of_the_background():
    paper = np.full((20, 40), 200, dtype=np.uint8)
    paper[5:15, 15:25] = 10
    images = preprocess(paper, Preprocessing(size=40))[0]
    assert (images[:10] == 55).all() and (images[-10:] == 55).all()


def test_a_picture_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    assert np.array_equal(preprocess(noise, Preprocessing(), "light")[0].numpy(), noise)
    assert np.array_equal(preprocess(noise, Preprocessing(), "dark")[0].numpy(), 255 - noise)


def test_preprocess_leaves_its_argument_alone_and_shares_nothing_with_it():
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    noise.flags.writeable = False
    images = preprocess(noise, Preprocessing(), "light")
    images.zero_()
    assert noise.any()


@pytest.mark.parametrize("convert", [lambda x: x > 0, lambda x: x / 255.0, lambda x: (x / 255).astype(np.float32), lambda x: x[..., None]])
def test_bool_and_float_arrays_are_the_same_picture(convert):
    assert torch.equal(preprocess(convert(F), Preprocessing()), preprocess(F, Preprocessing()))


def test_a_transparent_canvas_is_laid_on_white():
    canvas = np.zeros((60, 60, 4), dtype=np.uint8)
    canvas[..., 3] = 255 - F
    assert torch.equal(preprocess(canvas, Preprocessing()), preprocess(F, Preprocessing()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_smallest_and_longest_pictures_have_the_canonical_shape(shape, channels):
    images = preprocess(np.zeros(shape, dtype=np.uint8), Preprocessing(channels=channels))
    assert images.shape == (channels, 28, 28) and images.dtype == torch.uint8 and images.is_contiguous()


def test_to_float_is_in_zero_to_one_and_passes_floats():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert torch.equal(to_float(images), torch.tensor([0.0, 0.2, 1.0]))
    floats = torch.rand(3, dtype=torch.float64)
    assert to_float(floats) is floats
    with pytest.raises(ValueError, match="int64"):
        to_float(torch.zeros(3, dtype=torch.int64))


BROKEN = {
    "cut.png": (SAME_PICTURE["8-bit"][:80], "cut.png is cut short or damaged"),
    "cut.jpg": (LOSSY_PICTURE["jpeg"][:-200], "cut.jpg is cut short or damaged"),
    "flipped.png": (SAME_PICTURE["8-bit"][:60] + b"????" + SAME_PICTURE["8-bit"][64:], "flipped.png is cut short or damaged"),
    "text.png": (b"this is no picture", "text.png is not a picture of a known kind"),
    "page.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "page.png is not a picture of a known kind"),
    "empty.png": (b"", "empty.png is empty"),
    "bomb.png": (png_header(20_000, 20_000), r"bomb.png says that it has more than the 50,000,000 pixels"),
    "grey_zone.png": (png_header(10_000, 10_000), r"grey_zone.png says that it has more than the 50,000,000 pixels"),
    "large.png": (png_header(10_000, 6_000), r"large.png says that it is 10000 x 6000, more than the 50,000,000 pixels"),
    "long.png": (png_header(1, 49_999_999), r"long.png says that it is 1 x 49999999, but a side may have 20,000 pixels"),
    "nan.tiff": (saved(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF"), "nan.tiff has pixels below zero or not finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_an_error_that_names_it(name, tmp_path):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / name)
    with pytest.raises(ImageError, match=message):
        read_image(content, name=name)


def test_a_missing_picture_and_a_folder_are_errors_that_name_them(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere.png does not exist"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match=f"{tmp_path.name} cannot be opened"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="the picture is empty"):
        read_image(b"")


def test_a_bomb_is_refused_before_any_pixel_is_decoded(monkeypatch):
    def decode(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(ImageError, match=r"bomb says that it is 10000 x 5001, more than"):
        read_image(png_header(10_000, MAX_PIXELS // 10_000 + 1), name="bomb")


def test_pillows_warnings_stay_inside():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ImageError):
            read_image(png_header(10_000, 10_000), name="bomb")
    assert not caught


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5), dtype=np.uint8), r"\(0, 5\)"),
        (np.zeros((5, 5, 2), dtype=np.uint8), r"\(5, 5, 2\)"),
        (np.zeros(5, dtype=np.uint8), r"\(5,\)"),
        (np.full((5, 5), 255.0), r"255.0"),
        (np.full((5, 5), -0.1), r"-0.1"),
        (np.full((5, 5), np.nan), "nan"),
        (np.zeros((5, 5), dtype=np.int64), "int64"),
    ],
)
def test_an_array_that_is_no_picture_is_an_error_that_says_so(image, message):
    with pytest.raises(ImageError, match=message):
        preprocess(image, Preprocessing())


def test_settings_are_checked():
    for settings in ({"size": 0}, {"size": 28.0}, {"size": True}, {"size": 1025}, {"size": 10**6}, {"channels": 2}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Preprocessing(**settings)
    for settings in ({"mean": (float("nan"),), "std": (1.0,)}, {"mean": (0.0,), "std": (float("inf"),)}, {"mean": ("0",), "std": (1.0,)}):
        with pytest.raises(ValueError, match="finite"):
            Preprocessing(**settings)
    with pytest.raises(ValueError, match="'black'"):
        preprocess(F, Preprocessing(), "black")


def test_transparency_is_laid_on_white_to_the_nearest_value():
    color, alpha = np.meshgrid(np.arange(256), np.arange(256))
    laid = read_image(png_bytes(Image.fromarray(np.stack([color] * 3 + [alpha], -1).astype(np.uint8), "RGBA")))
    assert np.array_equal(laid[..., 0], np.rint((color * alpha + 255 * (255 - alpha)) / 255))


@pytest.mark.parametrize("kind", ["transparent", "16 bits"])
def test_a_large_picture_takes_little_more_memory_than_its_pixels(kind):
    pixels = np.zeros((3_000, 3_000, 4), np.uint8) if kind == "transparent" else np.zeros((3_000, 3_000), np.uint16)
    content = png_bytes(Image.fromarray(pixels))
    tracemalloc.start()
    try:
        read_image(content)
        assert tracemalloc.get_traced_memory()[1] < 110_000_000  # 36 MB as they are decoded, 27 MB as they are returned
    finally:
        tracemalloc.stop()


def png_bytes(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
