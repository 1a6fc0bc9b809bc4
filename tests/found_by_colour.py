"""A detector of painted rectangles that was trained for a moment: what the tests of session and panel run on."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from painted import painted_boxes

from fewshot_kit.demo.detection import DetectionSession
from fewshot_kit.detection.repmet_detector import RepMetDetector
from fewshot_kit.learners.detector_configs import RepMetDetectorConfig
from fewshot_kit.networks.configs import PyramidConfig
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.checkpoints import Checkpoint

SMALL = PyramidConfig(widths=(8, 8, 16, 16, 16), map_channels=16, size=64)


@cache
def trained() -> RepMetDetector:
    """Train on three colours for a moment: enough to find rectangles."""
    detector = make_learner(RepMetDetectorConfig(SMALL, roi_side=2, hidden=32, n_features=8, n_proposals=12, n_representatives=2), seed=0)
    dataset, generator = painted_boxes(3, 20, seed=1), torch.Generator().manual_seed(0)
    detector.begin_training(dataset, generator)
    optimiser = torch.optim.Adam(detector.parameters(), 3e-3, betas=(0.9, 0.999))
    for _ in range(120):
        loss = detector.loss(dataset.take(torch.randint(len(dataset), (8,), generator=generator)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return detector.eval()


def detection_session(monkeypatch, **settings) -> DetectionSession:
    """A session on painted boxes, of five colours; `scenes` and `fod_a` are two sets of them."""
    sets = {name: replace(painted_boxes(5, 8, seed=seed), name=name) for seed, name in enumerate(("scenes", "fod_a"), start=2)}
    monkeypatch.setattr("fewshot_kit.demo.detection.load_annotated", lambda name, split, **options: sets[name])
    settings = {"n_way": 3, "n_query": 2, "device": "cpu", **settings}
    return DetectionSession(Checkpoint("tiny", Path("nowhere"), trained(), {}, ""), "scenes", **settings)
