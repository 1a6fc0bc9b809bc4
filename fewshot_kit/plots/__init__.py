"""Arrays in, figures out. Figures are made without pyplot, so any thread may draw."""

from fewshot_kit.plots.answers import background_figure, probabilities_figure
from fewshot_kit.plots.basics import INK, MAX_QUERIES_SHOWN, PALE, RIGHT, TAGS, WRONG, png, shorten, show, show_image
from fewshot_kit.plots.embedding import embedding_figure, moments_figure
from fewshot_kit.plots.learning import (
    LearningPicture,
    accuracy_figure,
    answer_figure,
    before_after_figure,
    loss_figure,
    support_figure,
    thumbnail,
)
from fewshot_kit.plots.runs import comparison_figure, curves_figure
from fewshot_kit.plots.steps import accuracy_over_steps_figure, layer_change_figure, rates_figure, steps_figure

__all__ = [
    "INK", "MAX_QUERIES_SHOWN", "PALE", "RIGHT", "TAGS", "WRONG", "LearningPicture", "accuracy_figure", "accuracy_over_steps_figure",
    "answer_figure", "background_figure", "before_after_figure", "comparison_figure", "curves_figure", "embedding_figure",
    "layer_change_figure", "loss_figure", "moments_figure", "png", "probabilities_figure", "rates_figure", "shorten", "show", "show_image",
    "steps_figure", "support_figure", "thumbnail",
]  # fmt: skip
