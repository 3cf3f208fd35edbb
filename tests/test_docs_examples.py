"""The examples of README.md and of the pages of ``docs``, run as they are written."""

import functools
import re
import shlex
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from filtertrack import FilterTracker, Run
from filtertrack.cli import main

pytest.importorskip("keras")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "from-what-you-have.md": "test_from_what_you_have.py",
    "pytorch.md": "test_torch_recipes.py and test_jax_recipes.py",
    "several-fits.md": "test_callback_several_fits.py",
    "trackers.md": "test_callback_trackers.py",
}
"""Pages whose examples are run by other tests."""
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if re.search("```(python|sh)", page.read_text(encoding="utf-8")) and page.name not in ELSEWHERE
]
LINES_LEFT_OUT = ("view(", "s3://", "lambda layer: …", "layer.conv.kernel")
"""Parts of lines that need a server, object storage or a layer of the reader's own."""
BLOCKS_LEFT_OUT = ("torch.distributed", "s3://")
"""Parts of examples that need several processes or object storage."""
SERVERS = {"view", "demo"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of a small network on colour pictures, a file of it, and two photographs."""
    import keras

    folder = tmp_path_factory.mktemp("examples")
    x, y = pictures()
    model = network(keras)
    model.fit(
        x[:32],
        y[:32],
        epochs=31,
        batch_size=32,
        verbose=0,
        callbacks=[FilterTracker(folder / "runs" / "exp1", probes=x[:8])],
    )
    for name in ("exp2", "demo", "digits"):
        shutil.copytree(folder / "runs" / "exp1", folder / "runs" / name)
    model.save(folder / "model.keras")
    shutil.copy(folder / "model.keras", folder / "trained.keras")
    (folder / "models").mkdir()
    shutil.copy(folder / "model.keras", folder / "models" / "trained.keras")
    for number, name in enumerate(("cat.jpg", "cup.jpg")):
        Image.fromarray((255 * x[number]).astype(np.uint8)).save(folder / name)
    return folder


def pictures():
    """Return 64 pictures of 28x28 in colour with values from 0 to 1, and their classes."""
    rng = np.random.default_rng(0)
    return rng.random((64, 28, 28, 3), np.float32), np.arange(64) % 2


def network(keras):
    """Return a compiled network of four small convolutions, one of them in a block."""
    conv = functools.partial(keras.layers.Conv2D, activation="relu")
    layers = [keras.Input((28, 28, 3)), keras.layers.Rescaling(2.0), conv(48, 5, name="conv1")]
    layers += [conv(8, 3, name="conv2"), conv(8, 3, name="conv3")]
    layers += [keras.Sequential([conv(4, 3, name="conv1")], name="block1")]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def names(folder, monkeypatch, tmp_path):
    """What the examples use without defining it."""
    import keras

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    digits = (np.zeros((64, 28, 28), np.uint8), np.arange(64) % 10)
    monkeypatch.setattr("keras.datasets.mnist.load_data", lambda: (digits, digits))
    x, y = pictures()
    model = network(keras)
    return {
        "FilterTracker": FilterTracker,
        "Run": Run,
        "array": np.random.default_rng(0).normal(size=(5, 5, 3, 8)).astype(np.float32),
        "discriminator": model,
        "first": np.ones((4, 3, 5, 5), np.float32),
        "images": x[:2],
        "keras": keras,
        "model": model,
        "second": np.ones((4, 4, 3, 3), np.float32),
        "x": x,
        "x_val": x,
        "y": y,
        "y_val": y,
    }


def programs(text):
    """Yield each example in Python of a page, without what cannot run here."""
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if not any(each in code for each in BLOCKS_LEFT_OUT):
            lines = code.replace("range(10_000)", "range(200)").splitlines()
            yield "\n".join(
                line for line in lines if not any(each in line for each in LINES_LEFT_OUT)
            )


def commands(text):
    """Yield the words of each complete command of a page that starts no server."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(filtertrack [^`\n]+)`", text)
    for line in lines:
        program, *words = shlex.split(line, comments=True) or [""]
        has_source = len(words) > 1 and "/" in words[1] and "s3://" not in line
        if program == "filtertrack" and has_source and words[0] not in SERVERS:
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, names, capsys):
    """Each example in Python in the order of the page, and then each command."""
    text = page.read_text(encoding="utf-8")
    for code in programs(text):
        if ".fit(" in code:
            shutil.rmtree("runs/exp1")
            shutil.rmtree("runs/digits")
        exec(code, names)  # noqa: S102 - the page's own code
        plt.close("all")
    for words in commands(text):
        assert main(words) == 0, (words, capsys.readouterr().err)
