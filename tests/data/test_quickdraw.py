"""Quick, Draw!: the format, the pen, the split, and downloads that break off. No test touches the network."""

import io
import itertools
import json
import logging
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import torch

from fewshot_kit.data import quickdraw
from fewshot_kit.data.datasets import dataset_names, is_available, load_dataset
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.quickdraw import categories, find_files, load_drawings
from fewshot_kit.data.strokes import as_strokes, rasterise, read_drawings

DATA = Path(os.environ.get("FEWSHOT_DATA") or "no data folder")
needs_quickdraw = pytest.mark.skipif(not (DATA / "quickdraw").is_dir(), reason="FEWSHOT_DATA names no folder with quickdraw/")

HOUSE = [[[0, 0, 200, 200, 0], [255, 100, 100, 255, 255]], [[0, 100, 200], [100, 0, 100]], [[90], [200]]]
RAW = [[[10.5, -300.0, 812.25], [4.0, 77.5, 903.0], [0, 16, 33]]]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    """Leave a test nothing but an empty cache: no data folder, no network."""

    def connect(*_arguments, **_options):
        raise OSError("this test has no network")

    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEWSHOT_DATA", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path / "cache"


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """Return the quickdraw folder of an empty data folder."""
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "quickdraw").mkdir(parents=True)
    return tmp_path / "data" / "quickdraw"


def scribble(seed: int, n_strokes: int = 3) -> list:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(256, (2, 4), generator=generator).tolist() for _ in range(n_strokes)]


def ndjson(word: str, drawings: list) -> bytes:
    records = ({"word": word, "key_id": str(i), "recognized": True, "drawing": drawing} for i, drawing in enumerate(drawings))
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write_all(folder: Path, n: int = 3) -> None:
    """Write the archive of all categories, `n` drawings in each."""
    with zipfile.ZipFile(folder / "simplified.zip", "w") as archive:
        for i, word in enumerate(categories()):
            archive.writestr(f"{word}.ndjson", ndjson(word, [scribble(n * i + j) for j in range(n)]))


