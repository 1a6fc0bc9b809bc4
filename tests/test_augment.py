"""Random changes to training images: what they keep and what they change."""

import torch
from synthetic import noisy_images

from fewshot_kit.augment import augment
from fewshot_kit.datasets import load_dataset
from fewshot_kit.images import to_float


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawings() -> torch.Tensor:
    return to_float(load_dataset("digits", progress=False).images[::20])


def test_shape_and_range_stay():
    for images in (drawings(), to_float(noisy_images().images), torch.ones(3, 1, 9, 15)):
        changed = augment(images, seeded())
        assert changed.shape == images.shape and changed.dtype == images.dtype
        assert changed.min() >= 0 and changed.max() <= 1 + 1e-6


def test_the_generator_decides_alone():
    images, before = drawings(), torch.get_rng_state()
    first, again, other = (augment(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_drawn_stays_nothing():
    assert torch.equal(augment(torch.zeros(20, 1, 28, 28), seeded()), torch.zeros(20, 1, 28, 28))


def test_images_are_changed_each_in_its_own_way_and_the_originals_are_not():
    images = drawings()[:1].repeat(50, 1, 1, 1)
    kept = images.clone()
    changed = augment(images, seeded())
    assert torch.equal(images, kept)
    assert sum(not torch.allclose(changed[i], images[i], atol=0.05) for i in range(50)) >= 45
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 50


def test_most_ink_stays_in_the_picture():
    images = drawings()
    ink = augment(images, seeded()).sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert 0.8 < ink.median() < 1.6 and ink.min() > 0.4


def test_ink_moves_by_less_than_a_fifth_of_the_picture():
    images = torch.zeros(200, 1, 28, 28)
    images[..., 13:15, 13:15] = 1
    changed = augment(images, seeded())
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    for place in (rows, columns):
        centre = (changed * place).sum((1, 2, 3)) / changed.sum((1, 2, 3))
        assert (centre - 13.5).abs().max() < 28 / 5 and abs(centre.mean() - 13.5) < 1
