"""What is shown of meta-transfer learning: the numbers that were learned, and the very answers that an evaluation counts."""

from dataclasses import replace

import pytest
import torch
from synthetic import coloured_images, same_state, scaled_at_random, tiny_mtl

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.demo import transfer_trace
from fewshot_kit.evaluate import evaluate
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.configs import Conv4Config


def test_scales_and_shifts_have_the_name_of_their_convolution():
    learner = scaled_at_random(tiny_mtl())
    scales, shifts = transfer_trace.scales_and_shifts(learner)
    assert list(scales)[:5] == ["block 1 conv 1", "block 1 conv 2", "block 1 conv 3", "block 1 shortcut", "block 2 conv 1"]
    assert list(scales) == list(shifts) and len(scales) == 16
    assert torch.equal(scales["block 3 shortcut"], learner.scales["blocks/2/shortcut/0"].detach().flatten())
    assert torch.equal(shifts["block 4 conv 2"], learner.shifts["blocks/3/convs/1"].detach())


def test_a_layer_of_one_convolution_bears_its_own_name():
    network = from_config(Conv4Config(width=8, size=18))
    assert list(transfer_trace.convolution_names(network).values()) == ["block 1", "block 2", "block 3", "block 4"]


def test_outputs_change_with_the_scales_and_not_without():
    images, learner = coloured_images().images[:6] / 255, tiny_mtl()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    unchanged = transfer_trace.layer_changes(learner, images)
    assert unchanged == pytest.approx(dict.fromkeys(["block 1", "block 2", "block 3", "block 4"], 0.0), abs=1e-5)
    assert same_state(before, learner.state_dict()) and not learner.network.training
    changes = transfer_trace.layer_changes(scaled_at_random(learner), images)
    assert all(change > 0.01 for change in changes.values())
    change = (learner.embed(images) - learner.network(images)).norm() / learner.network(images).norm()
    assert 0.3 * change < changes["block 4"] < 3 * change, "of the maps that the features are means of"


@pytest.mark.parametrize("seed", [0, 5])
def test_confusions_count_the_answers_that_an_evaluation_measures(seed):
    learner = scaled_at_random(tiny_mtl())
    sampler = EpisodeSampler(coloured_images(), 3, 2, 4)
    found = transfer_trace.confusions(learner, sampler, 70, seed)  # more than are predicted at a time
    assert found.counts.sum() == 70 * 12 and found.counts.trace() / found.counts.sum() == pytest.approx(
        evaluate(learner, sampler, n_episodes=70, seed=seed).accuracy.mean
    )
    assert (found.counts <= found.met).all() and torch.equal(found.met.diagonal(), found.counts.sum(1))


def test_the_hardest_class_and_what_it_is_taken_for_are_found():
    counts = torch.tensor([[8.0, 2, 0, 0], [0, 5, 5, 0], [1, 0, 9, 0], [0, 0, 0, 0]])
    met = torch.tensor([[10.0, 10, 1, 0], [10, 10, 20, 0], [1, 20, 10, 0], [0, 0, 0, 0]])
    found = transfer_trace.Confusions(coloured_images(4), counts, met)
    assert found.hardest(9) == [1, 0, 2], "the last was never asked for"
    assert found.taken_for(1) == (2, 0.25) and found.taken_for(2) == (0, 1.0)
    assert replace(found).accuracy().isnan().tolist() == [False, False, False, True]
