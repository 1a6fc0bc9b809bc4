"""A config.json is checked before anything is made of it: what cannot be is named, where it stands and what was wanted."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import tiny_reptile

from fewshot_kit.data.files import write_text
from fewshot_kit.training import schema
from fewshot_kit.training.checkpoint_folder import PRETRAINED, CheckpointError, list_checkpoints, read_config
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.runs import read_run
from fewshot_kit.training.schema import SchemaError, check_begun, check_checkpoint, check_run, read_json

SHIPPED = "reptile-omniglot"


@pytest.fixture
def config() -> dict:
    return json.loads((PRETRAINED / SHIPPED / "config.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_checkpoint(tmp_path / "tiny", tiny_reptile(), training={"seed": 0}, results=[], card="")


def changed(config: dict, where: str, value: Any) -> dict:
    """Return a copy in which one place, `a.b.0.c`, has another value."""
    config = copy.deepcopy(config)
    *path, last = (int(part) if part.isdigit() else part for part in where.split("."))
    inner = config
    for part in path:
        inner = inner[part]
    inner[last] = value
    return config


def places(value: Any, where: str = ""):
    """Yield every place of a config and what is there."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        place = f"{where}.{key}" if where else str(key)
        yield place, item
        if isinstance(item, dict | list):
            yield from places(item, place)


@pytest.mark.parametrize("name", list_checkpoints())
def test_every_shipped_checkpoint_passes(name):
    check_checkpoint(read_json(PRETRAINED / name / "config.json"))
    check_run(read_json(PRETRAINED / name / "config.json"))


WRONG = {
    "hyper_parameters.network.width": [4096, 10**12, 64.0, "64", True, None, 12, -8],
    "hyper_parameters.network.size": [0, 10**6, "28", 28.5, [28]],
    "hyper_parameters.network.stride": [3, True, "2"],
    "hyper_parameters.network.channels": [2, 10**9, {}],
    "hyper_parameters.network.norm": ["magic", 3, [], {}],
    "hyper_parameters.network.mean": [0.5, ["a"], [1, 2, 3], [[]], "ab"],
    "hyper_parameters.network.magic": [1],
    "hyper_parameters.network": [[], "conv4", None],
    "hyper_parameters.inner_lr": ["0.1", True, None, -1, 0, [], {}],
    "hyper_parameters.inner_steps": [1.5, "3", 10**9, -1, None],
    "hyper_parameters.train_way": [10**12, 2.0],
    "hyper_parameters.head": ["one", 3, None],
    "hyper_parameters.magic": [1],
    "hyper_parameters": [[], None, "x", 3],
    "learner": ["magic", ["maml"], None, 3],
    "training": [[], "x", None],
    "training.seed": ["0", 1.5, [], {}],
    "training.outer_steps": ["many", None],
    "training.meta_lr": ["x", []],
    "training.source": [3, "omniglot", []],
    "training.source.dataset": [3, None, {}],
    "training.source.magic": [1],
    "training.minutes": ["long"],
    "sha256": [3, None, []],
    "settings": [3, "x", [3], [{}], [{"n_way": 3, "n_shot": 0, "values": {}}], [{"n_way": 3, "n_shot": 1, "values": {"a": "b"}}], None],
    "results": [3, {}, ["x"], [{}], [None]],
    "results.0.accuracy": [None, 3, {}, {"mean": "a", "half_width": 1}, {"mean": 1}],
    "results.0.n_way": ["5", None, 1.5],
    "results.0.dataset": [3, None],
    "results.0.transductive": [0, "no"],
    "results.0.settings": [[], {"a": "b"}],
    "results.0.primary": ["magic", 3, []],
    "results.0.command": [3, []],
    "results.0.extra": [{"mean": [], "half_width": 0}],
    "magic": [1],
}


@pytest.mark.parametrize("where", WRONG)
def test_what_cannot_be_is_named(config, where):
    for value in WRONG[where]:
        with pytest.raises(SchemaError) as caught:
            check_checkpoint(changed(config, where, value))
        assert where.split(".")[-1].split("[")[0] in str(caught.value).replace("results[0]", "results")


def test_any_other_type_in_any_place_is_the_schemas_error_or_none(config):
    config["results"] = config["results"][:1]
    for where, _ in list(places(config)):
        for value in (None, True, -1, 0, 1.5, "x", [], {}, [1], {"a": 1}, 2**63, [[]], {"network": {}}):
            for check in (check_checkpoint, check_run):
                try:
                    check(changed(config, where, value))
                except SchemaError as error:
                    assert str(error)


