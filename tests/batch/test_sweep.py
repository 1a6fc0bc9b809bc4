"""Running a sweep: every cell once, whatever fails or is killed, by this machine's cores or another's scheduler."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pandas
import psutil
import pytest

from fewshot_kit.batch import cells as cells_module
from fewshot_kit.batch.cells import ERROR, EXECUTED, FAILED, RESULT, cells_of, is_done, run_cell
from fewshot_kit.batch.sweep import run_sweep
from fewshot_kit.batch.sweep_file import Sweep, read_sweep
from fewshot_kit.batch.table import CSV, PARQUET, read_cells, write_table
from fewshot_kit.training.checkpoint_folder import PRETRAINED
from sweeps import begun, notebook

pytestmark = pytest.mark.filterwarnings("ignore")  # of kernels and clusters


def sweep_of(folder: Path, *rows: dict) -> Sweep:
    defaults = {"number": 1, "rate": 0.0, "word": "a", "is_on": False}
    return Sweep(notebook(folder), tuple({**defaults, **row} for row in rows))


def written(folder: Path, n: int, rate: float) -> Path:
    notebook(folder)
    numbers = ", ".join(map(str, range(n)))
    (folder / "s.yaml").write_text(f"notebook: work.ipynb\nparameters: {{rate: {rate}}}\ngrid: {{number: [{numbers}]}}")
    return folder / "s.yaml"


def command(file: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "fewshot_kit", "sweep", str(file), "--out", str(out), *more]


def squares(out: Path) -> list[int]:
    table = pandas.read_parquet(out / PARQUET)
    assert list(table["key"]) == sorted(set(table["key"])) and list(pandas.read_csv(out / CSV)["key"]) == list(table["key"])
    return sorted(table["square"].astype(int))


def test_a_cell_is_done_once_and_its_key_is_its_content(tmp_path):
    sweep = sweep_of(tmp_path, {"number": 3}, {"number": 3}, {"number": 4})
    three, four = cells_of(sweep)
    assert three.key != four.key and run_cell(three, tmp_path) and run_cell(three, tmp_path) and begun(tmp_path) == [3]
    folder = three.folder(tmp_path)
    assert (folder / EXECUTED).is_file() and not (folder / ERROR).exists() and not is_done(four, tmp_path)
    table = read_cells(tmp_path)
    assert table.loc[0, ["status", "param.number", "square", "accuracy.mean", "list"]].tolist() == ["done", 3, 9, 0.5, "[1, 2]"]
    text = sweep.notebook.read_text()
    sweep.notebook.write_text(text.replace("number**2", "number**3"))
    assert cells_of(sweep)[0].key != three.key, "another notebook is another cell"
    sweep.notebook.write_text(text)
    assert cells_of(sweep)[0].key == three.key


def test_a_checkpoint_with_other_settings_makes_another_cell(tmp_path):
    shutil.copytree(PRETRAINED / "reptile-omniglot", tmp_path / "mine")
    sweep = sweep_of(tmp_path, {"checkpoint": "mine"})  # a folder beside the notebook, where cells run
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    keys = {cells_of(sweep)[0].key}
    for change in ({"settings": []}, {"sha256": "0" * 64}):
        (tmp_path / "mine" / "config.json").write_text(json.dumps(config | change))
        keys.add(cells_of(sweep)[0].key)
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config | {"results": []}))
    assert len(keys) == 3 and cells_of(sweep)[0].key in keys, "what was measured changes no answer"


def test_other_pictures_in_a_persons_folder_make_another_cell(tmp_path):
    (tmp_path / "mine" / "cats").mkdir(parents=True)
    sweep, keys = sweep_of(tmp_path, {"checkpoint": "", "word": "folder:mine"}), set()
    picture = tmp_path / "mine" / "cats" / "1.png"
    for content in ("a", "abc"):
        picture.write_text(content)
        keys.add(cells_of(sweep)[0].key)
    assert len(keys) == 2 and cells_of(sweep)[0].key in keys
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine" / "dogs").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "mine")
    for kind in ("folder", "boxes"):
        linked = sweep_of(tmp_path, {"checkpoint": "", "word": f"{kind}:mine"})
        before = cells_of(linked)[0].key
        (tmp_path / "elsewhere" / f"{kind}.png").touch()
        assert cells_of(linked)[0].key != before, "pictures are read through links"
    (tmp_path / "mine" / "dogs").unlink()
    assert cells_of(sweep)[0].key in keys
    picture.unlink()
    (tmp_path / "mine" / "cats" / "2.png").symlink_to(tmp_path / "nowhere")
    keys.add(cells_of(sweep)[0].key)
    for wrong in ("folder:" + "x" * 5000, "folder:a\0b", "hf:nobody/nothing", "folder:"):
        assert len(cells_of(sweep_of(tmp_path, {"checkpoint": "", "word": wrong}))) == 1, "the notebook says what is wrong with it"
    shutil.rmtree(tmp_path / "mine")
    assert len(keys) == 3 and cells_of(sweep)[0].key not in keys


def result(out: Path, key: str, content: str) -> Path:
    (out / "cells" / key).mkdir(parents=True, exist_ok=True)
    (out / "cells" / key / RESULT).write_text(content)
    return out / "cells" / key / RESULT


def test_results_of_several_types_and_with_our_names_are_in_the_table(tmp_path):
    rest = {"notebook": "work.ipynb", "cell_seconds": 1.0, "kit_version": "1"}
    for key, found in (("a", {"x": 1, "big": 1}), ("b", {"x": "one", "big": 10**30, "status": "mine"}), ("c", {"x": True})):
        result(tmp_path, key, json.dumps({"result": found, "parameters": {"word": None, "number": key}, **rest}))
    table = write_table(tmp_path)
    assert table["x"].tolist() == ["1", "one", "true"] and table["big"].tolist()[:2] == ["1", str(10**30)]
    assert table["status"].tolist() == ["done"] * 3 and table["result.status"].tolist()[1] == "mine"
    assert pandas.read_parquet(tmp_path / PARQUET)["key"].tolist() == ["a", "b", "c"]


def test_of_a_cell_whose_weights_have_changed_since_the_newest_is_in_the_table(tmp_path):
    """The key of another checkpoint, or of another notebook's code, is another; asked was the same."""
    rest = {"notebook": "work.ipynb", "cell_seconds": 1.0, "kit_version": "1"}
    for age, (key, number, square) in enumerate([("z", 1, 0), ("b", 1, 1), ("a", 2, 4)], start=-10):
        file = result(tmp_path, key, json.dumps({"result": {"square": square}, "parameters": {"number": number}, **rest}))
        os.utime(file, (time.time() + age,) * 2)
    assert read_cells(tmp_path)[["key", "square"]].values.tolist() == [["a", 4], ["b", 1]]
    (tmp_path / "cells" / "c").mkdir()
    failure = {"notebook": "work.ipynb", "parameters": {"number": 1}, "error": "it fails now", "attempts": 1}
    (tmp_path / "cells" / "c" / ERROR).write_text(json.dumps(failure))
    assert read_cells(tmp_path)[["key", "status"]].values.tolist() == [["a", "done"], ["c", "failed"]]
    os.utime(tmp_path / "cells" / "c" / ERROR, (time.time() - 99,) * 2)
    assert read_cells(tmp_path)["key"].tolist() == ["a", "b"], "it was mended since"


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"parameters": 1, "result": {}}'])
def test_a_damaged_result_is_named(content, tmp_path):
    file = result(tmp_path, "a", content)
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} is damaged"):
        write_table(tmp_path)


