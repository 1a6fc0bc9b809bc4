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
from sessions import bad_folders, demo_session, write_pictures
from synthetic import same_state

from fewshot_kit import plots
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.widgets import FewShotPanel
from fewshot_kit.widgets.data_controls import OWN_FOLDER
from fewshot_kit.widgets.evaluation import EPISODES

pytestmark = pytest.mark.usefixtures("own_cache")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def panel() -> Iterator[FewShotPanel]:
    panel = FewShotPanel(demo_session(n_query=2))
    yield panel
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


def probabilities(panel: FewShotPanel) -> torch.Tensor:
    return panel.shown.learning.epochs[-1].probabilities


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

    def learn(self, settings, *, on_epoch=lambda epoch: None):
        def watch(epoch):
            self.steps.append(epoch.step)
            if epoch.step == self._epoch and not self.released.is_set():
                self.reached.set()
                assert self.released.wait(TIMEOUT)
            on_epoch(epoch)

        return self._learn(settings, on_epoch=watch)


# --- learning ---


def test_a_new_panel_shows_an_episode_and_a_finished_learning(panel):
    assert size(panel.support_image)[0] == size(panel.learning_image)[0] == 920
    assert len(panel.shown.learning.epochs) == panel.sliders["inner_steps"].value + 1 == 4
    assert torch.equal(probabilities(panel), panel.session.learn().epochs[-1].probabilities)
    assert "characters, 3 classes, 1 picture each: learned" in panel.status.value and panel.stop_button.disabled


def test_moving_a_slider_learns_anew_from_the_pretrained_weights(panel):
    state, before, picture = copy.deepcopy(panel.session.learner.state_dict()), probabilities(panel), panel.learning_image.value
    for lr in (0.5, 0.1):
        panel.sliders["inner_lr"].value = lr
        settle(panel)
        expected = panel.session.learn({"inner_lr": lr}).epochs[-1].probabilities
        assert torch.equal(probabilities(panel), expected)
    assert torch.equal(probabilities(panel), before) and panel.learning_image.value == picture
    assert same_state(state, panel.session.learner.state_dict())


@pytest.mark.parametrize("moves", [("inner_lr", "inner_steps", "n_way", "n_shot"), ("n_shot", "n_way", "inner_steps", "inner_lr")])
def test_the_order_of_moves_does_not_matter(panel, moves):
    target = {"inner_lr": 0.3, "inner_steps": 6, "n_way": 4, "n_shot": 2}
    for name in moves:
        control = panel.sliders[name] if name in panel.sliders else getattr(panel.data, name)
        control.value = target[name]
        settle(panel)
    expected = demo_session(n_way=4, n_shot=2, n_query=2).learn({"inner_lr": 0.3, "inner_steps": 6})
    assert torch.equal(probabilities(panel), expected.epochs[-1].probabilities)


def test_of_many_quick_moves_the_newest_is_shown(panel):
    gate = Gate(panel, epoch=1)
    panel.sliders["inner_lr"].value = 0.9
    assert gate.reached.wait(TIMEOUT)
    for lr in (0.2, 0.3, 0.4, 0.7):
        panel.sliders["inner_lr"].value = lr
    gate.released.set()
    settle(panel)
    assert torch.equal(probabilities(panel), panel.session.learn({"inner_lr": 0.7}, on_epoch=lambda epoch: None).epochs[-1].probabilities)
    assert "learning rate 0.7" in panel.status.value
    assert gate.steps[:6] == [0, 1, 0, 1, 2, 3], "the first was cancelled in its middle, those between never began"


def test_no_choice_is_lost_when_many_are_made_while_it_works(panel):
    gate = Gate(panel, epoch=1)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.data.dataset.value = "drawings"
    panel.data.n_way.value = 4
    panel.data.n_shot.value = 2
    panel.sliders["inner_lr"].value = 0.3
    gate.released.set()
    settle(panel)
    session = panel.session
    assert (session.dataset.name, session.n_way, session.n_shot, panel.data.dataset.value) == ("drawings", 4, 2, "drawings")
    expected = demo_session("drawings", n_way=4, n_shot=2, n_query=2).learn({"inner_lr": 0.3})
    assert torch.equal(probabilities(panel), expected.epochs[-1].probabilities)


