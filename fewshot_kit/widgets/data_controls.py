"""The controls that say which episode a panel is to show: data set, own folder, numbers of classes and pictures, seed."""

import html
from collections.abc import Callable

import ipywidgets as widgets
import torch

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.demo.request import MOST_PICTURES, Limits, Request, Shelf, is_own, title
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.widgets.controls import DESCRIPTION, TEXT, alarm, counted, int_slider, is_app, numbered, set_range, text

OWN_FOLDER = "own folder …"
COUNTED = ("n_way", "n_shot", "n_query", "seed")


class DataControls(widgets.VBox):
    """They show a request (`show`), and tell what a person changes of it: `on_ask(n_way=5)`, `on_open(data set)`.

    A control that is set by `show` tells its new value too; to whoever has asked for that already it is nothing new.
    """

    def __init__(
        self, shelf: Shelf, asked: Callable[[], Request], on_ask: Callable[..., None], on_open: Callable[[str], None], *, most_classes: int
    ):
        """Make them for what is `asked` at any time, of what is on the `shelf`."""
        self._shelf = shelf
        self._asked, self._on_ask, self._on_open, self._most_classes = asked, on_ask, on_open, most_classes
        self._images: ClassImages | AnnotatedImages | None = None  # what was shown last
        self._on_disk = not is_app()  # else no folder is opened, whatever a browser sends
        request = asked()
        self._make_choices(request)
        self._make_numbers(request)
        sliders = [numbered(slider) for slider in (self.n_way, self.n_shot, self.n_query)]
        pairs = [self.dataset], [self.folder, self.open_button], [self.seed, self.sample_button]
        data, own, chance = (widgets.HBox(pair, layout=widgets.Layout(width="100%")) for pair in pairs)
        rows = [data, *([own] if self._on_disk else []), self.in_force, *sliders, chance]
        super().__init__(rows, layout=widgets.Layout(width="auto", flex="1 1 380px"))

    def _make_choices(self, request: Request) -> None:
        shelf = self._shelf
        options = [(name if shelf.is_available(name) else f"{name} (download)", name) for name in shelf.names]
        if self._on_disk:
            own = [(OWN_FOLDER, OWN_FOLDER)]
        else:  # the notebook may have begun with one
            own = [(title(request.dataset), request.dataset)] if is_own(request.dataset) else []
        self.dataset = widgets.Dropdown(options=[*options, *own], description="data set")
        self.folder = widgets.Text(placeholder=shelf.hint, description="your own folder")
        self.open_button = widgets.Button(description="Open", layout=widgets.Layout(width="72px", flex="0 0 auto"))
        self.in_force = text(min_height="46px", margin=f"0 0 0 calc({DESCRIPTION} + 8px)")

    def _make_numbers(self, request: Request) -> None:
        self.n_way = int_slider(request.n_way, 2, max(self._most_classes, request.n_way), "classes (way)")
        self.n_shot = int_slider(request.n_shot, 1, max(MOST_PICTURES, request.n_shot), "pictures each (shot)")
        self.n_query = int_slider(request.n_query, 0, max(MOST_PICTURES, request.n_query), "queries a class")
        self.seed = widgets.IntText(value=request.seed, description="seed")
        self.sample_button = widgets.Button(description="Sample classes", button_style="primary", icon="random")
        self.sample_button.layout.flex = "0 0 auto"
        for control in (self.dataset, self.folder, self.seed):
            control.style = {"description_width": DESCRIPTION}
            control.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")

    def watch(self) -> None:
        """Begin to tell what is changed."""
        self.dataset.observe(self._on_dataset, "value")
        self.folder.on_msg(lambda _, message, buffers: self.open_folder() if message.get("event") == "submit" else None)  # Enter
        self.open_button.on_click(lambda _: self.open_folder())
        for name in COUNTED:
            getattr(self, name).observe(lambda change, name=name: self._on_ask(**{name: change["new"]}), "value")
        self.sample_button.on_click(lambda _: self._on_ask(seed=int(torch.randint(10**6, ()))))

    def open_folder(self) -> None:
        """Open the folder in the path box, again if it was opened before."""
        path = self.folder.value.strip().strip("\"'").removeprefix(self._shelf.own)
        if not self._on_disk:
            return
        if path:
            self._on_open(f"{self._shelf.own}{path}")
        else:
            self.folder.focus()  # where a path is to be typed

    def show(self, request: Request, images: ClassImages | AnnotatedImages, limits: Limits) -> None:
        """Set every control to what is asked for, and its range to what there is. A path that was typed since stays."""
        is_folder = is_own(request.dataset) and self._on_disk
        self.dataset.value = OWN_FOLDER if is_folder else request.dataset
        if is_folder and images is not self._images:
            self.folder.value = request.dataset.removeprefix(self._shelf.own)
        self._images = images
        set_range(self.n_way, 2, min(max(self._most_classes, request.n_way), limits.n_way), request.n_way)
        set_range(self.n_shot, 1, min(max(MOST_PICTURES, request.n_shot), limits.pictures), request.n_shot)
        set_range(self.n_query, 0, min(max(MOST_PICTURES, request.n_query), limits.pictures - 1), request.n_query)
        self.seed.value = request.seed
        there = f"{counted(len(images.class_names), 'classes')}, {counted(limits.pictures, 'pictures each')}"
        more = " or more" if max(images.counts) > limits.pictures else ""
        self.in_force.value = f'<span style="color:{TEXT}">on show: <b>{html.escape(title(request.dataset))}</b> ({there}{more})</span>'

    def show_error(self, error: Exception) -> None:
        """Say under the path what was wrong with it, until the next `show`: in a narrow window the panel's line is out of sight."""
        self.in_force.value += f"<br>{alarm(error)}"

    def _on_dataset(self, change: dict) -> None:
        if change["new"] != OWN_FOLDER:
            self._on_ask(dataset=change["new"])
        elif not is_own(self._asked().dataset):  # else the control was set to what is asked for
            if self.folder.value.strip():
                self.open_folder()
            else:
                self.dataset.value = change["old"]  # nothing is open yet: the list must not say so
                self.folder.focus()
