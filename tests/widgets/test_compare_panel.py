"""The panel of a comparison without a browser: tick, turn, draw, measure; what is shown is of all who take part."""

import re
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from compared import FAR_TOO_FAST, bare_learners, checkpoint, compare_session
from hostile import TEXTS
from panels import TIMEOUT, press, settle
from sessions import write_pictures
from synthetic import tiny_reptile
from test_few_shot_panel import draw_a_stroke, png_of, size
from test_hostile_text import checked, is_shown, name_of

from fewshot_kit.widgets import ComparePanel, compare_controls
from fewshot_kit.widgets.compare_controls import BEST

pytestmark = pytest.mark.usefixtures("own_cache")
IMAGES = ("support_image", "answers_image", "disputed_image", "agreement_image")


@pytest.fixture
def panel(monkeypatch) -> Iterator[ComparePanel]:
    monkeypatch.setattr(compare_controls, "EPISODES", 6)
    panel = ComparePanel(compare_session())
    yield panel
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


def said(panel: ComparePanel) -> str:
    return re.sub("<[^>]*>", "", panel.status.value)


def values(panel: ComparePanel) -> dict[str, torch.Tensor]:
    return panel.shown.learning.probabilities


def is_of_one_thing(panel: ComparePanel) -> None:
    """Check that controls, session and pictures are of what is shown."""
    session, request = panel.session, panel.shown.request
    assert panel.running is None and panel.requested == request and panel.stop_button.disabled
    assert {name: slider.value for name, slider in panel.sliders.items()} == request.values()
    assert [name for name, box in panel.participants.boxes.items() if not box.value] == [
        name for name in session.dataset.by_learner if name in request.left_aside
    ]
    expected = session.learn(request.by_hand(), left_aside=request.left_aside)
    assert expected.names == panel.shown.learning.names
    assert all(torch.equal(values(panel)[name], found) for name, found in expected.probabilities.items())


def test_a_new_panel_shows_everybody(panel):
    assert all(size(getattr(panel, name))[0] > 600 for name in IMAGES)
    assert "3 learners" in said(panel) and "each at its own best" in said(panel)
    assert all(box.value for box in panel.participants.boxes.values()) and panel.shared_sliders.reset_button.disabled
    assert panel.answers_image.tooltip.startswith("Answers to the queries: reptile, ")
    is_of_one_thing(panel)


def test_a_slider_reaches_all_who_have_it_and_can_be_put_back(panel):
    before = values(panel)
    panel.sliders["inner_steps"].value = 1
    settle(panel)
    after = values(panel)
    assert [torch.equal(before[name], after[name]) for name in before] == [False, True, False]
    assert "epochs 1 for all who have it" in said(panel) and "epochs: 1 for all 2 who have it" in panel.shared_sliders.note.value
    is_of_one_thing(panel)
    press(panel.shared_sliders.reset_button)
    settle(panel)
    assert all(torch.equal(before[name], values(panel)[name]) for name in before) and panel.shared_sliders.reset_button.disabled
    is_of_one_thing(panel)


def test_who_is_unticked_takes_no_part_and_its_slider_is_of_no_use(panel):
    panel.participants.boxes["meta_sgd"].value = False
    settle(panel)
    assert panel.shown.learning.names == ("reptile", "protonet")
    assert panel.sliders["inner_lr (learned rates ×)"].disabled and not panel.sliders["inner_steps"].disabled
    assert panel.evaluation.reference.options == (BEST, "reptile", "protonet")
    is_of_one_thing(panel)


def test_one_stays_ticked(panel):
    for name in ("reptile", "protonet", "meta_sgd"):
        panel.participants.boxes[name].value = False
    settle(panel)
    assert panel.shown.learning.names == ("meta_sgd",) and panel.participants.boxes["meta_sgd"].value
    is_of_one_thing(panel)
    panel.participants.boxes["meta_sgd"].value = False
    assert "One learner at least" in panel.participants.note.value


def test_one_that_diverges_is_named_and_the_others_are_shown():
    panel = ComparePanel(compare_session(bare_learners()), settings=FAR_TOO_FAST)
    settle(panel)
    assert panel.shown.learning.names == ("protonet", "meta_sgd") and "left out: bare" in said(panel)
    assert "bare: it diverged" in panel.participants.note.value
    panel.participants.boxes["protonet"].value = panel.participants.boxes["meta_sgd"].value = False
    panel.worker.wait(TIMEOUT)
    assert "Error" in said(panel) and "nobody is left" in said(panel)
    is_of_one_thing(panel)


def test_all_are_measured_and_compared_with_whom_one_likes(panel):
    assert panel.evaluation.frame.layout.display == "none"
    panel.evaluate()
    settle(panel)
    assert "3 learners on the same 6 episodes" in panel.evaluation.result.value and "Chance: 33.3 %" in panel.evaluation.result.value
    assert panel.evaluation.frame.layout.display == "" and panel.evaluation.progress.value == panel.evaluation.progress.max == 18
    first = panel.evaluation.picture.tooltip
    panel.evaluation.reference.value = next(name for name in values(panel) if f"above that of {name} " not in first)
    assert f"above that of {panel.evaluation.reference.value} on the same 6 episodes" in panel.evaluation.picture.tooltip
    panel.participants.boxes["protonet"].value = False
    settle(panel)
    assert panel.evaluation.frame.layout.display == "none", "it was of others"