def test_unknown_keys_are_named_in_checkpoints_and_runs(config):
    for check in (check_checkpoint, check_run):
        with pytest.raises(SchemaError, match=r"keys that this kit does not know: magic, more"):
            check(config | {"more": 1, "magic": 2})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_named(tmp_path, number):
    write_text(tmp_path / "config.json", '{"training": {"meta_lr": [0, NUMBER]}}'.replace("NUMBER", number))
    with pytest.raises(SchemaError, match=r"training\.meta_lr\.1 = -?(nan|inf), which is no finite number"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("opened", ["[", '{"a":', '{"a":['])
@pytest.mark.parametrize("n", [101, 900, 200_000])
def test_nesting_is_refused_at_any_depth(tmp_path, folder, opened, n):
    closed = {"[": "]", '{"a":': "}", '{"a":[': "]}"}[opened]
    config = (folder / "config.json").read_text(encoding="utf-8")
    deep = opened * n + "1" + closed * n
    write_text(folder / "config.json", config.replace('"seed": 0', f'"seed": {deep}'))
    with pytest.raises(CheckpointError, match="is nested more than 100 deep"):
        load_checkpoint(folder)
    with pytest.raises(ValueError, match="is nested more than 100 deep"):
        read_run(folder)


def test_numbers_beyond_all_settings_and_files_beyond_all_sizes_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    for number, message in ((2**64, "beyond 64 bits"), (10**4400, "not valid JSON|beyond 64 bits")):
        path.write_text('{"a": 1' + "0" * 4400 + "}" if number > 2**64 else f'{{"a": {number}}}')
        with pytest.raises(SchemaError, match=message):
            read_json(path)
    monkeypatch.setattr(schema, "MAX_BYTES", 10)
    with pytest.raises(SchemaError, match="more than 10 bytes"):
        read_json(path)


def test_a_network_too_large_is_refused_before_it_is_made(folder, monkeypatch):
    def make(*_):
        raise AssertionError("it was made")

    monkeypatch.setattr("fewshot_kit.training.build.make_learner", make)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for changes in ({"width": 4096}, {"size": 10**6}, {"width": 1024, "size": 1024}, {"size": 8, "stride": 1}):
        config["hyper_parameters"]["network"] |= {"width": 8, "size": 28, "stride": 2, **changes}
        write_text(folder / "config.json", json.dumps(config))
        with pytest.raises(CheckpointError, match=r"config\.json has hyper_parameters that cannot be: (width|size)"):
            load_checkpoint(folder)


def test_a_run_of_this_kit_with_a_damaged_config_is_named(folder):
    for content, message in (('{"learner": "maml", "training": {}, "magic": 1}', "does not know: magic"), ('{"a": NaN}', "a = nan")):
        write_text(folder / "config.json", content)
        with pytest.raises(ValueError, match=message) as caught:
            read_run(folder)
        assert str(folder / "config.json") in str(caught.value)
        with pytest.raises(CheckpointError):
            read_config(folder)


def test_half_a_surrogate_pair_is_no_text(tmp_path):
    for text in (r'{"a": "\ud800"}', r'{"\udcff": 1}', r'{"a": [{"b": ["x\ud800"]}]}'):
        write_text(tmp_path / "config.json", text)
        with pytest.raises(SchemaError, match=r"a text that is no Unicode \('x?\\ud[8c]"):
            read_json(tmp_path / "config.json")


def test_what_is_as_long_as_a_book_is_not_repeated_whole(config, tmp_path):
    long = "x" * 10**5
    nested = {"hyper_parameters": {**config["hyper_parameters"], "update_rule": long}}
    for changes in ({long: 1}, {"learner": long}, {"sha256": [long]}, nested):
        with pytest.raises(SchemaError) as caught:
            check_checkpoint(config | changes)
        assert len(str(caught.value)) < 1_000
    write_text(tmp_path / "config.json", json.dumps({long: {long: [2**64]}}))
    with pytest.raises(SchemaError) as caught:
        read_json(tmp_path / "config.json")
    assert len(str(caught.value)) < 1_000


BEGUN = {"learner": "reptile", "hyper_parameters": {"network": {"kind": "conv4"}}, "training": {"source": {}}}
NOT_BEGUN = {
    "unknown learner 'magic'": {"learner": "magic"},
    "'network' is missing": {"hyper_parameters": {}},
    "names no learner and hyper_parameters": {"hyper_parameters": []},
    "hyper_parameters that this kit does not know: magic": {"hyper_parameters": {"network": {"kind": "conv4"}, "magic": 1}},
    "inner_lr = 'x', but wants a number": {"hyper_parameters": {"network": {"kind": "conv4"}, "inner_lr": "x"}},
    "training = 3, but wants an object": {"training": 3},
    "has no training.source": {"training": {}},
    "training that this kit does not know: magic": {"training": {"source": {}, "magic": 1}},
    "training.source that this kit does not know: magic": {"training": {"source": {"magic": 1}}},
    "training.source that this kit does not know: kind": {"training": {"source": {"kind": "magic"}}},
    "training.meta_lr = 'x', but wants a number": {"training": {"source": {}, "meta_lr": "x"}},
    "has a training that cannot be: meta_lr": {"training": {"source": {}, "meta_lr": -1}},
    "start = 3, but wants": {"start": 3},
    "versions = 3, but wants": {"versions": 3},
    "does not know: magic": {"magic": 1},
}


def test_a_run_without_its_younger_settings_is_one_with_their_defaults():
    assert check_begun(BEGUN) == TrainConfig()


@pytest.mark.parametrize("message", NOT_BEGUN)
def test_what_cannot_be_a_run_is_named(message):
    with pytest.raises(SchemaError, match=re.escape(message)):
        check_begun(BEGUN | NOT_BEGUN[message])