def test_an_evaluation_makes_the_choices_before_it(panel):
    gate = Gate(panel, epoch=1)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.data.n_way.value = 5
    panel.evaluate()
    gate.released.set()
    settle(panel)
    assert "5 classes" in panel.evaluation.result.value and panel.shown.learning.episode.n_way == 5


def test_slider_and_number_box_are_one(panel):
    settings, data = panel.sliders, panel.data
    moves = {settings["inner_lr"]: 0.05, settings["inner_steps"]: 7, data.n_way: 5, data.n_shot: 3, data.n_query: 4}
    for slider, value in moves.items():
        box = next(w for w in tree(panel) if isinstance(w, widgets.HBox) and w.children[:1] == (slider,))
        assert slider.description and isinstance(box.children[1], widgets.BoundedIntText | widgets.BoundedFloatText)
        box.children[1].value = value
        settle(panel)
        assert slider.value == pytest.approx(value)
    assert (panel.session.n_way, panel.session.n_shot, panel.session.n_query) == (5, 3, 4)
    assert len(panel.shown.learning.epochs) == 8


def test_no_epochs_are_shown_as_a_guess(panel):
    panel.sliders["inner_steps"].value = 0
    settle(panel)
    assert torch.allclose(probabilities(panel), torch.full((6, 3), 1 / 3))


def test_looking_back_shows_the_epochs_of_this_learning(panel):
    last = panel.learning_image.value
    frames = set()
    for step in range(4):
        panel.shown_epoch.value = step
        frames.add(panel.learning_image.value)
    assert len(frames) == 4 and panel.learning_image.value == last


def test_looking_back_ends_with_the_learning(panel):
    panel.sliders["inner_steps"].value = 9
    settle(panel)
    assert (panel.shown_epoch.max, panel.shown_epoch.value) == (9, 9)
    panel.sliders["inner_steps"].value = 2
    settle(panel)
    assert (panel.shown_epoch.max, panel.shown_epoch.value) == (2, 2)


def test_a_learning_stops_in_its_middle(panel):
    panel.data.n_way.value = 10
    settle(panel)
    state, gate = copy.deepcopy(panel.session.learner.state_dict()), Gate(panel, epoch=3)
    panel.sliders["inner_steps"].value = 50
    assert gate.reached.wait(TIMEOUT)
    assert not panel.stop_button.disabled
    press(panel.stop_button)
    gate.released.set()
    settle(panel)
    assert max(gate.steps) == 3 and "stopped" in panel.status.value and panel.stop_button.disabled
    assert same_state(state, panel.session.learner.state_dict())

    assert "stopped after epoch 3 of 50" in panel.status.value and "50 epochs" not in panel.status.value
    assert len(panel.shown.learning.epochs) == 4 and (panel.shown_epoch.max, panel.shown_epoch.value) == (3, 3)
    expected = panel.session.learn({"inner_steps": 3}).epochs
    assert torch.equal(probabilities(panel), expected[-1].probabilities), "what was learned so far"
    stopped_at = panel.learning_image.value
    panel.shown_epoch.value = 1
    assert panel.learning_image.value != stopped_at, "and one may look back at it"
    draw_a_stroke(panel)
    assert panel.own_picture.answer_image.value == answer(panel, {"inner_steps": 3})
    assert "Error" not in panel.status.value
    press(panel.learn_button)
    settle(panel)
    assert len(panel.shown.learning.epochs) == 51 and probabilities(panel).shape == (20, 10)


def test_after_a_stop_the_controls_say_what_is_on_show(panel):
    gate = Gate(panel, epoch=1)
    panel.sliders["inner_lr"].value = 0.9
    assert gate.reached.wait(TIMEOUT)
    panel.data.n_way.value = 5  # which never begins
    panel.stop()
    gate.released.set()
    settle(panel)
    assert panel.data.n_way.value == panel.session.n_way == 3 and panel.sliders["inner_lr"].value == 0.9
    assert "stopped after epoch 1 of 3" in panel.status.value and panel.shown.learning.episode.n_way == 3


