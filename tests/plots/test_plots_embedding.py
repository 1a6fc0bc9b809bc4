"""The picture of an embedding: everything in its place, told apart without colours, for few images and for many."""

import io
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from fewshot_kit.plots import TAGS, background_figure, embedding_figure, moments_figure, png, probabilities_figure
from fewshot_kit.plots.tiles import CLASS_COLORS, tile

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def scene(n_way: int = 4, n_each: int = 6, k: int = 1, channels: int = 1, asked: int | None = 2, spread: float = 1.0) -> dict:
    """Made-up arrays: each class has its support first, then queries, then others."""
    rng, n = np.random.default_rng(0), n_way * n_each
    labels = np.arange(n_way).repeat(n_each)
    places = spread * (4 * rng.normal(size=(n_way, 2))[labels] + rng.normal(size=(n, 2)))
    roles = np.tile(["support", *(["query", "query", *["other"] * n_each])][:n_each], n_way)
    window = tuple((float(low), float(high)) for low, high in zip(places.min(0), places.max(0), strict=True))
    centres = np.stack([places[labels == label][:k] for label in range(n_way)])
    arrays = {"images": rng.random((n, channels, 28, 28)), "labels": labels, "roles": roles, "places": places, "centres": centres}
    arrays |= {"class_names": [f"class {label}" for label in range(n_way)], "window": window, "note": "PCA (60 % of the variance)"}
    if asked is not None:
        distances = rng.uniform(1, 3, size=(n_way, k))
        arrays |= {"asked": asked, "distances": distances, "probabilities": rng.dirichlet(np.ones(n_way))}
    return arrays


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(figure))))


def rings(figure: Figure) -> list[Circle]:
    """Return the coloured rings of the centres, without their white seams, and without the dark one of the nearest."""
    circles = [artist for artist in figure.axes[1].get_children() if isinstance(artist, Circle) and not artist.get_fill()]
    return [circle for circle in circles if circle.get_linewidth() == 2.6]


@pytest.mark.parametrize("n_way, n_each", [(2, 1), (2, 3), (5, 20), (20, 25)])
@pytest.mark.parametrize("channels", [1, 3])
def test_from_few_images_to_five_hundred(n_way, n_each, channels):
    assert pixels(embedding_figure(**scene(n_way, n_each, channels=channels, asked=n_way * n_each - 1))).shape == (560, 920, 3)


def test_classes_have_letters_names_distances_and_probabilities():
    arrays = scene()
    shown = texts(embedding_figure(**arrays))
    for label, name in enumerate(arrays["class_names"]):
        assert name in shown and shown.count(TAGS[label]) == 2, "at the centre and in the table"
        assert shown.count(f"{arrays['distances'][label, 0]:.2f}") == 2
        assert f"{100 * arrays['probabilities'][label]:.0f} %" in shown


def test_without_a_query_there_are_no_distances_and_no_lines():
    arrays = scene(asked=None)
    figure = embedding_figure(**arrays)
    assert not any("distance" in text or "?" in text for text in texts(figure)) and not figure.axes[1].lines[3:]
    assert len(rings(figure)) == 4 and "A" in texts(figure)


@pytest.mark.parametrize("k", [1, 3])
def test_a_ring_for_every_centre_at_its_place(k):
    arrays = scene(k=k)
    found = np.array([circle.center for circle in rings(embedding_figure(**arrays))])
    centres = arrays["centres"].reshape(-1, 2)
    assert len(found) == 4 * k
    # One scale for both directions: distances in the picture are those of the places.
    ours, theirs = (np.linalg.norm(points[:, None] - points, axis=-1) for points in (found, centres))
    away = ~np.eye(len(found), dtype=bool)
    assert np.allclose((ours[away] / theirs[away]), (ours[away] / theirs[away])[0])


def test_the_query_is_joined_to_every_centre_and_the_nearest_is_told():
    arrays = scene(n_way=3, n_each=3, spread=8.0, asked=1)
    arrays["distances"] = np.array([[2.0], [0.5], [3.0]])
    figure = embedding_figure(**arrays)
    lines = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 2]
    widths = [line.get_linewidth() for line in lines]
    assert len(lines) == 3 and widths.index(max(widths)) == 1 and widths.count(max(widths)) == 1
    assert [line.get_linestyle() for line in lines] == ["--", "-", "--"], "told apart without colour"
    bold = [text.get_text() for text in figure.axes[1].texts if text.get_weight() == "bold"]
    assert bold.count("0.50") == 2 and "2.00" not in bold


