"""The commands ``explain`` and ``patches``."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Run, Snapshot
from filtertrack.cli import main
from filtertrack.response import ProbedLayer, StoredProbes

PNG = b"\x89PNG"


@pytest.fixture
def first_run(tmp_path, conv_info):
    """A run of a first layer of colour pictures, with two probes; and a picture."""
    info = conv_info("conv1", (3, 3, 3, 4), preprocessing=(), padding="same", activation="relu")
    run = Run.create(tmp_path / "run", [info])
    rng = np.random.default_rng(0)
    layer = ProbedLayer("conv1", "its output", True, (9, 11), (9, 11))
    images = rng.uniform(size=(2, 9, 11, 3)).astype("f4")
    run.store_probes(StoredProbes({"x": images}, {"conv1": layer}, 0))
    arrays = {info.kernel: rng.normal(size=(3, 3, 3, 4)), info.bias: np.zeros(4)}
    run.append(Snapshot(Moment(0, 0), arrays))
    pixels = rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return run


def test_explain_draws_a_picture_or_a_probe(first_run, tmp_path, capsys):
    """Beside the run, named by the image; or into the given file."""
    cat = str(tmp_path / "cat.png")
    assert main(["explain", str(first_run.path), "--image", cat, "--dpi", "50"]) == 0
    assert main(["explain", str(first_run.path), "--probe", "1", "--dpi", "50"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [name.rpartition("/")[2] for name in printed] == [
        "explain-cat-dpi-50.png",
        "explain-probe-1-dpi-50.png",
    ]
    assert all(Path(name).read_bytes().startswith(PNG) for name in printed)
    assert main(["explain", str(first_run.path), "--image", cat, "--filter", "3"]) == 0
    assert capsys.readouterr().out.strip().endswith("/explain-cat-filter-3.png")
    output = tmp_path / "a.pdf"
    options = ["--filter", "3", "--at", "2,5", "--step", "0", "--layers", "conv1"]
    command = ["explain", str(first_run.path), "--probe", "0", *options, "-o", str(output)]
    assert main(command) == 0
    assert output.read_bytes().startswith(b"%PDF")


def test_patches_draws_the_chosen_filters(probed_run, tmp_path, capsys):
    output = tmp_path / "a.png"
    options = ["--layer", "conv2", "--steps", "0,2", "--filters", "1-3,0", "--dpi", "50"]
    assert main(["patches", str(probed_run.path), *options, "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert output.read_bytes().startswith(PNG)
    command = ["patches", str(probed_run.path), "--layers", "conv2", "--dpi", "50"]
    assert main(command) == 0
    assert capsys.readouterr().out.strip().endswith("patches-conv2-dpi-50.png")
    assert main(["patches", str(probed_run.path), "--dpi", "50"]) == 0
    assert capsys.readouterr().out.strip().endswith("patches-dpi-50.png")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["explain", "{run}"], "one of the arguments --image --probe is required"),
        (
            ["explain", "{run}", "--probe", "2"],
            "probe 2: the run has 2 probes, numbered from 0 to 1",
        ),
        (["explain", "{run}", "--probe", "0", "--at", "3"], "expected a row and a column"),
        (
            ["explain", "{run}", "--probe", "0", "--at", "9,0"],
            "at: expected a row from 0 to 8, got 9",
        ),
        (["explain", "{run}", "--probe", "0", "--filter", "4"], "filter: expected"),
        (["explain", "{run}", "--image", "no.png"], "cannot read the picture 'no.png'"),
        (["explain", "{run}", "--probe", "0", "-o", "a.gif"], "expected a name that ends in"),
        (["patches", "{run}"], "holds no responses to its probes"),
        (["patches", "{run}", "--steps", "7"], "no snapshot at step 7"),
        (["patches", "{run}", "--filters", "0-999999999999"], "filters: expected 1 to 64"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_one_line(first_run, capsys, command, message):
    """And the exit code 2."""
    try:
        code = main([word.format(run=first_run.path) for word in command])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err
