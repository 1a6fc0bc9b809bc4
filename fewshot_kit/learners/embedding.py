"""What the learners share that embed an image once: a network, and what stands for a class among its embeddings."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import DrawnEpisode, EpisodeSampler, LabelledImages
from fewshot_kit.data.images import to_float
from fewshot_kit.learners.base import EPISODES_TOGETHER, OnStep, Predictor, TrainableLearner, left_out_in_turn
from fewshot_kit.learners.configs import LearnerConfig
from fewshot_kit.learners.feature_store import FeatureStore
from fewshot_kit.learners.views import views_of, wider_views_of
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.configs import PretrainedConfig
from fewshot_kit.networks.devices import map_in_threads, n_workers
from fewshot_kit.networks.folding import fold_batch_norm

IMAGES_TOGETHER, LEAST_TOGETHER = 250, 8  # embedded at a time, by one thread: at most, and where a second thread is worth it
VALUES_TOGETHER = 1_000_000  # of those images: what comes of more does not fit into a processor's caches

NOT_IN_TRAINING = (
    "the predictor of the training classes is there only while it is trained, a checkpoint leaves it out; adapt to images of them instead"
)

OnPlacing = Callable[[int, Tensor, Tensor], None]  # (step, support loss, centres (tasks, n_way, k, d))


@dataclass(frozen=True)
class EmbeddingPredictor:
    """A predictor that is a few points among embeddings; its parts serve to draw it."""

    embed: Callable[[Tensor], Tensor]  # images (n, c, h, w) -> (n, d)
    scores: Callable[[Tensor, Tensor], Tensor]  # EmbeddingLearner.scores
    centres: Tensor  # (n_way, k, d): prototypes, representatives or clusters

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self.scores(self.embed(images).unsqueeze(0), self.centres.unsqueeze(0)).squeeze(0)


MOMENTUM = 0.01  # of the running mean of the features


def centred(features: Tensor, centre: Tensor) -> Tensor:
    """Return features (..., d) less their mean over the training classes, of length 1 (SimpleShot, "CL2N", Wang et al. 2019)."""
    return F.normalize(features - centre, dim=-1)


class Remembered:
    """An embedding that remembers the last few images: every step of a fine-tuning asks for the same ones, and the network stays."""

    def __init__(self, embed: Callable[[Tensor], Tensor]):
        self._embed = embed
        self._last: tuple[Tensor, Tensor] | None = None  # a copy of the images, their features

    def __call__(self, images: Tensor) -> Tensor:
        last = self._last
        if last is not None and last[0].shape == images.shape and last[0].dtype == images.dtype and torch.equal(last[0], images):
            return last[1]
        features = self._embed(images)
        if len(images) <= IMAGES_TOGETHER:
            self._last = images.clone(), features
        return features


class Lookup:
    """The features of a data set's images by their positions, each embedded when it is first asked for."""

    def __init__(self, embed: Callable[[Tensor], Tensor], images: Tensor):
        self._embed, self._images = embed, images
        self._is_new = torch.ones(len(images), dtype=torch.bool)
        self._features = torch.empty(0)

    def __call__(self, positions: Tensor) -> Tensor:
        """Return features (..., d) of positions (...)."""
        new = positions.unique()
        new = new[self._is_new[new]]
        if len(new):
            features = self._embed(self._images[new])
            if self._is_new.all():
                self._features = features.new_empty(len(self._images), features.shape[1])
            self._features[new], self._is_new[new] = features, False
        return self._features[positions]


