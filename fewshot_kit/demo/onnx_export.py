"""A classifier of a person's own classes as an ONNX file, which phones, browsers and other languages run without this kit."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_kit.data.files import write_together
from fewshot_kit.demo.own_task import OwnLearning
from fewshot_kit.demo.saved_task import load_predictor
from fewshot_kit.learners.embedding import EmbeddingLearner, EmbeddingPredictor

TOLERANCE = 1e-3  # of probabilities, by onnxruntime and by torch
MOST_BYTES = 2_000_000_000  # of one file, by its format


class Answering(nn.Module):
    """Float images (n, c, size, size) in 0..1 -> logits and probabilities, both (n, n_way): a network and a few points."""

    def __init__(self, learner: EmbeddingLearner, centres: Tensor):
        super().__init__()
        self.learner = learner.snapshot()
        self.register_buffer("centres", centres)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        learner = self.learner
        features = sum(map(learner.embed, learner.views_of(images))) / learner.views
        logits = learner.scores(features.unsqueeze(0), self.centres.unsqueeze(0)).squeeze(0)
        return logits, logits.softmax(1)


def export_onnx(folder: Path, target: Path) -> Path:
    """Write the classifier of saved classes as an ONNX file, whole or not at all, and return it.

    Its input `images` is as `Answering` takes it, in any number; its outputs are `logits` and `probabilities`; class names, size, channels
    and what familiarity is told by (the sorted largest logits of pictures that were left out) are in its metadata, as JSON. The file is
    compared with the classifier by onnxruntime before it is written. Raises ValueError for a learner that fine-tunes its whole network.
    """
    if target.suffix.lower() != ".onnx":
        raise ValueError(f"an ONNX file is called as my_classes.onnx, not {target.name!r}")
    learning = load_predictor(folder, device="cpu").learning
    if not isinstance(learning.predictor, EmbeddingPredictor):
        raise ValueError(
            f"ONNX takes classifiers that are a network and a few points, but a {type(learning.learner).__name__} fine-tunes its network; "
            f"learn the classes with another checkpoint"
        )
    content = _converted(learning)
    _compare(content, learning)
    write_together({target: content})
    return target


def _converted(learning: OwnLearning) -> bytes:
    try:
        import onnx  # noqa: F401, only whether it is there
        import onnxruntime  # noqa: F401, only whether it is there
        import onnxscript  # noqa: F401, only whether it is there: torch uses it
    except ImportError as error:
        raise ValueError(f"ONNX needs the package {error.name}: pip install -e '.[onnx]' in the folder of the kit") from error
    answering = Answering(learning.learner, learning.predictor.centres).eval()
    names = {"input_names": ["images"], "output_names": ["logits", "probabilities"]}
    with _quiet(), torch.no_grad():
        dynamic = ({0: torch.export.Dim("n")},)
        program = torch.onnx.export(answering, (_pictures(learning, 2),), dynamo=True, dynamic_shapes=dynamic, **names)
    proto, (size, channels) = program.model_proto, learning.learner.preprocessing.form
    told = {"class_names": list(learning.class_names), "size": size, "channels": channels}
    told["closeness"] = [] if learning.estimate is None else learning.estimate.closeness.tolist()
    for name, value in told.items():
        proto.metadata_props.add(key=name, value=json.dumps(value))
    if proto.ByteSize() > MOST_BYTES:
        raise ValueError("the network is too large for one ONNX file of 2 GB; learn the classes with a smaller one")
    return proto.SerializeToString()


def _compare(content: bytes, learning: OwnLearning) -> None:
    """Raise ValueError unless onnxruntime answers as the classifier does."""
    import onnxruntime

    images = _pictures(learning, 3)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = session.run(["probabilities"], {"images": images.numpy()})
    except Exception as error:  # onnxruntime has a dozen kinds, of no base of their own
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"onnxruntime cannot run this network ({told}); learn the classes with another checkpoint") from error
    expected = learning.answer(images).probabilities.numpy()
    if not np.allclose(found, expected, atol=TOLERANCE):
        raise ValueError(
            f"the ONNX file answers otherwise than the classifier, by {np.abs(found - expected).max():.2g}; nothing is written"
        )


def _pictures(learning: OwnLearning, n: int) -> Tensor:
    size, channels = learning.learner.preprocessing.form
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter from telling a person what it does."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
