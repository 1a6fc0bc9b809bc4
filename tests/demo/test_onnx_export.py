"""A classifier as an ONNX file: onnxruntime answers as the classifier does, whatever the learner, and its metadata says the rest."""

import json

import numpy as np
import pytest
import tiny_models
import torch
from own_pictures import INK, needs_weights, own

from fewshot_kit.__main__ import main
from fewshot_kit.demo import onnx_export
from fewshot_kit.demo.own_task import OwnTask
from fewshot_kit.demo.saved_task import load_predictor, save_task
from fewshot_kit.training.checkpoint_folder import PRETRAINED

onnx = pytest.importorskip("onnx", reason="ONNX files need the extra [onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX files need the extra [onnx]")
pytestmark = [needs_weights, pytest.mark.filterwarnings("ignore")]


def saved(folder, checkpoint=INK, colour=False, settings=None):
    task, classes = OwnTask(checkpoint), own(colour=colour)
    learning = task.estimated(task.learn(classes, settings), classes)
    return save_task(folder, classes, learning, task.checkpoint, settings or {})


@pytest.mark.parametrize(
    ("checkpoint", "settings"),
    [(INK, {}), ("resnet12-mini_imagenet", {"views": 3}), ("magnet-grocery_store", {}), ("repmet-omniglot_vinyals", {})],
)
def test_onnxruntime_answers_as_the_classifier_does(checkpoint, settings, tmp_path):
    if not (PRETRAINED / checkpoint).is_dir():
        pytest.skip(f"there is no {checkpoint} in pretrained/")
    folder = saved(tmp_path / "mine", checkpoint, checkpoint.startswith("resnet12"), settings)
    file = onnx_export.export_onnx(folder, tmp_path / "mine.onnx")
    model = onnx.load(file)
    onnx.checker.check_model(model)
    told = {row.key: json.loads(row.value) for row in model.metadata_props if row.key in ("class_names", "size", "channels", "closeness")}
    predictor = load_predictor(folder, device="cpu")
    size, channels = predictor.learning.learner.preprocessing.form
    assert (tuple(told["class_names"]), told["size"], told["channels"]) == (predictor.class_names, size, channels)
    assert told["closeness"] == predictor.learning.estimate.closeness.tolist()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        images = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(n))
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images.numpy()})
        np.testing.assert_allclose(probabilities, predictor(images).probabilities.numpy(), atol=1e-3)
        np.testing.assert_allclose(torch.from_numpy(logits).softmax(1).numpy(), probabilities, atol=1e-4)


def test_a_network_that_others_trained_takes_any_number_of_pictures(tmp_path):
    folder = saved(tmp_path / "mine", f"hf:{tiny_models.saved('dinov2')}", colour=True)
    session = onnxruntime.InferenceSession(str(onnx_export.export_onnx(folder, tmp_path / "mine.onnx")), providers=["CPUExecutionProvider"])
    predictor = load_predictor(folder, device="cpu")
    for n in (1, 20):  # more than the network itself looks at together
        images = torch.rand(n, 3, tiny_models.SIZE, tiny_models.SIZE, generator=torch.Generator().manual_seed(n))
        (probabilities,) = session.run(["probabilities"], {"images": images.numpy()})
        np.testing.assert_allclose(probabilities, predictor(images).probabilities.numpy(), atol=1e-3)


def test_the_command_writes_it_and_never_over_another_file(tmp_path, capsys):
    folder = saved(tmp_path / "mine")
    target = tmp_path / "mine.onnx"
    assert main(["export", str(folder), "--onnx", str(target)]) == 0 and target.is_file()
    before = target.read_bytes()
    assert main(["export", str(folder), "--onnx", str(target)]) == 1 and "--replace" in capsys.readouterr().err
    assert target.read_bytes() == before and main(["export", str(folder), "--onnx", str(target), "--replace"]) == 0
    assert main(["export", str(folder)]) == 1 and "--onnx" in capsys.readouterr().err
    assert main(["export", str(folder), "--onnx", str(tmp_path / "mine.pt")]) == 1 and "my_classes.onnx" in capsys.readouterr().err
    for more in (["--half"], ["--average"], ["--settings", "5way-1shot:views=2"], ["--out", str(tmp_path)]):
        assert main(["export", str(folder), "--onnx", str(tmp_path / "x.onnx"), *more]) == 1 and more[0] in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--onnx", str(tmp_path / "x.onnx")]) == 1 and not (tmp_path / "x.onnx").exists()


def test_what_fine_tunes_its_network_and_what_answers_otherwise_are_refused(tmp_path, monkeypatch):
    folder = saved(tmp_path / "tuned", "reptile-omniglot")
    with pytest.raises(ValueError, match="fine-tunes its network"):
        onnx_export.export_onnx(folder, tmp_path / "tuned.onnx")
    folder = saved(tmp_path / "mine")
    right = onnx_export.Answering.forward
    monkeypatch.setattr(onnx_export.Answering, "forward", lambda self, images: tuple(part.flip(1) for part in right(self, images)))
    with pytest.raises(ValueError, match="answers otherwise"):
        onnx_export.export_onnx(folder, tmp_path / "mine.onnx")
    assert not (tmp_path / "mine.onnx").exists()