def left_over(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


# --- the split ---


def test_the_split_is_a_seeded_shuffle_of_all_categories():
    order = torch.randperm(345, generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [categories()[i] for i in order]
    parts = {"train": shuffled[:207], "val": shuffled[207:276], "test": shuffled[276:]}
    assert len(set(shuffled)) == 345
    for split, words in parts.items():
        assert categories(split) == tuple(sorted(words))


@needs_quickdraw
def test_the_categories_are_the_official_ones():
    with zipfile.ZipFile(DATA / "quickdraw" / "simplified.zip") as archive:
        assert set(categories()) == {name.removesuffix(".ndjson") for name in archive.namelist()}


@pytest.mark.parametrize(("typo", "offered"), [("catt", "'cat'"), ("eiffel tower", "'The Eiffel Tower'"), ("t shirt", "'t-shirt'")])
def test_an_unknown_category_is_an_error_that_offers_the_nearest(typo, offered):
    with pytest.raises(ValueError, match=f"no category '{typo}'; did you mean .*{offered}"):
        load_drawings(typo)
    with pytest.raises(ValueError, match=r"no category 'Ωµ'; .*categories\(\) lists them"):
        load_drawings("Ωµ")


# --- the pen ---


def ideal(strokes: list, size: int, samples: int = 8) -> np.ndarray:
    """Cover each pixel by the fraction of its points within half a pen of a segment: the definition, computed another way."""
    points = [np.array(stroke[:2], dtype=float).T for stroke in strokes]
    low, high = np.concatenate(points).min(axis=0), np.concatenate(points).max(axis=0)
    unit = size / 304
    scale = 255 * unit / max((high - low).max(), 1e-9)
    axis = (np.arange(size * samples) + 0.5) / samples
    where = np.stack(np.meshgrid(axis, axis), axis=-1)  # (side, side, 2), x first
    nearest = np.full(where.shape[:2], np.inf)
    for stroke in points:
        stroke = (stroke - (low + high) / 2) * scale + size / 2
        for start, end in zip(stroke, np.vstack([stroke[1:], stroke[-1:]]), strict=True):
            along = end - start
            t = np.clip((where - start) @ along / max(along @ along, 1e-12), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(where - start - t[..., None] * along, axis=-1))
    return 255 * (nearest <= 8 * unit).reshape(size, samples, size, samples).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [14, 28, 56])
@pytest.mark.parametrize("strokes", [HOUSE, RAW, scribble(0), scribble(1, 8), [[[5], [9]]]], ids=str.split("house raw few many dot"))
def test_a_drawing_is_what_a_round_pen_covers(strokes, size):
    picture = rasterise(strokes, size)
    assert picture.shape == (size, size) and picture.dtype == np.uint8
    error = np.abs(picture - ideal(strokes, size))
    assert error.mean() < 4 and error.max() < 80  # of 255


def test_strokes_are_as_wide_as_the_official_ones_and_keep_off_the_edge():
    picture = rasterise([[[0, 255], [40, 40]]])
    assert picture[:, 14].sum() / 255 == pytest.approx(28 * 16 / 304, rel=0.03)
    inked = np.flatnonzero(picture.any(axis=0))
    assert (inked[0], inked[-1]) == (1, 26)


def test_place_and_size_of_a_drawing_do_not_matter():
    moved = [[[2 * x - 700 for x in xs], [2 * y + 90_000 for y in ys]] for xs, ys in HOUSE]
    assert np.array_equal(rasterise(moved), rasterise(HOUSE))


def test_the_order_of_strokes_and_where_they_are_lifted_do_not_matter():
    (xs, ys), *others = HOUSE
    lifted = [*others[::-1], [xs[:3], ys[:3]], [xs[2:], ys[2:]], [[], []]]
    assert np.array_equal(rasterise(lifted), rasterise(HOUSE))


def test_a_mirrored_drawing_is_the_mirrored_picture():
    mirrored = [[[-x for x in xs], ys] for xs, ys in HOUSE]
    turned = [[[-y for y in ys], xs] for xs, ys in HOUSE]
    for strokes, expected in ((mirrored, np.fliplr(rasterise(HOUSE))), (turned, np.rot90(rasterise(HOUSE), -1))):
        assert np.abs(rasterise(strokes).astype(int) - expected).mean() < 2


def test_a_dot_is_drawn_in_the_middle():
    for dot in ([[[7], [200]]], [[[7, 7, 7], [200, 200, 200]]]):
        picture = rasterise(dot)
        assert picture.sum() / 255 == pytest.approx(np.pi * (28 * 8 / 304) ** 2, rel=0.03)
        assert picture[13:15, 13:15].sum() == picture.sum() and picture[13:15, 13:15].min() > 80


def test_strokes_stay_what_the_file_says():
    (simplified,) = as_strokes([[[0, 255], [1, 2]]])
    assert simplified.dtype == np.uint8 and simplified.tolist() == [[0, 255], [1, 2]]
    (raw,) = as_strokes(RAW)
    assert raw.dtype == np.float32 and raw.tolist() == RAW[0][:2]
    (outside,) = as_strokes([[[0, 256], [1, 2]]])
    assert outside.dtype == np.float32
    assert np.array_equal(as_strokes([simplified])[0], simplified)  # checking twice changes nothing


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ([], "is empty: it needs at least one stroke"),
        ([[[], []]], "is empty"),
        ([[[1, 2], [3]]], "has 2 x, but 1 y"),
        ([[[1, 2]]], "one has 1 lists"),
        ([[(0, 0), (1, 1), (2, 2), (3, 3)]], "one has 4 lists"),
        ([[[1, float("nan")], [3, 4]]], "no finite number"),
        ([[[1, float("inf")], [3, 4]]], "no finite number"),
        ([[[1, 1e300], [3, 4]]], "no finite number"),
        ([[["a", "b"], [3, 4]]], "no finite number"),
        ([[[None, 1], [3, 4]]], "no finite number"),
    ],
)
def test_strokes_that_cannot_be_drawn_are_errors(strokes, message):
    with pytest.raises(ValueError, match=message):
        rasterise(strokes)


