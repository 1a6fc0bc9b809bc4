"""Linear heads: from the features of a network to logits. A head belongs to the learner that needs one, and to no network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = "head."  # what the names of a head's parameters begin with


def zero_head(n_way: int, n_features: int, like: Tensor) -> dict[str, Tensor]:
    """Return a head of `n_way` rows that gives every class the same logit; on the device of `like`.

    Under random label orders the rows of a meta-learned head are equal in expectation, and equal rows change no softmax.
    """
    return {f"{HEAD}weight": like.new_zeros(n_way, n_features), f"{HEAD}bias": like.new_zeros(n_way)}


def first_rows(head: nn.Linear, n_way: int) -> dict[str, Tensor]:
    """Return the first `n_way` rows of a learned head."""
    return {f"{HEAD}weight": head.weight[:n_way], f"{HEAD}bias": head.bias[:n_way]}


def apply_head(parameters: dict[str, Tensor], features: Tensor) -> Tensor:
    """Return logits (n, n_way) of features (n, n_features)."""
    return F.linear(features, parameters[f"{HEAD}weight"], parameters[f"{HEAD}bias"])


def rows_of(parameters: dict[str, Tensor]) -> Tensor:
    """Return the rows of stacked heads with their bias last, (tasks, n_way, 1, n_features + 1)."""
    return torch.cat([parameters[f"{HEAD}weight"], parameters[f"{HEAD}bias"].unsqueeze(-1)], dim=-1).unsqueeze(2)


def linear_scores(features: Tensor, rows: Tensor) -> Tensor:
    """Return logits (tasks, n, n_way) of features (tasks, n, n_features) by rows (tasks, n_way, 1, n_features + 1)."""
    weight, bias = rows[:, :, 0, :-1], rows[:, :, 0, -1]
    return features @ weight.mT + bias.unsqueeze(1)


def without_head(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of the network below the head."""
    return {name: value for name, value in parameters.items() if not name.startswith(HEAD)}
