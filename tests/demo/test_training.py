"""A training that is watched, without a panel: what it reports, what may be set, and where its runs go."""

import math
from dataclasses import replace

import pytest
from synthetic import CONFIG, noisy_images, train_on

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.demo import training as module
from fewshot_kit.demo.training import Progress, SettingError, TrainingSession
from fewshot_kit.learners.configs import CLASSIFIERS, ProtoNetConfig
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.training.config import TrainConfig

TRAIN = TrainConfig(
    source=TaskSource("noisy"), val_way=3, val_query=2, outer_steps=6, meta_lr=0.01, evaluate_every=2, evaluation_episodes=3
)


def noisy_split(name: str, split: str, *, preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    return replace(noisy_images(per_class=20, size=preprocessing.size), split=split)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    train_on(monkeypatch, noisy_split)
    monkeypatch.setattr(module, "load_dataset", noisy_split)


@pytest.fixture
def session(tmp_path) -> TrainingSession:
    return TrainingSession(tmp_path / "run", CONFIG, TRAIN)


# --- what is reported ---


def test_it_reports_every_step_and_every_validation(session):
    steps, rows = [], []
    assert session.is_new and session.record() is None and session.step == 0
    assert session.train(on_step=steps.append, on_evaluation=rows.append)
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5, 6] and {progress.n_steps for progress in steps} == {6}
    assert tuple(rows) == session.record().rows and session.is_finished and not session.is_new
    assert math.isnan(steps[0].steps_per_second) and all(progress.steps_per_second > 0 for progress in steps[1:])
    ((name, curves),) = session.curves()
    assert name == "run" and curves["step"].tolist() == [2, 4, 6]


def test_the_smoothed_loss_is_between_the_losses_and_starts_with_the_first(tmp_path):
    session, steps = TrainingSession(tmp_path / "run", CONFIG, replace(TRAIN, evaluate_every=1)), []
    session.train(on_step=steps.append)
    losses = [row["train_loss"] for row in session.record().rows]  # each of one step
    assert steps[0].loss == pytest.approx(losses[0])
    assert steps[1].loss == pytest.approx((0.9 * losses[0] + losses[1]) / 1.9)
    assert min(losses) < steps[-1].loss < max(losses)


def test_one_that_was_cancelled_is_not_finished(session):
    def stop(progress):
        if progress.step == 3:
            raise Cancelled

    assert not session.train(on_step=stop) and not session.is_finished and session.step == 3
    steps = []
    assert session.train(resume=True, on_step=steps.append) and [progress.step for progress in steps] == [4, 5, 6]


def test_another_session_knows_how_far_a_run_has_come(session):
    session.train()
    other = TrainingSession(session.folder, CONFIG, TRAIN)
    assert other.is_finished and other.step == 6 and not other.is_new


def test_progress_reads_well():
    assert str(Progress(1, 60, 1.5, math.nan)) == "step 1 of 60 · training loss 1.500 (smoothed)"
    assert str(Progress(20, 60, 1.5, 4.0)) == "step 20 of 60 · 4 steps/s · 0:10 left · training loss 1.500 (smoothed)"
    assert " · 2:46:40 left" in str(Progress(0, 12000, 1.5, 1.2))


# --- what may be set ---


def test_the_given_settings_come_back_unchanged(session):
    given = session.choice
    session.choose(replace(given, learner="protonet", dataset="omniglot", outer_steps=60, outer_lr=0.1, classes=4, pictures=2, width=16))
    assert (session.learner_name, type(session.learner_config)) == ("protonet", ProtoNetConfig) and session.config.evaluate_every == 20
    session.choose(given)
    assert (session.learner_config, session.config, session.folder.name) == (CONFIG, TRAIN, "run")


@pytest.mark.parametrize("learner", CLASSIFIERS)
def test_every_learner_can_be_chosen_and_trained(session, learner):
    session.choose(replace(session.choice, learner=learner, outer_steps=1))
    assert session.train() and session.record().learner == learner
    assert session.folder.name == ("run" if learner == "reptile" else f"{learner}-noisy")


def test_another_data_set_is_turned_as_it_wants(tmp_path):
    given = replace(TRAIN, source=replace(TRAIN.source, dataset="omniglot", rotations=True))
    session = TrainingSession(tmp_path, CONFIG, given)
    session.choose(replace(session.choice, dataset="omniglot_vinyals"))
    assert session.config.source.rotations is None, "its classes are turned already: to turn them again is an error"
    session.choose(replace(session.choice, dataset="omniglot"))
    assert session.config.source.rotations is True


def test_the_data_sets_on_offer_can_be_trained_on_with_the_given_network(tmp_path):
    offered = TrainingSession(tmp_path, CONFIG, replace(TRAIN, source=replace(TRAIN.source, dataset="characters_by_alphabet"))).datasets()
    assert {"characters_by_alphabet", "omniglot", "quickdraw"} <= set(offered) and not set(offered) & {"mnist", "cifar_fs", "grocery_store"}
    photographs = TrainingSession(
        tmp_path,
        replace(CONFIG, network=replace(CONFIG.network, channels=3)),
        replace(TRAIN, source=replace(TRAIN.source, dataset="cifar_fs")),
    ).datasets()
    assert {"cifar_fs", "grocery_store"} <= set(photographs) and "omniglot" not in photographs
    assert TrainingSession(tmp_path, CONFIG, TRAIN).datasets()[0] == "noisy", "the given one is always there"


def test_every_problem_is_named_and_the_first_refused(session):
    choice = replace(session.choice, outer_steps=0, classes=1)
    assert session.problems(choice).keys() == {"outer_steps", "classes"} and session.problems(session.choice) == {}
    with pytest.raises(SettingError, match="at least 1 step") as caught:
        session.choose(choice)
    assert caught.value.name == "outer_steps" and session.config == TRAIN


# --- where runs go ---


def test_a_fresh_folder_is_one_where_nothing_lies(session):
    session.train()
    names = []
    for _ in range(2):
        session.new_run()
        names.append(session.folder.name)
        session.folder.mkdir()
        (session.folder / "file").write_text("mine", encoding="utf-8")
    assert names == ["run-2", "run-3"] and session.is_new


def test_a_name_that_is_a_path_stays_in_its_folder(session, tmp_path):
    session.choose(replace(session.choice, dataset="../../<b>evil</b>"))
    assert session.folder.parent == tmp_path and "<" not in session.folder.name and "/" not in session.folder.name
