"""What is particular to a comparison: who takes part, the sliders that reach several learners, paired differences."""

import html
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Cancelled, Check
from fewshot_kit.demo.compare_session import CompareSession
from fewshot_kit.demo.comparison import PairedResults, SharedSetting
from fewshot_kit.demo.request import Request
from fewshot_kit.demo.roster import reasons
from fewshot_kit.widgets.controls import TEXT, Picture, counted, numbered, setting_slider, text
from fewshot_kit.widgets.evaluation import EPISODES, EvaluationControls

WIDE = "180px"  # of the labels: the longest of those that learners have is whole
BEST = "the best of them"
ONE_AT_LEAST = "One learner at least takes part."


class Participants(widgets.VBox):
    """A box to tick for every learner that the pictures are for; `on_change(left aside)` tells of a hand on one."""

    def __init__(self, on_change: Callable[[tuple[str, ...]], None]):
        self._on_change, self._showing, self._lock = on_change, False, threading.RLock()  # the lock is held while boxes are set
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.list = widgets.VBox(layout=widgets.Layout(width="100%"))
        self.note = text(min_height="46px")
        heading = widgets.HTML(f'<span style="color:{TEXT}"><b>Who takes part</b></span>')
        super().__init__([heading, self.list, self.note], layout=widgets.Layout(width="100%"))

    def show(self, names: Sequence[str], left_aside: Sequence[str]) -> None:
        """Show who could take part and who does, without telling of it."""
        with self._lock:
            self._showing = True
            try:
                self._show(names, left_aside)
            finally:
                self._showing = False

    def _show(self, names: Sequence[str], left_aside: Sequence[str]) -> None:
        if list(names) != list(self.boxes):
            layout = {"width": "100%", "height": "26px", "margin": "0"}
            self.boxes = {name: widgets.Checkbox(description=name, indent=False, layout=layout) for name in names}
            for box in self.boxes.values():
                box.observe(self._changed, "value")
            self.list.children = tuple(self.boxes.values())
        for name, box in self.boxes.items():
            box.value = name not in left_aside

    def _changed(self, change: dict) -> None:
        with self._lock:  # a click that comes while the worker sets boxes is one all the same
            is_ours = self._showing
        if is_ours:
            return
        if not any(box.value for box in self.boxes.values()):
            self._say(ONE_AT_LEAST)
            change["owner"].value = True  # which tells of itself
            return
        self._on_change(tuple(name for name, box in self.boxes.items() if not box.value))

    def show_left_out(self, left_out: Mapping[str, str]) -> None:
        """Say who is left out of what is on show, and why."""
        self._say(f"Left out: {reasons(left_out)}." if left_out else "")

    def _say(self, message: str) -> None:
        self.note.value = f'<span role="status" style="color:{TEXT}">{html.escape(message)}</span>'


class SharedSliders(widgets.VBox):
    """A slider a setting. Until one is turned, each learner has its own best value; `on_turn(name, value)` tells of a hand on one."""

    def __init__(self, on_turn: Callable[[str, float], None], on_reset: Callable[[], None]):
        self._on_turn = on_turn
        self.sliders: dict[str, widgets.Widget] = {}
        self._ranges: list[tuple[str, float, float]] = []  # of the sliders
        self.rows = widgets.VBox(layout=widgets.Layout(width="100%"))
        self.reset_button = widgets.Button(description="Each its own best again", icon="undo", layout=widgets.Layout(width="210px"))
        self.reset_button.on_click(lambda _: on_reset())
        self.note = text(min_height="66px")
        super().__init__([self.rows, self.note], layout=widgets.Layout(width="100%"))

    def show(self, request: Request, shared: Mapping[str, SharedSetting]) -> None:
        """Show the values of a request; sliders that nobody who takes part has are disabled."""
        ranges = [(name, known.setting.low, known.setting.high) for name, known in shared.items()]
        if ranges != self._ranges:
            self._make(request, shared)
            self._ranges = ranges
        for setting in request.settings:
            self.sliders[setting.name].value = setting.value
        by_hand, words = request.by_hand(), []
        for name, known in shared.items():
            values = {learner: value for learner, value in known.values.items() if learner not in request.left_aside}
            self.sliders[name].disabled = not values
            words.append(f"{known.setting.label}: {_who(values, by_hand.get(name))}")
        self.reset_button.disabled = not by_hand
        said = "; ".join(words) or "None of these learners has anything to turn"
        self.note.value = f'<span style="color:{TEXT}">{html.escape(said)}.</span>'

    def _make(self, request: Request, shared: Mapping[str, SharedSetting]) -> None:
        values = request.values()
        self.sliders = {name: setting_slider(replace(known.setting, value=values[name])) for name, known in shared.items()}
        for slider in self.sliders.values():
            slider.style.description_width = WIDE
        self.rows.children = tuple(numbered(slider) for slider in self.sliders.values())
        for name, slider in self.sliders.items():  # after the number boxes: `on_turn` may set the slider again
            slider.observe(lambda change, name=name: self._on_turn(name, change["new"]), "value")


