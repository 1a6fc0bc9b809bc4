"""The panel for classes of one's own: give them pictures, see at once what is learned, and take the classifier along."""

import html
import math
from collections.abc import Callable
from dataclasses import replace

import ipywidgets as widgets
import numpy as np

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.data.images import ImageError
from fewshot_kit.demo.own_classes import GivenPicture, OwnClasses, holds_classes, read_classes, read_pictures, uploaded
from fewshot_kit.demo.own_task import PROPOSED, OwnTask
from fewshot_kit.demo.photographs import advice
from fewshot_kit.demo.saved_task import SavedTask, describe_estimate
from fewshot_kit.widgets.class_card import ClassCard
from fewshot_kit.widgets.controls import TEXT, StatusLine, is_app, styles, text
from fewshot_kit.widgets.learner_controls import LearnerControls
from fewshot_kit.widgets.many_answers import ManyAnswers
from fewshot_kit.widgets.own_picture import OwnPicture, why_unread
from fewshot_kit.widgets.pad import PAD_STYLE
from fewshot_kit.widgets.support_pad import SupportPad
from fewshot_kit.widgets.take_along import Learned, TakeAlong
from fewshot_kit.widgets.worker import Worker

STYLE = """<style>
.fewshot-class-card { border: 1px solid var(--jp-border-color2); border-radius: 4px; margin-bottom: 6px }
.fewshot-class-chosen { border-color: var(--jp-brand-color1); box-shadow: inset 3px 0 0 var(--jp-brand-color1) }
.fewshot-step > .widget-html-content { font-size: 115%; font-weight: bold }
</style>"""
FOLDED = ("Ask about many pictures", "3. How it learns", "4. Take it along")
FIRST = 3  # classes that are there to begin with


