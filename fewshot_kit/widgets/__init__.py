"""Panels: thin shells over a session. The only modules that import ipywidgets or ipycanvas."""

from fewshot_kit.widgets.compare_panel import ComparePanel
from fewshot_kit.widgets.detection_panel import DetectionPanel
from fewshot_kit.widgets.embedding_panel import EmbeddingPanel
from fewshot_kit.widgets.few_shot_panel import FewShotPanel
from fewshot_kit.widgets.own_classes_panel import OwnClassesPanel
from fewshot_kit.widgets.runs_panel import RunsPanel
from fewshot_kit.widgets.train_panel import TrainPanel

__all__ = ["ComparePanel", "DetectionPanel", "EmbeddingPanel", "FewShotPanel", "OwnClassesPanel", "RunsPanel", "TrainPanel"]
