"""Two processes on one machine train the weights of one process."""

import subprocess
import sys

import pytest
import safetensors.torch
import torch

from fewshot_kit.training import distributed

TRAIN = [
    "-m", "fewshot_kit", "train", "maml", "--dataset", "characters_by_alphabet", "--width", "8", "--train-way", "3", "--train-query", "2",
    "--meta-batch-size", "3", "--outer-steps", "4", "--evaluate-every", "2", "--evaluation-episodes", "4",
]  # fmt: skip


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=240)


def torchrun(*arguments: str) -> subprocess.CompletedProcess:
    return run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *TRAIN, *arguments)


def test_two_processes_train_the_weights_of_one(tmp_path):
    # Three tasks for two processes: shares of two and one, which must weigh two to one.
    one, two = run(*TRAIN, "--out", str(tmp_path / "one")), torchrun("--out", str(tmp_path / "two"))
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    states = [safetensors.torch.load_file(tmp_path / name / "last.safetensors") for name in ("one", "two")]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-5, atol=1e-5)
    assert two.stdout.count("validation, best weights") == 1  # the first process alone reports
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 2

    again = torchrun("--out", str(tmp_path / "two"))
    assert again.returncode != 0 and "holds a run already" in again.stderr


def test_more_processes_than_tasks_is_an_error(monkeypatch):
    monkeypatch.setattr(distributed, "n_processes", lambda: 3)
    with pytest.raises(ValueError, match=r"3 processes cannot share 2 task\(s\) a step; raise meta_batch_size, or start fewer"):
        distributed.share([0, 1])


def test_one_process_does_all_of_it():
    values = [torch.ones(2), torch.tensor(3.0)]
    distributed.add_up(values, weight=0.5)
    assert distributed.share([1, 2, 3]) == [1, 2, 3]
    assert values[0].tolist() == [1, 1] and values[1] == 3  # nothing to add up, so nothing to weigh
