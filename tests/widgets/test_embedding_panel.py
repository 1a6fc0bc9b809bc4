"""The panel of a metric learner without a browser: set a trait, wait for the worker, look at what is shown."""

import copy
import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from panels import TIMEOUT, press, settle, tree
from PIL import Image
from sessions import write_pictures
from synthetic import NETWORK, same_state

from fewshot_kit.demo.embedding_map import map_embedding
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.learners.configs import ProtoNetConfig, RepMetConfig
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.repmet import RepMet
from fewshot_kit.training.checkpoints import Checkpoint
from fewshot_kit.widgets import EmbeddingPanel, embedding_panel
from fewshot_kit.widgets.data_controls import OWN_FOLDER
from fewshot_kit.widgets.evaluation import EPISODES

pytestmark = pytest.mark.usefixtures("own_cache")


def metric_session(dataset: str = "characters", name: str = "protonet", **settings) -> DemoSession:
    torch.manual_seed(0)
    config = RepMetConfig(network=NETWORK) if name == "repmet" else ProtoNetConfig(network=NETWORK)
    learner = RepMet(config) if name == "repmet" else ProtoNet(config)
    return DemoSession(Checkpoint("tiny", Path("nowhere"), learner, {}, ""), dataset, device="cpu", **{"n_query": 2, **settings})


@pytest.fixture
def panel() -> Iterator[EmbeddingPanel]:
    panel = EmbeddingPanel(metric_session())
    yield panel
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


class Gate:
    """Hold the panel's next map until it is released."""

    def __init__(self, monkeypatch):
        self.reached, self.released = threading.Event(), threading.Event()
        self._map = embedding_panel.map_embedding
        monkeypatch.setattr(embedding_panel, "map_embedding", self.map)

    def map(self, *arguments, **settings):
        self.reached.set()
        assert self.released.wait(TIMEOUT)
        return self._map(*arguments, **settings)


# --- the picture ---


def test_a_new_panel_shows_the_map_of_its_episode(panel):
    assert Image.open(io.BytesIO(panel.map_image.value)).size == (920, 560)
    expected = panel.session.learn()
    assert panel.map.accuracy() == pytest.approx(expected.accuracy)
    assert f"queries: {round(6 * expected.accuracy)} of 6 right" in panel.status.value
    assert (
        "characters, 3 classes, 1 picture each" in panel.status.value
        and set(panel.sliders) == {"views"}
        and "epochs" not in panel.status.value
    )


def test_more_shots_move_the_prototypes_and_nothing_else(panel):
    before, picture = panel.map, panel.map_image.value
    panel.data.n_shot.value = 6
    settle(panel)
    after = panel.map
    assert np.array_equal(after.places, before.places) and after.window == before.window
    assert (np.linalg.norm(after.centres - before.centres, axis=-1) > 0).all() and panel.map_image.value != picture
    assert torch.equal(panel.shown.learning.predictor.centres, panel.session.learn().predictor.centres)
    panel.data.n_shot.value = 1
    settle(panel)
    assert panel.map_image.value == picture, "and back again"


def test_the_query_asked_about_is_redrawn_at_once(panel):
    pictures = set()
    for query in range(6):
        panel.query.value = query
        pictures.add(panel.map_image.value)
    assert len(pictures) == 6 and panel.running is None


def test_the_query_stays_within_the_episode(panel):
    panel.query.value = 5
    panel.data.n_way.value = 2
    settle(panel)
    assert (panel.query.max, panel.query.value) == (3, 3)
    panel.data.n_query.value = 5
    settle(panel)
    assert panel.query.max == 9


def test_tsne_does_not_block_and_the_old_picture_stays(panel, monkeypatch):
    picture, old, gate = panel.map_image.value, panel.map, Gate(monkeypatch)
    panel.method.value = "tsne"
    assert gate.reached.wait(TIMEOUT)
    assert panel.map_image.value == picture and panel.map is old and "t-SNE of 60 pictures" in panel.status.value
    panel.query.value = 3  # while it works
    asked = panel.map_image.value
    assert asked != picture
    gate.released.set()
    settle(panel)
    assert panel.map.method == "tsne" and panel.map_image.value != asked and "queries: " in panel.status.value
    panel.method.value = "pca"
    settle(panel)
    assert panel.map_image.value == asked


