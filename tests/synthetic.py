"""Small made-up data and small networks: what the tests of the core run on."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.learners.configs import MTLConfig, ReptileConfig
from fewshot_kit.learners.meta_lstm import LearnedOptimiser
from fewshot_kit.learners.mtl import MTL
from fewshot_kit.learners.reptile import Reptile
from fewshot_kit.networks.configs import Conv4Config, ResNet12Config

SIZE = 18  # the last block sees 2 x 2: of a single value group norm would leave nothing
NETWORK = Conv4Config(width=8, size=SIZE)
COLOUR_NETWORK = ResNet12Config(widths=(8, 8, 16, 16), size=16, mean=(0.5,) * 3, std=(0.3,) * 3)
MTL_CONFIG = MTLConfig(
    network=COLOUR_NETWORK, inner_steps=5, inner_lr=0.5, train_inner_lr=0.5, train_inner_steps=4, train_way=3, train_shot=2, train_query=4
)  # fmt: skip
CONFIG = ReptileConfig(network=NETWORK, inner_lr=0.1, inner_steps=3, head_lr_scale=5.0, train_inner_steps=3, train_way=3)
NAMES = tuple("abcdefghijkl")


def numbered_images(counts: tuple[int, ...], size: int = SIZE) -> ClassImages:
    """Images that say who they are: the first pixel is their class, the second their place in it."""
    images = torch.zeros(sum(counts), 1, size, size, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.cat([torch.full((count,), class_id) for class_id, count in enumerate(counts)]).byte()
    images[:, 0, 0, 1] = torch.cat([torch.arange(count) for count in counts]).byte()
    return ClassImages("numbered", "test", images, counts, NAMES[: len(counts)], Preprocessing(size=size))


def identities(images: Tensor) -> list[tuple[int, int]]:
    """Read (class, place in it) from the pixels of `numbered_images`."""
    return [tuple(pair) for pair in (images[:, 0, 0, :2] * 255).round().int().tolist()]


def noisy_images(n_classes: int = 10, per_class: int = 8, noise: float = 0.15, seed: int = 0, size: int = SIZE) -> ClassImages:
    """Each class is a random pattern, each image that pattern with some pixels turned over: there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(n_classes, 1, 1, size, size, generator=generator) < 0.3
    flips = torch.rand(n_classes, per_class, 1, size, size, generator=generator) < noise
    images = (patterns ^ flips).flatten(0, 1).to(torch.uint8) * 255
    return ClassImages("noisy", "test", images, (per_class,) * n_classes, NAMES[:n_classes], Preprocessing(size=size))


def noisy_episodes(n_episodes: int, n_way: int = 3, n_shot: int = 2, n_query: int = 3, seed: int = 0) -> list[Episode]:
    sampler, generator = EpisodeSampler(noisy_images(), n_way, n_shot, n_query), torch.Generator().manual_seed(seed)
    return [sampler.sample(generator) for _ in range(n_episodes)]


def tiny_reptile(norm: str = "group", seed: int = 0, **changes) -> Reptile:
    """A Reptile of width 8 with seeded weights; `changes` are of its configuration."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Reptile(replace(CONFIG, network=replace(NETWORK, norm=norm), **changes))


def coloured_images(n_classes: int = 8, per_class: int = 8) -> ClassImages:
    gray = noisy_images(n_classes, per_class, size=16)
    images = torch.stack([gray.images[:, 0], gray.images[:, 0].flip(-1), 255 - gray.images[:, 0]], dim=1)
    return ClassImages("coloured", "test", images, gray.counts, gray.class_names, Preprocessing(size=16, channels=3))


def tiny_mtl(seed: int = 0, **changes) -> MTL:
    """An MTL over a network with statistics of its own, scaled and shifted at random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner = MTL(replace(MTL_CONFIG, **changes))
        for name, buffer in learner.network.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5) if "var" in name else buffer.normal_()
    return learner.eval()


def scaled_at_random(learner: MTL) -> MTL:
    with torch.no_grad():
        for parameter in [*learner.scales.parameters(), *learner.shifts.parameters(), *learner.head.parameters()]:
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return learner


def force_gates(optimiser: LearnedOptimiser, lr: float) -> None:
    """Make the gates f = 1 and i = lr, whatever comes in."""
    with torch.no_grad():
        for gate, value in ((optimiser.forget_gate, 200.0), (optimiser.input_gate, math.log(lr / (1 - lr)))):
            gate.weight.zero_()
            gate.bias.fill_(value)


def train_on(monkeypatch, load: Callable[..., ClassImages], rotates: bool = True) -> None:
    """Let `load` stand in for load_dataset wherever a training reads pictures."""
    monkeypatch.setattr("fewshot_kit.data.datasets.load_dataset", load)
    monkeypatch.setattr("fewshot_kit.data.datasets.rotates_in_training", lambda name: rotates)
    monkeypatch.setattr("fewshot_kit.data.datasets.dataset_splits", lambda name: ("train", "val", "test"))


class Classifier(nn.Module):
    """A network under a linear head, as torch's users write it: the reference for loops that take parameters as an argument."""

    def __init__(self, network: nn.Module, head: nn.Linear):
        super().__init__()
        self.network, self.head = copy.deepcopy(network), copy.deepcopy(head)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.network(images))

    def parameters_by_name(self) -> dict[str, Tensor]:
        """Name the parameters as the inner loop does."""
        return {name.removeprefix("network."): p for name, p in self.named_parameters()}


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Say whether two states are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
