"""``plot_filters``: the filters of models, layers, runs, files and arrays."""

import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, animate, filmstrip, plot_filters
from filtertrack.capture import tracked_layers
from filtertrack.capture.checkpoint_search import find_files
from filtertrack.capture.checkpoints import file_formats
from filtertrack.capture.sources import open_run_at
from filtertrack.render.look import LOOK_OPTIONS

HWIO = {"axes": "HWIO", "dpi": 100}


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def image_of(figure):
    """Return the image of the first grid: ``(height, width, 3)``."""
    return np.asarray(figure.axes[0].images[0].get_array())


def test_the_options_of_a_look_are_those_of_filmstrip_and_animate():
    """The same names in the same order, with the defaults of a filmstrip."""
    names = [option.name for option in LOOK_OPTIONS]

    def options_of(function):
        parameters = inspect.signature(function).parameters
        return {name: parameters[name].default for name in parameters if name in names}

    assert list(options_of(plot_filters)) == list(options_of(animate)) == names
    assert options_of(plot_filters) == options_of(filmstrip)


def test_a_model_is_drawn_from_its_first_convolution(tiny_model):
    """With the model's name, and never as before training."""
    figure = plot_filters(tiny_model, dpi=100)
    heading, title = texts_of(figure)
    assert heading == tiny_model.name
    assert title == "conv1 · 4 filters of 3×3×3 · each filter has its own scale"
    kernel = np.asarray(tiny_model.get_layer("conv1").kernel)
    alone = plot_filters(kernel, **HWIO)
    np.testing.assert_array_equal(image_of(figure), image_of(alone))