# --- the format ---


def test_drawings_are_read_in_order_from_a_path_content_or_lines(tmp_path):
    content = ndjson("cat", [scribble(i) for i in range(4)])
    (tmp_path / "cat.ndjson").write_bytes(content)
    for source in (tmp_path / "cat.ndjson", content, content.splitlines(keepends=True), io.BytesIO(content.rstrip())):
        drawings = list(read_drawings(source))
        assert [(drawing.word, drawing.key_id) for drawing in drawings] == [("cat", str(i)) for i in range(4)]
        assert [[stroke.tolist() for stroke in drawing.strokes] for drawing in drawings] == [scribble(i) for i in range(4)]


def test_no_more_is_read_than_asked_for():
    lines = iter([*ndjson("cat", [HOUSE] * 3).splitlines(keepends=True), b"not reached"])
    assert len(list(read_drawings(lines, limit=3))) == 3 and list(lines) == [b"not reached"]
    with pytest.raises(ValueError, match="at least 1"):
        next(read_drawings(b"", limit=0))


def test_empty_drawings_are_left_out_and_counted(caplog):
    caplog.set_level(logging.INFO)
    content = ndjson("cat", [[], HOUSE, [[[], []]], HOUSE, []])
    assert [drawing.key_id for drawing in read_drawings(content, name="cat.ndjson")] == ["1", "3"]
    (record,) = caplog.records
    assert record.levelno == logging.INFO and record.getMessage() == "cat.ndjson: 3 of 5 drawings have no point and are left out"
    assert len(list(read_drawings(content, limit=2))) == 2


def test_a_raw_file_is_drawn_like_its_simplified_twin():
    raw = [[[1000 + 3.5 * x for x in xs], [3.5 * y - 20 for y in ys], list(range(len(xs)))] for xs, ys in HOUSE]
    (drawing,) = read_drawings(ndjson("house", [raw]))
    assert np.array_equal(rasterise(drawing.strokes), rasterise(HOUSE))


GOOD = ndjson("cat", [HOUSE] * 2)
BROKEN_LINES = {
    "cut": (GOOD + GOOD[:50], "is cut off in the middle of line 3"),
    "damaged": (GOOD + GOOD[:50] + b"\n" + GOOD, "is damaged in line 3"),
    "not text": (GOOD + b"\xff\xfe\x00\n", "is damaged in line 3"),
    "too deep": (GOOD + b"[" * 200_000 + b"\n", "is damaged in line 3"),
    "no drawing": (GOOD + b'{"word": "cat", "key_id": "1"}\n', "line 3, is not a drawing with word, key_id and drawing"),
    "a list": (GOOD + b"[1, 2]\n", "line 3, is not a drawing"),
    "a number": (GOOD + ndjson("cat", [[3]]), "line 3, is not a drawing"),
    "uneven": (GOOD + ndjson("cat", [[[[1, 2], [3]]]]), "line 3: a stroke has 2 x, but 1 y"),
}


@pytest.mark.parametrize("kind", BROKEN_LINES)
def test_a_broken_line_is_an_error_that_names_it(kind, folder):
    content, message = BROKEN_LINES[kind]
    (folder / "cat.ndjson").write_bytes(content)
    with pytest.raises(ValueError, match=rf"cat\.ndjson,? ?{message}"):
        load_drawings("cat")
    assert len(load_drawings("cat", 2)) == 2  # what comes before it is whole


# --- files on this machine ---


def test_an_archive_and_single_files_are_the_same_data_set(folder, monkeypatch):
    write_all(folder)
    assert is_available("quickdraw") and "quickdraw" in dataset_names()
    packed = load_dataset("quickdraw", "test", progress=False)
    assert packed.class_names == categories("test") and set(packed.counts) == {3} and packed.split == "test"
    with zipfile.ZipFile(folder / "simplified.zip") as archive:
        archive.extractall(folder)
    (folder / "simplified.zip").unlink()
    assert is_available("quickdraw")
    assert torch.equal(load_dataset("quickdraw", "test", progress=False).images, packed.images)
    monkeypatch.setattr(quickdraw, "rasterise", None)  # a second load draws nothing
    assert torch.equal(load_dataset("quickdraw", "test", progress=False).images, packed.images)
    (folder / "cat.ndjson").unlink()
    assert not is_available("quickdraw")


