"""The options ``images`` and ``histograms`` of every tracker and of imports."""

import logging
import re

import numpy as np
import pytest

from filtertrack import ArrayTracker, FilterTracker, FiltertrackError, Run
from filtertrack.capture.summary_options import SummaryOptions
from filtertrack.cli import main


@pytest.fixture
def groups(read_events):
    """Return the layers of each group of tags in a run's events."""

    def read(folder):
        found = {}
        for _, value in read_events(Run(folder).folder):
            group, _, layer = value.tag.partition("/")
            found.setdefault(group, set()).add(layer)
        return found

    return read


@pytest.fixture
def infos(conv_info):
    """Two layers of a block and one outside."""
    return [conv_info(name, (3, 3, 4, 4)) for name in ("stem", "block1/a", "block1/b")]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (None, ["stem", "block1/a", "block1/b"]),
        ("*", ["stem", "block1/a", "block1/b"]),
        ("block1/*", ["block1/a", "block1/b"]),
        (["b", "stem"], ["stem", "block1/b"]),
        ([], []),
    ],
    ids=str,
)
def test_images_are_chosen_by_names_and_patterns(infos, images, expected):
    """In the order of the layers."""
    assert [info.name for info in SummaryOptions(images).image_layers(infos)] == expected


def test_an_unknown_layer_is_an_error_that_lists_the_layers(infos):
    with pytest.raises(FiltertrackError, match=r"images: no convolution matches 'head'; .*stem"):
        SummaryOptions(["stem", "head"]).image_layers(infos)
    with pytest.raises(FiltertrackError, match=r"images: .*'all'.*; '\*' matches all"):
        SummaryOptions("all").image_layers(infos)


@pytest.mark.parametrize("images", [True, 12, [1], b"conv1"], ids=repr)
def test_images_of_another_type_are_refused_at_once(tmp_path, images):
    with pytest.raises(FiltertrackError, match=r"images: expected a layer's name.*'\*' for all"):
        FilterTracker(tmp_path, images=images)


def test_histograms_of_another_type_are_refused_at_once(tmp_path):
    with pytest.raises(FiltertrackError, match="histograms: expected True or False, got 'all'"):
        ArrayTracker(tmp_path, histograms="all")


def test_filter_tracker_has_images_of_the_chosen_layers(tiny_model, data, tmp_path, groups):
    """And histograms of all, with those of responses."""
    options = {"images": "conv2", "histograms": True, "probes": data[0][:4]}
    tracker = FilterTracker(tmp_path / "run", **options)
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    found = groups(tmp_path / "run")
    for group in ("filters", "filters_learned", "filters_timelapse", "responses"):
        assert found[group] == {"conv2"}
    for group in ("filter_weight", "filter_drift", "filter_roughness", "response"):
        assert found[f"{group}_distribution"] == {"conv1", "conv2"}


def test_an_unknown_layer_ends_fit_before_the_first_batch(tiny_model, data, tmp_path):
    """No run is made, so training can start again in the same folder."""
    with pytest.raises(FiltertrackError, match="images: no convolution matches 'head'"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, images="head")])
    assert not Run.exists(tmp_path)
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])


@pytest.fixture
def unbuilt_model():
    """Return a model whose layers are built by the first batch, and its data."""
    import keras

    layers = [keras.layers.Conv2D(4, 3, name="c1"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    return model, (np.zeros((4, 8, 8, 3)), np.ones((4, 4)))


@pytest.mark.parametrize("images", ["nope", ["c1", "nope"]], ids=str)
def test_an_unknown_layer_of_a_model_built_by_training_is_one_warning(
    unbuilt_model, tmp_path, groups, caplog, images
):
    """The run has every snapshot, and images of the default layers.

    On jax and torch Keras builds the model before its first batch: it is an error there.
    """
    import keras

    model, data = unbuilt_model
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(FiltertrackError, match="images: no convolution matches 'nope'"):
            model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, images=images)])
        return
    model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path, images=images)])
    assert len(Run(tmp_path).steps) == 4
    assert groups(tmp_path)["filters"] == {"c1"}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    (warning,) = warnings
    assert warning.startswith("images: no convolution matches 'nope'; there are: c1. TensorBoard")
    assert warning.endswith("default layers: c1")


