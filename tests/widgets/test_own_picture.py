"""A picture of one's own without a browser: strokes and fingers as the canvas reports them, files as the browser sends them."""

import io
import time

import numpy as np
import pytest
from panels import press
from PIL import Image

from fewshot_kit.widgets.own_picture import SIDE, OwnPicture
from fewshot_kit.widgets.upload import Upload

LINE = ((40, 40), (120, 60), (150, 150))
OTHER = ((20, 170), (90, 170))


def png_of(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


@pytest.fixture
def asked() -> list[np.ndarray]:
    return []


@pytest.fixture
def own(asked) -> OwnPicture:
    return OwnPicture(asked.append)


def draw(own: OwnPicture, points=LINE) -> None:
    own.pen_down(*points[0])
    for point in points[1:]:
        own.pen_move(*point)
    own.pen_up(*points[-1])


def drawn(*strokes) -> np.ndarray:
    """Return the picture of these strokes alone."""
    fresh = OwnPicture(lambda picture: None)
    for stroke in strokes:
        draw(fresh, stroke)
    return fresh.picture()


def is_marked_old(own: OwnPicture) -> bool:
    return "fewshot-old-answer" in own.answer_image._dom_classes or own.answer_image.layout.visibility == "hidden"


# --- drawing ---


def test_every_stroke_is_answered_with_all_strokes_so_far(own, asked):
    draw(own, LINE)
    draw(own, OTHER)
    assert len(asked) == 2 and np.array_equal(asked[0], drawn(LINE)) and np.array_equal(asked[1], drawn(LINE, OTHER))
    assert asked[1][170, 20:90].max() == 0, "dark ink"
    assert asked[1][0].min() == 255, "on white"


def test_undo_takes_back_one_stroke_and_then_all(own, asked):
    assert own.undo_button.disabled
    draw(own, LINE)
    draw(own, OTHER)
    press(own.undo_button)
    assert np.array_equal(asked[-1], drawn(LINE)) and np.array_equal(own.current, own.picture())
    press(own.undo_button)
    assert len(asked) == 3 and own.current is None and own.undo_button.disabled and own.picture().min() == 255
    press(own.undo_button)
    assert own.current is None


def test_a_click_is_a_dot(own, asked):
    draw(own, ((100, 100),))
    assert asked[0][100, 100] == 0 and 20 < (asked[0] == 0).sum() < 60


def test_a_pen_that_leaves_draws_to_the_edge_and_is_lifted(own, asked):
    own.pen_down(180, 50)
    own.pen_up(260, 50)
    own.pen_move(20, 150)
    own.pen_move(40, 150)
    own.pen_up(40, 150)
    assert len(asked) == 1 and (asked[0][50, 180:] == 0).all()
    assert (own.picture()[:, :170] == 255).all()


def test_a_finger_draws_what_a_mouse_draws(own, asked):
    own.touch_start([LINE[0]])
    own.touch_move([LINE[1]])
    own.touch_move([LINE[2]])
    own.touch_end([])
    assert len(asked) == 1 and np.array_equal(asked[0], drawn(LINE))


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_a_second_finger_draws_nothing(own, asked, order):
    own.touch_start([(40, 40)])
    own.touch_start([(40, 40), (40, 180)][::order])
    own.touch_move([(60, 40), (60, 180)][::order])
    own.touch_end([(60, 40)])  # the second leaves
    own.touch_move([(80, 40)])
    own.touch_end([])
    assert len(asked) == 1 and np.array_equal(asked[0], drawn(((40, 40), (60, 40), (80, 40))))


def test_the_stroke_ends_with_the_finger_that_drew_it(own, asked):
    own.touch_start([(40, 40)])
    own.touch_start([(40, 40), (40, 180)])
    own.touch_end([(40, 180)])
    own.touch_move([(90, 180)])
    own.touch_end([])
    assert len(asked) == 1 and np.array_equal(asked[0], drawn(((40, 40),)))


# --- drawing and uploading ---


def test_an_upload_takes_the_place_of_a_drawing_and_a_stroke_that_of_an_upload(own, asked):
    draw(own, LINE)
    own.receive("a.png", png_of(PHOTOGRAPH))
    assert np.array_equal(asked[-1], PHOTOGRAPH) and own.current is asked[-1]
    assert own.picture().min() == 255 and own.undo_button.disabled
    assert "a.png" in own.upload.note and "50 × 30" in own.upload.note
    own.show(png_of(PHOTOGRAPH))
    own.pen_down(*OTHER[0])
    assert own.current is None and own.answer_image.layout.visibility == "hidden", "the photograph and its answer are gone"
    own.pen_move(*OTHER[1])
    own.pen_up(*OTHER[1])
    assert np.array_equal(asked[-1], drawn(OTHER)) and own.upload.note == ""


def test_the_same_file_is_answered_each_time_it_comes(own, asked):
    own.receive("a.png", png_of(PHOTOGRAPH))
    own.receive("a.png", png_of(PHOTOGRAPH))
    press(own.clear_button)
    assert own.current is None and own.upload.note == ""
    own.receive("a.png", png_of(PHOTOGRAPH))
    assert len(asked) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (28, 28), (300, 200)])
