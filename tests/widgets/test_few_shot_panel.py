"""The panel without a browser: set a trait or call a method, wait for the worker, look at what is shown."""

import copy
import io
import re
import threading
from collections.abc import Iterator

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from panels import TIMEOUT, press, settle, tree
from PIL import Image
from sessions import bad_folders, demo_session, uploaded, write_pictures
from synthetic import same_state

from fewshot_kit import plots
from fewshot_kit.widgets import FewShotPanel
from fewshot_kit.widgets.episode_panel import EVALUATION_EPISODES, OWN_FOLDER

pytestmark = pytest.mark.usefixtures("own_cache")
SCRIPT = "<script>alert(1)</script>"
COUNTED = ("n_way", "n_shot", "n_query", "seed")


@pytest.fixture
def panel() -> Iterator[FewShotPanel]:
    panel = FewShotPanel(demo_session(n_query=2))
    yield panel
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


def probabilities(panel: FewShotPanel) -> torch.Tensor:
    return panel.learning.epochs[-1].probabilities


def size(image: widgets.Image) -> tuple[int, int]:
    return Image.open(io.BytesIO(image.value)).size


def png_of(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def draw_a_stroke(panel: FewShotPanel) -> None:
    panel.own_picture.pen_down(40, 40)
    for x, y in ((120, 60), (150, 150)):
        panel.own_picture.pen_move(x, y)
    panel.own_picture.pen_up(150, 150)


class Gate:
    """Hold a session's learning at an epoch until it is released."""

    def __init__(self, panel: FewShotPanel, epoch: int):
        self.reached, self.released, self.steps = threading.Event(), threading.Event(), []
        self._epoch, self._learn = epoch, panel.session.learn
        panel.session.learn = self.learn

    def learn(self, lr, steps, *, on_epoch):
        def watch(epoch):
            self.steps.append(epoch.step)
            if epoch.step == self._epoch and not self.released.is_set():
                self.reached.set()
                assert self.released.wait(TIMEOUT)
            on_epoch(epoch)

        return self._learn(lr, steps, on_epoch=watch)


# --- learning ---


def test_a_new_panel_shows_an_episode_and_a_finished_learning(panel):
    assert size(panel.support_image)[0] == size(panel.learning_image)[0] == 920
    assert len(panel.learning.epochs) == panel.epochs.value + 1 == 4
    assert torch.equal(probabilities(panel), panel.session.learn().epochs[-1].probabilities)
    assert "characters 3-way 1-shot: learned" in panel.status.value and panel.stop_button.disabled


def test_moving_a_slider_learns_anew_from_the_pretrained_weights(panel):
    state, before, picture = copy.deepcopy(panel.session.learner.state_dict()), probabilities(panel), panel.learning_image.value
    for lr in (0.5, 0.1):
        panel.learning_rate.value = lr
        settle(panel)
        expected = panel.session.learn(lr, panel.epochs.value).epochs[-1].probabilities
        assert torch.equal(probabilities(panel), expected)
    assert torch.equal(probabilities(panel), before) and panel.learning_image.value == picture
    assert same_state(state, panel.session.learner.state_dict())


@pytest.mark.parametrize("moves", [("learning_rate", "epochs", "n_way", "n_shot"), ("n_shot", "n_way", "epochs", "learning_rate")])
def test_the_order_of_moves_does_not_matter(panel, moves):
    target = {"learning_rate": 0.3, "epochs": 6, "n_way": 4, "n_shot": 2}
    for name in moves:
        getattr(panel, name).value = target[name]
        settle(panel)
    expected = demo_session(n_way=4, n_shot=2, n_query=2).learn(0.3, 6)
    assert torch.equal(probabilities(panel), expected.epochs[-1].probabilities)


def test_of_many_quick_moves_the_newest_is_shown(panel):
    gate = Gate(panel, epoch=1)
    panel.learning_rate.value = 0.9
    assert gate.reached.wait(TIMEOUT)
    for lr in (0.2, 0.3, 0.4, 0.7):
        panel.learning_rate.value = lr
    gate.released.set()
    settle(panel)
    assert torch.equal(probabilities(panel), panel.session.learn(0.7, 3, on_epoch=lambda epoch: None).epochs[-1].probabilities)
    assert "learning rate 0.7" in panel.status.value
    assert gate.steps[:6] == [0, 1, 0, 1, 2, 3], "the first was cancelled in its middle, those between never began"


def test_no_choice_is_lost_when_many_are_made_while_it_works(panel):
    gate = Gate(panel, epoch=1)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.dataset.value = "drawings"
    panel.n_way.value = 4
    panel.n_shot.value = 2
    panel.learning_rate.value = 0.3
    gate.released.set()
    settle(panel)
    session = panel.session
    assert (session.dataset.name, session.n_way, session.n_shot, panel.dataset.value) == ("drawings", 4, 2, "drawings")
    expected = demo_session("drawings", n_way=4, n_shot=2, n_query=2).learn(0.3, 3)
    assert torch.equal(probabilities(panel), expected.epochs[-1].probabilities)


def test_an_evaluation_makes_the_choices_before_it(panel):
    gate = Gate(panel, epoch=1)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.n_way.value = 5
    panel.evaluate()
    gate.released.set()
    settle(panel)
    assert "5-way" in panel.result.value and panel.learning.episode.n_way == 5


def test_slider_and_number_box_are_one(panel):
    for slider, value in ((panel.learning_rate, 0.05), (panel.epochs, 7), (panel.n_way, 5), (panel.n_shot, 3), (panel.n_query, 4)):
        box = next(w for w in tree(panel) if isinstance(w, widgets.HBox) and w.children[:1] == (slider,))
        assert slider.description and isinstance(box.children[1], widgets.BoundedIntText | widgets.BoundedFloatText)
        box.children[1].value = value
        settle(panel)
        assert slider.value == pytest.approx(value)
    assert (panel.session.n_way, panel.session.n_shot, panel.session.n_query) == (5, 3, 4)
    assert len(panel.learning.epochs) == 8


def test_no_epochs_are_shown_as_a_guess(panel):
    panel.epochs.value = 0
    settle(panel)
    assert torch.allclose(probabilities(panel), torch.full((6, 3), 1 / 3))


def test_looking_back_shows_the_epochs_of_this_learning(panel):
    last = panel.learning_image.value
    frames = set()
    for step in range(4):
        panel.shown_epoch.value = step
        frames.add(panel.learning_image.value)
    assert len(frames) == 4 and panel.learning_image.value == last
    assert panel.worker._last is None, "nothing is learned again"


def test_looking_back_ends_with_the_learning(panel):
    panel.epochs.value = 9
    settle(panel)
    assert (panel.shown_epoch.max, panel.shown_epoch.value) == (9, 9)
    panel.epochs.value = 2
    settle(panel)
    assert (panel.shown_epoch.max, panel.shown_epoch.value) == (2, 2)


def test_a_learning_stops_in_its_middle(panel):
    panel.n_way.value = 10
    settle(panel)
    state, gate = copy.deepcopy(panel.session.learner.state_dict()), Gate(panel, epoch=3)
    panel.epochs.value = 50
    assert gate.reached.wait(TIMEOUT)
    assert not panel.stop_button.disabled
    press(panel.stop_button)
    gate.released.set()
    settle(panel)
    assert max(gate.steps) == 3 and "stopped" in panel.status.value and panel.stop_button.disabled
    assert same_state(state, panel.session.learner.state_dict())

    stopped_at = panel.learning_image.value
    panel.shown_epoch.value = 1  # of nothing: the learning before was another one
    assert panel.learning_image.value == stopped_at
    draw_a_stroke(panel)
    assert "press Learn first" in panel.status.value
    press(panel.learn_button)
    settle(panel)
    assert len(panel.learning.epochs) == 51 and probabilities(panel).shape == (20, 10)


# --- the episode ---


def test_sampling_shows_other_classes(panel):
    episode, picture = panel.session.episode, panel.support_image.value
    press(panel.sample_button)
    settle(panel)
    assert panel.session.episode is not episode and panel.support_image.value != picture
    assert panel.session.seed == panel.seed.value and panel.learning.episode is panel.session.episode


def test_classes_are_chosen_by_their_buttons(panel):
    panel.picker.buttons[1].value = panel.picker.buttons[4].value = True
    press(panel.picker.next)
    assert not any(button.value for button in panel.picker.buttons)
    panel.picker.buttons[0].value = True
    press(panel.picker.previous)
    assert [button.value for button in panel.picker.buttons[:6]] == [False, True, False, False, True, False]
    panel.picker.buttons[4].value = False
    assert "2 chosen" in panel.picker.where.value and not panel.picker.use.disabled
    press(panel.picker.use)
    settle(panel)
    assert panel.session.episode.class_ids == (1, 12) == panel.learning.episode.class_ids
    assert panel.n_way.value == 2


def test_classes_chosen_by_hand_stay_with_another_number_of_pictures(panel):
    panel.choose([5, 9])
    settle(panel)
    panel.n_shot.value = 4
    settle(panel)
    assert panel.session.class_ids == (5, 9) and len(panel.session.episode.support) == 8
    press(panel.sample_button)
    settle(panel)
    assert panel.session.class_ids is None


def test_fewer_than_two_or_more_than_ten_classes_cannot_be_used(panel):
    picker = panel.picker
    enabled = []
    for button in picker.buttons[:11]:
        button.value = True
        enabled.append(not picker.use.disabled)
    assert enabled == [False, *[True] * 9, False]


def test_the_last_page_of_classes_is_followed_by_the_first(panel):
    panel.picker.show_page(3)  # 40 classes: 12, 12, 12, 4
    assert [cell.layout.visibility for cell in panel.picker._cells].count("visible") == 4
    press(panel.picker.next)
    assert panel.picker.buttons[0].tooltip == panel.session.dataset.class_names[0]
    assert [cell.layout.visibility for cell in panel.picker._cells].count("visible") == 12


def test_another_data_set_is_loaded_and_learned(panel):
    panel.picker.buttons[0].value = True
    panel.dataset.value = "drawings"
    settle(panel)
    assert panel.session.dataset.name == "drawings" and panel.learning.episode is panel.session.episode
    assert panel.picker.chosen == [] and panel.picker.buttons[0].tooltip == panel.session.dataset.class_names[0]
    assert panel.folder.layout.visibility == "hidden"


def test_an_own_folder_is_loaded_and_learned(panel, tmp_path):
    folder = write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5})
    panel.dataset.value = OWN_FOLDER
    assert panel.folder.layout.visibility == "visible" and panel.session.dataset.name == "characters"
    panel.folder.value = f" {folder} "
    settle(panel)
    assert panel.session.dataset.class_names == ("boat", "kite", "tree") and panel.dataset.value == OWN_FOLDER
    panel.folder.value = ""
    settle(panel)
    assert panel.session.dataset.class_names == ("boat", "kite", "tree")


