"""Arrays in, figures out. Figures are made without pyplot, so any thread may draw."""

from fewshot_kit.plots.accuracies import accuracy_figure, accuracy_over_steps_figure
from fewshot_kit.plots.answers import answer_figure, background_figure, before_after_figure, probabilities_figure
from fewshot_kit.plots.basics import INK, MAX_QUERIES_SHOWN, NEUTRAL, PALE, RIGHT, TAGS, WRONG, png, shorten, show, show_image
from fewshot_kit.plots.boxes import box_map_figure, found_figure, marked_figure, precision_recall_figure
from fewshot_kit.plots.comparing import agreement_figure, answers_figure, disputed_figure, paired_figure
from fewshot_kit.plots.embedding import embedding_figure, moments_figure
from fewshot_kit.plots.leaderboard import ahead_figure, cost_figure
from fewshot_kit.plots.learning import LearningPicture
from fewshot_kit.plots.losses import loss_figure
from fewshot_kit.plots.optimisers import first_steps_figure, gates_figure, rules_figure
from fewshot_kit.plots.runs import comparison_figure, curves_figure
from fewshot_kit.plots.steps import layer_change_figure, rates_figure, steps_figure
from fewshot_kit.plots.support import support_figure, thumbnail
from fewshot_kit.plots.texts import answer_text, curves_text, embedding_text, learning_text, loss_text, support_text
from fewshot_kit.plots.transfer import HardClass, hard_classes_figure, scale_shift_figure

__all__ = [
    "INK", "MAX_QUERIES_SHOWN", "NEUTRAL", "PALE", "RIGHT", "TAGS", "WRONG", "HardClass", "LearningPicture", "accuracy_figure",
    "accuracy_over_steps_figure", "agreement_figure", "ahead_figure", "answer_figure", "answer_text", "answers_figure",
    "background_figure", "before_after_figure", "box_map_figure", "comparison_figure", "cost_figure", "curves_figure", "curves_text",
    "disputed_figure", "embedding_figure", "embedding_text", "first_steps_figure", "found_figure", "gates_figure",
    "hard_classes_figure", "layer_change_figure", "learning_text", "loss_figure", "loss_text", "marked_figure", "moments_figure",
    "paired_figure", "png", "precision_recall_figure", "probabilities_figure", "rates_figure", "rules_figure", "scale_shift_figure",
    "shorten", "show", "show_image", "steps_figure", "support_figure", "support_text", "thumbnail",
]  # fmt: skip