def test_a_stop_before_the_first_epoch_leaves_what_was_there(panel, monkeypatch):
    reached, released, read, before = threading.Event(), threading.Event(), panel.session.read, panel.shown

    def slow(name, check):
        reached.set()
        assert released.wait(TIMEOUT)
        return read(name, check)

    monkeypatch.setattr(panel.session, "read", slow)
    panel.data.dataset.value = "drawings"
    assert reached.wait(TIMEOUT)
    panel.stop()
    released.set()
    settle(panel)
    assert panel.shown is before and panel.session.dataset.name == "characters" == panel.data.dataset.value
    assert "stopped; on show: characters" in panel.status.value


# --- the episode ---


def test_sampling_shows_other_classes(panel):
    episode, picture = panel.session.episode, panel.support_image.value
    press(panel.data.sample_button)
    settle(panel)
    assert panel.session.episode is not episode and panel.support_image.value != picture
    assert panel.session.seed == panel.data.seed.value and panel.shown.learning.episode is panel.session.episode


def test_the_session_that_a_notebook_goes_on_with_stays_as_it_was():
    session = demo_session(n_query=2)
    episode, panel = session.episode, FewShotPanel(session)
    settle(panel)
    press(panel.data.sample_button)
    settle(panel)
    assert session.episode is episode and session.seed == 0 != panel.session.seed
    assert torch.equal(session.learn().episode.query.images, episode.query.images)
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


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
    assert panel.session.episode.class_ids == (1, 12) == panel.shown.learning.episode.class_ids
    assert panel.data.n_way.value == 2


def test_classes_chosen_by_hand_stay_with_another_number_of_pictures(panel):
    panel.choose(panel.shown.images, [5, 9])
    settle(panel)
    panel.data.n_shot.value = 4
    settle(panel)
    assert panel.session.class_ids == (5, 9) and len(panel.session.episode.support) == 8
    press(panel.data.sample_button)
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
    assert [cell.layout.visibility for cell in panel.picker.cells].count("visible") == 4
    press(panel.picker.next)
    assert panel.picker.buttons[0].tooltip == panel.session.dataset.class_names[0]
    assert [cell.layout.visibility for cell in panel.picker.cells].count("visible") == 12


def test_another_data_set_is_loaded_and_learned(panel):
    panel.picker.buttons[0].value = True
    panel.data.dataset.value = "drawings"
    settle(panel)
    assert panel.session.dataset.name == "drawings" and panel.shown.learning.episode is panel.session.episode
    assert panel.picker.chosen == [] and panel.picker.buttons[0].tooltip == panel.session.dataset.class_names[0]


def open_folder(panel: FewShotPanel, path: object) -> None:
    """Type a path into the box and press Open."""
    panel.data.folder.value = str(path)
    press(panel.data.open_button)
    panel.worker.wait(TIMEOUT)


def test_an_own_folder_is_loaded_and_learned(panel, tmp_path):
    folder = write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5})
    open_folder(panel, f" '{folder}' ")
    settle(panel)
    assert panel.session.dataset.class_names == ("boat", "kite", "tree") and panel.data.dataset.value == OWN_FOLDER
    assert panel.data.folder.value == str(folder) and "own folder &#x27;own&#x27;" in panel.data.in_force.value
    open_folder(panel, "")
    assert panel.session.dataset.class_names == ("boat", "kite", "tree")


def test_open_without_a_path_puts_the_cursor_where_one_is_typed(panel, monkeypatch):
    calls = []
    monkeypatch.setattr(type(panel.data.folder), "focus", lambda self: calls.append(self))
    open_folder(panel, "  ")
    assert calls == [panel.data.folder]


def test_enter_in_the_path_box_opens_the_folder(panel, tmp_path):
    panel.data.folder.value = str(write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5}))
    panel.data.folder._handle_custom_msg({"event": "submit"}, [])  # what the page sends for Enter
    settle(panel)
    assert panel.data.dataset.value == OWN_FOLDER


def test_the_list_says_own_folder_only_while_one_is_on_show(panel, tmp_path):
    panel.data.dataset.value = OWN_FOLDER
    assert panel.data.dataset.value == "characters", "none is open yet"
    open_folder(panel, tmp_path / "none")
    assert panel.data.dataset.value == "characters" and "on show: <b>characters" in panel.data.in_force.value
    open_folder(panel, write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5}))
    panel.data.dataset.value = "drawings"
    settle(panel)
    panel.data.dataset.value = OWN_FOLDER  # whose path is in the box
    settle(panel)
    assert panel.session.dataset.class_names == ("boat", "kite", "tree") and panel.data.dataset.value == OWN_FOLDER