def test_the_first_convolution_may_be_frozen_but_not_1x1():
    """In a model that was not trained here nothing says which layer has changed."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 1, name="mix"),
            keras.layers.Conv2D(4, 3, name="frozen", trainable=False),
            keras.layers.Conv2D(4, 3, name="last"),
        ]
    )
    assert texts_of(plot_filters(model, dpi=100))[1].startswith("frozen · ")
    ones = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1, name="mix")])
    assert texts_of(plot_filters(ones, dpi=100))[1].startswith("mix · 2 filters of 1×1")


def test_layers_of_a_model_by_pattern(tiny_model):
    """A grid for each; an unknown name is an error that lists the layers."""
    figure = plot_filters(tiny_model, layers="conv*", dpi=100)
    assert [text.partition(" ")[0] for text in texts_of(figure)[2:4]] == ["conv1", "conv2"]
    with pytest.raises(FiltertrackError, match=r"no layer 'con' .* conv1, conv2; 'con\*' matches"):
        plot_filters(tiny_model, layers="con")


def test_only_the_layers_that_are_drawn_are_read(tiny_model, monkeypatch):
    """Others may be large."""
    copies = []
    copied = tracked_layers.copied
    monkeypatch.setattr(
        tracked_layers, "copied", lambda held: copies.append(tuple(held.shape)) or copied(held)
    )
    plot_filters(tiny_model, layers="conv2", dpi=100)
    assert set(copies) == {(3, 3, 4, 6), (6,)}


def test_a_single_layer_has_its_name_once(tiny_model):
    """In the title of its grid."""
    figure = plot_filters(tiny_model.get_layer("conv2"), dpi=100)
    (title, *_) = texts_of(figure)
    assert title.startswith("conv2 · 6 filters of 3×3×4 · strongest pattern of 4 channels")
    assert "training" not in "".join(texts_of(figure))


@pytest.mark.parametrize("wrapped", [keras.layers.TimeDistributed, keras.layers.Bidirectional])
def test_a_layer_in_a_layer(wrapped):
    """As TimeDistributed and Bidirectional hold it."""
    inner = keras.layers.Conv2D(4, 3)
    if wrapped is keras.layers.Bidirectional:
        inner = keras.layers.ConvLSTM1D(4, 3)
    layer = wrapped(inner)
    layer.build((None, 5, 8, 3) if wrapped is keras.layers.Bidirectional else (None, 5, 8, 8, 3))
    assert "filters of 3×3" in texts_of(plot_filters(layer, dpi=100))[1]


def test_a_layer_without_weights_says_to_call_the_model():
    with pytest.raises(FiltertrackError, match=r"conv: not built, .*call the model"):
        plot_filters(keras.layers.Conv2D(4, 3, name="conv"))
    model = keras.Sequential([keras.layers.Conv2D(4, 3, name="conv")])
    with pytest.raises(FiltertrackError, match=r"conv: not built, .*call the model"):
        plot_filters(model)


NO_CONVOLUTION = {
    "relu": keras.layers.ReLU,
    "dense": lambda: keras.layers.Dense(3),
    "built dense": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).layers[0],
    "model": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    "without weights": lambda: keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]),
}


@pytest.mark.parametrize("make", NO_CONVOLUTION.values(), ids=NO_CONVOLUTION)
def test_a_model_or_layer_without_convolution_is_an_error(make):
    """The advice is to give an array; options of FilterTracker are not named."""
    with pytest.raises(
        FiltertrackError, match=r"has no convolution: .*as an array with ax"
    ) as error:
        plot_filters(make())
    assert "dense=" not in str(error.value)
    assert "name, class or function" not in str(error.value)


def test_drawing_a_model_changes_nothing_of_it(tiny_model, data):
    """Its weights, its compiled state and its training stay as they are."""
    before = tiny_model.get_weights()
    plot_filters(tiny_model, layers="*", dpi=100)
    for old, new in zip(before, tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    tiny_model.fit(*data, epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("array", "axes", "title"),
    [
        (np.zeros((7, 7, 3, 16)), "HWIO", "kernel · 16 filters of 7×7×3"),
        (np.zeros((16, 3, 7, 7)), "OIHW", "kernel · 16 filters of 7×7×3"),
        (np.zeros((7, 7, 3)), "HWI", "kernel · 1 filter of 7×7×3"),
        (np.zeros((5, 5), np.int8), "HW", "kernel · 1 filter of 5×5×1"),
        (np.zeros((16, 7, 7), bool), "OHW", "kernel · 16 filters of 7×7×1"),
        ({"a": np.zeros((3, 3, 1, 4), np.float16)}, "HWIO", "a · 4 filters of 3×3×1"),
        ([[1, 0, -1], [2, 0, -2]], "HW", "kernel · 1 filter of 2×3×1"),
        (np.zeros((7, 7, 3, 16)), "hwio", "kernel · 16 filters of 7×7×3"),
    ],
    ids=["HWIO", "OIHW", "HWI", "HW", "OHW", "by name", "nested lists", "hwio"],
)
def test_arrays_with_axes(array, axes, title):
    """Any order of axes, any real type, one or by name."""
    assert texts_of(plot_filters(array, axes=axes, dpi=100))[0].startswith(title)


def test_the_order_of_axes_does_not_change_the_picture(rng):
    kernel = rng.normal(size=(5, 4, 3, 8))
    first = image_of(plot_filters(kernel, **HWIO))
    second = image_of(plot_filters(kernel.transpose(3, 2, 0, 1), axes="OIHW", dpi=100))
    np.testing.assert_array_equal(first, second)


def test_a_variable_of_keras_is_an_array(tiny_model):
    figure = plot_filters(tiny_model.get_layer("conv1").kernel, **HWIO)
    assert texts_of(figure)[0].startswith("kernel · 4 filters of 3×3×3")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((3, 3, 3, 4)), {}, r"axes: say which axis of the array of shape \(3, 3, 3, 4\)"),
        (np.zeros((3, 3, 3, 4), complex), HWIO, "layer kernel: expected real numbers, got complex"),
        (np.zeros((3, 3, 3, 4)), {"axes": "HWI"}, "has 3 letters, and the kernel .* has 4 axes"),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "step": 1}, "step: only a run has steps"),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "delta": True}, "delta: the difference .* takes a run"),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "order": "drift"}, "order='drift': the difference"),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "columns": 0}, "columns: expected a whole number from 1"),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "columns": 2.5}, "columns: expected a whole number"),
        (
            np.zeros((3, 3, 3, 4)),
            {**HWIO, "width": "wide"},
            "width: expected a size such as '17cm'",
        ),
        (np.zeros((3, 3, 3, 4)), {**HWIO, "output": "a.gif"}, "expected a name that ends in .png,"),
        (["a"], {}, "expected a Keras model or layer, .* got list"),
        ([], HWIO, "expected a Keras model or layer, .* got list"),
        ([[1, 2], [3]], {"axes": "HW"}, "expected a Keras model or layer, .* got list"),
        ([[1, 2]], {}, r"axes: say which axis of the array of shape \(1, 2\)"),
        ([np.zeros((3, 3, 3, 4)), np.zeros(4)], HWIO, r"list of 2 arrays: .*get_weights\(\)\[0\]"),
        ((np.zeros((3, 3, 3, 4)),), HWIO, r"tuple of 1 array: .*get_weights\(\)\[0\]"),
        ({}, {}, "has no arrays"),
        ({}, HWIO, "has no arrays"),
        (np.zeros((3, 3, 3, 4)), {"axes": "OI"}, "has 2 letters, and the kernel .* has 4 axes"),
        (None, {}, "got NoneType"),
        ("missing.keras", {}, "no such file: 'missing.keras'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_name_what_was_expected(source, options, message):
    """In one sentence; nothing is drawn."""
    with pytest.raises(FiltertrackError, match=message):
        plot_filters(source, **options)


@pytest.mark.parametrize("options", [{"axes": "HWIO"}, {"step": 0}, {"delta": True}])
def test_options_for_other_sources_are_errors_for_a_model(tiny_model, options):
    with pytest.raises(FiltertrackError, match=f"^{next(iter(options))}: .* leave it out"):
        plot_filters(tiny_model, **options)


def test_delta_may_be_switched_off_for_what_is_no_run(tiny_model):
    """It is off."""
    plain, off = (image_of(plot_filters(tiny_model, delta=d, dpi=100)) for d in (None, False))
    np.testing.assert_array_equal(plain, off)


def test_a_run_is_drawn_at_its_last_step(run):
    """As an object or a folder, by a path or a text; the title names step and epoch."""
    folder = run.path
    for source in (run, str(folder), os.fspath(str(folder))):
        figure = plot_filters(source, dpi=100)
        assert texts_of(figure)[0] == "run, step 2 (epoch 2 · batch 20)"
        assert len(texts_of(figure)) > 3, "what was learned is beside it"


def test_a_run_is_drawn_at_the_given_step(run):
    """Only step 0 of a run is before training; it has no difference from itself."""
    start = plot_filters(run, step=0, dpi=100)
    assert texts_of(start)[0] == "run, step 0 (before training)"
    first = plot_filters(run, step=1, delta=False, dpi=100)
    assert texts_of(first)[0] == "run, step 1 (epoch 1 · batch 10)"
    kernel = run.snapshot(1).arrays["conv1/kernel"]
    np.testing.assert_array_equal(image_of(first), image_of(plot_filters(kernel, **HWIO)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 7}, "step: .* has no snapshot at step 7; it has 3 snapshots from step 0 to 2"),
        ({"step": "last"}, "step: expected a whole number, got 'last'"),
        ({"axes": "HWIO"}, "axes: a run knows the axes"),
        ({"step": 0, "delta": True}, "delta: step 0 is the first of .*choose a later step"),
        ({"step": 0, "order": "drift"}, "order='drift': step 0 is the first"),
        ({"layers": "conv9"}, "no layer 'conv9'"),
    ],
)
def test_errors_of_a_run(run, options, message):
    with pytest.raises(FiltertrackError, match=message):
        plot_filters(run, **options)


def test_a_damaged_last_step_is_named_and_the_one_before_it_drawn(run, caplog):
    """A step that was asked for is an error."""
    run.file(2).write_bytes(b"damaged")
    figure = plot_filters(run, dpi=100)
    assert texts_of(figure)[0].startswith("run, step 1 ")
    assert "left out step 2: " in caplog.text
    with pytest.raises(FiltertrackError, match=r"damaged|cannot read|000000000002"):
        plot_filters(run, step=2)


def test_a_run_without_a_readable_step_is_an_error(run):
    for step in run.steps:
        run.file(step).write_bytes(b"damaged")
    with pytest.raises(FiltertrackError, match="holds no snapshot that can be read"):
        plot_filters(run)


def test_a_folder_without_a_run_names_the_runs_below_it(run):
    with pytest.raises(FiltertrackError, match=r"no run in .*; below it are the runs .*/run"):
        plot_filters(str(run.path.parent))


def test_a_folder_of_checkpoints_names_both_commands(tiny_model, tmp_path):
    """One for a file, one for all of them."""
    for name in ("m2.keras", "m1.keras"):
        tiny_model.save(tmp_path / name)
    with pytest.raises(FiltertrackError, match=r"no run in .*; it holds 2 checkpoints") as error:
        plot_filters(tmp_path)
    assert f"`filtertrack plot {tmp_path / 'm1.keras'}`" in str(error.value)
    assert f"`filtertrack import {tmp_path} -o RUN`" in str(error.value)
    assert texts_of(plot_filters(tmp_path / "m1.keras", dpi=100))[0] == "m1.keras"


@pytest.mark.parametrize(
    ("others", "count"),
    [
        (["model.weights.h5"], 2),  # Keras 3.4 writes it while it saves, and 3.4.0 leaves it
        (["m3.weights.json", "m3_00000.weights.h5", "m3_00001.weights.h5"], 3),
        (["m3-00001-of-00002.bin", "m3-00002-of-00002.bin", "m3.bin.index.json"], 3),
        (["tmp1a2b3c", "notes.txt", "logs"], 2),
    ],
    ids=str,
)
def test_checkpoints_of_a_folder_are_counted_as_they_are_imported(others, count, tmp_path):
    """Without temporary files, and each checkpoint in several files once."""
    for name in ("m1.keras", "m2.keras", *others):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FiltertrackError, match=f"it holds {count} checkpoints"):
        open_run_at(tmp_path)
    assert len(find_files([str(tmp_path)]).sources) == count


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tensorflow writes these")
def test_the_folder_of_a_saved_model_is_drawn(tiny_model, tmp_path):
    """A command that takes a run says what the folder is."""
    tiny_model.export(tmp_path / "saved")
    figure = plot_filters(tmp_path / "saved", dpi=100)
    assert texts_of(figure)[0] == "saved"
    np.testing.assert_array_equal(image_of(figure), image_of(plot_filters(tiny_model, dpi=100)))
    with pytest.raises(FiltertrackError, match=r"saved' is a checkpoint folder and no run: .*plot"):
        open_run_at(tmp_path / "saved")


@pytest.mark.parametrize("end", ["model.keras", "w.safetensors", "a.npy", "m.h5?download=true"])
def test_an_address_of_a_checkpoint_must_be_downloaded(end):
    """Also where the package for that storage is not installed, and without its password."""
    with pytest.raises(FiltertrackError, match=r"address of a checkpoint .*: download") as error:
        plot_filters(f"https://me:secret@localhost:1/files/{end}")
    assert "secret" not in str(error.value)
    with pytest.raises(FiltertrackError, match=r"address of a checkpoint file .*: download it"):
        plot_filters(f"unknown-storage://files/{end}")


@pytest.mark.parametrize("name", ["a.keras", "a.npy", "a.safetensors"])
def test_a_file_where_a_run_is_expected_is_named_as_a_checkpoint(name, tmp_path):
    (tmp_path / name).write_bytes(b"any")
    with pytest.raises(FiltertrackError, match="is a checkpoint file and no run: `filtertrack pl"):
        open_run_at(tmp_path / name)


def test_a_checkpoint_file_has_its_name_in_the_title(tiny_model, tmp_path):
    """And the picture is that of the model it was saved from."""
    path = tmp_path / "trained.weights.h5"
    tiny_model.save_weights(path)
    try:
        file_formats.open_checkpoint(path).close()
    except FiltertrackError as error:
        if "format is not known" in str(error):
            pytest.skip("no reader of this format")
        raise
    figure = plot_filters(path, dpi=100)
    assert texts_of(figure)[0] == "trained.weights.h5"
    np.testing.assert_array_equal(image_of(figure), image_of(plot_filters(tiny_model, dpi=100)))


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_equal_weights_make_equal_files(tiny_model, tmp_path, ending):
    """Byte for byte, with any ending."""
    files = [tmp_path / f"{name}{ending}" for name in "ab"]
    for file in files:
        plot_filters(tiny_model, file, layers="*", outline=True, dpi=100)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 1000


def test_a_png_has_the_size_that_was_asked_for(tiny_model, tmp_path):
    plot_filters(tiny_model, tmp_path / "a.png", width="8.5cm", dpi=200)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == int(8.5 / 2.54 * 200)
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_an_error_leaves_the_old_file(tiny_model, tmp_path):
    """Nothing is written before everything is drawn."""
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with pytest.raises(FiltertrackError):
        plot_filters(tiny_model, target, layers="missing")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_figure_can_be_changed(tiny_model, tmp_path):
    """Its texts are those of matplotlib."""
    figure = plot_filters(tiny_model, dpi=100)
    figure.texts[0].set_text("My model")
    figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_drawing_a_run_or_an_array_imports_no_framework(run):
    """Not even Keras, where it is installed."""
    code = (
        "import sys, numpy as np; from filtertrack import plot_filters; "
        f"plot_filters({str(run.path)!r}); plot_filters(np.zeros((3, 3, 1, 2)), axes='HWIO'); "
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
