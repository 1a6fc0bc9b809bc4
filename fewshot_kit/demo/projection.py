"""Two dimensions for a picture of an embedding, by PCA or t-SNE."""

import importlib
import threading
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

METHODS = ("pca", "tsne")
TSNE_COMPONENTS = 30  # of PCA first, as van der Maaten and Hinton 2008 (sec. 4.2): less work, and less noise
TSNE_STEPS = 500
WARM_STEPS = 250  # the least that scikit-learn takes
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Plane:
    """The plane through a cloud of points in which it varies most: PCA to two dimensions."""

    mean: np.ndarray  # (d,)
    axes: np.ndarray  # (2, d), of length 1; zeros where the cloud has fewer dimensions
    share: float  # of the variance, in the plane

    @classmethod
    def through(cls, features: np.ndarray) -> Self:
        features = _checked(features)
        mean, axes, variances = _principal_axes(features, 2)
        total = float(((features - mean) ** 2).sum())
        return cls(mean, axes, float(variances.sum()) / total if total > 0 else 1.0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the places (..., 2) of points (..., d): any points, not only those it was laid through."""
        return (_checked(points) - self.mean) @ self.axes.T

    def turned(self, features: np.ndarray, reference: np.ndarray) -> Self:
        """Return the same plane, turned or mirrored so that features (n, d) lie closest to the reference (n, 2)."""
        return replace(self, axes=_turn(self(features), reference).T @ self.axes)


def project(features: np.ndarray, method: str = "pca", seed: int = 0, start: np.ndarray | None = None) -> np.ndarray:
    """Return places (n, 2) for features (n, d).

    t-SNE is seeded; from `start`, the places of an earlier run, it goes on without beginning anew, so that little moves which need not.
    """
    features = _checked(features)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if method == "pca" or len(features) < 4:  # among so few, all are neighbours
        return Plane.through(features)(features)
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    with threadpool_limits(1):  # its threads wait for one another at every step: two take several times the seconds of one
        places = _tsne(features, seed, start)
    return places if start is None else laid_on(places, start)


def get_tsne_ready() -> threading.Thread:
    """Import what t-SNE needs in a thread of its own: it takes a second or two, in which a person looks at the first picture."""
    thread = threading.Thread(target=importlib.import_module, args=("sklearn.manifold",), daemon=True)
    thread.start()
    return thread


def _tsne(features: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    from sklearn.manifold import TSNE  # not above: see get_tsne_ready

    n = len(features)
    mean, axes, _ = _principal_axes(features, min(TSNE_COMPONENTS, n, features.shape[1]))
    reduced = (features - mean) @ axes.T
    reduced /= max(reduced.std(), 1e-12)  # distances of any size: the search for each point's width is not for tiny ones
    settings = {"early_exaggeration": 1.0, "max_iter": WARM_STEPS}
    if start is None:
        settings = {"max_iter": TSNE_STEPS}
        start = 1e-4 * Plane.through(reduced)(reduced) + 1e-6 * np.random.default_rng(seed).normal(size=(n, 2))  # no two at one place
    perplexity = min(PERPLEXITY, max(1.5, (n - 1) / 3))
    return TSNE(init=start.astype(np.float32), perplexity=perplexity, random_state=seed, **settings).fit_transform(reduced)


def _principal_axes(features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean (d,), the k axes (k, d) along which features vary most, and the sum of squares along each."""
    mean = features.mean(0)
    _, lengths, directions = np.linalg.svd(features - mean, full_matrices=False)
    axes, sums = np.zeros((k, features.shape[1])), np.zeros(k)
    found = min(k, int((lengths > 1e-10 * max(lengths[0], 1e-300)).sum()))
    axes[:found], sums[:found] = directions[:found], lengths[:found] ** 2
    largest = np.abs(axes).argmax(1)
    signs = np.where(axes[np.arange(k), largest] < 0, -1, 1)  # else a matter of chance: the picture could come out mirrored
    return mean, axes * signs[:, None], sums


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.size == 0:
        raise ValueError(f"there is nothing to project: features are {features.shape}, but must be (n, d) with at least one of each")
    if not np.isfinite(features).all():
        raise ValueError(f"{(~np.isfinite(features)).sum()} of the features are not finite numbers; look for a training that diverged")
    return features


def laid_on(places: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return places (n, 2) shifted, turned or mirrored to lie closest to the reference (n, 2); distances stay (orthogonal Procrustes)."""
    return (places - places.mean(0)) @ _turn(places, reference) + reference.mean(0)


def _turn(places: np.ndarray, reference: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd((places - places.mean(0)).T @ (reference - reference.mean(0)))
    return left @ right
