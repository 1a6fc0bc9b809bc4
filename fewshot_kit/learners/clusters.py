"""k-means on embeddings, class by class (scikit-learn), where one mean does not describe a class."""

import warnings

import torch
from torch import Tensor

from fewshot_kit.learners.embedding import class_means


def k_means(features: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `k` cluster means (k, d) of features (n, d), and the cluster of each, (n,).

    Where there are fewer than `k` different features, the last clusters have no member, and their means are infinitely far away.
    """
    from sklearn.cluster import KMeans  # takes a second to import, and only clusters need it
    from sklearn.exceptions import ConvergenceWarning

    if k == 1:
        return features.mean(0, keepdim=True), torch.zeros(len(features), dtype=torch.int64, device=features.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different features than clusters: handled below
        found = KMeans(min(k, len(features)), n_init=1, random_state=seed).fit(features.double().cpu().numpy())
    members = torch.from_numpy(found.labels_).long().to(features.device)
    _, members = members.unique(return_inverse=True)  # the clusters that have members come first
    means = features.new_full((k, features.shape[1]), torch.inf)
    for cluster in members.unique().tolist():
        means[cluster] = features[members == cluster].mean(0)
    return means, members


def support_clusters(features: Tensor, labels: Tensor, n_way: int, k: int) -> Tensor:
    """Return `k` cluster means a class, (tasks, n_way, k, d), of features (tasks, n, d) with labels (n,) in every task.

    Raises ValueError for a class with fewer than `k` images, or with fewer than `k` different ones.
    """
    fewest = int(labels.bincount(minlength=n_way).min())
    if fewest < k:
        raise ValueError(
            f"{k} clusters or representatives a class need as many pictures of it, but one has {fewest}; give more, or ask for fewer"
        )
    if k == 1:
        return class_means(features, labels, n_way).unsqueeze(2)
    of_classes = [[k_means(task[labels == label], k, seed=0)[0] for label in range(n_way)] for task in features]
    centres = torch.stack([torch.stack(task) for task in of_classes])
    if centres.isinf().any():
        raise ValueError(f"{k} clusters a class need as many different pictures, but some are the same; give others, or ask for fewer")
    return centres