def test_a_session_with_more_classes_than_the_slider_offers_is_shown_as_it_is():
    panel = FewShotPanel(demo_session(n_way=12, n_shot=11))
    assert (panel.n_way.value, panel.n_shot.value) == (12, 11) and panel.learning.episode.n_way == 12


# --- evaluation ---


def test_an_evaluation_fills_progress_and_result(panel):
    press(panel.evaluate_button)
    settle(panel)
    expected = panel.session.evaluate(EVALUATION_EPISODES, panel.learning_rate.value, panel.epochs.value)
    assert panel.progress.value == panel.progress.max == EVALUATION_EPISODES and panel.stop_button.disabled
    assert expected.accuracy.percent() in panel.result.value and "Chance: 33.3 %" in panel.result.value
    for setting in ("200 episodes", "characters 3-way 1-shot", "learning rate 0.1", "3 epochs", "inductive", "seed 0"):
        assert setting in panel.result.value


def test_an_evaluation_stops_in_its_middle(panel):
    reached, evaluate = threading.Event(), panel.session.evaluate

    def slow(*settings, on_progress):
        def watch(done, accuracy):
            on_progress(done, accuracy)
            reached.set()
            assert stopped.wait(TIMEOUT)

        return evaluate(*settings, on_progress=watch)

    stopped, panel.session.evaluate = threading.Event(), slow
    panel.evaluate()
    assert reached.wait(TIMEOUT)
    press(panel.stop_button)
    stopped.set()
    settle(panel)
    assert 0 < panel.progress.value < EVALUATION_EPISODES and "after" in panel.result.value and "stopped" in panel.status.value


