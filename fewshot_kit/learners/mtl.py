"""Meta-Transfer Learning: a frozen, pre-trained network that learns to be scaled and shifted (Sun, Liu, Chua and Schiele 2019)."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.configs import MTLConfig
from fewshot_kit.learners.embedding import MOMENTUM, EmbeddingLearner, OnPlacing, centred
from fewshot_kit.learners.fine_tune import SGD, Parameters, detached, fine_tune, task_gradient
from fewshot_kit.learners.heads import apply_head, first_rows, linear_scores
from fewshot_kit.learners.linear_head import FEATURES, fine_tuned_rows
from fewshot_kit.learners.settings import Setting, epochs, learning_rate, views

NONE = -1  # a free place among the collected classes


class MTL(EmbeddingLearner):
    """MTL (Sun et al. 2019): meta-learn a scale for every kernel and a shift for every channel of a frozen network, and a head's start.

    A convolution becomes (W * scale) X + (b + shift) (eq. 5); the inner loop fine-tunes the head alone on the features (eq. 3). With
    `hard_tasks`, the class that a task is worst at is collected, and tasks of the collected classes follow (sec. 4.3, algorithm 1).
    Deviations from the paper: the head's start is zero before it is learned; a meta-batch of hard tasks comes as soon as one can be drawn;
    with `normalised`, features are centred and of length 1 before the head, and several `views` of a picture are averaged.
    """

    config: MTLConfig

    def __init__(self, config: MTLConfig):
        super().__init__(config)
        self.network.requires_grad_(False)
        convolutions = {name: module for name, module in self.network.named_modules() if isinstance(module, nn.Conv2d)}
        shapes = {name.replace(".", "/"): conv.weight.shape[:2] for name, conv in convolutions.items()}
        self.scales = nn.ParameterDict({name: nn.Parameter(torch.ones(*shape, 1, 1)) for name, shape in shapes.items()})
        self.shifts = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape[0])) for name, shape in shapes.items()})
        self.head = nn.Linear(self.network.n_features, config.train_way)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.max_way = config.train_way
        if config.normalised:
            self.register_buffer("centre", torch.zeros(self.network.n_features))

    # Scale and shift.

    def scaled_and_shifted(self) -> Parameters:
        """Return the weights and biases of the convolutions by name (eq. 5), differentiable by scales and shifts."""
        changed = {}
        for path, scale in self.scales.items():
            name = path.replace("/", ".")
            conv = self.network.get_submodule(name)
            changed[f"{name}.weight"] = conv.weight * scale
            changed[f"{name}.bias"] = self.shifts[path] if conv.bias is None else conv.bias + self.shifts[path]
        return changed

    def embed(self, images: Tensor) -> Tensor:
        """Return the features (n, d) of the scaled and shifted network, whose own weights and statistics stay as they are."""
        changed = self.scaled_and_shifted()
        return functional_call(self.network, changed, (images,)) if changed else self.network(images)

    def snapshot(self, *, transductive: bool = False) -> Self:
        other = super().snapshot(transductive=transductive)
        other._modules |= {"scales": nn.ParameterDict(), "shifts": nn.ParameterDict()}  # nothing is left to do when it embeds
        return other

    def network_to_predict_with(self) -> nn.Module:
        """Return a copy of the network, scaled and shifted for good."""
        network = super().network_to_predict_with()
        for name, value in self.scaled_and_shifted().items():
            module, kind = name.rsplit(".", 1)
            setattr(network.get_submodule(module), kind, nn.Parameter(value.detach().clone(), requires_grad=False))
        return network

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the frozen network stays in evaluation mode, so that its statistics stay too."""
        super().train(mode)
        self.network.eval()
        return self

    # The inner loop, on features.

    def normalised(self, features: Tensor) -> Tensor:
        """Return features (..., d) as the head takes them."""
        return centred(features, self.centre) if self.config.normalised else features

    def place(self, features: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Fine-tune a head for each task and return its rows with their bias, (tasks, n_way, 1, d + 1)."""
        self.check_way(n_way)
        theta, config = detached(self.theta(n_way)), self.config
        return fine_tuned_rows(self.normalised(features), labels, theta, config.inner_lr, config.inner_steps, on_step)

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return what `place` does."""
        return self.place(features, labels, n_way)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the logits of the heads."""
        return linear_scores(self.normalised(features), centres)

    def theta(self, n_way: int) -> Parameters:
        """Return the start of the head itself, no copy."""
        return first_rows(self.head, n_way)

    # Training.

    def loss(self, batch: Episode) -> Tensor:
        """Return the query loss after the inner loop, differentiable by scales, shifts and the head's start (eq. 4)."""
        self.train()
        task, config = batch.to(self.device), self.config
        features = self.embed(torch.cat([task.support.images, task.query.images])).to(self.head.weight.dtype)
        if config.normalised:
            with torch.no_grad():
                mean = features.mean(0)
                self.centre.lerp_(mean, MOMENTUM if self.centre.any() else 1.0)
        support, query = self.normalised(features).split([len(task.support), len(task.query)])
        with torch.autocast(self.device.type, enabled=False):  # many small steps want all digits
            gradient = task_gradient(FEATURES, {}, through=True, second_order=not config.first_order)
            steps = [(support, task.support.labels)] * config.train_inner_steps
            phi = fine_tune(gradient, self.theta(task.n_way), steps, SGD(config.train_inner_lr, {}))
            logits = apply_head(phi, query)
            self.collect(batch, logits)
            return F.cross_entropy(logits, task.query.labels)

    @torch.no_grad()
    def collect(self, batch: Episode, logits: Tensor) -> None:
        """Remember the class whose queries are told worst (sec. 4.3)."""
        right = (logits.argmax(1).cpu() == batch.query.labels).float()
        worst = int(right.view(batch.n_way, -1).mean(1).argmin())
        free = (self.training_worst == NONE).nonzero()
        if len(free) and batch.class_ids[worst] not in self.training_worst.tolist():
            self.training_worst[free[0]] = batch.class_ids[worst]

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        super().begin_training(dataset, generator)
        n = self.config.train_way if self.config.hard_tasks else 0
        self.register_buffer("training_worst", torch.full((n,), NONE))

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes: the collected ones as soon as there are enough of them, else any."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query)
        hard = self.training_worst.tolist() if config.hard_tasks and NONE not in self.training_worst.tolist() else None
        self.training_worst.fill_(NONE) if hard else None
        return [sampler.sample(generator, hard) for _ in range(config.meta_batch_size)]

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [*self.scales.parameters(), *self.shifts.parameters(), *self.head.parameters()]

    # What it says of itself.

    def settings(self) -> tuple[Setting, ...]:
        config, of = self.config, self.source_of
        steps = epochs(config.inner_steps, of("inner_steps"), most=200)
        return learning_rate(config.inner_lr, of("inner_lr")), steps, views(config.views, of("views"))

    @property
    def views(self) -> int:
        return self.config.views

    def describe(self) -> str:
        config = self.config
        return (
            f"The network is frozen, scaled and shifted as was learned. A head for at most {self.max_way} classes starts where it was "
            f"learned and takes {config.inner_steps} full-batch steps (epochs) of sgd at learning rate {config.inner_lr:g} on the features"
            f"{', centred and of length 1' if config.normalised else ''}."
        )
