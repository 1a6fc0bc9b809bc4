"""Arrays in, figures out. Figures are made without pyplot, so any thread may draw."""

from fewshot_kit.plots.basics import INK, PALE, RIGHT, TAGS, WRONG, png, shorten, show, show_image
from fewshot_kit.plots.learning import (
    MAX_QUERIES_SHOWN,
    LearningPicture,
    accuracy_figure,
    answer_figure,
    before_after_figure,
    loss_figure,
    support_figure,
    thumbnail,
)

__all__ = [
    "INK", "MAX_QUERIES_SHOWN", "PALE", "RIGHT", "TAGS", "WRONG", "LearningPicture", "accuracy_figure", "answer_figure",
    "before_after_figure", "loss_figure", "png", "shorten", "show", "show_image", "support_figure", "thumbnail",
]  # fmt: skip
