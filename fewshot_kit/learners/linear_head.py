"""A linear head that is fine-tuned on the features of a frozen network: the plain way to learn with a learning rate and epochs."""

from torch import Tensor, nn

from fewshot_kit.learners.configs import LinearHeadConfig
from fewshot_kit.learners.embedding import OnPlacing
from fewshot_kit.learners.fine_tune import SGD, Parameters, fine_tune, stack, stacked_gradient, stacked_loss
from fewshot_kit.learners.heads import linear_scores, rows_of, zero_head
from fewshot_kit.learners.nearest_mean import NearestMean
from fewshot_kit.learners.settings import Setting, epochs, learning_rate

FEATURES = nn.Identity()  # in the inner loop, the network: features are computed once, and the head alone is fine-tuned


def fine_tuned_rows(
    features: Tensor, labels: Tensor, theta: Parameters, inner_lr: float, inner_steps: int, on_step: OnPlacing | None = None
) -> Tensor:
    """Fine-tune a head from `theta` for each task, full batch, and return its rows with their bias, (tasks, n_way, 1, d + 1).

    Features (tasks, n, d) are as the head takes them; labels (n,) are the same in every task.
    """
    labels = labels.expand(features.shape[:2])

    def report(step: int, loss: Tensor, head: Parameters) -> None:
        if on_step is not None:
            on_step(step, loss.mean(), rows_of(head))

    batches, rule = [(features, labels)] * inner_steps, SGD(inner_lr, {})
    phi = fine_tune(stacked_gradient(FEATURES, {}), stack(theta, len(features)), batches, rule, report)
    report(inner_steps, stacked_loss(FEATURES, phi, {}, features, labels), phi)
    return rows_of(phi)


class LinearHead(NearestMean):
    """Gradient steps on a linear head from zero, full batch, on features of length 1 (as "Baseline" of Chen et al. 2019, sec. 3.2).

    Pre-trained as `NearestMean` is. Deviations from the paper: features are centred at the mean of the training classes and scaled to
    length 1 first; plain steps on the whole support, not batches of 4 with momentum.
    """

    config: LinearHeadConfig

    def place(self, features: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Fine-tune a head for each task and return its rows with their bias, (tasks, n_way, 1, d + 1)."""
        theta = zero_head(n_way, features.shape[-1], features)
        return fine_tuned_rows(self.centred(features), labels, theta, self.config.inner_lr, self.config.inner_steps, on_step)

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return what `place` does."""
        return self.place(features, labels, n_way)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the logits of the heads."""
        return linear_scores(self.centred(features), centres)

    def settings(self) -> tuple[Setting, ...]:
        config, of = self.config, self.source_of
        rate = learning_rate(config.inner_lr, of("inner_lr"), low=0.01, high=100.0)
        steps = epochs(config.inner_steps, of("inner_steps"), 200)
        return rate, steps, *self.looks()

    def describe(self) -> str:
        return (
            f"The network stays as it is: features are centred and scaled to length 1, and a linear head starts at zero and takes "
            f"{self.config.inner_steps} full-batch steps (epochs) of sgd at learning rate {self.config.inner_lr:g} on them."
        )
