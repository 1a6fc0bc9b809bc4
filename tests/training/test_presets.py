"""Presets: the papers' settings by name, which flags change further, and which are written out on a card."""

from dataclasses import replace

import pytest

from fewshot_kit.__main__ import main
from fewshot_kit.learners.configs import MAMLConfig, ReptileConfig
from fewshot_kit.training.commands import training_command
from fewshot_kit.training.presets import PRESETS, take_preset
from fewshot_kit.training.train import run_settings


def test_the_papers_have_a_learned_head_batch_norm_and_one_rate_for_all_layers():
    for preset in (one for presets in PRESETS.values() for one in presets.values()):
        learner = preset.learner
        assert (learner.head, learner.network.norm, learner.head_lr_scale, learner.train_way) == ("learned", "batch", 1, 5)
        assert preset.training.last_lr in (0, 1) and not preset.training.source.augment
    maml = PRESETS["maml"]["paper"].learner
    assert (maml.train_inner_lr, maml.train_inner_steps, maml.inner_steps, maml.meta_batch_size, maml.first_order) == (0.4, 1, 3, 32, False)
    assert PRESETS["maml"]["paper-first-order"].learner.first_order
    reptile = PRESETS["reptile"]["paper"].learner
    assert (reptile.update_rule, reptile.train_inner_lr, reptile.train_inner_steps, reptile.inner_steps) == ("adam", 0.001, 5, 50)


@pytest.mark.parametrize("words", [["--seed", "1", "--preset", "paper", "--width", "8"], ["--seed", "1", "--preset=paper", "--width", "8"]])
def test_a_preset_is_taken_out_of_the_words(words):
    assert take_preset(words, "maml") == (PRESETS["maml"]["paper"], ["--seed", "1", "--width", "8"])
    assert take_preset(["--seed", "1"], "maml") == (None, ["--seed", "1"])


@pytest.mark.parametrize(
    ("learner", "words", "told"),
    [
        ("maml", ["--preset", "papers"], "--preset must be one of paper, paper-first-order, not 'papers'"),
        ("reptile", ["--preset"], "--preset must be one of paper, not ''"),
        ("protonet", ["--preset", "paper"], "--preset there is none of protonet; presets are of maml and reptile"),
    ],
)
def test_what_is_no_preset_is_told(learner, words, told, capsys):
    assert main(["train", learner, *words]) == 1 and told in capsys.readouterr().err


def test_flags_change_a_preset(monkeypatch):
    given = []
    monkeypatch.setattr("fewshot_kit.__main__.run_training", lambda *words: given.extend(words) or 0)
    assert main(["train", "maml", "--meta-batch-size", "2", "--preset", "paper", "--width", "8", "--augment", "--outer-steps", "7"]) == 0
    learner, training, *_ = given
    paper = PRESETS["maml"]["paper"]
    assert learner == replace(paper.learner, meta_batch_size=2, network=replace(paper.learner.network, width=8))
    assert training == replace(paper.training, outer_steps=7, source=replace(paper.training.source, augment=True))


@pytest.mark.parametrize(("name", "kit"), [("maml", MAMLConfig()), ("reptile", ReptileConfig())])
def test_a_card_tells_a_preset_by_its_flags(name, kit):
    preset = PRESETS[name]["paper"]
    told = training_command(run_settings(preset.learner, preset.training))
    assert "--head learned" in told and "--norm batch" in told and "--head-lr-scale 1.0" in told and "--preset" not in told
    assert "--head" not in training_command(run_settings(kit, preset.training))
