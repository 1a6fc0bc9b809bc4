"""Shared fixtures, and one thread for every process of the tests."""

import os

import pytest
import torch

# For the kernels, servers and commands that the tests start: they run side by side, and teams of threads would wait for one another
# (a notebook that evaluates takes several times as long).
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # here torch has read its environment before


@pytest.fixture(scope="session")
def _cache_of_this_run(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(_cache_of_this_run, monkeypatch):
    """Keep decoded pictures in a folder of this run, not in the cache of whoever runs the tests."""
    monkeypatch.setenv("FEWSHOT_CACHE", str(_cache_of_this_run))