def test_a_folder_given_to_the_session_is_in_the_path_box(tmp_path):
    folder = write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5})
    panel = FewShotPanel(demo_session(f"folder:{folder}"))
    assert panel.data.dataset.value == OWN_FOLDER and panel.data.folder.value == str(folder)


def test_the_same_path_is_tried_again(panel, tmp_path):
    folder = tmp_path / "own"
    open_folder(panel, folder)
    assert "Error" in panel.status.value
    write_pictures(folder, {"kite": 5, "boat": 5, "tree": 5})
    open_folder(panel, folder)
    assert panel.session.dataset.class_names == ("boat", "kite", "tree")
    write_pictures(folder, {"sun": 5})
    open_folder(panel, folder)
    assert panel.session.dataset.class_names == ("boat", "kite", "sun", "tree"), "it is read anew"


def test_no_name_of_a_folder_stands_over_the_pictures_of_another(panel, tmp_path):
    first = write_pictures(tmp_path / "first", {"kite": 6, "boat": 6, "tree": 6})
    open_folder(panel, first)
    open_folder(panel, tmp_path / "second")  # there is none
    assert "Error" in panel.status.value and panel.data.folder.value == str(tmp_path / "second"), "to be corrected"
    assert "on show" in panel.data.in_force.value and "second does not exist" in panel.data.in_force.value, "where the hand is"
    for shots in (3, 1):
        panel.data.n_shot.value = shots
        settle(panel)
        assert "first" in panel.data.in_force.value and "first" in panel.status.value
        assert "second" not in panel.data.in_force.value + panel.status.value
        assert panel.session.dataset.class_names == ("boat", "kite", "tree")


# --- what there is ---


def test_of_a_folder_with_fewer_classes_all_are_taken(tmp_path):
    panel = FewShotPanel(demo_session(n_way=5, n_query=2))
    open_folder(panel, write_pictures(tmp_path / "own", dict.fromkeys("abcd", 6)))
    settle(panel)
    assert panel.session.n_way == panel.data.n_way.value == panel.data.n_way.max == 4
    assert "4 classes, not 5: there are no more than 4" in panel.status.value
    panel.data.dataset.value = "characters"
    settle(panel)
    assert panel.data.n_way.max == 10 and "not 5" not in panel.status.value


def test_of_two_classes_there_is_no_choice(panel, tmp_path):
    open_folder(panel, write_pictures(tmp_path / "own", {"a": 6, "b": 6}))
    settle(panel)
    assert panel.data.n_way.value == 2 and panel.data.n_way.disabled
    panel.data.dataset.value = "characters"
    settle(panel)
    assert not panel.data.n_way.disabled


def test_of_few_pictures_queries_are_given_up_first_and_one_is_kept(tmp_path):
    panel = FewShotPanel(demo_session(n_shot=5, n_query=8))
    open_folder(panel, write_pictures(tmp_path / "own", {"a": 9, "b": 9, "few": 4}))
    settle(panel)
    assert (panel.session.n_shot, panel.session.n_query) == (3, 1) and panel.data.n_shot.max == 4 and panel.data.n_query.max == 3
    for part in ("3 pictures each, not 5", "1 query a class, not 8", "class &#x27;few&#x27; has 4 pictures"):
        assert part in panel.status.value


@pytest.mark.parametrize(("moved", "other"), [("n_shot", "n_query"), ("n_query", "n_shot")])
def test_the_slider_that_is_moved_wins(panel, tmp_path, moved, other):
    open_folder(panel, write_pictures(tmp_path / "own", dict.fromkeys("abc", 6)))
    getattr(panel.data, other).value = 4
    settle(panel)
    getattr(panel.data, moved).value = 5
    settle(panel)
    assert getattr(panel.session, moved) == getattr(panel.data, moved).value == 5 and getattr(panel.data, other).value == 1
    assert "1 query a class, not 4" in panel.status.value or "1 picture each, not 4" in panel.status.value


