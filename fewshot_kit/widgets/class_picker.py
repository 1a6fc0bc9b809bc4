"""Choose classes by their pictures."""

from collections.abc import Callable

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.widgets.controls import Picture

PER_PAGE = 12
MAX_CHOSEN = 10


class ClassPicker(widgets.VBox):
    """Pages of thumbnails, one a class, each with a button that takes it; `on_choose` gets the pictures and the class ids."""

    def __init__(self, images: ClassImages, on_choose: Callable[[ClassImages, list[int]], None], most: int = MAX_CHOSEN):
        self.images, self._on_choose, self._most = images, on_choose, most
        self.chosen: list[int] = []
        self._page = 0
        self._class_ids: list[int] = []  # of the page on show, in the order of its cells
        self.thumbnails = [Picture(width="64px") for _ in range(PER_PAGE)]
        self.buttons = [widgets.ToggleButton(layout=widgets.Layout(width="136px")) for _ in range(PER_PAGE)]
        for cell, button in enumerate(self.buttons):
            button.observe(lambda change, cell=cell: self._on_toggle(cell, change["new"]), "value")
        self.cells = [
            widgets.VBox(pair, layout=widgets.Layout(align_items="center", width="146px"))  # its own: show_page hides some
            for pair in zip(self.thumbnails, self.buttons, strict=True)
        ]
        self.previous, self.next = widgets.Button(description="◀ previous"), widgets.Button(description="next ▶")
        self.previous.on_click(lambda _: self.show_page(self._page - 1))
        self.next.on_click(lambda _: self.show_page(self._page + 1))
        self.where = widgets.Label()
        self.use = widgets.Button(description="Use these classes", button_style="primary", disabled=True)
        self.use.on_click(lambda _: self._on_choose(self.images, list(self.chosen)))
        grid = widgets.GridBox(self.cells, layout=widgets.Layout(grid_template_columns="repeat(auto-fill, 146px)", grid_gap="6px"))
        row = widgets.HBox([self.previous, self.next, self.where, self.use], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([grid, row])
        self.show_page(0)

    def show(self, images: ClassImages) -> None:
        """Offer the classes of another data set; nothing of the one before stays chosen."""
        if images is not self.images:
            self.images, self.chosen = images, []
            self.show_page(0)

    def show_page(self, page: int) -> None:
        """Show the page, counted from 0; beyond the last one it goes on with the first."""
        images = self.images
        n_pages = -(-len(images.class_names) // PER_PAGE)
        self._page = page % n_pages
        self._class_ids = list(range(self._page * PER_PAGE, min((self._page + 1) * PER_PAGE, len(images.class_names))))
        for cell, box in enumerate(self.cells):
            box.layout.visibility = "visible" if cell < len(self._class_ids) else "hidden"
        for class_id, thumbnail, button in zip(self._class_ids, self.thumbnails, self.buttons, strict=False):
            name = images.class_names[class_id]
            thumbnail.show(plots.thumbnail(images.sample_of(class_id).numpy()), f"a picture of {name}")
            button.tooltip, button.description = name, _shorten(name)
            button.set_trait("value", class_id in self.chosen)
        self.previous.disabled = self.next.disabled = n_pages == 1
        self._show_count(n_pages)

    def _on_toggle(self, cell: int, taken: bool) -> None:
        class_id = self._class_ids[cell]
        if taken and class_id not in self.chosen:
            self.chosen.append(class_id)
        elif not taken and class_id in self.chosen:
            self.chosen.remove(class_id)
        self._show_count(-(-len(self.images.class_names) // PER_PAGE))

    def _show_count(self, n_pages: int) -> None:
        self.use.disabled = not 2 <= len(self.chosen) <= self._most
        self.where.value = f"page {self._page + 1} of {n_pages} · {len(self.chosen)} chosen (2 to {self._most})"


def _shorten(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:5]}…{name[-8:]}"  # what a button is wide enough for
