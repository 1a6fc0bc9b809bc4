"""What a panel does, without a widget: sampling, choosing, learning, classifying, measuring."""

import copy
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from sessions import bad_folders, demo_session, write_pictures
from synthetic import same_state

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import Episode
from fewshot_kit.data.images import read_image, to_float
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.widgets import FewShotPanel

pytestmark = pytest.mark.usefixtures("own_cache")
SETTINGS = ("n_way", "n_shot", "n_query", "seed", "class_ids", "dataset", "episode")


@pytest.fixture
def session() -> DemoSession:
    return demo_session(n_query=2)


def same_episode(a: Episode, b: Episode) -> bool:
    return a.class_ids == b.class_ids and torch.equal(a.support.images, b.support.images) and torch.equal(a.query.images, b.query.images)


def answers(session: DemoSession, **settings) -> torch.Tensor:
    return session.learn(settings).epochs[-1].probabilities


# --- the episode on the table ---


def test_the_same_seed_gives_the_same_episode_and_another_seed_another(session):
    first = session.sample(n_way=5, seed=3)
    session.sample(seed=4)
    assert not same_episode(first, session.episode)
    assert same_episode(first, session.sample(seed=3))
    assert same_episode(first, demo_session(n_way=5, n_query=2, seed=3).episode)


def test_what_is_left_out_of_sample_stays_as_it_is(session):
    session.sample(n_shot=4)
    session.sample(n_way=2)
    assert (session.n_way, session.n_shot, session.n_query, session.seed) == (2, 4, 2, 0)
    assert len(session.episode.support) == 2 * 4 and len(session.episode.query) == 2 * 2


def test_chosen_classes_are_taken_in_their_order(session):
    episode = session.choose([7, 2, 30, 11])
    names = session.dataset.class_names
    assert episode.class_ids == (7, 2, 30, 11) == session.class_ids and session.n_way == 4
    assert episode.support.class_names == (names[7], names[2], names[30], names[11])
    for label, class_id in enumerate(episode.class_ids):
        image = episode.support.images[episode.support.labels == label][0]
        assert any(torch.equal(image, other) for other in to_float(session.dataset.of_class(class_id)))


def test_chosen_classes_go_with_another_number_of_pictures_and_back_to_chance(session):
    session.choose([7, 2])
    assert session.choose([7, 2], n_shot=3, n_query=4).class_ids == (7, 2)
    assert len(session.episode.support) == 6 and len(session.episode.query) == 8
    session.sample()
    assert session.class_ids is None and len(session.episode.support) == 6


@pytest.mark.parametrize("chosen", [[], [3], [3, 3]])
def test_too_few_chosen_classes_are_an_error_and_change_nothing(session, chosen):
    before = {name: getattr(session, name) for name in SETTINGS}
    with pytest.raises(ValueError, match=r"at least 2|2 different classes"):
        session.choose(chosen)
    assert all(getattr(session, name) is value for name, value in before.items())


@pytest.mark.parametrize("setting", [{"n_way": 1}, {"n_way": 41}, {"n_shot": 0}, {"n_shot": 20}, {"n_query": 20}])
def test_impossible_settings_are_an_error_and_change_nothing(session, setting):
    before = {name: getattr(session, name) for name in SETTINGS}
    with pytest.raises(ValueError, match=r"at least|lower n_"):
        session.sample(**setting)
    assert all(getattr(session, name) is value for name, value in before.items())


@pytest.mark.parametrize("kind", ["missing", "one class", "a text file called .png", "a class with too few"])
def test_a_bad_folder_is_an_error_and_changes_nothing(session, kind, tmp_path):
    dataset, message = bad_folders(tmp_path)[kind]
    before, answer = {name: getattr(session, name) for name in SETTINGS}, answers(session)
    with pytest.raises(Exception, match=message):
        session.load(dataset)
    assert all(getattr(session, name) is value for name, value in before.items())
    assert torch.equal(answers(session), answer)


def test_a_good_folder_is_learned(session, tmp_path):
    folder = write_pictures(tmp_path / "own", {"kite": 5, "boat": 5, "tree": 5})
    episode = session.load(f"folder:{folder}")
    assert sorted(episode.support.class_names) == ["boat", "kite", "tree"]
    assert session.learn({"inner_lr": 0.1, "inner_steps": 20}).accuracy > 1 / 3


# --- learning ---


def test_learning_twice_gives_identical_probabilities(session):
    first = answers(session, inner_lr=0.1, inner_steps=5)
    answers(session, inner_lr=1.0, inner_steps=20)
    assert torch.equal(answers(session, inner_lr=0.1, inner_steps=5), first)


