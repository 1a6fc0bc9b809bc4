"""What a model answers to queries: right, wrong, or undecided where its two likeliest classes tie."""

import numpy as np

from fewshot_kit.plots.basics import NEUTRAL, RIGHT, TAGS, WRONG

UNDECIDED = -1
TIE = 1e-6  # probabilities that differ by less are equal: which of them is the larger says nothing


def answers(probabilities: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row of probabilities (n, n_way), UNDECIDED where two tie or none is a number."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), int)
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return np.where(first - second >= TIE, probabilities.argmax(1), UNDECIDED)


def answer_to(probabilities: np.ndarray) -> int:
    """Return the likeliest class of (n_way,) probabilities, or UNDECIDED."""
    return int(answers(np.asarray(probabilities)[None])[0])


def verdict(answer: int, truth: int) -> tuple[str, str]:
    """Say in words what an answer is worth; return its colour too."""
    if answer == UNDECIDED:
        return f"– undecided, is {TAGS[truth]}", NEUTRAL
    return (f"✓ right: {TAGS[answer]}", RIGHT) if answer == truth else (f"✗ wrong: {TAGS[answer]}, is {TAGS[truth]}", WRONG)


def mark(answer: int, truth: int) -> tuple[str, str]:
    """Return the sign of an answer, and its colour."""
    text, color = verdict(answer, truth)
    return text[0], color


def tally(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Count the answers: "27 of 30 right", and those that are undecided by themselves."""
    found, n = answers(probabilities), len(labels)
    n_right, n_undecided = int((found == labels).sum()), int((found == UNDECIDED).sum())
    if n and n_undecided == n:
        return f"{n} of {n} undecided"
    return f"{n_right} of {n} right" + (f", {n_undecided} undecided" if n_undecided else "")


def bar_colors(probabilities: np.ndarray, truth: int, pale: str) -> list[str]:
    """Return a colour for each bar of (n_way,) probabilities: the answer's is that of its verdict, the others are pale."""
    answer = answer_to(probabilities)
    return [verdict(answer, truth)[1] if label == answer else pale for label in range(len(probabilities))]