def test_every_picture_may_be_support(panel, tmp_path):
    open_folder(panel, write_pictures(tmp_path / "own", dict.fromkeys("abc", 4)))
    panel.data.n_shot.value = 4
    settle(panel)
    assert panel.session.n_query == panel.data.n_query.value == 0 and len(panel.shown.learning.episode.support) == 12
    assert "no queries to answer" in panel.status.value
    assert panel.evaluation.button.disabled and "queries a class" in panel.evaluation.result.value
    panel.evaluate()
    settle(panel)
    assert "Chance" not in panel.evaluation.result.value
    draw_a_stroke(panel)
    assert panel.own_picture.answer_image.layout.visibility == "visible" and "Error" not in panel.status.value
    panel.data.n_query.value = 1
    settle(panel)
    assert not panel.evaluation.button.disabled and panel.evaluation.result.value.count(">") == 2, "nothing is said any more"


def test_a_class_of_one_picture_can_be_learned(panel, tmp_path):
    open_folder(panel, write_pictures(tmp_path / "own", {"a": 3, "b": 3, "lonely": 1}))
    settle(panel)
    assert (panel.session.n_shot, panel.session.n_query) == (1, 0) and panel.data.n_shot.disabled and panel.data.n_query.disabled


def test_photographs_are_warned_of_where_the_network_is_for_ink(panel, tmp_path):
    rng = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    assert panel.notice.layout.display == "none"
    open_folder(panel, tmp_path / "photos")
    settle(panel)
    assert panel.notice.layout.display == "" and "photographs" in panel.notice.value and "nearest pixels" in panel.notice.value
    named = re.search("checkpoint ([^ ]+)", panel.notice.value)[1]
    assert DemoSession(named, "drawings", device="cpu").learner.preprocessing.channels == 3
    open_folder(panel, tmp_path / "nothing")
    assert "photographs" in panel.notice.value, "they are still on show"
    panel.data.dataset.value = "characters"
    settle(panel)
    assert panel.notice.layout.display == "none" and panel.notice.value == ""


# --- the controls ---


def test_a_session_with_more_classes_than_the_slider_offers_is_shown_as_it_is():
    panel = FewShotPanel(demo_session(n_way=12, n_shot=11))
    assert (panel.data.n_way.value, panel.data.n_shot.value) == (12, 11) and panel.shown.learning.episode.n_way == 12


# --- evaluation ---


def test_an_evaluation_fills_progress_and_result(panel):
    press(panel.evaluation.button)
    settle(panel)
    expected = panel.session.evaluate(EPISODES)
    assert panel.evaluation.progress.value == panel.evaluation.progress.max == EPISODES and panel.stop_button.disabled
    assert expected.accuracy.percent() in panel.evaluation.result.value and "Chance: 33.3 %" in panel.evaluation.result.value
    for setting in ("200 episodes", "characters, 3 classes, 1 picture each", "learning rate 0.1", "3 epochs", "inductive", "seed 0"):
        assert setting in panel.evaluation.result.value


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
    assert 0 < panel.evaluation.progress.value < EPISODES and "after" in panel.evaluation.result.value and "stopped" in panel.status.value


# --- a picture of one's own ---


def answer(panel: FewShotPanel, settings: dict | None = None) -> bytes:
    """Return what the answer to the drawing must look like."""
    image, probabilities = panel.session.classify(panel.session.learn(settings), panel.own_picture.picture())
    names = panel.session.episode.support.class_names
    return plots.png(plots.answer_figure(image[0].numpy(), probabilities.numpy(), names))


def test_a_drawing_is_answered_when_the_pen_is_lifted(panel):
    own = panel.own_picture
    assert own.answer_image.layout.visibility == "hidden"
    draw_a_stroke(panel)
    assert own.answer_image.layout.visibility == "visible" and own.answer_image.value == answer(panel)
    assert "the model takes it for" in own.answer_text.value
    press(own.clear_button)
    assert own.answer_image.layout.visibility == "hidden"