def test_no_work_of_a_session_changes_its_learner(session):
    state, config = copy.deepcopy(session.learner.state_dict()), session.learner.config
    learning = session.learn({"inner_lr": 0.5, "inner_steps": 5})
    session.classify(learning, np.zeros((30, 30), np.uint8))
    session.evaluate(3, {"inner_lr": 0.5, "inner_steps": 2})
    session.evaluate_baseline(3)
    assert same_state(state, session.learner.state_dict()) and session.learner.config == config


def test_every_epoch_is_there_and_the_last_is_the_predictors(session):
    seen = []
    learning = session.learn({"inner_lr": 0.1, "inner_steps": 4}, on_epoch=seen.append)
    assert tuple(seen) == learning.epochs
    assert [epoch.step for epoch in learning.epochs] == [0, 1, 2, 3, 4]
    for epoch in learning.epochs:
        assert epoch.support_losses == learning.epochs[-1].support_losses[: epoch.step + 1]
        assert torch.equal(epoch.probabilities, session.learn({"inner_lr": 0.1, "inner_steps": epoch.step}).epochs[-1].probabilities)
    assert torch.equal(learning.classify(session.episode.query.images), learning.epochs[-1].probabilities)
    assert learning.epochs[-1].support_losses[-1] < learning.epochs[-1].support_losses[0]


def test_many_epochs_keep_few_predictors_and_the_answers_of_all(session):
    """Each predictor holds weights of its own; a panel may look back at every epoch all the same."""
    predictors, epochs = [], []

    def note(epoch):
        predictors.append(weakref.ref(epoch.predictor))
        epochs.append(epoch)  # as a panel keeps them

    learning = session.learn({"inner_lr": 0.05, "inner_steps": 120}, on_epoch=note)
    gc.collect()
    assert len(learning.epochs) == 121 and sum(predictor() is not None for predictor in predictors) <= 52
    for step in (0, 7, 60, 119, 120):
        expected = session.learn({"inner_lr": 0.05, "inner_steps": step}).epochs[-1]
        assert torch.equal(learning.epochs[step].probabilities, expected.probabilities)
        assert learning.epochs[step].support_losses == expected.support_losses
    assert learning.predictor(session.episode.query.images).softmax(1).equal(learning.epochs[-1].probabilities)
    assert learning.epochs[-1].predictor is not None
    with pytest.raises(ValueError, match="learn again with 3 epochs"):
        _ = learning.epochs[3].predictor


@pytest.mark.parametrize("steps", [51, 100, 400])
def test_a_panel_begins_with_as_many_epochs_as_it_is_given_and_goes_on_with_them(steps):
    panel = FewShotPanel(demo_session(n_way=2), settings={"inner_lr": 0.05, "inner_steps": steps})
    panel.worker.wait()
    assert panel.sliders["inner_steps"].value == steps == panel.shown.request.values()["inner_steps"]
    assert len(panel.shown.learning.epochs) == steps + 1 and panel.epoch == steps
    panel.sliders["inner_lr"].value = 0.1  # another setting moves, this one stays
    panel.worker.wait()
    assert panel.sliders["inner_steps"].value == steps and len(panel.shown.learning.epochs) == steps + 1
    for epoch in (0, 3, steps - 1):
        panel.shown_epoch.value = epoch
        assert panel.epoch == epoch


def test_no_epochs_can_only_guess(session):
    learning = session.learn({"inner_lr": 0.1, "inner_steps": 0})
    assert torch.allclose(learning.epochs[-1].probabilities, torch.full((6, 3), 1 / 3))
    assert learning.epochs[-1].support_losses == pytest.approx((math.log(3),))


@pytest.mark.parametrize("steps", [-1, 2.5, True, "3"])
def test_epochs_are_a_whole_number_from_zero(session, steps):
    with pytest.raises(ValueError, match=r"epochs.* must be a whole number, 0 or more, not"):
        session.learn({"inner_lr": 0.1, "inner_steps": steps})


@pytest.mark.parametrize("lr", [0, 0.0, -0.1, math.nan, math.inf, "0.1"])
def test_the_learning_rate_is_finite_and_above_zero(session, lr):
    with pytest.raises(ValueError, match=r"learning rate.* must be a finite number above 0, not"):
        session.learn({"inner_lr": lr, "inner_steps": 5})
    with pytest.raises(ValueError, match="learning rate"):
        session.evaluate(3, {"inner_lr": lr, "inner_steps": 5})


def test_a_learning_can_be_cancelled_at_every_epoch(session):
    expected = answers(session, inner_lr=0.1, inner_steps=3)

    def stop(epoch):
        seen.append(epoch.step)
        if epoch.step == last:
            raise Cancelled

    for last in range(4):
        seen = []
        with pytest.raises(Cancelled):
            session.learn({"inner_lr": 0.1, "inner_steps": 3}, on_epoch=stop)
        assert seen == list(range(last + 1))
    assert torch.equal(answers(session, inner_lr=0.1, inner_steps=3), expected)