def test_strokes_come_in_the_order_of_the_pictures(folder):
    write_all(folder)
    for size, channels in ((28, 1), (20, 1), (28, 3)):
        dataset = load_dataset("quickdraw", "val", preprocessing=Preprocessing(size, channels), samples_per_class=2, progress=False)
        assert set(dataset.counts) == {2}
        for class_id in (0, 40):
            drawings = load_drawings(dataset.class_names[class_id], 2)
            for picture, drawing in zip(dataset.of_class(class_id), drawings, strict=True):
                assert all(np.array_equal(channel, rasterise(drawing.strokes, size)) for channel in picture.numpy())


def test_a_drawing_of_something_else_is_an_error(folder):
    (folder / "cat.ndjson").write_bytes(ndjson("dog", [HOUSE]))
    with pytest.raises(ValueError, match=r"cat\.ndjson has a drawing of 'dog' \(key_id 0\), not of 'cat'"):
        load_drawings("cat")


def test_a_file_of_empty_drawings_and_a_damaged_archive_are_named(folder):
    (folder / "cat.ndjson").write_bytes(ndjson("cat", [[], []]))
    with pytest.raises(ValueError, match=r"cat\.ndjson has no drawing of 'cat'"):
        quickdraw.load_pictures(["cat"], Preprocessing(), progress=False)
    (folder / "simplified.zip").write_bytes(b"PK but no more")
    with pytest.raises(ValueError, match=r"simplified\.zip is cut short or damaged"):
        load_drawings("dog")


def test_bitmaps_pass_bit_for_bit(folder):
    bitmaps = np.arange(5 * 784).reshape(5, 784).astype(np.uint8)
    np.save(folder / "cat.npy", bitmaps)
    for n in (None, 3):
        images, counts = quickdraw.load_pictures(["cat"], Preprocessing(), n, progress=False)
        assert counts == (n or 5,) and np.array_equal(images.numpy().reshape(-1, 784), bitmaps[:n])
    with pytest.raises(ValueError, match=r"cat\.npy has pictures, but no strokes; save https://.*/simplified/cat\.ndjson"):
        load_drawings("cat")


BROKEN_BITMAPS = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cut short"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"more"), r"4,052 bytes, not 4,048"),
    "empty": (lambda path: path.write_bytes(b""), "cut short"),
    "no array": (lambda path: path.write_bytes(b"text"), "cut short"),
    "no header": (lambda path: path.write_bytes(path.read_bytes().replace(b"}", b"(")), "cut short"),
    "wrong shape": (lambda path: np.save(path, np.zeros((2, 28, 28), np.uint8)), r"holds uint8 \(2, 28, 28\)"),
    "wrong type": (lambda path: np.save(path, np.zeros((2, 784))), r"holds float64 \(2, 784\)"),
    "objects": (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cut short"),
}


@pytest.mark.parametrize("kind", BROKEN_BITMAPS)
def test_broken_bitmaps_are_named(kind, folder):
    damage, message = BROKEN_BITMAPS[kind]
    np.save(folder / "cat.npy", np.zeros((5, 784), np.uint8))
    damage(folder / "cat.npy")
    with pytest.raises(ValueError, match=rf"cat\.npy is .*{message}"):
        quickdraw.load_pictures(["cat"], Preprocessing(), progress=False)


# --- the first of every class ---


def test_first_keeps_the_first_of_every_class_of_any_data_set():
    digits = load_dataset("digits", progress=False)
    few = load_dataset("digits", samples_per_class=4, progress=False)
    assert few.counts == (4,) * 10 and few.class_names == digits.class_names
    assert all(torch.equal(few.of_class(i), digits.of_class(i)[:4]) for i in range(10))
    with pytest.raises(ValueError, match=r"500 images a class are wanted of 'digits', but class '0' has 178; .* is 174"):
        load_dataset("digits", samples_per_class=500, progress=False)
    for load_none in (lambda: digits.first(0), lambda: load_dataset("digits", samples_per_class=0)):
        with pytest.raises(ValueError, match="at least 1"):
            load_none()


