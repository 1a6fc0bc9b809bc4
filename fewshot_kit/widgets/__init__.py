"""Panels: thin shells over `DemoSession`. The only modules that import ipywidgets or ipycanvas."""

from fewshot_kit.widgets.panel import FewShotPanel

__all__ = ["FewShotPanel"]