def test_pictures_of_every_shape_are_taken(own, asked, size):
    own.receive("a.png", png_of(np.zeros(size, dtype=np.uint8)))
    assert asked[-1].shape == size and own.upload.error == ""


BAD = {
    "empty": (b"", "is empty"),
    "text": (b"this is no picture", "is not a picture"),
    "cut short": (png_of(PHOTOGRAPH)[:200], "cut short or damaged"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(90), "export it as JPEG"),
    "svg": (b"<?xml version='1.0'?><svg><script>alert(1)</script></svg>", "export it as PNG"),
    "pdf": (b"%PDF-1.7 " + bytes(90), "is a PDF"),
    "too large": (png_of(np.zeros((8000, 8000), dtype=np.uint8)), "more than the 50,000,000 pixels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_an_error_beside_the_box_and_the_last_picture_stays(own, asked, kind):
    content, message = BAD[kind]
    draw(own, LINE)
    own.receive(f"{'long ' * 60}.png", content)
    assert message in own.upload.error and own.upload.note == ""
    assert own.upload.error.startswith("long long") and len(own.upload.error) < 250, "a long name is cut in its middle"
    assert len(asked) == 1 and np.array_equal(own.current, drawn(LINE))
    own.receive("a.png", png_of(PHOTOGRAPH))
    assert own.upload.error == "", "the next good picture clears it"


@pytest.mark.parametrize("next_step", [draw, OwnPicture.clear])
def test_an_error_goes_with_a_drawing_or_with_clear(own, next_step):
    own.receive("a.png", b"")
    assert own.upload.error
    next_step(own)
    assert own.upload.error == ""


# --- the answer ---


def test_the_old_answer_is_marked_until_the_new_one_comes():
    seen = []
    own = OwnPicture(lambda picture: seen.append(is_marked_old(own)))
    draw(own)
    own.show(png_of(PHOTOGRAPH), "<b> 97 %")
    assert own.answer_image.layout.visibility == "visible" and not is_marked_old(own)
    assert "&lt;b&gt; 97 %" in own.answer_text.value
    own.receive("a.png", png_of(PHOTOGRAPH))
    assert seen == [True, True] and is_marked_old(own) and "97 %" not in own.answer_text.value


def test_an_answer_that_comes_after_clear_is_not_shown(own):
    draw(own)
    press(own.clear_button)
    own.show(png_of(PHOTOGRAPH), "late")
    assert own.answer_image.layout.visibility == "hidden" and "late" not in own.answer_text.value


def test_what_goes_wrong_in_answering_is_said_beside_the_box(own):
    def refuse(picture):
        raise ValueError("nothing is learned yet")

    refused = OwnPicture(refuse)
    draw(refused)
    assert refused.upload.error == "nothing is learned yet" and refused.answer_image.layout.visibility == "hidden"
    draw(own)
    own.show(png_of(PHOTOGRAPH))
    own.show_error(RuntimeError())
    assert own.upload.error == "RuntimeError()" and own.answer_image.layout.visibility == "hidden"


def test_places_keep_their_size(own):
    def sizes():
        return [(part.layout.width, part.layout.height) for part in (own.canvas, own.upload, own.answer_image, own.answer_text)]

    before = sizes()
    assert own.canvas.width == own.canvas.height == SIDE and all(width for width, _ in before)
    draw(own)
    own.show(png_of(PHOTOGRAPH), "words")
    own.receive("a.png", b"")
    assert sizes() == before


# --- files in pieces ---


class Sender:
    """What one page does to send a file, a message at a time."""

    def __init__(self, upload: Upload, key: str, content: bytes, piece: int = 1000):
        self.upload, self.key, self.content, self.piece, self.answers = upload, key, content, piece, []
        answer = upload.send

        def send(message, buffers=None):
            if message.get("id") == key:
                self.answers.append(message)
            answer(message, buffers)

        upload.send = send

    def begin(self, **changed) -> str:
        self.upload.hear({"id": self.key, "kind": "begin", "name": f"{self.key}.png", "size": len(self.content), **changed}, [])
        return self.answers[-1]["kind"]

    def go_on(self, **changed) -> str:
        offset = self.answers[-1]["received"]
        piece = self.content[offset : offset + self.piece]
        self.upload.hear({"id": self.key, "kind": "piece", "offset": offset, **changed}, [memoryview(piece)])
        return self.answers[-1]["kind"]

    def abort(self) -> None:
        self.upload.hear({"id": self.key, "kind": "abort"}, [])


@pytest.fixture
def files() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def upload(files) -> Upload:
    return Upload(lambda name, content: files.append((name, content)))


def some_bytes(n: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(n)


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 5432])
def test_pieces_make_the_file(upload, files, n):
    sender = Sender(upload, "a", some_bytes(n))
    answer = sender.begin()
    while answer == "next":
        assert files == []
        answer = sender.go_on()
    assert answer == "done" and files == [("a.png", some_bytes(n))] and upload.held_bytes == 0


def test_an_empty_file_comes_at_once(upload, files):
    assert Sender(upload, "a", b"").begin() == "done" and files == [("a.png", b"")]


def test_two_uploads_at_once_do_not_mix(upload, files):
    one, two = Sender(upload, "one", some_bytes(3500, 1)), Sender(upload, "two", some_bytes(2500, 2))
    one.begin(), two.begin()
    assert upload.held_bytes == 0
    while one.answers[-1]["kind"] == "next":
        one.go_on()
        if two.answers[-1]["kind"] == "next":
            two.go_on()
    assert dict(files) == {"one.png": some_bytes(3500, 1), "two.png": some_bytes(2500, 2)} and upload.held_bytes == 0


def test_an_aborted_upload_leaves_nothing(upload, files):
    sender = Sender(upload, "a", some_bytes(3500))
    sender.begin(), sender.go_on()
    assert upload.held_bytes == 1000
    sender.abort()
    assert upload.held_bytes == 0 and upload.error == ""
    assert sender.go_on() == "refused" and "interrupted" in upload.error and files == []


def test_an_upload_whose_page_has_gone_leaves_nothing(files):
    upload = Upload(lambda *file: files.append(file), idle_seconds=0.2)
    sender = Sender(upload, "a", some_bytes(3500))
    sender.begin()
    for _ in range(3):  # it lives as long as pieces come
        time.sleep(0.1)
        assert sender.go_on() == "next"
    deadline = time.monotonic() + 10
    while upload.held_bytes and time.monotonic() < deadline:
        time.sleep(0.05)
    assert upload.held_bytes == 0 and sender.go_on() == "refused" and files == []


@pytest.mark.parametrize("changed", [{"offset": 0}, {"offset": 2000}, {"offset": None}], ids=str)
def test_a_piece_out_of_order_ends_the_upload(upload, files, changed):
    sender = Sender(upload, "a", some_bytes(3500))
    sender.begin(), sender.go_on()
    assert sender.go_on(**changed) == "refused" and "choose it again" in upload.error and upload.held_bytes == 0 and files == []


def test_more_than_was_announced_ends_the_upload(upload, files):
    sender = Sender(upload, "a", some_bytes(3500))
    sender.begin(size=1500), sender.go_on()
    assert sender.go_on() == "refused" and upload.held_bytes == 0 and files == []


@pytest.mark.parametrize("size", [-1, 1.5, None, "7", True], ids=repr)
def test_a_size_must_be_a_number_of_bytes(upload, size):
    assert Sender(upload, "a", b"a").begin(size=size) == "refused" and repr(size) in upload.error


def test_all_files_under_way_share_one_limit(files):
    upload = Upload(lambda *file: files.append(file), most_bytes=5_000_000)
    assert Sender(upload, "a", b"a").begin(size=3_000_000) == "next"
    assert Sender(upload, "b", b"b").begin(size=3_000_000) == "refused"
    assert "3.0 MB" in upload.error and "5 MB" in upload.error and "make the picture smaller" in upload.error
    assert Sender(upload, "c", b"c").begin(size=2_000_000) == "next"


def test_the_number_of_files_under_way_is_bounded(upload):
    answers = [Sender(upload, str(i), b"a").begin() for i in range(30)]
    n = answers.index("refused")
    assert 1 < n < 20 and answers == ["next"] * n + ["refused"] * (30 - n) and f"{n} files" in upload.error


def test_an_answer_that_fails_still_ends_the_upload():
    def fail(name, content):
        raise RuntimeError("no")

    sender = Sender(Upload(fail), "a", b"a")
    sender.begin()
    with pytest.raises(RuntimeError):
        sender.go_on()
    assert sender.answers[-1]["kind"] == "done" and sender.upload.held_bytes == 0