def test_an_uploaded_picture_is_answered_as_the_same_one_drawn(panel):
    draw_a_stroke(panel)
    drawn, picture = panel.own_picture.answer_image.value, panel.own_picture.picture()
    press(panel.own_picture.clear_button)
    panel.own_picture.receive("mine.png", png_of(picture))
    assert panel.own_picture.answer_image.value == drawn and panel.own_picture.answer_image.layout.visibility == "visible"


def test_an_own_picture_is_answered_anew_after_every_learning(panel):
    draw_a_stroke(panel)
    before = panel.own_picture.answer_image.value
    panel.sliders["inner_lr"].value = 0.9
    settle(panel)
    assert panel.own_picture.answer_image.value == answer(panel, {"inner_lr": 0.9}) != before
    press(panel.own_picture.clear_button)
    panel.sliders["inner_lr"].value = 0.1
    settle(panel)
    assert panel.own_picture.answer_image.layout.visibility == "hidden"


def test_after_an_error_the_answer_is_that_of_what_is_on_show(panel, tmp_path):
    draw_a_stroke(panel)
    open_folder(panel, tmp_path / "none")
    assert "Error" in panel.status.value and panel.own_picture.answer_image.value == answer(panel)
    assert "fewshot-old-answer" not in panel.own_picture.answer_image._dom_classes


def test_a_picture_that_cannot_be_answered_is_said_beside_it_and_the_learning_stays(panel, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("boom")

    monkeypatch.setattr(panel.session, "classify", fail)
    draw_a_stroke(panel)
    panel.sliders["inner_lr"].value = 0.9
    settle(panel)
    assert panel.own_picture.upload.error == "boom" and "learning rate 0.9" in panel.status.value


# --- errors ---


@pytest.mark.parametrize("kind", ["missing", "one class", "a text file called .png"])
def test_a_bad_folder_is_an_error_and_the_controls_return(panel, kind, tmp_path):
    dataset, message = bad_folders(tmp_path)[kind]
    before, picture = panel.shown, panel.support_image.value
    open_folder(panel, dataset.removeprefix("folder:"))
    assert "Error" in panel.status.value and message in panel.status.value
    assert panel.data.dataset.value == "characters" and panel.data.folder.value == dataset.removeprefix("folder:")
    assert panel.shown is before and panel.support_image.value == picture and panel.stop_button.disabled
    panel.sliders["inner_steps"].value = 5
    settle(panel)
    assert len(panel.shown.learning.epochs) == 6


def test_an_error_leaves_nothing_of_a_learning_that_was_cut_short_for_it(panel, tmp_path):
    before, support, learned, gate = panel.shown, panel.support_image.value, panel.learning_image.value, Gate(panel, epoch=1)
    panel.data.n_way.value = 5
    assert gate.reached.wait(TIMEOUT) and panel.support_image.value != support
    panel.load(f"folder:{tmp_path / 'none'}")
    gate.released.set()
    panel.worker.wait(TIMEOUT)
    assert "Error" in panel.status.value and panel.shown is before and panel.session.n_way == panel.data.n_way.value == 3
    assert panel.support_image.value == support and panel.learning_image.value == learned


def test_no_class_name_reaches_html_unescaped(panel, tmp_path):
    html_seen = []
    for widget in tree(panel):
        if isinstance(widget, widgets.HTML):
            widget.observe(lambda change: html_seen.append(change["new"]), "value")
    names = (SCRIPT, "<img src=x onerror=alert(1)>", "b")
    panel.load(f"folder:{write_pictures(tmp_path / 'few', dict.fromkeys(names, 1))}")  # too few: a note that names a class
    panel.worker.wait(TIMEOUT)
    panel.load(f"folder:{write_pictures(tmp_path / '<i>mine', dict.fromkeys(names, 4))}")
    settle(panel)
    assert SCRIPT in panel.shown.learning.episode.support.class_names
    panel.evaluate()
    settle(panel)
    assert any("&lt;script&gt;" in value or "&lt;img" in value for value in html_seen) and any(
        "&lt;i&gt;mine" in value for value in html_seen
    )
    assert not any(re.search("<script|<img|<i>mine", value) for value in html_seen)
    assert not any(getattr(widget, "description_allow_html", False) for widget in tree(panel))


@pytest.mark.parametrize("work", ["read", "learn", "evaluate"])
def test_an_unforeseen_exception_is_shown_and_the_panel_goes_on(panel, monkeypatch, work):
    def fail(*arguments, **settings):
        raise RuntimeError(f"boom {SCRIPT}")

    with monkeypatch.context() as patch:
        patch.setattr(panel.session, work, fail)
        deeds = {"read": (panel.load, "characters")}
        do, *arguments = deeds.get(work) or (getattr(panel, work),)
        do(*arguments)
        panel.worker.wait(TIMEOUT)
        assert "Error" in panel.status.value and "boom &lt;script&gt;" in panel.status.value and panel.stop_button.disabled
    panel.learn()
    settle(panel)
    assert torch.equal(probabilities(panel), panel.session.learn().epochs[-1].probabilities)


# --- the shape of it ---


def test_nothing_in_the_panel_captures_output(panel):
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]