def test_wrong_answers_are_told():
    arrays = scene(n_way=3, asked=1)
    arrays["probabilities"] = np.array([0.2, 0.7, 0.1])
    assert "✗ wrong: B, is A" in texts(embedding_figure(**arrays))
    arrays["probabilities"] = np.array([0.7, 0.2, 0.1])
    assert "✓ right: A" in texts(embedding_figure(**arrays))


RED = (0xB3, 0x26, 0x1E)


@pytest.mark.parametrize("asked", [None, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_wrong_query_has_a_badge_with_a_cross_and_the_key_says_so(asked, channels):
    arrays = scene(n_way=2, n_each=3, spread=8.0, asked=None, channels=channels)
    arrays["images"] = 0 * arrays["images"] + 0.5
    if asked is not None:
        arrays |= {"asked": asked, "distances": np.ones((2, 1)), "probabilities": np.array([0.9, 0.1])}
    seen = []
    for wrong in (None, [], [4], [1, 4]):
        given = arrays if wrong is None else {**arrays, "wrong": np.isin(np.arange(6), wrong)}
        figure = embedding_figure(**given)
        assert ("query answered wrong" in texts(figure)) == (wrong is not None)
        map_part = pixels(figure)[:, :590]
        seen.append(int((map_part == RED).all(2).sum()))
    assert seen[0] == seen[1] == 0 < seen[2] < seen[3]


def test_a_badge_is_told_without_colour():
    arrays = scene(n_way=2, n_each=3, spread=8.0, asked=None)
    plain, marked = (pixels(embedding_figure(**{**arrays, "wrong": np.isin(np.arange(6), wrong)})) for wrong in ([], [4]))
    rows, columns = np.nonzero((plain != marked).any(2))
    badge = marked[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].min(2)
    assert 9 <= len(badge) <= 17 and abs(badge.shape[0] - badge.shape[1]) <= 1
    middle = len(badge) // 2
    assert badge[middle, middle] > 200 > 120 > badge[middle, 2], "a light cross on a dark ground"


def test_a_badge_is_on_top_of_other_images():
    arrays = scene(n_way=2, n_each=8, asked=None)
    arrays["places"] = np.zeros_like(arrays["places"])
    arrays["places"][8:] = 3
    badges = [pixels(embedding_figure(**{**arrays, "wrong": np.isin(np.arange(16), wrong)})) for wrong in ([1], [2], [])]
    assert np.array_equal(badges[0], badges[1]), "both lie at one place"
    assert (badges[0] != badges[2]).any()


def test_moments_show_no_badges():
    arrays = scene(asked=None)
    marked = {**arrays, "wrong": np.ones(len(arrays["labels"]), bool)}
    assert png(moments_figure([("a", arrays)])) == png(moments_figure([("a", marked)]))


def test_distances_lie_beside_one_another():
    arrays = scene(n_way=5, k=1)
    arrays["places"] = arrays["places"].copy()
    arrays["centres"] = arrays["centres"][:1] + 0.05 * np.arange(5).reshape(5, 1, 1)  # nearly at one place
    figure = embedding_figure(**arrays)
    written = [text.get_position() for text in figure.axes[1].texts if text.get_bbox_patch() is not None]
    assert len(written) == 5 and min(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(written, 2)) > 13


def test_where_there_is_room_a_distance_stands_at_the_right_of_its_centre():
    arrays = scene(n_way=3, n_each=3, spread=8.0, asked=1)
    arrays["centres"] = np.array([[[-40.0, 0.0]], [[0.0, 40.0]], [[40.0, 0.0]]])
    arrays["window"] = ((-60.0, 60.0), (-60.0, 60.0))
    figure = embedding_figure(**arrays)
    written = [np.array(text.get_position()) for text in figure.axes[1].texts if text.get_bbox_patch() is not None]
    for ring, place in zip(rings(figure), written, strict=True):
        right, down = place - ring.center
        assert ring.radius < right < ring.radius + 25 and abs(down) < 1


def test_nothing_is_outside_the_picture():
    many = scene(20, 25)
    for arrays in (many, {**many, "wrong": np.ones(500, bool)}, scene(2, 1, asked=1), scene(5, 20, k=3)):
        figure = embedding_figure(**arrays)
        png(figure)
        for text in figure.axes[1].texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= 921 and box.y0 >= 0 and box.y1 <= 561, text.get_text()


def test_every_image_is_in_the_picture():
    blank, full = scene(n_way=2, n_each=4, asked=None), scene(n_way=2, n_each=4, asked=None)
    for i in range(8):
        full["images"] = blank["images"].copy()
        full["images"][i] = 1 - full["images"][i]
        assert not np.array_equal(pixels(embedding_figure(**blank)), pixels(embedding_figure(**full)))


def test_frames_tell_support_query_and_others_apart_without_colour():
    image = np.zeros((1, 28, 28))
    looks = [np.asarray(tile(image, 30, 0, role))[..., 3] for role in ("support", "query", "other", "asked")]
    sums = [int((look > 0).sum()) if look.size else 0 for look in looks]
    assert len({look.shape for look in looks}) == 3 and len(set(sums)) >= 3


def test_ink_is_drawn_on_a_transparent_ground_and_a_photograph_as_it_is():
    ink = np.zeros((1, 28, 28))
    ink[0, 10:18, 10:18] = 1
    look = np.asarray(tile(ink, 28, 0, "other"))
    assert look[-1, -1, 3] == 0 and look[15, 15, 3] > 100
    photograph = np.full((3, 28, 28), 0.5)
    assert np.asarray(tile(photograph, 28, 0, "query"))[20, 20].tolist() == [128, 128, 128, 255]


def linear(colors: np.ndarray) -> np.ndarray:
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def seen(colors: np.ndarray, blindness: str | None) -> np.ndarray:
    """Return what a person with this colour blindness sees of sRGB colours (n, 3), in Lab."""
    if blindness:
        light = np.clip(linear(colors) @ np.array(BLINDNESS[blindness]).T, 0, 1)
        colors = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(colors)


@pytest.mark.parametrize("blindness", [None, *BLINDNESS])
def test_ten_classes_have_colours_of_their_own(blindness):
    colors = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in CLASS_COLORS])
    lab = seen(colors, blindness)
    for n, least in ((5, 18), (10, 8)):
        assert min(deltaE_ciede2000(lab[a], lab[b]) for a, b in combinations(range(n), 2)) > least
    assert len(set(CLASS_COLORS)) == 10 and lab[:, 0].max() < 70, "dark enough for white letters and a white ground"