# --- the table ---


def test_an_episode_is_laid_as_it_is_sampled_and_the_same_one_stays(session):
    images = session.read("drawings")
    assert session.dataset.name == "characters", "reading changes nothing"
    episode = session.lay(images, n_way=4, n_shot=2, n_query=1, seed=5)
    assert same_episode(episode, demo_session("drawings", n_way=4, n_shot=2, n_query=1, seed=5).episode) and session.episode is episode
    assert session.lay(images, n_way=4, n_shot=2, n_query=1, seed=5) is episode
    assert session.lay(images, n_way=2, n_shot=2, n_query=1, seed=5, class_ids=(3, 1)).class_ids == (3, 1) == session.class_ids


def test_without_queries_it_learns_and_answers_a_picture(session):
    session.sample(n_query=0, n_shot=20)
    learning = session.learn()
    assert learning.epochs[-1].probabilities.shape == (0, 3) and math.isnan(learning.accuracy)
    _, probabilities = session.classify(learning, np.zeros((30, 30), np.uint8))
    assert probabilities.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="needs queries"):
        session.evaluate(3)


# --- evaluation ---


def test_an_evaluation_is_reproducible_and_says_what_it_measured(session):
    shares = []
    first = session.evaluate(40, {"inner_lr": 0.1, "inner_steps": 3}, on_progress=lambda done, accuracy: shares.append((done, accuracy)))
    second = session.evaluate(40, {"inner_lr": 0.1, "inner_steps": 3})
    assert (first.accuracy, first.loss) == (second.accuracy, second.loss)
    assert shares[-1] == (40, first.accuracy) and len(shares) > 1
    assert (first.n_episodes, first.n_way, first.n_shot, first.n_query) == (40, 3, 1, 2)
    assert first.settings == {"inner_lr": 0.1, "inner_steps": 3, "views": 1}
    assert (first.dataset, first.split, first.transductive) == ("characters", "test", False)


def test_an_evaluation_can_be_cancelled(session):
    def stop(done, accuracy):
        raise Cancelled

    with pytest.raises(Cancelled):
        session.evaluate(40, {"inner_lr": 0.1, "inner_steps": 1}, on_progress=stop)


def test_the_baseline_is_measured_on_the_same_episodes(session, monkeypatch):
    seen = []

    def spy(learner, sampler, **options):
        seen.append((sampler, options["n_episodes"], options["seed"]))
        return evaluate(learner, sampler, **options)

    monkeypatch.setattr("fewshot_kit.demo.session.evaluate", spy)
    session.evaluate(5, {"inner_lr": 0.1, "inner_steps": 1})
    session.evaluate_baseline(5)
    assert seen[0] == seen[1]


# --- one preprocessing ---


def test_one_saved_picture_is_the_same_tensor_on_every_way_in(tmp_path):
    panel = FewShotPanel(demo_session(n_way=2))
    panel.worker.wait()
    drawn, seen, classify = panel.own_picture, {}, panel.session.classify

    def spy(learning, picture):
        image, probabilities = classify(learning, picture)
        seen[way] = image[0]
        return image, probabilities

    panel.session.classify = spy
    way = "canvas"
    drawn.pen_down(40, 30)
    for x, y in ((150, 60), (90, 160), (60, 60)):
        drawn.pen_move(x, y)
    drawn.pen_up(60, 60)

    folder = write_pictures(tmp_path / "own", {"other": 3})
    (folder / "mine").mkdir()
    for i in range(2):
        Image.fromarray(drawn.picture()).save(folder / "mine" / f"{i}.png")
    saved = folder / "mine" / "0.png"

    way = "array"
    panel.classify(read_image(saved))
    way = "upload"
    drawn.receive("0.png", saved.read_bytes())

    learner = panel.session.learner
    dataset = load_dataset(f"folder:{folder}", preprocessing=learner.preprocessing)
    seen["training"] = to_float(dataset.of_class(dataset.class_names.index("mine")))[0]
    episodes, predict = [], learner.predict_episodes
    panel.session.load(f"folder:{folder}")
    panel.session.learner.with_settings = lambda *_, **__: learner
    learner.predict_episodes = lambda batch, **options: (episodes.extend(batch), predict(batch, **options))[1]
    panel.session.evaluate(1)
    label = episodes[0].support.class_names.index("mine")
    for name, part in (("evaluation's support", episodes[0].support), ("evaluation's queries", episodes[0].query)):
        seen[name] = part.images[part.labels == label][0]

    assert set(seen) == {"canvas", "array", "upload", "training", "evaluation's support", "evaluation's queries"}
    assert 0.02 < seen["training"].mean() < 0.5, "light ink on a dark background"
    for image in seen.values():
        assert torch.equal(image, seen["training"])
