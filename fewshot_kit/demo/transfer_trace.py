"""What meta-transfer learning changed in its frozen network, and which classes it is worst at. Nothing here changes a learner."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.mtl import MTL


def scales_and_shifts(learner: MTL) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the learned scales of the kernels and shifts of the channels, {convolution: (n,)} both, from the picture up."""
    names = convolution_names(learner.network)
    return tuple(
        {names[path.replace("/", ".")]: values.detach().flatten().cpu() for path, values in learned.items()}
        for learned in (learner.scales, learner.shifts)
    )


def convolution_names(network: nn.Module) -> dict[str, str]:
    """Return what a person calls each convolution, by its module's name: its layer, and its place in it where there are several."""
    found = {}
    for layer, module in network.layers().items():
        own = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d) and any(part is m for m in module.modules())]
        places = [f"{layer} shortcut" if ".shortcut." in name else f"{layer} conv {i}" for i, name in enumerate(own, start=1)]
        found |= dict(zip(own, places if len(own) > 1 else [layer], strict=True))
    return found


@torch.no_grad()
def layer_changes(learner: MTL, images: Tensor) -> dict[str, float]:
    """Return how far scale and shift move the output of each layer on these images: the norm of the change over that of the output."""
    plain, changed = learner.network.eval(), learner.snapshot().network
    outputs = [_outputs(network, images.to(learner.device)) for network in (plain, changed)]
    return {layer: ((outputs[1][layer] - before).norm() / before.norm().clamp_min(1e-12)).item() for layer, before in outputs[0].items()}


def _outputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda module, given, output, layer=layer: found.update({layer: output}))
        for layer, module in network.layers().items()
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@dataclass(frozen=True)
class Confusions:
    """How often the queries of a class were answered with another, over many episodes: the classes in which something was asked."""

    dataset: ClassImages
    counts: Tensor  # (classes, classes), of queries: row the truth, column the answer
    met: Tensor  # (classes, classes), of queries of the row's class in episodes in which the column's class could be the answer

    def accuracy(self) -> Tensor:
        """Return the share of right queries of each class, (classes,); NaN where it was never asked for."""
        return self.counts.diagonal() / self.counts.sum(1)

    def taken_for(self, class_id: int) -> tuple[int, float]:
        """Return the class that this one is most often taken for, and the share of its queries in the episodes that had both."""
        shares = self.counts[class_id] / self.met[class_id].clamp_min(1)
        shares[class_id] = -1
        other = int(shares.argmax())
        return other, shares[other].item()

    def hardest(self, n: int) -> list[int]:
        """Return the `n` classes that are told worst, the worst first."""
        accuracy = self.accuracy().nan_to_num(2.0)
        return [class_id for class_id in accuracy.argsort(stable=True).tolist() if accuracy[class_id] <= 1][:n]


@torch.no_grad()
def confusions(learner: Learner, sampler: EpisodeSampler, n_episodes: int, seed: int = 0) -> Confusions:
    """Count which class each query of these episodes was taken for; they are those that `evaluate` measures by this seed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [sampler.draw(generator) for _ in range(n_episodes)]
    size = len(sampler.dataset)
    counts, met, episodes = torch.zeros(size, size), torch.zeros(size, size), iter(drawn)
    for logits, _ in learner.predict_drawn(sampler, drawn):
        for answers, episode in zip(logits.argmax(-1).cpu(), episodes, strict=False):
            classes = torch.tensor(episode.class_ids)
            truth = classes.repeat_interleave(sampler.n_query)
            counts.index_put_((truth, classes[answers]), torch.ones(len(truth)), accumulate=True)
            met[classes[:, None], classes[None]] += sampler.n_query
    return Confusions(sampler.dataset, counts, met)
