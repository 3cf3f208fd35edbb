"""``filtertrack plot``."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from filtertrack import plot_filters
from filtertrack.cli import main
from filtertrack.cli_options import make_parser
from filtertrack.render.look import LOOK_OPTIONS


def actions():
    """Return the arguments of the command by the names of their values."""
    parser = make_parser("plot")._subparsers._group_actions[0].choices["plot"]
    return {action.dest: action for action in parser._actions}


def test_every_look_option_is_an_argument():
    """With its choices and default; the theme is light."""
    for option in LOOK_OPTIONS:
        action = actions()[option.name]
        assert action.default == ("light" if option.name == "theme" else option.default)
        assert tuple(action.choices or ()) == option.choices


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "filters.png"),
        (["--layers", "conv2"], "filters-conv2.png"),
        (["--step", "1", "--outline"], "filters-step-1-outline.png"),
        (["--width", "9cm", "--dpi", "100"], "filters-width-9cm-dpi-100.png"),
    ],
)
def test_a_picture_of_a_run_lies_in_its_folder(run, capsys, words, name):
    """Its name has every option that is not the default."""
    assert main(["plot", str(run.path), *words]) == 0
    assert capsys.readouterr().out == f"{run.path}/{name}\n"
    with Image.open(f"{run.path}/{name}") as image:
        assert image.format == "PNG"


def test_a_picture_of_a_file_lies_beside_it(tmp_path, capsys, monkeypatch):
    """Its name begins with the whole name of the file: no other file has the same picture."""
    drawn = []
    monkeypatch.setattr(
        "filtertrack.capture.filter_plot.plot_filters",
        lambda source, output, **_: drawn.append((source, str(output))),
    )
    file = str(tmp_path / "model.keras")
    assert main(["plot", file]) == 0
    assert drawn == [(file, f"{tmp_path}/model.keras-filters.png")]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_file_is_that_of_python(run, tmp_path, ending):
    """Byte for byte, with every kind of option."""
    file, expected = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    words = "--layers conv* --step 2 --filters 0-1,3 --no-delta --scale layer --zero-centred"
    words += " --outline --theme dark --columns 2 --width 12cm --height 20cm --dpi 100"
    assert main(["plot", "-o", str(file), str(run.path), *words.split()]) == 0
    plot_filters(
        run,
        expected,
        layers="conv*",
        step=2,
        filters=[0, 1, 3],
        delta=False,
        scale="layer",
        zero_centred=True,
        outline=True,
        theme="dark",
        columns=2,
        width="12cm",
        height="20cm",
        dpi=100,
    )
    assert file.read_bytes() == expected.read_bytes()


def test_several_layers_after_the_run(run, tmp_path):
    """As for the other commands: names with spaces between them."""
    files = [tmp_path / name for name in ("a.png", "b.png")]
    size = ["--dpi", "72"]
    assert main(["plot", str(run.path), "-o", str(files[0]), *size, "--layers", "conv1,conv2"]) == 0
    assert (
        main(["plot", "-o", str(files[1]), *size, "--layers", "conv1", "conv2", str(run.path)]) == 0
    )
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--step", "9"], "step: 'RUN' has no snapshot at step 9"),
        (["RUN", "--axes", "HWIO"], "axes: a run knows the axes of its kernels"),
        (["RUN", "--columns", "0"], "columns: expected a whole number from 1 on, got 0"),
        (["RUN", "-o", "a.gif"], "output 'a.gif': expected a name that ends in .png,"),
        (["RUN", "--layers", "conv9"], "no layer 'conv9' in 'RUN'"),
        (["RUN/nothing.keras"], "no such file: 'RUN/nothing.keras'"),
        (["RUN/.."], "no run in 'RUN/..': expected filters/manifest.json"),
    ],
)
def test_errors_are_one_line(run, capsys, words, message):
    """On stderr, with the exit code 2."""
    assert main(["plot", *(word.replace("RUN", str(run.path)) for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"filtertrack: {message.replace('RUN', str(run.path))}")
    assert error.count("\n") == 1


def test_runs_below_a_folder_are_named(run, capsys):
    assert main(["plot", str(run.path.parent)]) == 2
    assert f"below it are the runs {run.path}" in capsys.readouterr().err


def test_a_damaged_last_step_is_reported(run, tmp_path):
    """On stderr; the step before it is drawn."""
    run.file(2).write_bytes(b"damaged")
    command = [sys.executable, "-m", "filtertrack", "plot", str(run.path)]
    result = subprocess.run(
        [*command, "-o", str(tmp_path / "a.png"), "--dpi", "72"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "left out step 2" in result.stderr
    plot_filters(run, tmp_path / "b.png", step=1, dpi=72)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_command_loads_no_framework(run):
    """Neither Keras nor TensorBoard, and no reader of checkpoints."""
    code = (
        "import sys; from filtertrack.cli import main; "
        f"main(['plot', {str(run.path)!r}, '--dpi', '72']); "
        "assert not {'keras', 'tensorflow', 'jax', 'torch', 'h5py', 'tensorboard'} "
        "& set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_weights_of_the_written_picture_are_those_of_the_run(make_run, conv_info, tmp_path):
    """Read back with Pillow: each weight of the first filter has its grey."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 8), bias=False), steps=[0, 4])
    file = tmp_path / "a.png"
    assert main(["plot", str(run.path), "-o", str(file), "--no-delta", "--dpi", "150"]) == 0
    figure = plot_filters(run, delta=False, dpi=150)
    box = figure.axes[0].get_window_extent()
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("L"))
    grid = pixels[round(len(pixels) - box.y1) :, round(box.x0) :]
    gap = int((grid[1 : len(grid) // 4] != grid[0, 0]).any(axis=0).argmax())
    cell = grid[gap:, gap:]
    scale = int(((box.width - 9 * gap) // 8) // 5)
    drawn = cell[scale // 2 : 5 * scale : scale, scale // 2 : 5 * scale : scale].astype(int)
    kernel = run.kernels("conv1", 4)[0, :, :, 0]
    expected = 255 * (kernel - kernel.min()) / (kernel.max() - kernel.min())
    np.testing.assert_allclose(drawn, expected, atol=1.1)  # a colormap has 235 levels
