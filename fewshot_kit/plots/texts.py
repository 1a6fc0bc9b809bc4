"""What pictures show, in one plain sentence each: for those who do not see them. Not escaped: HTML must do that."""

from collections.abc import Mapping, Sequence

import numpy as np

from fewshot_kit.plots.basics import TAGS
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to, tally, verdict


def support_text(labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Say which classes a support has, and how many pictures of each."""
    counts = np.bincount(np.asarray(labels), minlength=len(class_names))
    each = _count(counts[0], "picture") + " each" if len(set(counts.tolist())) == 1 else f"{counts.min()} to {counts.max()} pictures each"
    names = ", ".join(f"{tag} {' '.join(name.split())}" for tag, name in zip(TAGS, class_names, strict=False))
    return f"The support: {_count(len(class_names), 'class')} with {each}: {names}"


def loss_text(losses: Sequence[float]) -> str:
    """Say how the loss on the support moved."""
    first, last, n_epochs = float(losses[0]), float(losses[-1]), len(losses) - 1
    if n_epochs == 0:
        return f"The loss on the support is {_number(first)} before learning"
    way = "fell" if last < first else "stayed" if last == first else "rose"
    return f"The loss on the support {way} from {_number(first)} to {_number(last)} in {_count(n_epochs, 'epoch')}"


def learning_text(losses: Sequence[float], probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Say what a frame of a `LearningPicture` shows."""
    queries = f"{tally(probabilities, labels)} among the queries" if len(labels) else "there are no queries"
    return f"{loss_text(losses)}; {queries}"


def answer_text(probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    """Say what a model takes a person's own picture for."""
    answer = answer_to(probabilities)
    if answer == UNDECIDED:
        return f"Your picture: the model is undecided between {_count(len(class_names), 'class')}"
    return f"Your picture: the model takes it for {_class(answer, class_names)}, {100 * probabilities[answer]:.0f} %"


def embedding_text(
    labels: np.ndarray,
    roles: np.ndarray,
    class_names: Sequence[str],
    asked: int | None = None,
    probabilities: np.ndarray | None = None,
    wrong: np.ndarray | None = None,
    **_arrays,
) -> str:
    """Say what `embedding_figure` shows of the same arrays."""
    roles = np.asarray(roles)
    counts = [f"{int((roles == role).sum())} {name}" for role, name in (("support", "of the support"), ("query", "to be told apart"))]
    text = f"A map of {_count(len(labels), 'picture')} of {_count(len(class_names), 'class')}: {', '.join(counts)}"
    if wrong is not None:
        text += f", {_count(int(np.sum(wrong)), 'answer')} wrong"
    if asked is not None:
        text += f"; the query asked about: {verdict(answer_to(probabilities), int(labels[asked]))[0][2:]}"
    return text


def curves_text(runs: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> str:
    """Say how far each run (name, curves) of `curves_figure` has come."""
    if not runs:
        return "Loss and validation accuracy: no run yet"
    return f"Loss and validation accuracy of {_count(len(runs), 'run')}: {'; '.join(f'{name}, {_best(curves)}' for name, curves in runs)}"


def _best(curves: Mapping[str, np.ndarray]) -> str:
    if not np.isfinite(curves["val_accuracy"]).any():
        return "no validation yet"
    best = int(np.nanargmax(curves["val_accuracy"]))
    return f"best {100 * curves['val_accuracy'][best]:.1f} % at step {curves['step'][best]:.0f}"


def _class(label: int, class_names: Sequence[str]) -> str:
    return f"{TAGS[label]} {' '.join(class_names[label].split())}"


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}{'es' if thing.endswith('s') else 's'}"


def _number(value: float) -> str:
    """Write a loss with two digits that say something; tiny ones are all alike."""
    return "a value beyond all bounds" if not np.isfinite(value) else f"{value:.2g}" if value >= 1e-4 else "less than 0.0001"