def test_a_category_with_too_few_drawings_is_named(folder):
    write_all(folder)
    with pytest.raises(ValueError, match=f"4 images a class are wanted of 'quickdraw', but class '{categories('test')[0]}' has 3"):
        load_dataset("quickdraw", "test", samples_per_class=4, progress=False)


# --- downloads ---


class FakeSite:
    """Stand in for `requests.get`: send `content`, in small pieces, and note what was asked for and how much was taken."""

    def __init__(self, content: bytes, announced: int | None = None, status: int = 200, breaks: BaseException | None = None):
        self.content, self.announced, self.status, self.breaks = content, announced, status, breaks
        self.urls: list[str] = []
        self.n_sent = 0
        self.is_closed = False

    def __call__(self, url: str, **_options) -> "FakeSite":
        self.urls.append(url)
        return self

    def __enter__(self) -> "FakeSite":
        return self

    def __exit__(self, *_error) -> None:
        self.is_closed = True

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.announced is None else {"Content-Length": str(self.announced)}

    def raise_for_status(self) -> None:
        if self.status != 200:
            raise requests.HTTPError(f"{self.status} Client Error")

    def iter_content(self, _size: int) -> Iterator[bytes]:
        for start in range(0, len(self.content), 37):
            self.n_sent += 37
            yield self.content[start : start + 37]
        if self.breaks:
            raise self.breaks


@pytest.fixture
def site(monkeypatch):
    def open_site(content: bytes, **options) -> FakeSite:
        fake = FakeSite(content, **options)
        monkeypatch.setattr(requests, "get", fake)
        return fake

    return open_site


LONG = ndjson("hot dog", [scribble(i) for i in range(50)])


def test_a_download_stops_after_the_drawings_asked_for(site, cache):
    sent = site(LONG, announced=len(LONG))
    drawings = load_drawings("hot dog", 7)
    assert len(drawings) == 7 and sent.urls == ["https://storage.googleapis.com/quickdraw_dataset/full/simplified/hot%20dog.ndjson"]
    assert sent.is_closed and sent.n_sent < len(LONG) / 5
    assert left_over(cache) == ["hot dog-first7.ndjson"]
    assert (cache / "quickdraw" / "hot dog-first7.ndjson").read_bytes() == ndjson("hot dog", [scribble(i) for i in range(7)])


def test_empty_drawings_do_not_count_in_a_download(site):
    site(ndjson("cat", [[], HOUSE] * 9))
    assert [drawing.key_id for drawing in load_drawings("cat", 3)] == ["1", "3", "5"]


def test_what_was_downloaded_is_used_where_it_suffices(site, cache):
    site(LONG)
    load_drawings("hot dog", 7)
    again = site(LONG)
    assert len(load_drawings("hot dog", 5)) == 5 and len(load_drawings("hot dog")) == 7 and not again.urls
    assert len(load_drawings("hot dog", 9)) == 9 and again.urls
    assert left_over(cache) == ["hot dog-first7.ndjson", "hot dog-first9.ndjson"]
    assert find_files(["hot dog"], 6)["hot dog"].path.name == "hot dog-first7.ndjson"
    assert find_files(["hot dog"])["hot dog"].path.name == "hot dog-first9.ndjson"
    assert not find_files(["hot dog"], 10)


def test_a_category_shorter_than_asked_for_is_taken_whole(site):
    sent = site(LONG, announced=len(LONG))
    assert len(load_drawings("hot dog", 60)) == 50 and len(load_drawings("hot dog", 60)) == 50
    assert len(sent.urls) == 1