def test_a_cell_that_fails_is_kept_and_tried_again(tmp_path):
    fails, once = cells_of(sweep_of(tmp_path, {"word": "fails"}, {"number": 2, "word": "once"}))
    assert not run_cell(fails, tmp_path, retries=1) and begun(tmp_path) == [1, 1]
    folder = fails.folder(tmp_path)
    assert (folder / FAILED).is_file() and not (folder / RESULT).exists() and "this cell fails" in (folder / ERROR).read_text()
    assert run_cell(once, tmp_path, retries=1) and not (once.folder(tmp_path) / ERROR).exists()
    table = write_table(tmp_path).set_index("status")
    assert "this cell fails" in table.loc["failed", "error"] and table.loc["done", "square"] == 4


def test_a_result_that_is_no_json_is_a_failure(tmp_path, monkeypatch):
    (cell,) = cells_of(sweep_of(tmp_path, {}))
    text = cell.notebook.read_text().replace("print(json.dumps(", "print(str(")
    cell.notebook.write_text(text)
    assert not run_cell(cell, tmp_path) and not is_done(cell, tmp_path)


def test_killed_between_the_notebook_and_its_result_it_is_run_again(tmp_path, monkeypatch):
    (cell,) = cells_of(sweep_of(tmp_path, {"number": 5}))

    def killed(target, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells_module, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, tmp_path)
    assert not is_done(cell, tmp_path) and run_cell(cell, tmp_path) and begun(tmp_path) == [5, 5]


