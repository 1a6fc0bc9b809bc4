"""The panel of a metric learner: see where the network puts the pictures, and the prototypes move with the shots."""

import threading
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.demo.embedding_map import EmbeddingMap, Pool, episode_pool, map_embedding
from fewshot_kit.demo.projection import get_tsne_ready
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to, answers, verdict
from fewshot_kit.widgets.controls import DESCRIPTION, Picture, int_slider, numbered, set_range
from fewshot_kit.widgets.episode_panel import EpisodePanel
from fewshot_kit.widgets.work import Work

LEAST_WIDTH = "640px"  # of the picture of 920: below, its letters could not be read, and it scrolls
MOST_CLASSES = 20
NONE = -1  # of the wrong answers is chosen
METHODS = (("PCA", "pca"), ("t-SNE", "tsne"))


class EmbeddingPanel(EpisodePanel):
    """Sample classes and see where the network puts them. With more shots the prototypes move, and everything else stays in its place."""

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None = None, centre_name: str = "prototype"):
        """Show the session of a metric learner; sliders of fine-tuning are there if it has any, and start from the given settings."""
        super().__init__(session, settings=settings, most_classes=MOST_CLASSES)
        self.requested = self.requested.changed(view="pca")
        self.centre_name = centre_name
        self._maps: dict[str, EmbeddingMap] = {}  # the last one of each method
        self._drawing = threading.Lock()
        self.asked = 0  # the query that the picture is about
        self.map_image = Picture(flex="0 0 auto", min_width=LEAST_WIDTH)
        self.map_image.add_class("fewshot-map-image")
        self._make_map_controls()
        self._lay_out(
            [*self.setting_boxes, *self.map_controls, self.stop_button],
            [widgets.VBox([self.map_image], layout=widgets.Layout(width="100%", overflow="auto"))],
        )
        self._begin()
        get_tsne_ready()

    @property
    def map(self) -> EmbeddingMap:
        """Return the map on show."""
        return self.shown.drawn

    def _make_map_controls(self) -> None:
        self.method = widgets.ToggleButtons(options=METHODS, style={"button_width": "80px"}, layout=widgets.Layout(width="auto"))
        label = widgets.Label("picture by", layout=widgets.Layout(width=DESCRIPTION, justify_content="flex-end"))  # its own would wrap
        self.query = int_slider(0, 0, 1, "query asked about")
        self.wrong = widgets.Dropdown(description="wrong answers", style={"description_width": DESCRIPTION})
        self.wrong.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
        self.method.observe(lambda change: self.ask(view=change["new"]), "value")
        self.query.observe(lambda change: self._ask_about(change["new"]), "value")
        self.wrong.observe(lambda change: self._jump(change["new"]), "value")
        self.map_controls = [widgets.HBox([label, self.method]), numbered(self.query), widgets.HBox([self.wrong])]

    def _ask_about(self, query: int) -> None:
        """Show the distances of another query."""
        try:
            if query != self.asked and query < len(self.map.queries):
                self.asked = query
                self._draw_map()
        except Exception as error:  # a widget's callback has nobody else to tell
            self.status.show_error(error)

    def _jump(self, query: int) -> None:
        if query != NONE:
            self.query.value = query

    def _set_controls(self, work: Work, *served) -> None:
        with self._lock:
            super()._set_controls(work, *served)
            self.method.value = self.requested.view

    def _end(self, work: Work, check: Check) -> EmbeddingMap:
        method, pool = work.request.view, self._pool(work)
        if method == "tsne":  # scikit-learn cannot be stopped in its middle
            self.status.say(f"t-SNE of {len(pool.labels)} pictures is being computed; until then, the picture before …")
        found = map_embedding(work.learning.predictor, pool, method, seed=0, before=self._maps.get(method))
        check()
        self._maps[method] = found
        return found

    def _pool(self, work: Work) -> Pool:
        return episode_pool(work.images, **work.request.episode())

    def _draw(self) -> None:
        """Show the map, and offer the queries that are answered wrong."""
        last = len(self.map.queries) - 1
        self.asked = min(self.query.value, max(last, 0))
        set_range(self.query, 0, max(last, 0), self.asked)
        self._list_wrong()
        self._draw_map()

    def _is_wrong(self) -> np.ndarray:
        """Say of each picture of the map whether it is a query that is answered wrong."""
        pool = self.map.pool
        found = answers(self.map.probabilities)
        return (pool.roles == "query") & (found != pool.labels) & (found != UNDECIDED)

    def _list_wrong(self) -> None:
        queries, is_wrong = self.map.queries, self._is_wrong()
        names = [
            (f"query {i}: {verdict(answer_to(self.map.probabilities[query]), int(self.map.pool.labels[query]))[0]}", i)
            for i, query in enumerate(queries)
            if is_wrong[query]
        ]
        none = "no queries" if not len(queries) else f"{len(names)} of {len(queries)}: choose one" if names else "none"
        self.wrong.options = [(none, NONE), *names]
        self.wrong.disabled = not names

    def _draw_map(self) -> None:
        with self._drawing:
            arrays = self.map.arrays(asked=self.asked if len(self.map.queries) else None)
            self.map_image.show_figure(plots.embedding_figure(centre_name=self.centre_name, wrong=self._is_wrong(), **arrays))
        self.wrong.value = self.asked if self.asked in [value for _, value in self.wrong.options] else NONE