def test_a_stop_keeps_what_was_measured(panel, monkeypatch):
    reached, released, evaluate_one = threading.Event(), threading.Event(), panel.session._evaluate_one

    def held(name, *arguments):
        if name == "meta_sgd":
            reached.set()
            assert released.wait(TIMEOUT)
        return evaluate_one(name, *arguments)

    monkeypatch.setattr(panel.session, "_evaluate_one", held)
    panel.evaluate()
    assert reached.wait(TIMEOUT)
    panel.stop()
    released.set()
    settle(panel)
    assert panel.evaluation.results.evaluations.keys() == {"reptile", "protonet"}
    assert "Stopped: 2 of 3" in panel.evaluation.result.value and panel.evaluation.frame.layout.display == ""
    is_of_one_thing(panel)


def test_a_measurement_that_breaks_is_told_and_leaves_nothing_half_shown(panel, monkeypatch):
    def broken(name, *arguments):
        if name == "meta_sgd":
            raise MemoryError("no memory is left")
        return evaluate_one(name, *arguments)

    evaluate_one = panel.session._evaluate_one
    with monkeypatch.context() as patch:
        patch.setattr(panel.session, "_evaluate_one", broken)
        panel.evaluate()
        panel.worker.wait(TIMEOUT)
    assert "Error" in said(panel) and "no memory is left" in said(panel)
    assert panel.evaluation.frame.layout.display == "none" and panel.evaluation.results is None and panel.evaluation.progress.value == 0
    is_of_one_thing(panel)
    panel.evaluate()
    settle(panel)
    assert "3 learners on the same 6 episodes" in panel.evaluation.result.value


def held_within(monkeypatch, owner, name: str) -> tuple[threading.Event, threading.Event]:
    """Let a method stand still at its end; return what is set when it is there, and what lets it go on."""
    reached, released, method = threading.Event(), threading.Event(), getattr(owner, name)

    def held(*arguments):
        method(*arguments)
        reached.set()
        assert released.wait(TIMEOUT)

    monkeypatch.setattr(owner, name, held)
    return reached, released


def while_held(reached: threading.Event, released: threading.Event, first, then) -> None:
    """Call `first`, and `then` in another thread while `first` stands still."""
    threads = [threading.Thread(target=first), threading.Thread(target=then)]
    threads[0].start()
    assert reached.wait(TIMEOUT)
    threads[1].start()
    threads[1].join(0.3)  # it waits, or is through
    released.set()
    for thread in threads:
        thread.join(TIMEOUT)


def test_a_click_while_the_boxes_are_set_is_a_click(panel, monkeypatch):
    people, told = panel.participants, []
    monkeypatch.setattr(people, "_on_change", told.append)
    reached, released = held_within(monkeypatch, people, "_show")
    click = partial(setattr, people.boxes["protonet"], "value", False)
    while_held(reached, released, lambda: people.show(list(people.boxes), ()), click)
    assert told == [("protonet",)]


def test_differences_that_are_being_drawn_do_not_come_back_after_they_are_hidden(panel, monkeypatch):
    panel.evaluate()
    settle(panel)
    evaluation = panel.evaluation
    while_held(*held_within(monkeypatch, evaluation.picture, "show_figure"), evaluation._draw, evaluation._hide)
    assert evaluation.results is None and evaluation.frame.layout.display == "none"


def test_a_change_ends_a_measurement_and_is_shown(panel):
    panel.evaluate()
    panel.sliders["inner_steps"].value = 2
    panel.data.n_way.value = 4
    settle(panel)
    assert panel.shown.request.n_way == 4 and panel.evaluation.results is None
    is_of_one_thing(panel)


def test_an_own_picture_is_answered_by_all_and_again_after_a_change(panel):
    draw_a_stroke(panel)
    assert re.search("[123] of 3 learners", panel.own_picture.answer_text.value)
    panel.participants.boxes["protonet"].value = False
    settle(panel)
    assert re.search("[12] of 2 learners", panel.own_picture.answer_text.value)


def test_a_photograph_is_answered_with_a_warning(panel):
    photograph = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    panel.own_picture.receive("photo.png", png_of(photograph))
    assert "looks like a photograph" in panel.own_picture.answer_text.value


def test_no_queries_and_small_folders(panel, tmp_path):
    panel.load(f"folder:{write_pictures(tmp_path / 'few', {'a': 1, 'b': 1})}")
    settle(panel)
    assert panel.shown.request.n_way == 2 and panel.shown.request.n_query == 0
    assert panel.answers_image.layout.visibility == "hidden" and "no queries to answer" in said(panel)
    assert panel.evaluation.button.disabled
    is_of_one_thing(panel)
    panel.load(f"folder:{tmp_path / 'nowhere'}")
    panel.worker.wait(TIMEOUT)
    assert "Error" in said(panel)
    is_of_one_thing(panel)
    panel.data.dataset.value = "drawings"
    panel.data.n_query.value = 2
    settle(panel)
    assert panel.answers_image.layout.visibility == "visible"
    is_of_one_thing(panel)


@pytest.mark.parametrize("text", TEXTS)
def test_names_are_text(text, tmp_path):
    names = [name_of(text)[:60] or "x", "b"]
    panel = ComparePanel(compare_session([checkpoint(text, tiny_reptile()), checkpoint("other", tiny_reptile(seed=1))], n_way=2))
    with checked(panel) as pages:
        panel.load(f"folder:{write_pictures(tmp_path / 'few', dict.fromkeys(names, 4))}")
        settle(panel)
        draw_a_stroke(panel)
        panel.ask(left_aside=("other",))
        panel.data.n_way.value = 2
        settle(panel)
    assert is_shown("learners", pages)