def test_an_unknown_layer_of_a_model_built_by_training_raises_with_strict(unbuilt_model, tmp_path):
    model, data = unbuilt_model
    tracker = FilterTracker(tmp_path, images="nope", strict=True)
    with pytest.raises(FiltertrackError, match="images: no convolution matches 'nope'"):
        model.fit(*data, verbose=0, callbacks=[tracker])


def test_images_of_a_continued_run_are_chosen_by_the_names_of_the_model(tmp_path, groups):
    """Keras numbers the layers of each model anew; the run keeps the names of the first one."""
    import keras

    for epoch in (0, 1):
        convolutions = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(2)]
        pool = keras.layers.GlobalAveragePooling2D()
        model = keras.Sequential([keras.Input((8, 8, 3)), *convolutions, pool])
        model.compile("sgd", "mse")
        first, second = (layer.name for layer in convolutions)
        if not epoch:
            names = [first, second]
        tracker = FilterTracker(tmp_path, images=first if epoch else [])
        x, y = np.zeros((4, 8, 8, 3)), np.ones((4, 4))
        model.fit(x, y, initial_epoch=epoch, epochs=epoch + 1, verbose=0, callbacks=[tracker])
    assert first not in names
    (kept, _) = Run(tmp_path).layers
    assert groups(tmp_path)["filters"] == {kept}


def test_torch_tracker_takes_the_options(tmp_path, groups):
    torch = pytest.importorskip("torch")
    from filtertrack import TorchTracker

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3))
    with TorchTracker(tmp_path, module, images="1", histograms=True):
        pass
    found = groups(tmp_path)
    assert found["filters"] == {"1"}
    assert found["filter_weight_distribution"] == {"0", "1"}


def test_imports_take_the_options(tmp_path, groups, rng):
    """From Python and on the command line."""
    arrays = {f"conv{n}": rng.normal(size=(3, 3, 4, 4)).astype("float32") for n in range(2)}
    Run.from_models(
        tmp_path / "a", [arrays, arrays], axes="HWIO", images=["conv1"], histograms=True
    )
    from safetensors.numpy import save_file

    named = {f"{name}.weight": kernel for name, kernel in arrays.items()}
    save_file(named, tmp_path / "step_1.safetensors")
    words = ["import", str(tmp_path / "step_1.safetensors"), "--axes", "HWIO"]
    words += ["-o", str(tmp_path / "b"), "--images", "conv1", "--histograms"]
    assert main(words) == 0
    for folder in ("a", "b"):
        found = groups(tmp_path / folder)
        assert found["filters"] == {"conv1"}
        assert found["filter_weight_distribution"] == {"conv0", "conv1"}


def test_no_images_can_be_asked_for_on_the_command_line(tmp_path, groups, rng):
    from safetensors.numpy import save_file

    save_file({"conv.weight": rng.normal(size=(3, 3, 4, 4))}, tmp_path / "step_1.safetensors")
    words = ["import", str(tmp_path / "step_1.safetensors"), "--axes", "HWIO", "--images", ""]
    assert main([*words, "-o", str(tmp_path / "run")]) == 0
    assert "filters" not in groups(tmp_path / "run")


def test_the_announced_size_follows_the_options(tmp_path, rng, caplog):
    """Images of fewer layers take less, and histograms more."""
    kernels = {name: rng.normal(size=(9, 9, 3, 64)).astype("f4") for name in ("a", "b")}
    caplog.set_level(logging.INFO, "filtertrack")
    sizes = []
    for number, options in enumerate([{}, {"images": "a"}, {"images": "a", "histograms": True}]):
        caplog.clear()
        with ArrayTracker(tmp_path / str(number), **options) as tracker:
            tracker.snapshot(0, kernels, axes="HWIO")
        sizes.append(float(re.search(r"2 kernels, ([\d.]+) kB a snapshot", caplog.text)[1]))
    assert sizes[1] < 0.9 * sizes[0]
    assert sizes[1] < sizes[2] < sizes[0]
