"""Where an episode's images and centres lie among the embeddings, in two dimensions and in all of them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.images import to_float
from fewshot_kit.demo.projection import Plane, project
from fewshot_kit.learners.embedding import EmbeddingPredictor

MOST_IMAGES = 500  # in a picture: more cannot be told apart, and t-SNE of so many takes about a second

Window = tuple[tuple[float, float], tuple[float, float]]  # from where to where of x, and of y


@dataclass(frozen=True)
class Pool:
    """Images of the classes of an episode: its support, its queries, and others that show where the classes lie."""

    images: Tensor  # (n, c, h, w), float, class by class
    labels: np.ndarray  # (n,), episode-local
    roles: np.ndarray  # (n,), "support", "query" or "other"
    class_names: tuple[str, ...]


def episode_pool(
    dataset: ClassImages,
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    seed: int,
    class_ids: tuple[int, ...] | None = None,
    most: int = MOST_IMAGES,
) -> Pool:
    """Return the images of the episode that this seed samples, and more of its classes, about `most` in all.

    With another number of shots the images stay, and their roles change.
    """
    n_each = max(min(min(dataset.counts), most // n_way), n_shot + n_query)
    drawn = EpisodeSampler(dataset, n_way, n_shot, n_each - n_shot).draw(torch.Generator().manual_seed(seed), class_ids)
    picked = torch.cat([drawn.support, drawn.query], dim=1)  # the generator orders a class, and the episode takes the first of it
    roles = np.array(["support"] * n_shot + ["query"] * n_query + ["other"] * (n_each - n_shot - n_query))
    names = tuple(dataset.class_names[class_id] for class_id in drawn.class_ids)
    return Pool(to_float(dataset.images[picked.flatten()]), np.arange(n_way).repeat(n_each), np.tile(roles, n_way), names)


@dataclass(frozen=True)
class EmbeddingMap:
    """Where the images of a pool and the centres of a predictor lie in two dimensions, and how far apart they are in all of them."""

    pool: Pool
    method: str
    features: np.ndarray  # (n, d)
    places: np.ndarray  # (n, 2)
    centres: np.ndarray  # (n_way, k, 2)
    centre_features: np.ndarray  # (n_way, k, d)
    distances: np.ndarray  # (n, n_way, k)
    probabilities: np.ndarray  # (n, n_way)
    window: Window  # what a picture shows
    plane: Plane | None  # of PCA

    @property
    def queries(self) -> np.ndarray:
        """Return the places of the queries in the pool, in the order of the episode."""
        return np.flatnonzero(self.pool.roles == "query")

    def accuracy(self) -> float:
        """Return the share of the queries that are right."""
        return float((self.probabilities.argmax(1) == self.pool.labels)[self.queries].mean())

    def neighbours_alike(self) -> float:
        """Return the share of the images whose nearest other image, among all features, is of their own class."""
        distances = np.linalg.norm(self.features[:, None] - self.features, axis=-1)
        np.fill_diagonal(distances, np.inf)
        return float((self.pool.labels[distances.argmin(1)] == self.pool.labels).mean())

    def arrays(self, asked: int | None = None) -> dict:
        """Return what `plots.embedding_figure` draws; `asked` chooses a query, counted from 0."""
        pool, share = self.pool, f" ({100 * self.plane.share:.0f} % of the variance)" if self.plane else ""
        arrays = {"images": pool.images.cpu().numpy(), "labels": pool.labels, "roles": pool.roles, "class_names": pool.class_names}
        arrays |= {"places": self.places, "centres": self.centres, "window": self.window}
        arrays["note"] = {"pca": "PCA", "tsne": "t-SNE"}[self.method] + share
        if asked is not None:
            index = self.queries[asked]
            arrays |= {"asked": index, "distances": self.distances[index], "probabilities": self.probabilities[index]}
        return arrays


def map_embedding(
    predictor: EmbeddingPredictor,
    pool: Pool,
    method: str = "pca",
    seed: int = 0,
    before: EmbeddingMap | None = None,
    turned_to: np.ndarray | None = None,
) -> EmbeddingMap:
    """Place a pool's images and a predictor's centres.

    `before`, an earlier map of the same network, keeps the picture steady where the images are the same: PCA keeps its plane, and t-SNE,
    which places images and centres together, goes on from there. `turned_to`, places (n, 2) that another network gave these images: PCA
    is turned to look like them.
    """
    same = before is not None and before.method == method and torch.equal(before.pool.images, pool.images)
    device = predictor.centres.device
    features = before.features if same else predictor.embed(pool.images).cpu().numpy()
    centres = predictor.centres.detach().cpu().numpy().astype(np.float64)  # (n_way, k, d)
    plane, window = None, before.window if same else None
    if method == "pca":
        plane = before.plane if same else Plane.through(features)
        plane = plane if turned_to is None else plane.turned(features, turned_to)
        places, centre_places = plane(features), plane(centres)
    else:
        places, centre_places = _place_together(features, centres, method, seed, before if same else None)
    with torch.no_grad():
        logits = predictor.scores(torch.as_tensor(features, device=device).unsqueeze(0), predictor.centres.unsqueeze(0)).squeeze(0)
    distances = np.linalg.norm(features[:, None, None] - centres, axis=-1)
    window = _window(np.concatenate([places, centre_places.reshape(-1, 2)]), window)
    probabilities = logits.softmax(1).cpu().numpy()
    return EmbeddingMap(pool, method, features, places, centre_places, centres, distances, probabilities, window, plane)


def _place_together(
    features: np.ndarray, centres: np.ndarray, method: str, seed: int, before: EmbeddingMap | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of features (n, 2) and centres (n_way, k, 2), from those before if it had as many centres."""
    if before is not None and np.array_equal(before.centre_features, centres):
        return before.places, before.centres
    start = None
    if before is not None and before.centre_features.shape == centres.shape:
        start = np.concatenate([before.places, before.centres.reshape(-1, 2)])
    placed = project(np.concatenate([features, centres.reshape(-1, centres.shape[-1])]), method, seed, start)
    return placed[: len(features)], placed[len(features) :].reshape(*centres.shape[:2], 2)


def _window(places: np.ndarray, least: Window | None) -> Window:
    """Return what holds all places, and `least`: a window that was chosen once grows where it must, and else stays."""
    low, high = places.min(0), places.max(0)
    if least is not None:
        low, high = np.minimum(low, [least[0][0], least[1][0]]), np.maximum(high, [least[0][1], least[1][1]])
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))
