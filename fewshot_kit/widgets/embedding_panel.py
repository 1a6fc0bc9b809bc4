"""The panel of a metric learner: see where the network puts the pictures, and the prototypes move with the shots."""

import threading
from collections.abc import Mapping

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.demo.embedding_map import EmbeddingMap, Pool, episode_pool, map_embedding
from fewshot_kit.demo.projection import get_tsne_ready
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.widgets.controls import int_slider, numbered
from fewshot_kit.widgets.episode_panel import COUNTED, Check, EpisodePanel

MOST_CLASSES = 20
METHODS = (("PCA", "pca"), ("t-SNE", "tsne"))


class EmbeddingPanel(EpisodePanel):
    """Sample classes and see where the network puts them. With more shots the prototypes move, and everything else stays in its place."""

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None = None, centre_name: str = "prototype"):
        """Show the session of a metric learner; sliders of fine-tuning are there if it has any, and start from the given settings."""
        super().__init__(session, settings=settings, most_classes=MOST_CLASSES)
        self.centre_name = centre_name
        self.map: EmbeddingMap | None = None  # what is on show
        self._maps: dict[str, EmbeddingMap] = {}  # the last one of each method
        self._drawing = threading.Lock()
        self.children = [
            self.data_box,
            widgets.HBox(self.setting_boxes),
            self._map_controls(),
            self.status,
            self.map_image,
            widgets.Accordion([self.own_picture], titles=("Try a picture of your own",)),
            widgets.HBox([self.evaluate_button, self.progress, self.stop_button]),
            self.result,
        ]
        self._name_parts("map_image", "status", "result")
        self._learn_anew(lambda: None)
        get_tsne_ready()

    def _map_controls(self) -> widgets.HBox:
        self.method = widgets.ToggleButtons(options=METHODS, style={"button_width": "80px"}, layout=widgets.Layout(width="306px"))
        label = widgets.Label("picture by", layout=widgets.Layout(width="130px", justify_content="flex-end"))  # its own would wrap
        self.query = int_slider(0, 0, max(self.session.n_way * self.session.n_query - 1, 0), "query asked about")
        self.map_image = widgets.Image(format="png", layout=widgets.Layout(width="920px", height="560px"))
        self.method.observe(lambda _: self.learn(), "value")
        self.query.observe(lambda _: None if self._is_syncing() else self._ask(), "value")
        return widgets.HBox([label, self.method, numbered(self.query, widgets.BoundedIntText)])

    def _ask(self) -> None:
        """Show the distances of another query."""
        try:
            if self.map is not None:
                self._draw()
        except Exception as error:  # a widget's callback has nobody else to tell
            self._show_error(error)

    def _learn(self, check: Check, settings: dict[str, float]) -> str:
        self.learning = self.session.learn(settings, on_epoch=lambda epoch: check())
        self.map = self._mapped(check)
        self._set_silently(self.query, "max", len(self.map.queries) - 1)
        self._draw()
        right, n = round(self.map.accuracy() * len(self.map.queries)), len(self.map.queries)
        return f"{right} of {n} queries right ({100 * right / n:.0f} %)"

    def _mapped(self, check: Check) -> EmbeddingMap:
        method, pool = self.method.value, self._pool()
        if method == "tsne":  # scikit-learn cannot be stopped in its middle
            self.status.say(f"{self._setting()}: t-SNE of {len(pool.labels)} pictures is being computed; until then, the picture before …")
        found = map_embedding(self.learning.predictor, pool, method, seed=0, before=self._maps.get(method))
        check()
        self._maps[method] = found
        return found

    def _pool(self) -> Pool:
        counts = {name: getattr(self.session, name) for name in COUNTED}
        return episode_pool(self.session.dataset, **counts, class_ids=self.session.class_ids)

    def _draw(self) -> None:
        with self._drawing:
            shown = self.map
            arrays = shown.arrays(asked=min(self.query.value, len(shown.queries) - 1))
            self.map_image.value = plots.png(plots.embedding_figure(centre_name=self.centre_name, **arrays))
