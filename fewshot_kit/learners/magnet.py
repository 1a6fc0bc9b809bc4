"""Magnet loss: classes as several clusters, and a loss on neighbourhoods of clusters (Rippel, Paluri, Dollar and Bourdev 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, LabelledImages
from fewshot_kit.data.images import to_float
from fewshot_kit.learners.clusters import k_means, support_clusters
from fewshot_kit.learners.configs import MagnetConfig
from fewshot_kit.learners.embedding import EmbeddingLearner, squared_distances

LEAST_VARIANCE = 1e-8  # images that are all the same have none


class Magnet(EmbeddingLearner):
    """Magnet loss (Rippel et al. 2016): clusters of other classes are pushed out of the neighbourhood of each cluster.

    As a few-shot learner, the clusters are those of the support, under the variance that was learned in training. Deviations from the
    paper: neighbours are found among the means of the last k-means, not of a running index; the variance kept for predictions is a
    running mean over batches.
    """

    config: MagnetConfig

    def __init__(self, config: MagnetConfig):
        super().__init__(config)
        self.register_buffer("variance", torch.ones(()))

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return the means of `support_clusters` clusters a class."""
        return support_clusters(features, labels, n_way, self.config.support_clusters)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the log of the sum of exp(-d^2 / (2 variance)) over a class's clusters, among the L nearest of all (eq. 6)."""
        n_way, k = centres.shape[1:3]
        closeness = -squared_distances(features, centres.flatten(1, 2)) / (2 * self.variance.clamp(min=LEAST_VARIANCE))
        if self.config.nearest_clusters < n_way * k:
            last = closeness.topk(self.config.nearest_clusters, dim=-1).values[..., -1:]
            near = closeness.masked_fill(closeness < last, -torch.inf).unflatten(-1, (n_way, k)).logsumexp(-1)
            far = closeness.amin(-1, keepdim=True) - 10  # a class without a near cluster: next to impossible, not infinitely so
            return torch.where(near.isinf(), far, near)
        return closeness.unflatten(-1, (n_way, k)).logsumexp(-1)

    def describe(self) -> str:
        config = self.config
        return (
            f"The support is embedded and clustered, {config.support_clusters} cluster(s) a class; the {config.nearest_clusters} clusters "
            f"nearest to a picture decide, by the variance learned in training."
        )

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        super().begin_training(dataset, generator)
        if min(dataset.counts) < self.config.n_clusters:
            few = min(zip(dataset.counts, dataset.class_names, strict=True))
            raise ValueError(f"{self.config.n_clusters} clusters a class are wanted, but {few[1]!r} has {few[0]} images; lower n_clusters")
        n = len(dataset) * self.config.n_clusters
        self.register_buffer("training_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("training_members", torch.zeros(len(dataset.images), dtype=torch.int64, device=self.device))  # cluster ids
        self.register_buffer("training_means", torch.zeros(n, self.network.n_features, device=self.device))
        self.register_buffer("training_losses", torch.ones(n, device=self.device))

    def check_training_state(self, state: dict[str, Tensor]) -> None:
        members, n = state["training_members"], len(self.training_losses)
        if state["training_step"] < 0 or members.min() < 0 or members.max() >= n or state["training_losses"].min() < 0:
            raise ValueError(f"its clusters are none of the {n} there are")

    def refresh_clusters(self, dataset: ClassImages, seed: int) -> None:
        """Embed the training images as the network is now, and cluster each class anew. Clusters are numbered class by class."""
        features, k = self.snapshot().embed_all(dataset.images), self.config.n_clusters
        for class_id, (start, stop) in enumerate(zip(dataset.offsets, dataset.offsets[1:], strict=False)):
            means, members = k_means(features[start:stop], k, seed)
            self.training_means[class_id * k : (class_id + 1) * k] = means
            self.training_members[start:stop] = class_id * k + members
        self.training_losses.fill_(1.0)

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw a neighbourhood (sec. 3.2): a seed cluster in proportion to its loss, its M-1 nearest of other classes, D images each."""
        config = self.config
        if self.training_step % config.refresh_every == 0:
            self.refresh_clusters(dataset, seed=int(torch.randint(2**31, (), generator=generator)))
        self.training_step += 1
        clusters = self._neighbourhood(generator)
        members = [(self.training_members == cluster).nonzero().flatten().cpu() for cluster in clusters]
        picked = torch.cat([ids[torch.randint(len(ids), (config.train_images,), generator=generator)] for ids in members])
        names = tuple(f"{dataset.class_names[c // config.n_clusters]}, cluster {c % config.n_clusters}" for c in clusters)
        images, labels = to_float(dataset.images[picked]), torch.arange(len(clusters)).repeat_interleave(config.train_images)
        nothing = LabelledImages(images[:0], labels[:0], names)
        return [Episode(LabelledImages(images, labels, names), nothing, tuple(clusters))]

    def _neighbourhood(self, generator: torch.Generator) -> list[int]:
        has_members = self.training_members.bincount(minlength=len(self.training_losses)) > 0
        chances = (self.training_losses + 1e-8) * has_members  # more than none, in case no cluster has a loss any more
        seed = int(torch.multinomial(chances.cpu(), 1, generator=generator))
        classes = torch.arange(len(self.training_losses), device=self.device) // self.config.n_clusters
        distances = (self.training_means - self.training_means[seed]).norm(dim=1)
        distances[classes == classes[seed]] = torch.inf  # impostors only; a cluster without members is infinitely far already
        n_impostors = min(self.config.train_clusters - 1, int(distances.isfinite().sum()))
        return [seed, *distances.topk(n_impostors, largest=False).indices.tolist()]

    def loss(self, batch: Episode) -> Tensor:
        """Return the mean Magnet loss of the neighbourhood, and note the loss of each of its clusters."""
        self.network.train()
        images, clusters = batch.support.images.to(self.device), torch.tensor(batch.class_ids, device=self.device)
        features = self.embed(images).unflatten(0, (batch.n_way, -1))
        losses, variance = magnet_losses(features, clusters // self.config.n_clusters, self.config.alpha)
        self.training_losses[clusters] = losses.detach().mean(1)
        self.variance.mul_(0.95).add_(0.05 * variance.detach())
        return losses.mean()


def magnet_losses(features: Tensor, classes: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the loss of every image, (M, D), and the variance, of features (M, D, d) of M clusters with classes (M,).

    Rippel et al. 2016, eq. 5: { -log( exp(-|r - mu|^2 / (2 s^2) - alpha) / (sum over mu_k of exp(-|r - mu_k|^2 / (2 s^2))) ) }+ with mu
    the mean of the image's own cluster, mu_k those of the clusters of other classes, and s^2 the sum of the images' squared distances to
    the mean of their own cluster, divided by the number of images less one.
    """
    if len(classes.unique()) < 2:
        raise ValueError("the clusters of a neighbourhood must be of two classes at least; train on more classes")
    means, m = features.mean(1), len(features)
    distances = squared_distances(features.flatten(0, 1).unsqueeze(0), means.unsqueeze(0)).view(m, -1, m)
    own = distances[torch.arange(m), :, torch.arange(m)]  # (M, D)
    variance = (own.sum() / (own.numel() - 1)).clamp(min=LEAST_VARIANCE)
    closeness = -distances / (2 * variance)
    of_own_class = (classes.unsqueeze(1) == classes).unsqueeze(1)  # (M, 1, M)
    others = closeness.masked_fill(of_own_class, -torch.inf).logsumexp(-1)
    return F.relu(own / (2 * variance) + alpha + others), variance
