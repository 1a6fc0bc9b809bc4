"""Small made-up pictures with boxes: what the tests of detection run on."""

import torch

from fewshot_kit.detection.annotated import AnnotatedImages, BoxedImages

NAMES = tuple("abcdefgh")
COLOURS = torch.tensor([[230, 40, 40], [40, 230, 40], [40, 40, 230], [230, 230, 40], [230, 40, 230], [40, 230, 230]], dtype=torch.uint8)


def painted_boxes(n_way: int = 3, per_class: int = 6, size: int = 64, seed: int = 0) -> AnnotatedImages:
    """One rectangle a picture, in its class's colour on dark gray: classes and boxes can both be read from the pixels."""
    generator = torch.Generator().manual_seed(seed)
    n = n_way * per_class
    images = torch.full((n, 3, size, size), 60, dtype=torch.uint8)
    sides = torch.randint(size // 4, size // 2, (n, 2), generator=generator)
    low = (torch.rand(n, 2, generator=generator) * (size - sides)).int()
    boxes = torch.cat([low, low + sides], dim=1).float()
    labels = torch.arange(n_way).repeat_interleave(per_class)
    for image, box, label in zip(images, boxes.int().tolist(), labels.tolist(), strict=True):
        image[:, box[1] : box[3], box[0] : box[2]] = COLOURS[label][:, None, None]
    return AnnotatedImages("painted", "test", images, tuple(boxes.split(1)), tuple(labels.split(1)), NAMES[:n_way])


def batch_of(dataset: AnnotatedImages) -> BoxedImages:
    return dataset.take(torch.arange(len(dataset)))
