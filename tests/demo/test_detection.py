"""A session of detection without a widget: what is found, how it is counted, and what stays as it was."""

import pytest
import torch
from found_by_colour import detection_session, trained
from painted import painted_boxes
from synthetic import same_state

from fewshot_kit.detection import detector as detector_module
from fewshot_kit.detection.evaluate_detection import average_precisions


@pytest.fixture
def session(monkeypatch):
    return detection_session(monkeypatch)


def test_what_is_marked_is_found_in_the_queries(session):
    before = {name: value.clone() for name, value in trained().state_dict().items()}
    findings = session.learn()
    n_found, n_things, n_wrong = findings.tally(0.3)
    assert n_things == 6 and n_found >= 5 and n_wrong <= 6
    assert findings.precisions().shape == (3,) and findings.precisions().mean() > 0.7
    torch.testing.assert_close(findings.precisions(), average_precisions(session.episode.query, findings.found(1e-6))[:, 0])
    assert same_state(before, trained().state_dict())


def test_a_higher_probability_shows_fewer_boxes_and_none_outside_zero_to_one(session):
    findings = session.learn()
    counts = [sum(map(len, findings.found(threshold))) for threshold in (0.05, 0.3, 0.9, 1.0)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
    for wrong in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            findings.found(wrong)


def test_pictures_are_looked_at_once_an_episode(session, monkeypatch):
    looks = []
    real = detector_module.Detector.see
    monkeypatch.setattr(detector_module.Detector, "see", lambda self, *given: looks.append(1) or real(self, *given))
    first = session.learn()
    again = session.learn({"inner_steps": 3})
    session.map(again)
    assert len(looks) == 1 and [epoch.step for epoch in again.epochs] == [0, 1, 2, 3] and len(first.epochs) == 1
    assert len(again.epochs[-1].support_losses) == 4 and again.epochs[0].support_losses == again.epochs[-1].support_losses[:1]
    session.sample(seed=9)
    session.learn()
    assert len(looks) == 2


def test_the_map_has_every_box_and_what_stands_for_the_classes(session):
    findings = session.learn({"support_representatives": 2})
    box_map = session.map(findings)
    assert (box_map.roles == "support").sum() == 3 and (box_map.roles == "query").sum() == 6
    assert box_map.labels[box_map.roles == "support"].tolist() == [0, 1, 2]
    assert (box_map.labels[box_map.roles == "background"] == -1).all() and box_map.places.shape == (len(box_map.labels), 2)
    assert box_map.centres.shape == (3, 2, 2) and 0 < box_map.share <= 1


def test_the_same_request_finds_the_same_and_an_evaluation_measures_it(session):
    first, again = session.learn(), session.learn()
    for one, other in zip(first.found(0.1), again.found(0.1), strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.probabilities, other.probabilities)
    result = session.evaluate(4)
    assert result.primary == "map50" and result.best_by > 0.6 and result.n_way == 3 and result.settings["inner_steps"] == 0


def test_own_pictures_leave_the_episode_on_the_table(session):
    episode, dataset = session.episode, painted_boxes(2, 3, seed=7)
    found = session.find_own(dataset.take(torch.tensor([0, 3])), dataset.images[[1, 4]])
    assert [f.labels[0].item() for f in found] == [0, 1] and session.episode is episode
