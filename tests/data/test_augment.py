"""Random changes to training images: what they keep and what they change."""

import pytest
import torch
import torch.nn.functional as F
from synthetic import noisy_images

from fewshot_kit.data.augment import augment_ink, augment_photographs
from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.images import to_float


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawings() -> torch.Tensor:
    return to_float(load_dataset("digits", progress=False).images[::20])


def test_shape_and_range_stay():
    for images in (drawings(), to_float(noisy_images().images), torch.ones(3, 1, 9, 15)):
        changed = augment_ink(images, seeded())
        assert changed.shape == images.shape and changed.dtype == images.dtype
        assert changed.min() >= 0 and changed.max() <= 1 + 1e-6


def test_the_generator_decides_alone():
    images, before = drawings(), torch.get_rng_state()
    first, again, other = (augment_ink(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_drawn_stays_nothing():
    assert torch.equal(augment_ink(torch.zeros(20, 1, 28, 28), seeded()), torch.zeros(20, 1, 28, 28))


def test_images_are_changed_each_in_its_own_way_and_the_originals_are_not():
    images = drawings()[:1].repeat(50, 1, 1, 1)
    kept = images.clone()
    changed = augment_ink(images, seeded())
    assert torch.equal(images, kept)
    assert sum(not torch.allclose(changed[i], images[i], atol=0.05) for i in range(50)) >= 45
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 50


def test_most_ink_stays_in_the_picture():
    images = drawings()
    ink = augment_ink(images, seeded()).sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert 0.8 < ink.median() < 1.6 and ink.min() > 0.4


def test_ink_moves_by_less_than_a_fifth_of_the_picture():
    images = torch.zeros(200, 1, 28, 28)
    images[..., 13:15, 13:15] = 1
    changed = augment_ink(images, seeded())
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    for place in (rows, columns):
        centre = (changed * place).sum((1, 2, 3)) / changed.sum((1, 2, 3))
        assert (centre - 13.5).abs().max() < 28 / 5 and abs(centre.mean() - 13.5) < 1


# --- photographs ---


def photographs(n: int = 8, size: int = 24) -> torch.Tensor:
    """Smooth coloured pictures."""
    coarse = torch.rand(n, 3, 5, 5, generator=seeded(3))
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True)


def ramps(n: int, size: int = 32) -> torch.Tensor:
    """Pictures that say where each of their pixels is: red rises from 0 to 1 from left to right, green from top to bottom."""
    middle = (torch.arange(size) + 0.5) / size
    rows, columns = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([columns, rows, torch.full_like(rows, 0.5)]).repeat(n, 1, 1, 1)


def test_photographs_keep_shape_and_range():
    for images in (photographs(), torch.zeros(3, 3, 9, 15), torch.ones(3, 3, 84, 84), torch.rand(2, 3, 32, 32, generator=seeded())):
        changed = augment_photographs(images, seeded())
        assert changed.shape == images.shape and changed.dtype == images.dtype
        assert changed.min() >= 0 and changed.max() <= 1


def test_photographs_are_changed_by_the_generator_alone_each_in_its_own_way():
    images, before = photographs(1).repeat(50, 1, 1, 1), torch.get_rng_state()
    kept = images.clone()
    first, again, other = (augment_photographs(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state()) and torch.equal(images, kept)
    assert len({tuple(image.flatten().tolist()) for image in first}) == 50


def test_about_half_of_the_photographs_are_mirrored_left_to_right_and_none_top_to_bottom():
    changed = augment_photographs(ramps(2000), seeded())
    mirrored = (changed[:, 0, :, 0] > changed[:, 0, :, -1]).float().mean(1)
    assert set(mirrored.tolist()) == {0.0, 1.0} and 0.46 < mirrored.mean() < 0.54  # 0.5 give or take 3.6 standard errors
    assert (changed[:, 1, 0] < changed[:, 1, -1]).all()


def test_a_crop_keeps_at_least_half_of_the_photograph_and_nothing_from_beyond_its_edge():
    size = 32
    changed = augment_photographs(ramps(1000, size), seeded(), jitter=0)
    assert torch.allclose(changed[:, 2], torch.tensor(0.5))  # a padded edge would be black
    # From the middle of the first pixel to that of the last is (size - 1) / size of the crop's side.
    width = (changed[:, 0, 0, -1] - changed[:, 0, 0, 0]).abs() * size / (size - 1)
    height = (changed[:, 1, -1, 0] - changed[:, 1, 0, 0]) * size / (size - 1)
    slack = 1 / size  # between the edge and the middle of the first pixel there is no ramp
    assert (width * height).min() > 0.5 - slack and max(width.max(), height.max()) < 1 + 1e-5
    assert (width * height).median() < 0.9 and (width / height).max() < 4 / 3 + slack and (width / height).min() > 3 / 4 - slack
    left = changed[:, 0].amin((1, 2))
    assert left.min() < 0.05 and left.max() > 0.15  # crops lie left and right


def test_colours_are_jittered_within_limits_and_no_hue_becomes_another():
    gray = augment_photographs(torch.full((500, 3, 4, 4), 0.5), seeded())
    assert torch.allclose(gray[:, 0], gray[:, 1], atol=1e-6) and torch.allclose(gray[:, 0], gray[:, 2], atol=1e-6)  # gray stays gray
    assert 0.3 - 1e-6 <= gray.min() < 0.32 and 0.68 < gray.max() <= 0.7 + 1e-6  # brightness alone: 0.5 * (1 -+ 0.4)
    red = augment_photographs(torch.tensor([0.6, 0.4, 0.2]).view(1, 3, 1, 1).repeat(500, 1, 4, 4), seeded())[:, :, 0, 0]
    assert (red[:, 0] > red[:, 1]).all() and (red[:, 1] > red[:, 2]).all()


def test_contrast_and_saturation_change_by_themselves():
    halves = torch.full((500, 3, 6, 6), 0.2)
    halves[..., 3:] = 0.4
    gray = augment_photographs(halves, seeded())
    ratio = gray.amax((1, 2, 3)) / gray.amin((1, 2, 3))  # brightness leaves it at 2, and saturation has nothing to do
    assert ratio.min() < 1.6 and ratio.max() > 2.4
    halves[:, 0] += 0.1
    tinted = augment_photographs(halves, seeded())
    # Brightness and contrast scale the distance between red and green just as that between the halves.
    distance = (tinted[:, 0, 0, 0] - tinted[:, 1, 0, 0]) / (tinted[:, 1].amax((1, 2)) - tinted[:, 1].amin((1, 2)))
    saturation = distance / (0.1 / 0.2)
    assert 0.6 - 1e-4 <= saturation.min() < 0.65 and 1.35 < saturation.max() <= 1.4 + 1e-4


def test_a_crop_is_scaled_to_the_size_that_is_asked_for_and_keeps_as_much_as_is_asked_for():
    changed = augment_photographs(ramps(300, 48), seeded(), size=42, least_crop=0.9, jitter=0)
    assert changed.shape == (300, 3, 42, 42)
    width = (changed[:, 0, 0, -1] - changed[:, 0, 0, 0]).abs() * 42 / 41
    assert width.min() > 0.8
    assert augment_photographs(ramps(3, 48), seeded(), size=64).shape == (3, 3, 64, 64)


def test_ink_and_photographs_are_not_taken_for_one_another():
    with pytest.raises(ValueError, match=r"ink have 1 channel, but these are \(2, 4, 8, 8\)"):
        augment_ink(torch.zeros(2, 4, 8, 8), seeded())
    with pytest.raises(ValueError, match=r"photographs have 3 channels, but these are \(2, 1, 8, 8\)"):
        augment_photographs(torch.zeros(2, 1, 8, 8), seeded())


def test_strength_scales_how_far_ink_is_changed():
    images = torch.rand(8, 1, 28, 28)
    changed = [augment_ink(images, seeded(), strength) for strength in (0.0, 0.3, 1.0)]
    torch.testing.assert_close(changed[0], images, rtol=0, atol=1e-5)
    assert (changed[1] - images).norm() < (changed[2] - images).norm()
    assert torch.equal(changed[2], augment_ink(images, seeded()))
