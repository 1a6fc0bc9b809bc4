"""What the learners share that embed an image once: an embedding that remembers its last images, and forgets them when they change."""

import pytest
import torch
from synthetic import coloured_images, scaled_at_random, tiny_mtl

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.learners.base import Predictor
from fewshot_kit.learners.embedding import IMAGES_TOGETHER, Remembered


def counted() -> tuple[Remembered, list[int]]:
    sizes: list[int] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images.flatten(1).double().cumsum(1)

    return Remembered(embed), sizes


def test_the_same_images_are_embedded_once_and_changed_ones_again():
    embed, sizes = counted()
    images = torch.rand(3, 1, 4, 4)
    first = embed(images)
    assert torch.equal(embed(images), first) and torch.equal(embed(images.clone()), first) and sizes == [3]
    images[2, 0, 3, 3] += 1  # in place, as one does who fills a buffer anew
    assert not torch.equal(embed(images), first) and sizes == [3, 3]


@pytest.mark.parametrize("other", [torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, 1, 4, 5)])
def test_images_of_another_shape_or_type_are_others(other):
    embed, sizes = counted()
    embed(torch.zeros(3, 1, 4, 4))
    embed(other)
    assert len(sizes) == 2


def test_many_images_are_not_kept():
    embed, sizes = counted()
    images = torch.zeros(IMAGES_TOGETHER + 1, 1, 2, 2)
    assert torch.equal(embed(images), embed(images)) and len(sizes) == 2


def test_every_step_of_a_fine_tuning_embeds_its_queries_once(monkeypatch):
    learner, episode = scaled_at_random(tiny_mtl()), EpisodeSampler(coloured_images(), 3, 2, 4).sample(torch.Generator().manual_seed(0))
    steps: list[Predictor] = []
    learner.adapt(episode.support, on_step=lambda step, loss, predictor: steps.append(predictor))
    first, embedded = steps[0](episode.query.images), []
    monkeypatch.setattr(type(learner), "embed", lambda self, images: embedded.append(images))
    later = [predictor(episode.query.images) for predictor in steps]
    assert not embedded and torch.equal(later[0], first) and not torch.equal(later[-1], first)