def pictures(panel: FewShotPanel) -> list[widgets.Image]:
    return [widget for widget in tree(panel) if isinstance(widget, widgets.Image) and widget is not panel.own_picture.answer_image]


def test_every_picture_has_a_sentence_that_says_what_it_shows(panel):
    assert len(pictures(panel)) > 10 and all(image.tooltip for image in pictures(panel))
    assert "3 classes with 1 picture each" in panel.support_image.tooltip and "in 3 epochs" in panel.learning_image.tooltip
    panel.shown_epoch.value = 1
    assert "in 1 epoch;" in panel.learning_image.tooltip


def test_every_control_has_a_description(panel):
    for widget in tree(panel):
        if isinstance(widget, widgets.Button | widgets.ToggleButton | widgets.Dropdown | widgets.Text | widgets.IntText):
            assert widget.description or getattr(widget, "tooltip", ""), widget
        if isinstance(widget, widgets.IntSlider | widgets.FloatLogSlider):
            assert widget.description


def test_one_epoch_is_one_epoch(panel):
    panel.sliders["inner_steps"].value = 1
    settle(panel)
    assert "1 epoch;" in panel.status.value


def test_a_slider_moved_has_a_number_one_can_read(panel):
    panel.sliders["inner_lr"].value = 0.1122018454301963
    settle(panel)
    assert panel.sliders["inner_lr"].value == 0.1122 and panel.shown.request.values()["inner_lr"] == 0.1122


# --- the pages of the queries ---


def test_the_wrong_queries_are_on_the_first_page_and_all_can_be_seen(panel):
    panel.data.n_query.value = 10
    settle(panel)
    drawn, found = panel.shown.drawn, probabilities(panel)
    wrong = set(torch.nonzero(found.argmax(1) != panel.session.episode.query.labels).flatten().tolist())
    assert len(wrong) > 0 and panel.pages.layout.visibility == "visible" and "page 1 of 3" in panel.page_label.value
    shown = [query for page in range(drawn.n_pages) for query in drawn.queries_on(page)]
    assert sorted(shown) == list(range(30)) and set(shown[: len(wrong)]) == wrong
    seen = {panel.learning_image.value}
    for _ in range(2):
        press(panel.next_page)
        seen.add(panel.learning_image.value)
    assert len(seen) == 3 and "page 3 of 3" in panel.page_label.value
    press(panel.next_page)
    assert "page 1 of 3" in panel.page_label.value and panel.learning_image.value in seen
    press(panel.previous_page)
    panel.shown_epoch.value = 1
    assert "page 3 of 3" in panel.page_label.value, "a look back stays on its page"
    panel.data.n_query.value = 2
    settle(panel)
    assert panel.pages.layout.visibility == "hidden"


def test_a_picture_for_every_class_of_the_page(panel):
    for class_id, image in enumerate(panel.picker.thumbnails):
        assert image.value == plots.thumbnail(panel.session.dataset.of_class(class_id)[0].numpy())


def test_as_an_app_no_folder_of_the_server_is_opened(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    panel = FewShotPanel(DemoSession("protonet-omniglot_vinyals"))
    data, asked = panel.data, panel.requested
    assert not any(data.folder in getattr(row, "children", ()) for row in data.children), "no box for a path"
    assert [value for _, value in data.dataset.options] == list(panel.session.shelf.names)
    data.folder.value = str(tmp_path)  # whatever a browser sends
    data.open_folder()
    assert panel.requested is asked
