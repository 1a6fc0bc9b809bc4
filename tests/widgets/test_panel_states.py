"""Whatever a person does in whatever order: when the panel has settled, controls, session and pictures are of one thing."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from panels import TIMEOUT, press
from sessions import bad_folders, demo_session, write_pictures
from synthetic import tiny_reptile

from fewshot_kit import plots
from fewshot_kit.data import decoding, trees
from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.widgets import FewShotPanel
from fewshot_kit.widgets.data_controls import COUNTED, OWN_FOLDER

pytestmark = pytest.mark.usefixtures("own_cache")


class Hand(RuleBasedStateMachine):
    """A hand on the controls of a panel, which waits for it now and then."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.panel = FewShotPanel(demo_session("drawings", n_query=1))
        self.is_settled = True

    @initialize()
    def make_folders(self):
        good = {
            name: write_pictures(self.root / name, counts)
            for name, counts in (("kites", dict.fromkeys("abcd", 4)), ("two", {"x": 2, "y": 1}))
        }
        bad = [dataset.removeprefix("folder:") for dataset, _ in bad_folders(self.root).values()]
        self.paths = [*map(str, good.values()), *bad]

    @rule(name=st.sampled_from(COUNTED), value=st.integers(0, 9))
    def turn_a_number(self, name, value):
        getattr(self.panel.data, name).value = value
        self.is_settled = False

    @rule(value=st.sampled_from([0.01, 0.1, 0.7]), epochs=st.integers(0, 4))
    def turn_a_setting(self, value, epochs):
        self.panel.sliders["inner_lr"].value = value
        self.panel.sliders["inner_steps"].value = epochs
        self.is_settled = False

    @rule(name=st.sampled_from(["drawings", "characters", OWN_FOLDER]))
    def choose_a_data_set(self, name):
        self.panel.data.dataset.value = name
        self.is_settled = False

    @rule(path=st.integers(0, 5))
    def open_a_folder(self, path):
        self.panel.data.folder.value = self.paths[path]
        press(self.panel.data.open_button)
        self.is_settled = False

    @rule()
    def take_two_classes(self):
        self.panel.choose(self.panel.shown.images, [1, 0])
        self.is_settled = False

    @rule(button=st.sampled_from(["sample", "learn", "stop"]))
    def press(self, button):
        press({"sample": self.panel.data.sample_button, "learn": self.panel.learn_button, "stop": self.panel.stop_button}[button])
        self.is_settled = False

    @rule()
    def wait(self):
        self.panel.worker.wait(TIMEOUT)
        self.is_settled = True

    @invariant()
    def all_are_of_one_thing(self):
        if self.is_settled:
            is_of_one_thing(self.panel)

    def teardown(self):
        self.wait()
        is_of_one_thing(self.panel)
        shutil.rmtree(self.root)


