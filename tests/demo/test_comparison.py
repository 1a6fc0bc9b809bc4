"""Several learners on one episode: all see the same pictures, and what is said of them follows from what each answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from compared import FAR_TOO_FAST, bare_learners, checkpoint, compare_session, ink_learners, seeded
from sessions import write_pictures
from synthetic import COLOUR_NETWORK, coloured_images, tiny_mtl, tiny_reptile

from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.demo import comparison, roster
from fewshot_kit.demo.compare_session import CompareSession
from fewshot_kit.demo.comparison import Comparison, answers, shared_settings
from fewshot_kit.demo.session import Epoch, Learning
from fewshot_kit.learners.configs import ProtoNetConfig
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.plots import verdicts
from fewshot_kit.training.checkpoint_folder import CheckpointError
from fewshot_kit.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.usefixtures("own_cache")


def made_up(*probabilities: list, labels: list) -> Comparison:
    """A comparison of learners "0", "1", … that answered so."""
    session = compare_session([checkpoint("one", tiny_reptile())], n_way=3, n_query=1)
    episode = replace(session.episode, query=replace(session.episode.query, labels=torch.tensor(labels)))
    found = {}
    for name, values in enumerate(probabilities):
        epoch = Epoch(0, [0.0], episode.query.images, lambda images, values=values: torch.tensor(values).log(), 3)
        found[str(name)] = Learning(episode, (epoch,), epoch.predictor)
    return Comparison(found, {})


# --- the same pictures for all ---


def test_all_learn_the_very_same_pictures_each_at_its_own_size():
    session = compare_session(n_shot=2)
    drawn = session.drawn
    for name, size in (("reptile", 18), ("protonet", 24), ("meta_sgd", 18)):
        images, episode = session.dataset.by_learner[name], session.episode_of(name)
        assert images.preprocessing.size == size and episode.class_ids == drawn.class_ids
        assert torch.equal(episode.support.images, images.images[drawn.support.flatten()].float() / 255)
        assert torch.equal(episode.query.images, images.images[drawn.query.flatten()].float() / 255)


def test_an_evaluation_draws_the_same_positions_for_all():
    session = compare_session()
    generators = [torch.Generator().manual_seed(session.seed) for _ in range(2)]
    for _ in range(5):
        one, other = (session.sampler(name).draw(g) for name, g in zip(("reptile", "protonet"), generators, strict=True))
        assert one.class_ids == other.class_ids and torch.equal(one.support, other.support) and torch.equal(one.query, other.query)


def test_each_answers_as_it_would_by_itself():
    session = compare_session()
    found = session.learn().probabilities
    for one in ink_learners():
        alone = compare_session([one]).learn().probabilities
        assert torch.equal(alone[one.name], found[one.name])


def test_chosen_classes_and_another_seed_reach_all():
    session = compare_session()
    session.choose([7, 2])
    assert {session.episode_of(name).class_ids for name in session.dataset.by_learner} == {(7, 2)}
    before = session.drawn.support
    session.sample(seed=5)
    assert session.class_ids is None and not torch.equal(before, session.drawn.support)


# --- agreement and dispute ---


def test_agreement_is_symmetric_and_one_with_oneself():
    found = compare_session(n_query=5).learn().agreement()
    assert torch.equal(found, found.T) and torch.equal(found.diagonal(), torch.ones(3)) and ((found >= 0) & (found <= 1)).all()


A, B, C, TIED = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]


def test_agreement_is_the_share_of_queries_answered_alike():
    found = made_up([A, B, C], [A, B, B], [TIED, B, A], labels=[0, 1, 2])
    third = 1 / 3
    assert torch.allclose(found.agreement(), torch.tensor([[1, 2 * third, third], [2 * third, 1, third], [third, third, 1]]))
    assert found.n_agreed() == 1 and found.n_right == {"0": 3, "1": 2, "2": 1}


def test_the_most_disputed_has_the_most_answers_and_then_the_most_distant():
    assert made_up([A, A, A], [A, B, B], [A, B, C], labels=[0, 1, 2]).by_dispute() == [2, 1, 0]
    sure, unsure = [0.98, 0.01, 0.01], [0.45, 0.4, 0.15]
    assert made_up([unsure, sure, A], [B, B, A], [B, B, A], labels=[0, 1, 2]).by_dispute() == [1, 0, 2]


def test_a_tie_is_a_tie_here_and_in_the_figures():
    assert (comparison.TIE, comparison.UNDECIDED) == (verdicts.TIE, verdicts.UNDECIDED)
    values = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    values[::7] = 0.25
    assert answers(values).tolist() == verdicts.answers(values.numpy()).tolist()


def test_a_learner_alone_and_an_episode_without_queries_have_no_dispute():
    alone = compare_session([checkpoint("one", tiny_reptile())]).learn()
    assert alone.by_dispute() == list(range(6)) and alone.agreement().tolist() == [[1.0]]
    none = compare_session(n_query=0).learn()
    assert none.by_dispute() == [] and none.n_agreed() == 0 and math.isnan(none.agreement()[0, 1])


# --- settings ---


def test_a_setting_reaches_those_who_have_it_and_nobody_else():
    session = compare_session()
    before, after = session.learn().probabilities, session.learn({"inner_steps": 1}).probabilities
    assert torch.equal(before["protonet"], after["protonet"])
    assert not torch.equal(before["reptile"], after["reptile"]) and not torch.equal(before["meta_sgd"], after["meta_sgd"])
    assert session.own_values({"inner_steps": 1}) == {"reptile": {"inner_steps": 1}, "protonet": {}, "meta_sgd": {"inner_steps": 1}}


def test_one_name_with_two_meanings_is_two_settings():
    session = compare_session()
    shared = session.shared()
    assert shared["inner_lr"].values.keys() == {"reptile"} and shared["inner_lr (learned rates ×)"].values.keys() == {"meta_sgd"}
    own = session.own_values({"inner_lr (learned rates ×)": 0.5})
    assert own == {"reptile": {}, "protonet": {}, "meta_sgd": {"inner_lr": 0.5}}


def test_without_a_hand_each_has_its_own_best():
    shared = shared_settings({"a": tiny_reptile(inner_steps=2), "b": tiny_reptile(inner_steps=70)})
    assert shared["inner_steps"].values == {"a": 2, "b": 70}
    assert (shared["inner_steps"].setting.low, shared["inner_steps"].setting.high, shared["inner_steps"].setting.value) == (0, 70, 2)


def test_a_setting_that_nobody_has_is_an_error():
    with pytest.raises(ValueError, match=r"no learner has a setting 'momentum'; there is inner_lr, inner_steps"):
        compare_session().learn({"momentum": 0.9})


def test_what_is_not_changed_is_not_learned_again():
    session = compare_session()
    first, second = session.learn(), session.learn({"inner_steps": 1})
    assert first.learnings["protonet"] is second.learnings["protonet"] and first.learnings["reptile"] is not second.learnings["reptile"]
    session.sample(seed=9)
    assert session.learn().learnings["protonet"] is not first.learnings["protonet"]


# --- who is left out ---


@pytest.fixture
def photographs(monkeypatch):
    """Let a data set of photographs be made up; what is loaded has the size that is asked for."""

    def load(name, split, *, preprocessing, **_):
        return replace(coloured_images(), name=name, preprocessing=preprocessing)

    monkeypatch.setattr(roster, "load_dataset", load)
    monkeypatch.setattr(roster, "are_photographs", lambda dataset, check: True)
    monkeypatch.setattr(roster, "is_available", lambda dataset: True)


def test_learners_for_other_pictures_are_named_with_the_reason():
    session = compare_session([*ink_learners(), checkpoint("mtl", tiny_mtl())])
    found = session.learn()
    assert found.names == ("reptile", "protonet", "meta_sgd") and found.left_out == {"mtl": "its network is for photographs"}
    assert session.evaluate(2).left_out == found.left_out


def test_a_learner_of_few_classes_is_left_out_of_many(photographs):
    mtl, other = tiny_mtl(), seeded(ProtoNet, ProtoNetConfig(network=COLOUR_NETWORK))
    session = compare_session([checkpoint("mtl", mtl), checkpoint("proto", other)], "made up", n_way=3)
    assert session.learn().names == ("mtl", "proto") and session.roster.max_way(session.dataset) is None
    session.sample(n_way=6)
    found = session.learn()
    assert found.names == ("proto",) and "at most 3 classes" in found.left_out["mtl"]
    with pytest.raises(ValueError, match=r"nobody is left to compare: mtl: .*at most 3 classes"):
        session.learn(left_aside=["proto"])


def test_pictures_for_nobody_are_an_error_and_change_nothing(photographs):
    session = compare_session([checkpoint("mtl", tiny_mtl())], "made up")
    dataset = session.dataset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "are_photographs", lambda dataset, check: False)
        with pytest.raises(ValueError, match="holds ink drawings, and no learner here is for them: mtl: its network is for photographs"):
            session.load("drawings")
    assert session.dataset is dataset


def test_one_that_diverges_is_named_and_the_others_stay():
    session = compare_session(bare_learners())
    found = session.learn(FAR_TOO_FAST)
    assert found.names == ("protonet", "meta_sgd") and "diverged" in found.left_out["bare"]
    results = session.evaluate(3, FAR_TOO_FAST)
    assert results.evaluations.keys() == {"protonet", "meta_sgd"} and "not finite" in results.left_out["bare"]


def test_one_that_diverges_is_noticed_without_queries_too():
    assert "diverged" in compare_session(bare_learners(), n_query=0).learn(FAR_TOO_FAST).left_out["bare"]


def test_a_value_that_a_learner_refuses_leaves_it_out():
    found = compare_session().learn({"inner_lr": -1.0})
    assert found.names == ("protonet", "meta_sgd") and "inner_lr" in found.left_out["reptile"]


def test_nobody_is_an_error():
    with pytest.raises(ValueError, match="choose at least one"):
        compare_session().learn(left_aside=["reptile", "protonet", "meta_sgd"])
    with pytest.raises(ValueError, match="two checkpoints are called 'reptile'"):
        compare_session([*ink_learners(), checkpoint("reptile", tiny_reptile())])


def test_without_names_all_that_are_for_the_pictures_take_part():
    session = CompareSession(device="cpu", n_query=1)
    assert list(session.dataset.by_learner) == roster.checkpoints_for(in_colour=False)
    assert list(session.dataset.left_out) == roster.checkpoints_for(in_colour=True)


def test_a_damaged_checkpoint_that_nobody_asked_for_is_left_out(monkeypatch):
    def load(name, device):
        if name == "repmet-omniglot_vinyals":
            raise CheckpointError(f"{name} is damaged")
        return load_checkpoint(name, device=device)

    monkeypatch.setattr(roster, "load_checkpoint", load)
    session = CompareSession(device="cpu", n_query=1)
    assert "repmet-omniglot_vinyals" not in session.dataset.by_learner and len(session.dataset.by_learner) > 3
    assert session.dataset.left_out["repmet-omniglot_vinyals"] == "repmet-omniglot_vinyals is damaged"
    with pytest.raises(CheckpointError, match="is damaged"):
        CompareSession(["repmet-omniglot_vinyals"], device="cpu")


def test_a_folder_of_one_picture_each_and_of_two_classes(tmp_path):
    session = compare_session(dataset=f"folder:{write_pictures(tmp_path / 'few', {'a': 1, 'b': 1})}", n_way=2, n_query=0)
    assert session.learn().names == ("reptile", "protonet", "meta_sgd")


def test_stopping_leaves_the_session_as_it_was():
    session = compare_session()
    expected = session.learn().probabilities

    def stop(name: str, number: int, of: int) -> None:
        if number == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.learn({"inner_steps": 1}, on_learner=stop)
    assert all(torch.equal(values, expected[name]) for name, values in session.learn().probabilities.items())


# --- a person's own picture ---


def test_an_own_picture_is_answered_by_all():
    session = compare_session()
    found = session.learn()
    picture = np.full((40, 60), 255, np.uint8)
    picture[10:30, 20:24] = 0
    image, given = session.classify(found, picture)
    assert image.shape == (1, 1, 18, 18) and given.keys() == set(found.names)
    assert all(values.shape == (3,) and values.sum().item() == pytest.approx(1, abs=1e-5) for values in given.values())


# --- paired differences ---


def test_a_paired_difference_is_that_of_the_means_and_its_interval_that_of_the_differences():
    results = compare_session().evaluate(12)
    one, other = results.evaluations["reptile"], results.evaluations["protonet"]
    found = results.differences("reptile")
    assert found["protonet"].mean == pytest.approx(other.accuracy.mean - one.accuracy.mean, abs=1e-6)
    of_each = np.subtract(other.episode_accuracies, one.episode_accuracies)
    assert found["protonet"].half_width == pytest.approx(1.96 * of_each.std(ddof=1) / math.sqrt(12), abs=1e-9)
    assert found["reptile"].mean == found["reptile"].half_width == 0


def test_identical_learners_differ_by_nothing_at_all():
    session = compare_session([checkpoint("one", tiny_reptile()), checkpoint("other", tiny_reptile())])
    found = session.evaluate(8).differences()["other"]
    assert (found.mean, found.half_width) == (0, 0)
    assert session.learn().agreement().tolist() == [[1, 1], [1, 1]]


def test_the_best_is_compared_with_unless_another_is_named():
    results = compare_session().evaluate(8)
    best = max(results.evaluations.values(), key=lambda one: one.accuracy.mean)
    assert results.best == best.checkpoint and results.rows() == results.rows(results.best)
    assert all(row[3] <= 0 for row in results.rows())


def test_an_evaluation_tells_how_far_it_is_and_can_be_stopped():
    session, seen = compare_session(), []

    def watch(name: str, done: int, so_far) -> None:
        seen.append((name, done, list(so_far.evaluations)))
        if name == "meta_sgd":
            raise Cancelled

    with pytest.raises(Cancelled):
        session.evaluate(4, on_progress=watch)
    assert seen == [
        ("reptile", 0, []), ("reptile", 4, []), ("protonet", 0, ["reptile"]), ("protonet", 4, ["reptile"]),
        ("meta_sgd", 0, ["reptile", "protonet"]),
    ]  # fmt: skip
