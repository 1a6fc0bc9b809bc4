"""Save what was learned of a person's classes, on this machine or by the browser, and open it again."""

import html
import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets

from fewshot_kit.demo.own_classes import OwnClasses
from fewshot_kit.demo.own_task import OwnLearning
from fewshot_kit.demo.saved_task import SavedTask, open_task, save_task
from fewshot_kit.training.checkpoints import Checkpoint
from fewshot_kit.widgets.controls import StatusLine
from fewshot_kit.widgets.download import Download

NAME = "my_classes"


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned, of which classes, by which checkpoint, with which settings set by hand."""

    classes: OwnClasses
    learning: OwnLearning
    checkpoint: Checkpoint
    settings: dict[str, float]

    def save(self, folder: Path, *, replace: bool = False) -> Path:
        return save_task(folder, self.classes, self.learning, self.checkpoint, self.settings, replace=replace)


class TakeAlong(widgets.VBox):
    """A folder to save in and to open, where the kernel's machine is a person's own (`on_disk`), and a button to download."""

    def __init__(self, learned: Callable[[], Learned], on_open: Callable[[SavedTask], None], *, on_disk: bool):
        """`learned()` raises ValueError where there is nothing to save."""
        self._learned, self._on_open = learned, on_open
        self.folder = widgets.Text(value=NAME, description="folder")
        self.folder.layout = widgets.Layout(flex="1 1 200px", width="auto", max_width="420px")
        self.save_button = widgets.Button(description="Save", icon="save", layout=widgets.Layout(width="90px"))
        self.open_button = widgets.Button(description="Open", icon="folder-open", layout=widgets.Layout(width="90px"))
        self.replace = widgets.Checkbox(description="replace what is there", indent=False, layout=widgets.Layout(width="190px"))
        self.save_button.on_click(lambda _: self.save())
        self.open_button.on_click(lambda _: self.open_folder())
        self.download = Download(self.zipped, label="Download as .zip")
        self.status = StatusLine(layout=widgets.Layout(min_height="28px", width="auto"))
        self.status.add_class("fewshot-text")  # a path may be longer than the panel is wide
        places = [self.folder, self.save_button, self.open_button, self.replace] if on_disk else []
        row = widgets.HBox([*places, self.download], layout=widgets.Layout(flex_flow="row wrap", grid_gap="8px", width="100%"))
        super().__init__([row, self.status])

    def place(self) -> Path:
        """Return the folder in the box."""
        return Path(self.folder.value.strip() or NAME).expanduser().absolute()

    def save(self) -> None:
        """Write the folder in the box."""
        try:
            self.status.say(f"saved in {html.escape(str(self._learned().save(self.place(), replace=self.replace.value)))}")
        except (ValueError, OSError) as error:
            self.status.show_error(error)

    def open_folder(self) -> None:
        """Go on from the folder in the box."""
        try:
            saved = open_task(self.place())
            self._on_open(saved)
            self.status.say(f"opened {html.escape(str(saved.folder))}")
        except (ValueError, OSError) as error:
            self.status.show_error(error)

    def zipped(self) -> tuple[str, bytes] | None:
        """Return the saved folder as an archive; where there is nothing to save, say so."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                place, buffer = self._learned().save(Path(folder, NAME)), io.BytesIO()
                with zipfile.ZipFile(buffer, "w") as archive:
                    for path in sorted(place.rglob("*")):
                        archive.write(path, path.relative_to(place.parent))
        except (ValueError, OSError) as error:
            self.status.show_error(error)
            return None
        return f"{NAME}.zip", buffer.getvalue()