def test_what_tsne_needs_is_imported_while_the_first_picture_is_looked_at():
    code = """
import sys, threading, time
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.widgets import EmbeddingPanel
session = DemoSession("protonet-omniglot_vinyals-augmented", "characters", device="cpu")
assert "sklearn.manifold" not in sys.modules
panel = EmbeddingPanel(session)
assert panel.map.method == "pca"
while any(thread.daemon and thread.name.endswith("(import_module)") for thread in threading.enumerate()):
    time.sleep(0.01)
assert "sklearn.manifold" in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stderr


def test_more_shots_go_on_from_the_tsne_on_show(panel):
    panel.method.value = "tsne"
    settle(panel)
    before = panel.map
    panel.data.n_shot.value = 4
    settle(panel)
    anew = map_embedding(panel.shown.learning.predictor, panel.map.pool, "tsne")
    drift, jump = (np.linalg.norm(places - before.places, axis=1).mean() for places in (panel.map.places, anew.places))
    assert drift < 0.5 * jump
    panel.method.value = "pca"
    settle(panel)
    shown = panel.map_image.value
    panel.method.value = "tsne"
    settle(panel)
    assert panel.map_image.value != shown and panel.map.method == "tsne"


def test_of_many_moves_while_it_works_the_newest_is_shown_and_none_is_lost(panel, monkeypatch):
    gate = Gate(monkeypatch)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.data.dataset.value = "drawings"
    panel.data.n_way.value = 4
    panel.data.n_shot.value = 2
    panel.data.n_shot.value = 3
    gate.released.set()
    settle(panel)
    session = panel.session
    assert (session.dataset.name, session.n_way, session.n_shot, panel.data.dataset.value) == ("drawings", 4, 3, "drawings")
    assert panel.map.pool.class_names == session.episode.support.class_names and panel.map.centres.shape == (4, 1, 2)
    expected = metric_session("drawings", n_way=4, n_shot=3)
    assert torch.equal(panel.shown.learning.predictor.centres, expected.learn().predictor.centres)


def test_sampling_shows_other_classes(panel):
    names = panel.map.pool.class_names
    press(panel.data.sample_button)
    settle(panel)
    assert panel.map.pool.class_names != names and panel.data.seed.value == panel.session.seed


def test_classes_taken_by_hand_stay_with_other_shots():
    session = metric_session()
    session.choose([7, 2])
    panel = EmbeddingPanel(session)
    panel.data.n_shot.value = 4
    settle(panel)
    session = panel.session
    assert session.class_ids == (7, 2) and panel.map.pool.class_names == session.episode.support.class_names
    support = torch.from_numpy(panel.map.pool.roles == "support")
    assert torch.equal(panel.map.pool.images[support], session.episode.support.images)


def test_slider_and_number_box_are_one(panel):
    for slider, value in ((panel.data.n_way, 5), (panel.data.n_shot, 3), (panel.data.n_query, 4), (panel.query, 7)):
        box = next(w for w in tree(panel) if isinstance(w, widgets.HBox) and w.children[:1] == (slider,))
        assert slider.description and isinstance(box.children[1], widgets.BoundedIntText)
        box.children[1].value = value
        settle(panel)
        assert slider.value == value
    assert (panel.session.n_way, panel.session.n_shot, panel.session.n_query) == (5, 3, 4)


def test_the_learner_is_unchanged(panel):
    state = copy.deepcopy(panel.session.learner.state_dict())
    panel.data.n_shot.value = 3
    panel.method.value = "tsne"
    panel.evaluate()
    settle(panel)
    assert same_state(state, panel.session.learner.state_dict())


# --- fine-tuning ---


def test_repmet_is_fine_tuned_by_its_sliders():
    panel = EmbeddingPanel(metric_session(name="repmet", n_shot=3), settings={"inner_steps": 0}, centre_name="representative")
    before = panel.map
    panel.sliders["inner_lr"].value = 0.2
    panel.sliders["inner_steps"].value = 8
    settle(panel)
    expected = panel.session.learn({"inner_lr": panel.sliders["inner_lr"].value, "inner_steps": 8})
    assert torch.equal(panel.shown.learning.predictor.centres, expected.predictor.centres) and "8 epochs" in panel.status.value
    assert np.array_equal(panel.map.places, before.places) and not np.allclose(panel.map.centres, before.centres)
    panel.evaluate()
    settle(panel)
    assert "8 epochs" in panel.evaluation.result.value


# --- evaluation ---


def test_an_evaluation_fills_progress_and_result(panel):
    press(panel.evaluation.button)
    settle(panel)
    expected, baseline = panel.session.evaluate(EPISODES), panel.session.evaluate_baseline(EPISODES)
    assert panel.evaluation.progress.value == panel.evaluation.progress.max == EPISODES and panel.stop_button.disabled
    for part in (expected.accuracy.percent(), baseline.accuracy.percent(), "Chance: 33.3 %", "200 episodes", "inductive", "seed 0"):
        assert part in panel.evaluation.result.value


def test_an_evaluation_measures_the_settings_on_show(panel, monkeypatch):
    gate = Gate(monkeypatch)
    panel.learn()
    assert gate.reached.wait(TIMEOUT)
    panel.data.n_way.value = 5
    panel.evaluate()
    gate.released.set()
    settle(panel)
    assert "5 classes" in panel.evaluation.result.value and "Chance: 20.0 %" in panel.evaluation.result.value


def test_an_evaluation_stops(panel):
    reached, stopped, evaluate = threading.Event(), threading.Event(), panel.session.evaluate

    def slow(*settings, on_progress):
        def watch(done, accuracy):
            reached.set()
            assert stopped.wait(TIMEOUT)
            on_progress(done, accuracy)

        return evaluate(*settings, on_progress=watch)

    panel.session.evaluate = slow
    panel.evaluate()
    assert reached.wait(TIMEOUT) and not panel.stop_button.disabled
    press(panel.stop_button)
    stopped.set()
    settle(panel)
    assert "stopped" in panel.status.value and panel.stop_button.disabled and panel.evaluation.progress.value == 0


def test_an_evaluation_says_the_settings_it_was_made_at(monkeypatch):
    panel = EmbeddingPanel(metric_session(name="repmet", n_shot=3), settings={"inner_steps": 2})
    baseline = panel.session.evaluate_baseline

    def slider_moved_meanwhile(*arguments, **settings):
        result = baseline(*arguments, **settings)
        panel.sliders["inner_steps"].value = 9
        return result

    monkeypatch.setattr(panel.session, "evaluate_baseline", slider_moved_meanwhile)
    seen = []
    panel.evaluation.result.observe(lambda change: seen.append(change["new"]), "value")
    panel.evaluate()
    settle(panel)
    assert not any("9 epochs" in text for text in seen) and "9 epochs" in panel.status.value


def test_an_evaluation_moves_on_chunk_by_chunk(panel):
    seen = []
    panel.evaluation.progress.observe(lambda change: seen.append(change["new"]), "value")
    panel.evaluate()
    settle(panel)
    assert len(seen) >= 4 and seen == sorted(seen)


# --- a picture of one's own ---


def test_a_drawing_is_answered_by_the_prototypes_on_show(panel):
    own = panel.own_picture
    own.pen_down(40, 40)
    own.pen_move(150, 150)
    own.pen_up(150, 150)
    before = own.answer_image.value
    assert own.answer_image.layout.visibility == "visible"
    panel.data.seed.value = 5
    settle(panel)
    assert own.answer_image.value != before, "and anew by others"


# --- errors ---


def test_a_data_set_that_cannot_be_loaded_is_an_error_and_the_controls_return(panel, monkeypatch):
    def fail(name, check):
        raise OSError("no network <script>")

    monkeypatch.setattr(panel.session, "read", fail)
    panel.data.dataset.value = "drawings"
    panel.worker.wait(TIMEOUT)
    assert "Error" in panel.status.value and "&lt;script&gt;" in panel.status.value and panel.data.dataset.value == "characters"


def test_weights_that_diverged_are_an_error():
    session = metric_session()
    with torch.no_grad():
        for parameter in session.learner.network.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        EmbeddingPanel(session)


def test_no_class_name_reaches_html_unescaped(tmp_path):
    names = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "b")
    panel = EmbeddingPanel(metric_session(f"folder:{write_pictures(tmp_path / '<i>mine', dict.fromkeys(names, 5))}"))
    panel.evaluate()
    settle(panel)
    for widget in tree(panel):
        if isinstance(widget, widgets.HTML):
            assert not re.search("<script|<img|<i>mine", widget.value)
    assert panel.data.dataset.value == OWN_FOLDER


# --- the shape of it ---


def test_nothing_in_the_panel_captures_output(panel):
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]


def test_the_reference_of_a_panel_is_its_session():
    session = metric_session(n_way=12, n_shot=11)
    panel = EmbeddingPanel(session)
    assert (panel.data.n_way.value, panel.data.n_shot.value) == (12, 11) and replace(
        panel.map.pool
    ).class_names == session.episode.support.class_names


def test_classes_are_chosen_by_hand(panel):
    panel.picker.buttons[4].value = panel.picker.buttons[1].value = True
    press(panel.picker.use)
    settle(panel)
    assert panel.session.class_ids == (4, 1) and panel.data.n_way.value == 2
    assert panel.map.pool.class_names == panel.session.episode.support.class_names


def test_a_folder_of_ones_own_is_mapped(panel, tmp_path):
    write_pictures(tmp_path / "own", dict.fromkeys("abc", 5))
    panel.data.folder.value = str(tmp_path / "own")
    press(panel.data.open_button)
    settle(panel)
    assert panel.session.dataset.class_names == ("a", "b", "c") and sorted(panel.map.pool.class_names) == ["a", "b", "c"]


def test_an_error_is_told_and_all_of_its_request_is_taken_back(panel, monkeypatch):
    reached, released = threading.Event(), threading.Event()

    def fail(name, check):
        reached.set()
        assert released.wait(TIMEOUT)
        raise OSError("no network")

    monkeypatch.setattr(panel.session, "read", fail)
    before = panel.shown
    panel.data.dataset.value = "drawings"
    assert reached.wait(TIMEOUT)
    panel.data.n_shot.value = 2
    released.set()
    panel.worker.wait(TIMEOUT)
    assert "no network" in panel.status.value and panel.shown is before
    assert (panel.data.dataset.value, panel.data.n_shot.value) == ("characters", 1) == (panel.session.dataset.name, panel.session.n_shot)


def test_classes_picked_from_the_data_set_before_are_not_taken_from_the_new_one(panel, monkeypatch):
    reached, released, read = threading.Event(), threading.Event(), panel.session.read

    def slow(name, check):
        reached.set()
        assert released.wait(TIMEOUT)
        return read(name, check)

    monkeypatch.setattr(panel.session, "read", slow)
    panel.data.dataset.value = "drawings"
    assert reached.wait(TIMEOUT)
    panel.choose(panel.shown.images, [3, 1])
    released.set()
    settle(panel)
    assert panel.session.dataset.name == "drawings" and panel.session.class_ids is None


def test_a_path_that_was_typed_stays_while_other_choices_are_made(panel):
    panel.data.folder.value = "/some/pla"
    panel.data.n_way.value = 2
    settle(panel)
    assert panel.data.folder.value == "/some/pla" and panel.data.dataset.value == "characters"


# --- the wrong answers ---


def test_one_can_go_from_a_wrong_answer_to_the_next(panel):
    panel.data.n_query.value = 8
    settle(panel)
    answers, labels = panel.map.probabilities[panel.map.queries].argmax(1), panel.map.pool.labels[panel.map.queries]
    wrong = np.flatnonzero(answers != labels).tolist()
    assert [query for _, query in panel.wrong.options][1:] == wrong and len(wrong) > 1
    for query in reversed(wrong):
        picture = panel.map_image.value
        panel.wrong.value = query
        assert panel.query.value == query == panel.asked and panel.map_image.value != picture
    right = next(query for query in range(24) if query not in wrong)
    panel.query.value = right
    assert panel.wrong.value not in wrong, "the list says what is on show"


def test_without_queries_there_is_a_map_and_no_question(panel):
    panel.data.n_query.value = 0
    settle(panel)
    assert len(panel.map.queries) == 0 and panel.query.disabled and panel.wrong.disabled
    assert panel.evaluation.button.disabled and "no queries to answer" in panel.status.value
    panel.data.n_query.value = 2
    settle(panel)
    assert not panel.query.disabled and panel.query.max == 5


def test_the_picture_has_a_sentence(panel):
    assert "map of 60 pictures of 3 classes" in panel.map_image.tooltip