def is_of_one_thing(panel: FewShotPanel) -> None:
    session, shown, data = panel.session, panel.shown, panel.data
    assert panel.running is None and panel.requested == shown.request and panel.stop_button.disabled
    # controls and session
    assert {name: getattr(data, name).value for name in COUNTED} == {name: getattr(session, name) for name in COUNTED}
    assert session.class_ids == shown.request.class_ids and session.dataset is shown.images is panel.picker.images
    is_folder = session.dataset.name.startswith("folder:")
    assert data.dataset.value == (OWN_FOLDER if is_folder else session.dataset.name)
    assert (Path(session.dataset.name).name if is_folder else session.dataset.name) in data.in_force.value
    assert {name: slider.value for name, slider in panel.sliders.items()} == shown.request.values()
    assert panel.evaluation.button.disabled == (session.n_query == 0)
    # session and pictures
    support, learned = session.episode.support, shown.learning.episode.support
    assert learned.class_names == support.class_names and torch.equal(learned.images, support.images)
    assert panel.support_image.value == plots.png(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
    expected = session.learn(shown.request.values()).epochs[len(shown.learning.epochs) - 1]
    assert torch.equal(shown.learning.epochs[-1].probabilities, expected.probabilities)
    steps = shown.request.values()["inner_steps"]
    assert panel.learning_image.value == shown.drawn.draw(expected.support_losses, expected.probabilities.numpy(), steps)


def test_controls_session_and_pictures_are_of_one_thing_whatever_is_done():
    """Not shrunk where it fails: that would take many minutes, and a dozen steps can be read."""
    checks, phases = [HealthCheck.too_slow, HealthCheck.data_too_large], [Phase.explicit, Phase.reuse, Phase.generate]
    limits = {"max_examples": 14, "stateful_step_count": 12, "deadline": None}
    run_state_machine_as_test(Hand, settings=settings(**limits, phases=phases, suppress_health_check=checks))


@pytest.fixture
def large_folder(tmp_path, monkeypatch) -> tuple[str, list[float]]:
    """A folder that takes a minute to look through, and the times at which that was done."""
    looked, effort = [], trees._check_effort

    def slow(*arguments):
        looked.append(time.perf_counter())
        time.sleep(0.03)
        effort(*arguments)

    monkeypatch.setattr(trees, "_check_effort", slow)
    (tmp_path / "all" / "a").mkdir(parents=True)
    for number in range(2000):
        (tmp_path / "all" / "a" / f"{number}.txt").touch()
    return f"folder:{tmp_path / 'all'}", looked


def begin_to_look(panel: FewShotPanel, dataset: str, looked: list[float]) -> None:
    looked.clear()
    panel.load(dataset)
    until = time.perf_counter() + TIMEOUT
    while len(looked) < 5:
        assert time.perf_counter() < until
        time.sleep(0.01)


def test_a_newer_request_ends_the_look_through_a_folder(large_folder):
    dataset, looked = large_folder
    panel = FewShotPanel(demo_session("drawings", n_query=1))
    begin_to_look(panel, dataset, looked)
    asked = time.perf_counter()
    panel.data.dataset.value = "characters"
    panel.ask(dataset="characters")
    panel.worker.wait(TIMEOUT)
    assert looked[-1] - asked < 0.5 and panel.shown.request.dataset == "characters"
    is_of_one_thing(panel)


def test_stop_ends_the_look_through_a_folder_and_what_was_shown_stays(large_folder):
    dataset, looked = large_folder
    panel = FewShotPanel(demo_session("drawings", n_query=1))
    begin_to_look(panel, dataset, looked)
    assert not panel.stop_button.disabled
    asked = time.perf_counter()
    press(panel.stop_button)
    panel.worker.wait(TIMEOUT)
    assert looked[-1] - asked < 0.5 and "stopped; on show: drawings" in panel.status.value
    assert panel.requested is panel.shown.request and panel.stop_button.disabled
    is_of_one_thing(panel)


def test_decoding_a_folder_ends_with_the_request(tmp_path, monkeypatch):
    read, decoded = decoding.read_image, []
    monkeypatch.setattr(decoding, "read_image", lambda *arguments, **options: decoded.append(1) or read(*arguments, **options))

    def check():
        if len(decoded) == 5:
            raise Cancelled

    folder = write_pictures(tmp_path / "kites", dict.fromkeys("abc", 4))
    with pytest.raises(Cancelled):
        load_dataset(f"folder:{folder}", progress=False, check=check)
    assert len(decoded) == 5


def test_listing_an_archive_ends_with_the_request(tmp_path):
    def check():
        raise Cancelled

    folder = write_pictures(tmp_path / "kites", dict.fromkeys("abc", 4))
    for kind in ("zip", "gztar"):
        with pytest.raises(Cancelled):
            load_dataset(f"folder:{shutil.make_archive(str(tmp_path / kind), kind, folder)}", progress=False, check=check)


def test_an_evaluation_that_diverges_is_told_in_the_panel(monkeypatch):
    panel = FewShotPanel(demo_session("drawings", n_query=1))
    diverging = tiny_reptile("none", inner_lr=1e6, inner_steps=20)
    monkeypatch.setattr(panel.session, "_learner", lambda settings=None: diverging)
    panel.evaluate()
    panel.worker.wait(TIMEOUT)
    assert "of 200 episodes: lower inner_lr (learning rate), which is 1e+06" in panel.status.value
    assert "%" not in panel.evaluation.result.value and panel.stop_button.disabled