def _who(values: Mapping[str, float], by_hand: float | None) -> str:
    """Say which values those who have a setting get."""
    if not values:
        return "nobody who takes part has it"
    if by_hand is not None:
        return f"{by_hand:.3g} for {'all ' if len(values) > 1 else ''}{len(values)} who {'have' if len(values) > 1 else 'has'} it"
    low, high = min(values.values()), max(values.values())
    return f"each its own best, {low:.3g}" + (f" to {high:.3g}" if low != high else "")


class PairedEvaluation(EvaluationControls):
    """Measure all who take part on the same episodes; the picture of their differences is laid out by whoever makes this."""

    def __init__(self, on_evaluate: Callable[[], None]):
        super().__init__(on_evaluate)
        self._drawing = threading.Lock()  # the worker and the page draw the differences
        self.reference = widgets.Dropdown(options=[BEST], description="compared with", style={"description_width": WIDE})
        self.reference.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
        self.reference.observe(lambda change: self._draw(), "value")
        self.picture = Picture(flex="0 0 auto", min_width="640px")
        self.picture.add_class("fewshot-paired-image")
        heading = widgets.HTML(f'<span style="color:{TEXT}"><b>Paired differences</b>: how much better one is on the same episodes</span>')
        self.frame = widgets.VBox([heading, self.picture], layout=widgets.Layout(width="100%", overflow="auto", display="none"))
        self.results: PairedResults | None = None  # of those that are measured
        self.children = [self.children[0], widgets.HBox([self.reference], layout=widgets.Layout(width="100%")), self.result]

    def show_names(self, names: Sequence[str]) -> None:
        """Offer these learners to compare with; the one chosen stays where it is among them."""
        if list(self.reference.options) != [BEST, *names]:
            before = self.reference.value
            self.reference.options = [BEST, *names]
            self.reference.value = before if before in names else BEST

    def reset(self, n_query: int) -> None:
        super().reset(n_query)
        self._hide()

    def compare(self, session: CompareSession, request: Request, where: str, check: Check) -> None:
        """Evaluate everybody; what is measured so far is shown whenever another is done, and stays after a stop."""
        names = [name for name in session.dataset.by_learner if name not in request.left_aside]
        self._hide()
        self.progress.max, self.progress.value = EPISODES * len(names), 0

        def show(name: str, done: int, so_far: PairedResults) -> None:
            check()
            self.progress.value = EPISODES * names.index(name) + done
            if not done and so_far.evaluations:
                self._show(so_far)
            self._say(f"measuring {html.escape(name)}, {names.index(name) + 1} of {len(names)}: {done} of {EPISODES} episodes")

        try:
            results = session.evaluate(EPISODES, request.by_hand(), left_aside=request.left_aside, on_progress=show)
            check()
        except Cancelled:
            n_measured = len(self.results.evaluations) if self.results else 0
            self._say(f"Stopped: {n_measured} of {len(names)} learners were measured.")
            raise
        except Exception:  # told in the panel
            self.reset(session.n_query)
            raise
        self.progress.value = self.progress.max
        self._show(results)
        left_out = {name: reason for name, reason in results.left_out.items() if name in names}
        said = f"{counted(len(results.evaluations), 'learners')} on the same {EPISODES} episodes ({where}, inductive, seed {session.seed})"
        self._say(f"{said}. Chance: {100 / session.n_way:.1f} %.{f' Left out: {html.escape(reasons(left_out))}.' if left_out else ''}")

    def _show(self, results: PairedResults) -> None:
        self.results = results
        self._draw()

    def _hide(self) -> None:
        with self._drawing:
            self.results, self.frame.layout.display = None, "none"

    def _draw(self) -> None:
        with self._drawing:
            results = self.results
            if results is None or not results.evaluations:
                return
            reference = self.reference.value if self.reference.value in results.evaluations else results.best
            self.picture.show_figure(plots.paired_figure(results.rows(reference), reference, EPISODES))
            self.frame.layout.display = ""
