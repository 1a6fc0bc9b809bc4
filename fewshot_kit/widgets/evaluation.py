"""Measure what a panel shows on fresh episodes: a button, its progress, and the result in words."""

from collections.abc import Callable

import ipywidgets as widgets

from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.results import Interval
from fewshot_kit.widgets.controls import TEXT, text

EPISODES = 200
NO_QUERIES = "No queries to answer: try a picture of your own below. To evaluate, set “queries a class” to 1 or more."


class EvaluationControls(widgets.VBox):
    """Where there are no queries the button is disabled, and the reason stands below it."""

    def __init__(self, on_evaluate: Callable[[], None]):
        self.button = widgets.Button(description=f"Evaluate on {EPISODES} episodes", layout=widgets.Layout(width="230px", flex="0 0 auto"))
        self.button.on_click(lambda _: on_evaluate())
        self.progress = widgets.IntProgress(max=EPISODES, layout=widgets.Layout(flex="1 1 60px", width="auto", min_width="40px"))
        self.result = text()
        self.result.add_class("fewshot-result")
        row = widgets.HBox([self.button, self.progress], layout=widgets.Layout(width="100%"))
        super().__init__([row, self.result], layout=widgets.Layout(width="100%"))

    def reset(self, n_query: int) -> None:
        """Forget the last result: it was of something else. Without queries there will be none."""
        self.progress.value = 0
        self.button.disabled, self.button.tooltip = not n_query, "" if n_query else NO_QUERIES
        self._say("" if n_query else NO_QUERIES)

    def measure(self, session: DemoSession, values: dict[str, float], where: str, check: Callable[[], None]) -> None:
        """Evaluate the session's learner by these settings beside the nearest pixels; `where` says in words what is measured."""
        self.progress.value = 0

        def show(done: int, accuracy: Interval) -> None:
            check()
            self.progress.value = done
            self._say(f"{accuracy.percent()} after {done} episodes")

        try:
            result = session.evaluate(EPISODES, values, on_progress=show)
        except Cancelled:
            raise
        except Exception:  # told in the panel; what was counted meanwhile means nothing
            self.reset(session.n_query)
            raise
        protocol = f"({result.n_episodes} episodes, {where}, inductive, seed {result.seed})"
        if result.primary == "map50":
            strict, lenient = (result.metrics[name].percent() for name in ("map50", "map50_lenient"))
            self._say(
                f"mAP50 <b>{strict}</b> with every class looked for in all queries, {lenient} in those that show it alone {protocol}."
            )
            return
        baseline = session.evaluate_baseline(EPISODES, on_progress=lambda done, accuracy: check())
        check()
        self._say(
            f"<b>{result.accuracy.percent()}</b>, cross entropy {result.loss} {protocol}. "
            f"Nearest pixels: {baseline.accuracy.percent()}. Chance: {100 / result.n_way:.1f} %."
        )

    def _say(self, message: str) -> None:
        self.result.value = f'<span role="status" style="color:{TEXT}">{message}</span>'