class OwnClassesPanel(widgets.VBox):
    """Name classes, draw, upload or photograph their pictures, and ask; it learns after every change.

    `classes` is what a person has given, `learned` what was learned last. The one worker learns the newest classes.
    """

    def __init__(self, checkpoint: str | None = None, *, on_disk: bool | None = None):
        """`checkpoint=None` takes what suits the pictures. Without `on_disk`, as in an app, nothing on the kernel's machine is touched."""
        super().__init__(layout=widgets.Layout(width="100%", max_width="1500px"))
        self.task = OwnTask(checkpoint or PROPOSED[False])
        self._by_hand = checkpoint is not None  # the checkpoint
        if on_disk is None:
            on_disk = not is_app()
        self.classes, self.chosen = OwnClasses(), 0
        for _ in range(FIRST):
            self.classes = self.classes.with_class()
        self.learned: Learned | None = None
        self.settings: dict[str, float] = {}  # turned by hand
        self.worker = Worker(self._on_error)
        self.status, self.notice, self.estimate = StatusLine(layout=widgets.Layout(min_height="48px", width="auto")), text(), text()
        self.status.add_class("fewshot-status")
        self.status.add_class("fewshot-text")
        self.cards = widgets.VBox(layout=widgets.Layout(width="100%"))
        self.add_class_button = widgets.Button(description="Add a class", icon="plus", layout=widgets.Layout(width="130px"))
        self.add_class_button.on_click(lambda _: self.change(lambda classes: classes.with_class()))
        self.pad = SupportPad(self.receive)
        self.own_picture = OwnPicture(self.ask, titles=("<b>Draw</b> a picture to ask about", "… or <b>upload</b> one"))
        self.own_picture.answer_text.layout.height = "44px"  # two lines
        self.own_picture.answer_text.add_class("fewshot-text")
        self.controls = LearnerControls(self.task.checkpoint.name, self.use, self.turn, self._on_unknown)
        self.many = ManyAnswers(self.ask_many)
        self.take_along = TakeAlong(self.to_save, self.go_on, on_disk=on_disk)
        self._lay_out()
        self._show()
        self._say_what_is_missing()

    def _lay_out(self) -> None:
        def step(title: str) -> widgets.HTML:
            heading = widgets.HTML(f'<span style="color:{TEXT}">{title}</span>', layout=widgets.Layout(margin="6px 2px 0"))
            heading.add_class("fewshot-step")
            return heading

        wrap = {"flex_flow": "row wrap", "grid_gap": "8px 24px", "width": "100%"}
        given = widgets.VBox([self.cards, self.add_class_button], layout=widgets.Layout(flex="1 1 330px", width="auto", min_width="0"))
        support = widgets.HBox([given, self.pad], layout=widgets.Layout(**wrap))
        left = widgets.VBox([step("1. Your classes, and pictures of them"), support], layout=widgets.Layout(flex="1 1 620px", width="auto"))
        asked = [step("2. Ask"), self.own_picture, step("How far to trust it"), self.estimate, self.notice]
        right = widgets.VBox(asked, layout=widgets.Layout(flex="1 1 440px", width="auto"))
        columns = widgets.HBox([left, right], layout=widgets.Layout(**wrap))
        columns.add_class("fewshot-columns")
        folded = widgets.Accordion([self.many, self.controls, self.take_along], titles=FOLDED)
        self.children = [styles(), widgets.HTML(STYLE + PAD_STYLE, layout=widgets.Layout(display="none")), self.status, columns, folded]

    # What a person does.

    def change(self, how: Callable[[OwnClasses], OwnClasses]) -> None:
        """Change the classes, `how(classes)`, and learn them; what cannot be is said, and nothing changes."""
        try:
            self.classes = how(self.classes)
        except ValueError as error:
            self.status.show_error(error)
            self._show()
            return
        self.chosen = min(self.chosen, max(0, len(self.classes) - 1))
        self._show()
        self.learn()

    def choose(self, number: int) -> None:
        """Let pictures go to this class from now on."""
        self.chosen = number
        self._show()

    def receive(self, name: str, content: bytes) -> None:
        """Take a picture for the chosen class, or a .zip of them; of classes, where it has sub-folders."""
        self.pad.upload.tell()
        if not len(self.classes):
            self.pad.upload.tell(error="add a class first, for the pictures to go to")
            return
        try:
            if content[:4] == b"PK\x03\x04":
                self._receive_archive(name, content)
                return
            self.classes = self.classes.with_picture(self.chosen, GivenPicture(name, content))
        except ImageError as error:
            self.pad.upload.tell(error=why_unread(error, name, content))
            return
        except ValueError as error:
            self.pad.upload.tell(error=str(error))
            return
        self._show()
        self.learn()

    def _receive_archive(self, name: str, content: bytes) -> None:
        with uploaded(name, content) as path:
            problems: list[str] = []
            if holds_classes(path):
                self.classes, problems = read_classes(path)
                self.chosen = 0
            else:
                for picture in read_pictures(path):
                    try:
                        self.classes = self.classes.with_picture(self.chosen, picture)
                    except ValueError as error:
                        problems.append(str(error))
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            self.pad.upload.tell(error=f"left out of {name}: " + "; ".join(problems[:3]) + more)
        self._show()
        self.learn()

    def use(self, checkpoint: str) -> None:
        """Learn by another checkpoint."""
        self.worker.submit(lambda check: self._used(checkpoint, check))

    def _used(self, checkpoint: str, check: Check) -> None:
        for line in (self.status, self.controls.status):
            line.say(f"taking {html.escape(checkpoint)} …")
        try:
            self.task.use(checkpoint)
        except (ValueError, OSError) as error:  # as one that cannot be downloaded: what there was goes on
            self.controls.show_checkpoint(self.task.checkpoint.name)
            self.status.show_error(error)
            self.controls.status.show_error(error)
            return
        self.controls.status.value = ""
        self.settings, self._by_hand = {}, True
        self._learn(check)

    def turn(self, name: str, value: float) -> None:
        """Set one of the settings by hand."""
        self.settings = {**self.settings, name: value}
        self.learn()

    def learn(self) -> None:
        """Learn the classes as they are now."""
        self.own_picture.mark_old()
        self.worker.submit(self._learn)

    def ask(self, picture: np.ndarray) -> None:
        """Answer a picture by what was learned."""
        if self.learned is None:
            raise ValueError(self.classes.missing() or "it is still learning; ask in a moment")
        learning = self.learned.learning
        seen = learning.seen([picture])
        answers = learning.answer(seen)
        figure = plots.answer_figure(
            learning.learner.looked_at(seen)[0].numpy() / 255, answers.probabilities[0].numpy(), learning.class_names
        )
        told, familiarity = figure.get_label(), answers.familiarity[0].item()
        least = self.controls.unknown.value
        if answers.is_unknown(least)[0]:
            told = f"I don't know: less familiar than {100 * (1 - least):.0f} % of your own pictures. If it must be one: {told}"
        elif not math.isnan(familiarity):
            told += f"; as familiar as {100 * familiarity:.0f} % of your own pictures, or more"
        self.own_picture.show(plots.png(figure), told)

    def ask_many(self) -> None:
        """Answer all pictures that were given to be asked about at once."""
        if self.learned is None:
            self.many.status.say(html.escape(self.classes.missing() or "it is still learning"))
        else:
            self.worker.submit(self._answer_many)

    def to_save(self) -> Learned:
        """Return what was learned of the classes as they are. Raises ValueError where there is nothing to save."""
        self.worker.wait(120)
        if self.learned is None or self.learned.classes is not self.classes:
            raise ValueError(f"there is nothing to save yet: {self.classes.missing() or 'learning did not succeed'}")
        return self.learned

    def go_on(self, saved: SavedTask) -> None:
        """Go on from saved classes."""
        self.task.use(saved.checkpoint)
        self.classes, self.chosen, self.settings, self._by_hand = saved.classes, 0, saved.settings, True
        self._show()
        self.learn()

    # What the worker does.

    def _learn(self, check: Check) -> None:
        classes = self.classes
        if classes.missing():
            self.learned = None
            self._say_what_is_missing()
            return
        self._propose(classes)
        self.status.say("learning …")
        settings = self._known_settings(classes)
        learning = self.task.learn(classes, settings, check=check)
        check()
        self.learned = Learned(classes, learning, self.task.checkpoint, settings)
        self.controls.show(self.task.checkpoint.name, self.task.settings(classes), settings)
        names = ", ".join(html.escape(name) for name in classes.names[:4]) + (" …" if len(classes) > 4 else "")
        self.status.say(f"It has learned {len(classes)} classes: {names}. Ask it: draw or upload a picture under 2.")
        self._answer_again()
        self.estimate.value = f'<span style="color:{TEXT}">estimating …</span>'
        learning = self.task.estimated(learning, classes, check)
        check()
        self.learned = replace(self.learned, learning=learning)
        told = html.escape(describe_estimate(learning.estimate, learning.class_names))
        self.estimate.value = f'<span role="status" style="color:{TEXT}">{told}</span>'
        self._answer_again()
        self._answer_many(check)

    def _answer_many(self, check: Check) -> None:
        if self.many.pictures and self.learned is not None:
            self.many.status.say("answering …")
            self.many.answer(self.learned.learning, self.controls.unknown.value, check)

    def _propose(self, classes: OwnClasses) -> None:
        """Take the checkpoint that suits the pictures, unless one was chosen by hand; and say what does not suit."""
        are_photographs = classes.are_photographs()
        if not self._by_hand and self.task.checkpoint.name != PROPOSED[are_photographs]:
            self.task.use(PROPOSED[are_photographs])
            self.settings = {}
        notes = [*([note] if (note := advice(are_photographs, self.task.preprocessing)) else []), *classes.shared()]
        self.notice.value = f'<span role="alert" style="color:{TEXT}">{" ".join(map(html.escape, notes))}</span>' if notes else ""

    def _known_settings(self, classes: OwnClasses) -> dict[str, float]:
        known = {setting.name for setting in self.task.settings(classes)}
        return {name: value for name, value in self.settings.items() if name in known}

    def _on_error(self, error: Exception) -> None:
        self.learned = None
        self.status.show_error(error)

    def _on_unknown(self) -> None:
        self._answer_again()
        self.ask_many()

    def _answer_again(self) -> None:
        if self.own_picture.current is not None and self.learned is not None:
            try:
                self.ask(self.own_picture.current)
            except Exception as error:  # a widget's callback has nobody else to tell
                self.own_picture.show_error(error)

    # What is shown.

    def _say_what_is_missing(self) -> None:
        missing = self.classes.missing()
        self.status.say(f"To begin: {html.escape(missing)}. Draw or upload one and add it." if missing else "learning …")
        self.estimate.value = f'<span style="color:{TEXT}">{html.escape(describe_estimate(None, ()))}</span>'

    def _show(self) -> None:
        """Show the classes as they are."""
        cards = list(self.cards.children[: len(self.classes)])
        while len(cards) < len(self.classes):
            cards.append(self._card(len(cards)))
        for number, (card, one) in enumerate(zip(cards, self.classes.classes, strict=True)):
            card.show(one, number == self.chosen)
        if tuple(cards) != tuple(self.cards.children):
            self.cards.children = cards
        self.pad.aim(self.classes.names[self.chosen] if len(self.classes) else "no class")

    def _card(self, number: int) -> ClassCard:
        return ClassCard(
            lambda name: self.change(lambda classes: classes.renamed(number, name)),
            lambda: self.choose(number),
            lambda: self.change(lambda classes: classes.without_class(number)),
            lambda place: self.change(lambda classes: classes.without_picture(number, place)),
        )
