"""Engines: every one gives the plain loop's gradient, whatever the number of tasks; memory that runs out costs time, not the run."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from synthetic import noisy_episodes
from test_maml import episodes, tiny

from fewshot_kit.learners.configs import MAMLConfig, MetaSGDConfig
from fewshot_kit.learners.engines import Chunks, pick_engine
from fewshot_kit.learners.meta_sgd import MetaSGD
from fewshot_kit.networks.devices import map_in_threads, torch_threads

KINDS = {
    "second order": {},
    "first order": {"first_order": True},
    "head only": {"adapt_only": "head"},
    "no inner step": {"train_inner_steps": 0},
    "Meta-SGD": {"kind": MetaSGD, "config": MetaSGDConfig},
}


@pytest.fixture
def two_threads():
    with torch_threads(2):
        yield


def gradient(engine: str, n_tasks: int, dtype: torch.dtype, chunks: int = 32, **settings) -> tuple[float, dict[str, torch.Tensor]]:
    learner = tiny(**settings).to(dtype)
    learner.engine, learner.chunks = engine, Chunks(chunks)
    drawn = [episode.map_images(lambda images: images.to(dtype)) for episode in noisy_episodes(n_tasks)]
    loss = learner.accumulate_meta_grad(drawn)
    return loss, {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("engine", ["threads", "stack"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_every_engine_gives_the_loops_gradient(engine, kind, dtype, tolerance, two_threads):
    expected_loss, expected = gradient("loop", 5, dtype, **KINDS[kind])
    loss, got = gradient(engine, 5, dtype, **KINDS[kind])
    assert loss == pytest.approx(expected_loss, abs=tolerance)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance)


def test_threads_give_the_same_bits_every_time(two_threads):
    first, second = (gradient("threads", 5, torch.float32)[1] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_chunks_of_a_stack_add_up():
    expected, got = gradient("loop", 5, torch.float64)[1], gradient("stack", 5, torch.float64, chunks=2)[1]  # 2 + 2 + 1 tasks
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-10, atol=1e-10)


def test_out_of_memory_halves_the_chunk_and_goes_on():
    seen = []

    def work(chunk):
        if len(chunk) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(len(chunk))
        return sum(chunk)

    chunks = Chunks(13)
    with pytest.warns(RuntimeWarning, match="13 tasks at a time do not fit into the GPU's memory: going on with 6, or fewer") as warned:
        assert sum(chunks.map(work, list(range(14)))) == sum(range(14))
    assert seen == [3, 3, 3, 3, 2] and len(warned) == 1  # 13 -> 6 -> 3
    assert len(list(chunks.map(work, list(range(6))))) == 2  # it is remembered


def test_a_task_that_fits_nowhere_is_an_error():
    def work(chunk):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(RuntimeWarning), pytest.raises(torch.OutOfMemoryError):
        list(Chunks(2).map(work, [1, 2]))


def test_the_engine_is_chosen_by_the_device(two_threads):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [pick_engine("auto", cpu, 8), pick_engine("auto", cpu, 1), pick_engine("auto", gpu, 8)] == ["threads", "loop", "stack"]
    with pytest.raises(ValueError, match="engine must be one of auto, loop, threads, stack, not 'vmap'"):
        pick_engine("vmap", cpu, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU here")
def test_a_stack_on_a_gpu_gives_the_loops_gradient():
    results = []
    for name in ("loop", "stack"):
        learner = tiny(config=MAMLConfig).cuda()
        learner.engine = name
        learner.accumulate_meta_grad(episodes(4))
        results.append([p.grad for p in learner.parameters() if p.grad is not None])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


def test_threads_that_are_started_later_have_as_many_torch_threads_as_before(two_threads):
    map_in_threads(lambda item: item, [1, 2, 3])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
