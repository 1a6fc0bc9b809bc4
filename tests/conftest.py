"""Shared fixtures."""

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the tests' tensors are so small that threads cost more than they give


@pytest.fixture(scope="session")
def _cache_of_this_run(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(_cache_of_this_run, monkeypatch):
    """Keep decoded pictures in a folder of this run, not in the cache of whoever runs the tests."""
    monkeypatch.setenv("FEWSHOT_CACHE", str(_cache_of_this_run))