def run_killed(file: Path, out: Path, seconds: float, whom: str) -> None:
    """Run a sweep, and after so many seconds kill its driver, or one of its workers, with SIGKILL."""
    process = subprocess.Popen(command(file, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return
    except subprocess.TimeoutExpired:
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    if whom == "driver":
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, f"these outlive their driver: {[child.cmdline() for child in alive]}"
        return
    workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    for worker in workers[:1]:
        worker.kill()
    process.wait(240)


@pytest.mark.parametrize("whom", ["driver", "worker"])
def test_after_kills_at_random_moments_every_cell_is_there_once(whom, tmp_path):
    file, out, chance = written(tmp_path, 3, 0.3), tmp_path / "out", random.Random(whom)
    for _ in range(2):
        run_killed(file, out, 4 + 6 * chance.random(), whom)
    assert subprocess.run(command(file, out, "--workers", "2"), capture_output=True, timeout=240).returncode == 0
    assert squares(out) == [0, 1, 4]
    n_begun = len(begun(tmp_path))
    again = subprocess.run(command(file, out), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "3 done before" in again.stdout and len(begun(tmp_path)) == n_begun


def test_two_sweeps_in_one_folder_do_not_disturb_one_another(tmp_path):
    file, out = written(tmp_path, 3, 0.5), tmp_path / "out"
    both = [subprocess.Popen(command(file, out, "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.wait(240) for process in both] == [0, 0], [process.stderr.read() for process in both]
    assert squares(out) == [0, 1, 4] and sorted(begun(tmp_path)) == [0, 1, 2], "each cell was run by one of them"


def test_a_scheduler_and_workers_in_processes_of_their_own_give_the_same_table(tmp_path):
    file, out, where = written(tmp_path, 3, 0.1), tmp_path / "out", tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        for words in (
            ["dask_scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(where), "--no-dashboard"],
            *[["dask_worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", str(where)]] * 2,
        ):
            name, *rest = words
            process = subprocess.Popen([*dask[:-1], f"distributed.cli.{name}", *rest], cwd=tmp_path, **quiet)
            stack.callback(process.wait, 30)
            stack.callback(process.send_signal, signal.SIGTERM)
            deadline = time.monotonic() + 30
            while not where.is_file() and time.monotonic() < deadline:
                time.sleep(0.2)
        address = json.loads(where.read_text())["address"]
        assert address.startswith("tcp://")
        done = subprocess.run(command(file, out, "--scheduler", address), capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    assert squares(out) == [0, 1, 4]
    here = tmp_path / "here"
    assert subprocess.run(command(file, here), capture_output=True, timeout=240, env=os.environ).returncode == 0
    columns = ["key", "status", "square", "param.number"]
    pandas.testing.assert_frame_equal(pandas.read_parquet(out / PARQUET)[columns], pandas.read_parquet(here / PARQUET)[columns])


def test_a_cell_that_fails_once_is_tried_again_by_the_workers(tmp_path):
    assert run_sweep(sweep_of(tmp_path, {"word": "once"}), tmp_path / "a", workers=1, retries=1).done == 1
    assert run_sweep(sweep_of(tmp_path, {"word": "fails"}), tmp_path / "b", workers=1, retries=2).failed == 1
    (error,) = (tmp_path / "b").glob(f"cells/*/{ERROR}")
    assert json.loads(error.read_text())["attempts"] == 3


def test_what_a_worker_could_not_write_down_is_told(tmp_path):
    file, out = written(tmp_path, 2, 0), tmp_path / "out"
    out.mkdir()
    (out / "cells").touch()  # where a folder is wanted
    done = subprocess.run(command(file, out, "--workers", "1"), capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and "2 failed" in done.stdout and "Traceback" not in done.stderr
    assert re.search(r"a cell could not be run: .*cells", done.stderr), done.stderr


def test_a_folder_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    def refused(path, **how):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OSError, match="out could not be written: it is not allowed"):
        run_sweep(sweep_of(tmp_path, {}), tmp_path / "out")


def test_a_package_that_is_missing_is_told(tmp_path, monkeypatch, capsys):
    from fewshot_kit.__main__ import main

    for name in [name for name in sys.modules if name.startswith("fewshot_kit.batch.")]:
        if name != "fewshot_kit.batch.commands":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "papermill", None)
    assert main(["sweep", str(written(tmp_path, 2, 0))]) == 1
    assert "a sweep needs more packages" in capsys.readouterr().err


def test_wrong_words_are_told(tmp_path):
    from fewshot_kit.__main__ import main

    file = written(tmp_path, 2, 0)
    for words in (["--workers", "0"], ["--retries", "-1"], ["--workers", "2", "--scheduler", "tcp://localhost:1"]):
        assert main(["sweep", str(file), "--out", str(tmp_path / "out"), *words]) == 1
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 1 and read_sweep(file) and not (tmp_path / "out").exists()
