"""Small vision models with random weights, on the disk as Hugging Face keeps them: no real ones can be had where tests run."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

SIZE = 32
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.5, 0.75]
KINDS = ("dinov2", "convnextv2", "resnet")


def make(kind: str):
    """Return a model of this kind, its weights by a seed."""
    transformers = pytest.importorskip("transformers", reason="networks of Hugging Face need transformers (requirements.txt)")
    torch.manual_seed(7)
    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
    if kind == "dinov2":
        return transformers.Dinov2Model(transformers.Dinov2Config(**small))
    if kind == "convnextv2":
        config = transformers.ConvNextV2Config(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
        return transformers.ConvNextV2Model(config)
    if kind == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        return transformers.ResNetModel(config)
    if kind == "vit without a pooler":
        return transformers.ViTModel(transformers.ViTConfig(**small, intermediate_size=32), add_pooling_layer=False)
    if kind == "clip":
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
        config = transformers.CLIPConfig(text_config=text, vision_config={**small, "intermediate_size": 32}, projection_dim=20)
        return transformers.CLIPModel(config)
    if kind == "bert":
        config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50)
        return transformers.BertModel(config)
    raise ValueError(kind)


@cache
def saved(kind: str) -> Path:
    """Return a folder with a model, as its maker would have saved it; nobody may change it."""
    folder = Path(mkdtemp()) / kind.replace(" ", "-")
    save(kind, folder)
    return folder


def save(kind: str, folder: Path) -> None:
    from transformers import BitImageProcessor

    make(kind).save_pretrained(folder)
    size, crop = {"shortest_edge": SIZE + 4}, {"height": SIZE, "width": SIZE}
    BitImageProcessor(size=size, crop_size=crop, image_mean=MEAN, image_std=STD).save_pretrained(folder)