def test_a_split_is_downloaded_a_category_at_a_time(monkeypatch):
    asked = []

    def get(url, **_options):
        word = requests.utils.unquote(url.split("/")[-1]).removesuffix(".ndjson")
        asked.append(word)
        return FakeSite(ndjson(word, [scribble(i) for i in range(5)]))

    monkeypatch.setattr(requests, "get", get)
    dataset = load_dataset("quickdraw", "test", samples_per_class=2, progress=False)
    assert asked == list(categories("test")) and set(dataset.counts) == {2}
    assert torch.equal(load_dataset("quickdraw", "test", samples_per_class=2, progress=False).images, dataset.images)
    assert len(asked) == 69


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


WHOLE = ndjson("cat", [scribble(i) for i in range(5)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"announced": 100_000}, ConnectionError, "broke off after .* of 100,000 bytes"),
        ({}, ConnectionError, "cut"),
        ({"breaks": requests.ConnectionError("reset by peer")}, ConnectionError, "reset by peer"),
        ({"status": 404}, ConnectionError, "404 Client Error"),
        ({"breaks": KeyboardInterrupt()}, KeyboardInterrupt, "^$"),
        ({"breaks": OSError(28, "No space left on device")}, OSError, r"cat-first5\.ndjson could not be written: the disk is full"),
    ],
    ids=str.split("announced silent reset missing interrupted full"),
)
def test_a_download_that_breaks_off_leaves_nothing(options, error, message, site, cache):
    fake = site(WHOLE[:-20], **options)
    with pytest.raises(error, match=message):
        load_drawings("cat", 5)
    assert left_over(cache) == [] and fake.is_closed


@pytest.mark.parametrize(
    "content", [b"<html>please log in</html>", b"", b"\n\n", ndjson("cat", [[]])], ids=str.split("page nothing blank empty")
)
def test_what_is_no_file_of_drawings_is_refused(content, site, cache):
    site(content)
    with pytest.raises(ConnectionError, match=r"what https://.*/cat\.ndjson sent is not the expected file .*\(digits, characters"):
        load_drawings("cat", 5)
    assert left_over(cache) == []


def test_without_a_network_the_error_names_url_and_way_out(cache):
    with pytest.raises(
        ConnectionError, match=r"https://.*/simplified/.*\.ndjson could not be .*this test has no network.*by hand.*\(digits"
    ):
        load_dataset("quickdraw", "test", progress=False)
    assert left_over(cache) == [] and not is_available("quickdraw")


def test_progress_is_shown_and_can_be_turned_off(site, capsys):
    for progress in (False, True):
        site(WHOLE)
        quickdraw.load_pictures(["cat"], Preprocessing(size=20 + progress), progress=progress)
        assert bool(capsys.readouterr().err) == progress


# --- the real drawings ---


@pytest.fixture
def real_data(monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", str(DATA))


@needs_quickdraw
def test_every_real_drawing_is_read(real_data):
    counts = {word: len(load_drawings(word, progress=False)) for word in categories()}
    assert sum(counts.values()) == 10_317 and min(counts.values()) == 25
    drawings = load_drawings("The Eiffel Tower", 20)
    assert {stroke.dtype.name for drawing in drawings for stroke in drawing.strokes} == {"uint8"}


@needs_quickdraw
def test_real_pictures_look_like_handwriting(real_data):
    dataset = load_dataset("quickdraw", "test", samples_per_class=20, progress=False)
    images = dataset.images[:, 0]
    assert set(dataset.counts) == {20} and dataset.class_names == categories("test")
    assert images.max() == 255 and 0.1 < images.float().mean() / 255 < 0.25  # MNIST has 0.13
    assert not any(edge.any() for edge in (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]))
    boxes = [(picture.any(dim).nonzero()[[0, -1]].flatten()) for picture, dim in itertools.product(images[::50], (0, 1))]
    assert all(abs(int(box.sum()) - 27) <= 2 for box in boxes)  # centred in both directions


def test_a_word_as_long_as_a_book_is_not_repeated_whole(folder):
    (folder / "cat.ndjson").write_text(json.dumps({"word": "x" * 10**5, "key_id": "1" * 10**5, "drawing": [[[1], [2]]]}) + "\n")
    with pytest.raises(ValueError, match="has a drawing of 'xxx") as caught:
        load_drawings("cat")
    assert len(str(caught.value)) < 500
