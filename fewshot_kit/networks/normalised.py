"""Bring the values of a picture to the mean and spread that a network was trained on."""

from torch import Tensor


def normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return (images - mean) / std, channel by channel; the images themselves where there is no mean."""
    if not mean:
        return images
    return (images - images.new_tensor(mean).view(-1, 1, 1)) / images.new_tensor(std).view(-1, 1, 1)