def test_moments_stand_side_by_side():
    moments = [(f"step {step}", scene(n_way=4, n_each=10, k=3, asked=None)) for step in (0, 20, 40, 60)]
    figure = moments_figure(moments)
    shown = texts(figure)
    assert all(title in shown for title, _ in moments) and all(f"class {label}" in shown for label in range(4))
    assert shown.count("B") == 4 * 3 + 1 and pixels(figure).shape[1] == 940
    n_lines = [len(collection.get_segments()) for collection in figure.axes[0].collections]
    assert n_lines == [10] * 16, "every image is joined to a centre of its class"


def test_a_class_name_cannot_break_the_picture():
    arrays = scene(n_way=2, n_each=2, asked=1)
    arrays["class_names"] = ["$x^{", "汉字 <b>" * 30]
    assert len(png(embedding_figure(**arrays))) > 0 and len(png(moments_figure([("$", arrays)]))) > 0


@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_several_models_answers_stand_below_one_another(n_models):
    rng, labels = np.random.default_rng(0), np.arange(4).repeat(5)
    models = {f"model {i}": rng.dirichlet(np.ones(4), size=20) for i in range(n_models)}
    models["model 0"][:] = np.eye(4)[labels]
    figure = probabilities_figure(rng.random((20, 1, 28, 28)), labels, models)
    heads = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert heads[0] == "model 0\n20 of 20 right" and len(heads) == n_models
    assert len(figure.axes) == 10 * (n_models + 1) and texts(figure).count("✓") >= 10


@pytest.mark.parametrize("n", [1, 3, 60])
def test_known_and_unknown_pictures_have_their_background_written(n):
    rng = np.random.default_rng(0)
    known, unknown, images = rng.random(n), rng.random(n), rng.random((n, 1, 28, 28))
    figure = background_figure(known, unknown, images, images)
    written = [axes.get_xlabel() for axes in figure.axes]
    for values in (known, unknown):
        assert all(f"{100 * value:.0f} %" in written for value in values[[0, -1]])
        assert any(f"{100 * np.median(values):.0f} %" in label.get_text() for label in figure.axes[-1].get_yticklabels())
    assert len(figure.axes) == 2 * min(n, 8) + 1 and pixels(figure).shape == (440, 920, 3)
