"""The examples of docs/from-what-you-have.md, run in the order of the page."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run, animate
from filtertrack.capture.checkpoint_names import read_names
from filtertrack.cli import main
from filtertrack.snapshot import describe

PAGE = (Path(__file__).parents[1] / "docs" / "from-what-you-have.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_model):
    """A folder of three checkpoints, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for epoch in (2, 3, 4):
        tiny_model.save(f"checkpoints/epoch_{epoch:02d}-val_loss{1 / epoch:.2f}.keras")
    return tmp_path


def test_the_examples_run(folder, tiny_model, capsys):
    """Python and shell, as the page shows them."""
    import keras

    names = {
        "model": tiny_model,
        "pretrained": tiny_model,
        "tuned": keras.models.clone_model(tiny_model),
        "array": np.zeros((3, 3, 3, 4), np.float32),
        "kernel": np.ones((3, 3, 3, 4), np.float32),
    }
    blocks = re.findall(r"```(python|sh)\n(.*?)```", PAGE, re.DOTALL)
    assert [language for language, _ in blocks].count("sh") == 3
    for language, code in blocks:
        if language == "python":
            exec(code, names)  # noqa: S102 - the page's own code
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line)
            assert program == "filtertrack"
            assert main(words) == 0, capsys.readouterr().err
    steps = {
        "old": [2, 3, 4],
        "by-template": [2, 3, 4],
        "finetuned": [1, 2],
        "seeds": [10, 20],
        "files": [2, 4],
        "arrays": [0, 1, 2],
    }
    assert {name: Run(folder / "runs" / name).steps for name in steps} == steps
    assert not (folder / "runs" / "planned").exists()
    assert Run(folder / "runs" / "by-template").moment(4).metrics == {"val_loss": 0.25}
    assert (folder / "filters.png").exists()
    assert animate("runs/old", "a.gif").frames == 3


def test_the_names_of_the_page_are_read_as_it_says():
    """Each name of the table beside one of the next epoch or step."""
    rows = re.findall(r"^\| (`.*?) \| (epoch 12|step 2000) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 2
    for names, described in rows:
        for name in re.findall("`(.*?)`", names):
            number = described.partition(" ")[2]
            other = name.replace(number, str(int(number) + 1))
            moments = read_names([name, other]).moments
            assert describe(moments[0]) == described, name
