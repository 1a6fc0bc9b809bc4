"""Shared fixtures. Tests of real data run where FEWSHOT_DATA names them."""

import os

import pytest
import torch

needs_data = pytest.mark.skipif(
    not os.environ.get("FEWSHOT_DATA"), reason="FEWSHOT_DATA is not set: it names the folder of the real data sets (see README)"
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the tests' tensors are so small that threads cost more than they give
