"""Logistic regression on the features of a network: the plain way to fine-tune a head (Tian et al. 2020, on features of length 1)."""

import warnings

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.learners.configs import LogisticConfig
from fewshot_kit.learners.heads import linear_scores
from fewshot_kit.learners.nearest_mean import NearestMean
from fewshot_kit.learners.settings import Setting

MOST_ITERATIONS = 1000


class Logistic(NearestMean):
    """Logistic regression (scikit-learn's, L2) on features of length 1, for each support anew (Tian et al. 2020, sec. 3.1).

    Pre-trained as `NearestMean` is. Deviation from the paper: features are centred at the mean of the training classes first.
    """

    config: LogisticConfig

    def describe(self) -> str:
        return (
            f"The network stays as it is: features are centred, scaled to length 1, and told apart by logistic regression "
            f"(inverse regularisation {self.config.inverse_regularisation:g})."
        )

    def settings(self) -> tuple[Setting, ...]:
        name = "inverse_regularisation"
        strength = Setting(name, "inverse regularisation", getattr(self.config, name), 0.01, 1000, scale="log", source=self.source_of(name))
        return strength, *self.looks()

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return the rows of a regression for each task with their bias, (tasks, n_way, 1, d + 1)."""
        tasks = self.centred(features).cpu().double().numpy()
        rows = [self._rows(task, labels.cpu().numpy()) for task in tasks]
        return torch.from_numpy(np.stack(rows)).to(features).unsqueeze(2)

    def _rows(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning  # takes two seconds to import, and nothing else needs it
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=self.config.inverse_regularisation, max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough
            regression.fit(features, labels)
        rows = np.concatenate([regression.coef_, regression.intercept_[:, None]], axis=1)
        return rows if len(rows) > 1 else np.concatenate([np.zeros_like(rows), rows])  # of two classes it has the second's alone

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the logits of the regressions."""
        return linear_scores(self.centred(features), centres)