# --- a picture of one's own ---


def test_a_drawing_is_answered_when_the_pen_is_lifted(panel):
    own = panel.own_picture
    assert own.answer_image.layout.visibility == "hidden"
    own.pen_move(10, 10)  # without the pen down nothing is drawn
    draw_a_stroke(panel)
    assert own.answer_image.layout.visibility == "visible" and size(own.answer_image) == (420, 196)
    assert own.picture().shape == (196, 196) and own.picture()[40, 40] == 0 and own.picture()[10, 10] == 255
    press(own.clear_button)
    assert own.answer_image.layout.visibility == "hidden" and own.picture().min() == 255


def test_a_dot_is_a_drawing(panel):
    panel.own_picture.pen_down(100, 100)
    panel.own_picture.pen_up(100, 100)
    assert panel.own_picture.picture()[100, 100] == 0 and panel.own_picture.answer_image.layout.visibility == "visible"


def test_a_pen_that_leaves_the_canvas_is_lifted(panel):
    panel.own_picture.pen_down(100, 100)
    panel.own_picture.pen_move(196, 230)
    panel.own_picture.pen_up(196, 230)
    panel.own_picture.pen_move(50, 50)
    assert panel.own_picture.picture()[50, 50] == 255 and "Error" not in panel.status.value


def test_an_uploaded_picture_is_answered(panel):
    draw_a_stroke(panel)
    drawn, picture = panel.own_picture.answer_image.value, panel.own_picture.picture()
    press(panel.own_picture.clear_button)
    panel.own_picture.upload.value = (uploaded("mine.png", png_of(picture)),)
    assert panel.own_picture.answer_image.value == drawn and panel.own_picture.answer_image.layout.visibility == "visible"