class EmbeddingLearner(TrainableLearner):
    """A network f that embeds images, f(x) of d numbers; a subclass says what stands for a class in that space, and how it scores.

    That may be points, which metric learners measure distances to, or the rows of a classifier.

    All works on stacks of tasks whose images are embedded already. A person's episode is a stack of one, and an evaluation embeds every
    image once, in however many episodes it appears.
    """

    def __init__(self, config: LearnerConfig):
        super().__init__()
        self.config = config
        self.network = from_config(config.network)
        self.preprocessing = self.network.preprocessing

    @abstractmethod
    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return what stands for the classes, (tasks, n_way, k, d), from support features (tasks, n, d) with labels (n,) in every task."""

    @abstractmethod
    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return logits (tasks, n, n_way) of features (tasks, n, d) under centres (tasks, n_way, k, d)."""

    def embed(self, images: Tensor) -> Tensor:
        """Return f(images), (n, d), in the network's present mode."""
        return self.network(images)

    def snapshot(self, *, transductive: bool = False) -> Self:
        """Return a copy to predict with, as the learner is now: later training does not change it, and threads may share it.

        Inductive unless `transductive`, which matters to batch norm alone: it lets images that are embedded together share statistics.
        """
        other = copy.copy(self)
        other._modules = dict(self._modules, network=self.network_to_predict_with().train(transductive))
        if not transductive:
            fold_batch_norm(other.network)
        other._buffers = {name: buffer if name.startswith("training_") else buffer.clone() for name, buffer in self._buffers.items()}
        return other

    def network_to_predict_with(self) -> nn.Module:
        """Return a copy of the network whose answers are those of `embed`."""
        return copy.deepcopy(self.network)

    @property
    def views(self) -> int:
        """Say how often a picture is looked at before a person: its features are the mean over so many views (`views_of`)."""
        return 1

    @property
    def middle(self) -> float:
        """Say which share of a picture's width and height is looked at, around its middle."""
        return 1.0

    @property
    def support_views(self) -> int:
        """Say how often more a picture that is learned from is looked at (`wider_views_of`): it is one of few, and counts for much."""
        return 0

    def views_of(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the `views` of float images."""
        return views_of(images, self.views, self.middle)

    def looked_at(self, images: Tensor) -> Tensor:
        return next(self.views_of(images))

    def embed_all(self, images: Tensor) -> Tensor:
        """Return f(images) of images in any number, uint8 or float, on any device; of a `snapshot`, since threads share the work."""
        return self._in_parts(self._embed_views, images)

    def embed_support(self, images: Tensor) -> Tensor:
        """Return features to learn from of images, as `embed_all`, over `support_views` more."""
        return self._in_parts(self._embed_support_views, images)

    @torch.no_grad()
    def _in_parts(self, embed: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        if self.network.training or self.device.type != "cpu":  # statistics are shared by all images, or the device works on many at once
            parts = [images] if self.network.training else images.split(2 * IMAGES_TOGETHER)
            return torch.cat([embed(part) for part in parts])
        most = min(IMAGES_TOGETHER, VALUES_TOGETHER // images[0].numel()) if len(images) else IMAGES_TOGETHER
        share = max(LEAST_TOGETHER, min(most, -(-len(images) // n_workers())))  # of one thread
        return torch.cat(map_in_threads(torch.no_grad()(embed), images.split(share)))

    def embedding_of_a_data_set(self) -> Callable[[Tensor], Tensor]:
        """Return `embed_all` of a snapshot; what a network that others trained makes of pictures is kept on the disk."""
        embed_all = self.snapshot().embed_all
        if not isinstance(self.config.network, PretrainedConfig):
            return embed_all
        store = FeatureStore(self.config.network, (self.views, self.middle))
        return lambda images: store.embed(embed_all, images).to(self.device)

    def _embed_views(self, images: Tensor) -> Tensor:
        return sum(map(self.embed, self.views_of(to_float(images).to(self.device)))) / self.views

    def _embed_support_views(self, images: Tensor) -> Tensor:
        wider = wider_views_of(to_float(images).to(self.device), self.support_views, self.middle)
        return (self.views * self._embed_views(images) + sum(map(self.embed, wider))) / (self.views + self.support_views)

    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> EmbeddingPredictor:
        """Embed the support and place the classes among it; classes may have different numbers of images."""
        missing = set(range(support.n_way)) - set(support.labels.tolist())
        if missing:
            raise ValueError(f"every class needs an image to learn from, but {support.class_names[min(missing)]!r} has none; give one")
        snapshot, labels = self.snapshot(transductive=transductive), support.labels.to(self.device)
        embed, scores = Remembered(snapshot.embed_all), snapshot.scores
        features = snapshot.embed_support(support.images) if self.support_views else embed(support.images)

        def report(step: int, loss: Tensor, centres: Tensor) -> None:
            if on_step is not None:
                on_step(step, loss.item(), EmbeddingPredictor(embed, scores, centres.squeeze(0)))

        centres = self.place(features.unsqueeze(0), labels, support.n_way, report)
        return EmbeddingPredictor(embed, scores, centres.squeeze(0))

    @torch.no_grad()
    def leave_one_out(self, support: LabelledImages, check: Check = go_on) -> Tensor:
        """Return what `Learner.leave_one_out` does; every image is embedded once, to ask and to learn from."""
        snapshot, labels = self.snapshot(), support.labels.to(self.device)
        asked_features = snapshot.embed_all(support.images)
        features = snapshot.embed_support(support.images) if self.support_views else asked_features
        answers = torch.full((len(support), support.n_way), math.nan)
        for left_out, asked in left_out_in_turn(support.labels):
            check()
            others = torch.ones(len(labels), dtype=torch.bool, device=self.device)
            others[left_out] = False
            centres = self.place(features[others].unsqueeze(0), labels[others], support.n_way)
            answers[asked] = self.scores(asked_features[asked].unsqueeze(0), centres)[0].cpu()
        return answers

    def predictor_state(self, predictor: EmbeddingPredictor) -> dict[str, Tensor]:
        return {"centres": predictor.centres}

    def predictor_from(self, state: dict[str, Tensor]) -> EmbeddingPredictor:
        snapshot = self.snapshot()
        return EmbeddingPredictor(snapshot.embed_all, snapshot.scores, state["centres"].to(self.device))

    @torch.no_grad()
    def place(self, features: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return `centres`, and tell `on_step` the support loss under them, after 0 steps: there is nothing to fine-tune."""
        centres = self.centres(features, labels, n_way)
        if on_step is not None:
            on_step(0, self.support_loss(features, labels, centres).mean(), centres)
        return centres

    def support_loss(self, features: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
        """Return the mean cross entropy (tasks,) of features (tasks, n, d) with labels (n,) in every task."""
        logits = self.scores(features, centres)
        return F.cross_entropy(logits.mT, labels.expand(logits.shape[:2]), reduction="none").mean(1)

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        if len(dataset) < 2:
            raise ValueError(f"such a learner tells classes apart, but {dataset.name!r} has {len(dataset)}; train on two or more")

    def predictor_of(self, dataset: ClassImages) -> Predictor:
        """Return a predictor of all classes of a data set: all its images are the support."""
        labels = torch.arange(len(dataset)).repeat_interleave(torch.tensor(dataset.counts))
        return self.adapt(LabelledImages(to_float(dataset.images), labels, dataset.class_names))

    @torch.no_grad()
    def predict_drawn(
        self, sampler: EpisodeSampler, drawn: Sequence[DrawnEpisode], *, transductive: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Embed every image that is used once; an episode is then a look-up and a few distances."""
        if transductive:
            yield from super().predict_drawn(sampler, drawn, transductive=True)
            return
        picked = torch.stack([torch.cat([episode.support, episode.query], dim=1) for episode in drawn])  # (episodes, n_way, shot + query)
        labels = torch.arange(sampler.n_way, device=self.device).repeat_interleave(sampler.n_shot)
        asked = Lookup(self.embedding_of_a_data_set(), sampler.dataset.images)
        learned = Lookup(self.snapshot().embed_support, sampler.dataset.images) if self.support_views else asked
        for part in picked.split(EPISODES_TOGETHER):
            query, support = asked(part)[:, :, sampler.n_shot :].flatten(1, 2), learned(part[:, :, : sampler.n_shot]).flatten(1, 2)
            centres = self.place(support, labels, sampler.n_way)
            yield self.scores(query, centres), self.support_loss(support, labels, centres)


def class_means(features: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """Return the mean feature of each class, (tasks, n_way, d), of features (tasks, n, d) with labels (n,) in every task."""
    members = F.one_hot(labels, n_way).to(features.dtype)  # (n, n_way)
    return members.T @ features / members.sum(0).unsqueeze(1)


def squared_distances(features: Tensor, points: Tensor) -> Tensor:
    """Return |features - points|^2, (tasks, n, n_points), of features (tasks, n, d) and points (tasks, n_points, d)."""
    # The sum of squares less twice the product: far less work than all differences; never below zero. Measured from the middle of the
    # points, it is exact enough wherever they lie.
    origin = points.detach().mean(-2, keepdim=True)
    features, points = features - origin, points - origin
    products = features @ points.mT
    return (features.square().sum(-1, keepdim=True) - 2 * products + points.square().sum(-1).unsqueeze(-2)).clamp(min=0)
