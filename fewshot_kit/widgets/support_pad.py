"""Give pictures to a class: draw them one after another, upload them, or take them with a camera."""

import html
import io
from collections.abc import Callable

import ipywidgets as widgets
from PIL import Image

from fewshot_kit.widgets.camera import Camera
from fewshot_kit.widgets.controls import TEXT
from fewshot_kit.widgets.pad import SIDE, Pad
from fewshot_kit.widgets.upload import Upload

MOST_FILES = 100  # at once


class SupportPad(Pad):
    """`on_picture(name, content)` gets every picture as a file; a .zip comes as it is."""

    def __init__(self, on_picture: Callable[[str, bytes], None]):
        super().__init__()
        self._on_picture, self._n_drawn, self._n_taken = on_picture, 0, 0
        self.goal = widgets.HTML(layout=widgets.Layout(width="auto", margin="0 2px"))
        self.goal.add_class("fewshot-text")
        self.add_button = widgets.Button(description="Add drawing", icon="plus", button_style="success", disabled=True)
        self.add_button.layout = widgets.Layout(width=f"{SIDE}px")
        self.add_button.on_click(lambda _: self.add())
        self.upload = Upload(on_picture, label="Choose pictures …", accept="image/*,.zip", most_files=MOST_FILES)
        self.upload.layout = widgets.Layout(width="224px", margin="0 2px")
        self.camera = Camera(self._taken)
        drawing = widgets.VBox([self.frame, self.add_button, widgets.HBox([self.undo_button, self.clear_button])])
        pages = {"Draw": drawing, "Upload": self.upload, "Camera": self.camera}
        self.ways = widgets.Tab(list(pages.values()), titles=tuple(pages), layout=widgets.Layout(width="auto"))
        self.children = [self.goal, self.ways]
        self.layout = widgets.Layout(width="auto", flex="0 0 auto")

    def aim(self, name: str) -> None:
        """Say which class the pictures go to."""
        self.goal.value = f'<span style="color:{TEXT}">Pictures of <b>{html.escape(name)}</b>:</span>'
        self.camera.label = f"Take a picture of {name}"

    def add(self) -> None:
        """Give what is drawn, and empty the canvas for the next drawing."""
        if self.strokes:
            buffer = io.BytesIO()
            Image.fromarray(self.picture()).save(buffer, "PNG")
            self._n_drawn += 1
            self.wipe()
            self._on_picture(f"drawing {self._n_drawn}.png", buffer.getvalue())

    def wipe(self) -> None:
        super().wipe()
        self.add_button.disabled = True

    def _after_stroke(self) -> None:
        self.add_button.disabled = False

    def _taken(self, content: bytes) -> None:
        self._n_taken += 1
        self._on_picture(f"camera {self._n_taken}.jpg", content)