def test_an_own_picture_is_answered_anew_after_every_learning(panel):
    draw_a_stroke(panel)
    before = panel.own_picture.answer_image.value
    panel.learning_rate.value = 0.9
    settle(panel)
    assert panel.own_picture.answer_image.value != before
    press(panel.own_picture.clear_button)
    panel.learning_rate.value = 0.1
    settle(panel)
    assert panel.own_picture.answer_image.layout.visibility == "hidden"


@pytest.mark.parametrize("content", [b"this is no picture", b"", png_of(np.zeros((9, 9), np.uint8))[:40]])
def test_an_uploaded_file_that_is_no_picture_is_an_error(panel, content):
    panel.own_picture.upload.value = (uploaded(f"{SCRIPT}.png", content),)
    assert "Error" in panel.status.value and "&lt;script&gt;" in panel.status.value and "<script>" not in panel.status.value
    assert panel.own_picture.answer_image.layout.visibility == "hidden"
    panel.own_picture.upload.value = (uploaded("a.png", png_of(np.zeros((9, 9), np.uint8))),)
    assert panel.own_picture.answer_image.layout.visibility == "visible"


# --- errors ---


@pytest.mark.parametrize("kind", ["missing", "one class", "a text file called .png", "a class with too few"])
def test_a_bad_folder_is_an_error_and_the_controls_return(panel, kind, tmp_path):
    dataset, message = bad_folders(tmp_path)[kind]
    before, picture = panel.learning, panel.support_image.value
    panel.dataset.value = OWN_FOLDER
    panel.folder.value = dataset.removeprefix("folder:")
    panel.worker.wait(TIMEOUT)
    assert "Error" in panel.status.value and message.replace("'", "&#x27;") in panel.status.value
    assert panel.dataset.value == "characters" and panel.folder.layout.visibility == "hidden"
    assert panel.learning is before and panel.support_image.value == picture and panel.stop_button.disabled
    panel.epochs.value = 5
    settle(panel)
    assert len(panel.learning.epochs) == 6


def test_more_pictures_than_there_are_is_an_error_and_the_controls_return(panel, tmp_path):
    panel.load(f"folder:{write_pictures(tmp_path / 'own', {'a': 4, 'b': 4, 'c': 4})}")
    settle(panel)
    panel.n_shot.value = 9
    panel.worker.wait(TIMEOUT)
    assert "9 + 2 images a class are needed" in panel.status.value
    assert {name: getattr(panel, name).value for name in COUNTED} == {name: getattr(panel.session, name) for name in COUNTED}
    assert panel.n_shot.value == 1


def test_no_class_name_reaches_html_unescaped(panel, tmp_path):
    html_seen = []
    for widget in tree(panel):
        if isinstance(widget, widgets.HTML):
            widget.observe(lambda change: html_seen.append(change["new"]), "value")
    names = (SCRIPT, "<img src=x onerror=alert(1)>", "b")
    panel.load(f"folder:{write_pictures(tmp_path / 'few', dict.fromkeys(names, 1))}")  # too few: an error that names a class
    panel.worker.wait(TIMEOUT)
    panel.load(f"folder:{write_pictures(tmp_path / '<b>own', dict.fromkeys(names, 4))}")
    settle(panel)
    assert SCRIPT in panel.learning.episode.support.class_names
    panel.evaluate()
    settle(panel)
    assert any("&lt;script&gt;" in value or "&lt;img" in value for value in html_seen) and any(
        "&lt;b&gt;own" in value for value in html_seen
    )
    assert not any(re.search("<script|<img|<b>own", value) for value in html_seen)
    assert not any(getattr(widget, "description_allow_html", False) for widget in tree(panel))


@pytest.mark.parametrize("work", ["load", "sample", "choose", "learn", "evaluate", "classify"])
def test_an_unforeseen_exception_is_shown_and_the_panel_goes_on(panel, monkeypatch, work):
    def fail(*arguments, **settings):
        raise RuntimeError(f"boom {SCRIPT}")

    with monkeypatch.context() as patch:
        patch.setattr(panel.session, work, fail)
        arguments = {"load": ["drawings"], "choose": [[1, 2]], "classify": [np.zeros((9, 9), np.uint8)]}
        getattr(panel, work)(*arguments.get(work, []))
        panel.worker.wait(TIMEOUT)
        assert "Error" in panel.status.value and "boom &lt;script&gt;" in panel.status.value and panel.stop_button.disabled
    panel.learn()
    settle(panel)
    assert torch.equal(probabilities(panel), panel.session.learn().epochs[-1].probabilities)


# --- the shape of it ---


def test_nothing_in_the_panel_captures_output(panel):
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]


def test_a_picture_for_every_class_of_the_page(panel):
    for class_id, image in enumerate(panel.picker.thumbnails):
        assert image.value == plots.thumbnail(panel.session.dataset.of_class(class_id)[0].numpy())
