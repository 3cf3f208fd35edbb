import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Probes, Run
from filtertrack.capture import probe_pass
from filtertrack.capture.forward_pass import _unchanged_attributes
from filtertrack.capture.probe_pass import PendingResponses
from filtertrack.capture.tracked_layers import TrackedLayers


@pytest.fixture
def backend(keras):
    return keras.backend.backend()


@pytest.fixture
def fit(tmp_path, caplog):
    """Train a model for two epochs with probes; return the run and the warnings."""

    def train(model, x, probes, **options):
        caplog.set_level(logging.INFO, "filtertrack")
        tracker = FilterTracker(tmp_path / "run", probes=probes, **options)
        y = np.ones((len(x), *model.compute_output_shape(x.shape)[1:]), "float32")
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[tracker])
        run = Run(tmp_path / "run")
        return run, [r for r in caplog.records if r.levelno >= logging.WARNING]

    return train


@pytest.fixture
def chain(keras):
    """Return a function that makes a compiled model of layers in a row."""

    def make(shape, *layers, dense=True, **options):
        layers = layers or [keras.layers.Conv2D(4, 3)]
        end = [keras.layers.Flatten(), keras.layers.Dense(2)] if dense else []
        model = keras.Sequential([keras.Input(shape), *layers, *end])
        model.compile("sgd", "mse", **options)
        return model

    return make


def prepared(model, probes, **options):
    """Plan the pass of the probes."""
    made = probes if isinstance(probes, Probes) else Probes(probes)
    return TrackedLayers(model, probes=made, **options).prepare_probes()


def responses_of(made):
    """Show the probes to the model, and return the responses."""
    errors = []
    responses = dict(made.responses(errors.append))
    assert not errors
    return responses


def is_unwrapped(model):
    return all("_recording" not in repr(vars(each).get("call")) for each in model._flatten_layers())


def assert_without_responses(run, warnings, text):
    """All snapshots are stored with their weights only, and one warning of one line says why."""
    (warning,) = warnings
    assert text in warning.getMessage()
    assert "\n" not in warning.getMessage()
    assert warning.exc_info is None
    assert next(iter(run.steps)) == 0
    assert len(run.steps) == 3
    assert not run.verify()
    assert not any(run.moment(step).probed for step in run.steps)


# Faults.


def test_probes_that_the_model_does_not_take_are_one_warning(fit, chain, x):
    """Before the first batch; the weights are stored without responses."""
    model = chain((8, 8, 3))
    probes = np.zeros((2, 9, 9, 3), "float32")
    assert_without_responses(*fit(model, x, probes), "got an array of shape (2, 9, 9, 3)")
    assert is_unwrapped(model)


def test_strict_raises_before_the_first_batch(fit, chain, keras, x):
    """The weights are those of before."""
    model = chain((8, 8, 3), keras.layers.Conv2D(4, 3))
    before = model.get_weights()
    with pytest.raises(FiltertrackError, match="takes images of shape"):
        fit(model, x, np.zeros((2, 9, 9, 3)), strict=True)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layer_that_fails_in_inference_mode_is_one_warning(fit, keras, x):
    """Training mode works, so training goes on."""

    class OnlyTraining(keras.layers.Layer):
        def call(self, inputs, training=None):
            if training is False and inputs.shape[0] in {1, 2}:  # the probes
                raise ValueError("only in training\nmode")
            return inputs

    first = keras.Input((8, 8, 3))
    hidden = OnlyTraining()(keras.layers.Conv2D(2, 3)(first), training=None)
    model = keras.Model(first, keras.layers.GlobalAveragePooling2D()(hidden))
    model.compile("sgd", "mse")
    run, warnings = fit(model, x, x[:2])
    assert_without_responses(run, warnings, "cannot be called with the probes")
    assert is_unwrapped(model)


def test_model_that_fails_later_is_not_called_again(fit, chain, keras, x):
    """The responses until then are stored."""
    calls = []

    class Failing(keras.layers.Layer):
        def call(self, inputs, training=None):
            if inputs.shape[0] == 2:  # the probes
                calls.append(1)
                if len(calls) > 1:
                    raise MemoryError("no memory")
            return inputs

    model = chain((8, 8, 3), Failing(), keras.layers.Conv2D(2, 3), run_eagerly=True)
    run, warnings = fit(model, x, x[:2])
    assert ["no memory" in each.getMessage() for each in warnings] == [True]
    assert len(calls) == 2
    assert [run.moment(step).probed for step in run.steps] == [True, False, False]


def test_failed_reduction_does_not_lose_weights(fit, chain, keras, x, monkeypatch):
    """It is on the background thread; each snapshot is stored without responses."""

    def fail(*_):
        raise MemoryError("no memory for maps")

    monkeypatch.setattr(probe_pass.ResponseReduction, "add", fail)
    run, warnings = fit(chain((8, 8, 3), keras.layers.Conv2D(2, 3)), x, x[:2])
    assert "no memory for maps" in warnings[0].getMessage()
    assert len([each for each in warnings if each.exc_info]) <= 1
    assert len(run.steps) == 3
    assert not any(run.moment(step).probed for step in run.steps)


def test_state_outside_of_keras_is_never_changed(fit, chain, keras, backend, x):
    """A model that changes a variable of TensorFlow is not called."""
    if backend != "tensorflow":
        pytest.skip("a variable of TensorFlow")
    import tensorflow as tf

    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.count = tf.Variable(0.0, trainable=False)

        def call(self, inputs):
            self.count.assign_add(1.0)
            return inputs

    counting = Counting()
    run, warnings = fit(chain((8, 8, 3), counting, keras.layers.Conv2D(2, 3)), x, x[:2])
    assert_without_responses(run, warnings, "changes variables of TensorFlow")
    expected = Counting()
    model = chain((8, 8, 3), expected, keras.layers.Conv2D(2, 3))
    model.fit(x, np.ones((len(x), 2)), batch_size=8, epochs=2, verbose=0)
    assert counting.count.numpy() == expected.count.numpy()


@pytest.mark.parametrize("eager", [False, True])
def test_attributes_of_layers_are_restored(chain, keras, x, eager):
    """Numbers, texts and the elements of collections, which each trace changes."""

    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.calls, self.shapes, self.by_name, self.names = 0, [], {}, set()

        def call(self, inputs):
            self.calls += 1
            self.last = inputs
            self.shapes.append(tuple(inputs.shape))
            self.by_name[f"call {self.calls}"] = self.calls
            self.names.add(f"call {self.calls}")
            return inputs * self.calls

    counting = Counting()
    model = chain((8, 8, 3), counting, keras.layers.Conv2D(2, 3), run_eagerly=eager)
    before = {name: repr(value) for name, value in sorted(vars(counting).items())}
    made = prepared(model, x[:2])
    for _ in range(2):
        responses_of(made)
    assert {name: repr(value) for name, value in sorted(vars(counting).items())} == before
    assert len(counting.shapes) == len(counting.by_name) == len(counting.names) == counting.calls


def test_buffers_of_torch_are_restored(chain, keras, backend, x):
    """Those changed in place, those replaced, and tensors that are plain attributes."""
    if backend != "torch":
        pytest.skip("buffers of torch")
    import torch

    class Averaging(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))
            self.register_buffer("highest", torch.zeros(()))
            self.plain = torch.zeros(())

        def call(self, inputs):
            self.plain += 1
            self.mean += inputs.mean().detach()
            if inputs.device.type != "meta":
                self.highest = torch.maximum(self.highest, inputs.max().detach())
            return inputs + self.mean + self.plain + self.highest

    layer, norm = Averaging(), torch.nn.BatchNorm2d(8, track_running_stats=True)
    wrapped = keras.layers.TorchModuleWrapper(norm)
    model = chain((8, 8, 3), layer, wrapped, keras.layers.Conv2D(2, 3))
    model(x[:1])
    held = [*layer.buffers(), *norm.buffers(), layer.plain]
    before = [tensor.clone() for tensor in held]
    made = prepared(model, x[:2])
    responses_of(made)
    after = [*layer.buffers(), *norm.buffers(), layer.plain]
    assert all(one is other for one, other in zip(held, after, strict=True))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_modules_of_torch_are_in_evaluation_mode(chain, keras, backend, x):
    """Each keeps its own mode after that."""
    if backend != "torch":
        pytest.skip("modes of torch")
    import torch

    class Dropout(keras.layers.Layer):
        def call(self, inputs):
            return torch.nn.functional.dropout(inputs, 0.5, self.training)

    conv = keras.layers.Conv2D(2, 3, name="conv")
    model = chain((8, 8, 3), Dropout(), Dropout(), conv)
    model.train()
    model.layers[1].eval()
    modes = [layer.training for layer in model._flatten_layers()]
    highest = responses_of(prepared(model, x[:2]))["conv"].highest
    assert [layer.training for layer in model._flatten_layers()] == modes
    expected = keras.ops.convert_to_numpy(conv(x[:2]))
    np.testing.assert_allclose(highest, expected.max((1, 2)), rtol=1e-5)


def test_variables_of_tensorflow_are_restored_in_eager_mode(chain, keras, backend, x):
    """Also those in collections, and the states of random generators."""
    if backend != "tensorflow":
        pytest.skip("variables of TensorFlow")
    import tensorflow as tf

    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.count = tf.Variable(0.0, trainable=False)
            self.more = {"count": [tf.Variable(0.0, trainable=False)]}
            self.generator = tf.random.Generator.from_seed(3)

        def call(self, inputs):
            self.count.assign_add(1.0)
            self.more["count"][0].assign_add(1.0)
            return inputs + self.generator.normal(tf.shape(inputs)) * self.count

    layer = Counting()
    made = prepared(chain((8, 8, 3), layer, keras.layers.Conv2D(2, 3), run_eagerly=True), x[:2])
    state = layer.generator.state.numpy()
    count, other = layer.count.numpy(), layer.more["count"][0].numpy()
    responses_of(made)
    assert (layer.count.numpy(), layer.more["count"][0].numpy()) == (count, other)
    np.testing.assert_array_equal(layer.generator.state.numpy(), state)


@pytest.mark.parametrize("kind", ["numpy_function", "py_function"])
def test_functions_of_python_in_a_graph_are_never_called(chain, keras, backend, x, kind):
    """They may change anything; one that is declared without state is called."""
    if backend != "tensorflow":
        pytest.skip("graphs of TensorFlow")
    import tensorflow as tf

    class Calling(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__()
            self.options = options

        def call(self, inputs):
            found = getattr(tf, kind)(lambda a: a * 2, [inputs], tf.float32, **self.options)
            return tf.ensure_shape(found, inputs.shape)

    with pytest.raises(FiltertrackError, match="it calls a Python function"):
        prepared(chain((8, 8, 3), Calling(), keras.layers.Conv2D(2, 3)), x[:2])
    if kind == "numpy_function":
        model = chain((8, 8, 3), Calling(stateful=False), keras.layers.Conv2D(2, 3, name="conv"))
        assert "conv" in responses_of(prepared(model, x[:2]))


def test_layer_that_was_never_called_is_not_built_by_the_pass(keras, x):
    """Its weights would be other ones than without probes."""

    class Lazy(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.other = keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 3)

        def build(self, shape):
            self.conv.build(shape)
            self.built = True

        def call(self, inputs, training=None):
            hidden = self.conv(inputs)
            return self.other(inputs) if training is False else hidden

    model = Lazy()
    model(x, training=True)
    with pytest.raises(FiltertrackError, match="never called before"):
        prepared(model, x[:2])
    assert not model.other.built
    assert not model.other._called
    assert is_unwrapped(model)


# Layers with and without a map.


def test_layers_without_a_map_are_named_with_the_reason(keras, rng):
    """The responses of the others are recorded."""
    layers = keras.layers
    first = keras.Input((3, 8, 8, 2))
    inner = layers.TimeDistributed(layers.Conv2D(2, 3), name="wrapper")(first)
    cube = layers.Conv3D(2, 2, padding="same", name="cube")(inner)
    cells = layers.ConvLSTM2D(2, 3, name="cells")(cube)
    model = keras.Model(first, layers.Conv2D(2, 3, name="plain")(cells))
    made = prepared(model, rng.normal(size=(2, 3, 8, 8, 2)).astype("float32"))
    said = "\n".join(made.remarks)
    for name, reason in (
        ("wrapper", "called in a loop"),
        ("cube", "more than two axes"),
        ("cells", "other channels than filters"),
    ):
        assert any(name in line and reason in line for line in made.remarks), said
    assert list(responses_of(made)) == ["plain"]


def test_layers_of_which_none_has_a_map_are_an_error(keras, rng):
    first = keras.Input((4, 4, 4, 1))
    model = keras.Model(first, keras.layers.Conv3D(2, 2, name="cube")(first))
    with pytest.raises(FiltertrackError, match="cube: their maps have more than two axes"):
        prepared(model, rng.normal(size=(2, 4, 4, 4, 1)).astype("float32"))


def test_signal_filters_have_maps_of_height_1(keras, rng):
    first = keras.Input((20, 2))
    model = keras.Model(first, keras.layers.Conv1D(3, 5, name="conv")(first))
    images = rng.normal(size=(2, 20, 2)).astype("float32")
    made = prepared(model, images)
    assert made.stored.layers["conv"].shape == (1, 16)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_array_equal(responses_of(made)["conv"].highest, expected.max(1))


def test_dense_layers_on_images_have_maps_of_one_value(keras, rng):
    from filtertrack.capture.dense_images import DenseImages

    first = keras.Input((16,))
    model = keras.Model(first, keras.layers.Dense(3, name="dense", activation="relu")(first))
    images = rng.normal(size=(2, 16)).astype("float32")
    made = prepared(model, images, dense=DenseImages({"dense": (4, 4)}))
    assert made.stored.layers["dense"].map_shape == (1, 1)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_array_equal(responses_of(made)["dense"].highest, expected)


def test_channels_first_layers_have_the_same_maps(keras, backend, rng):
    if backend == "tensorflow":
        pytest.skip("TensorFlow convolves with channels first on GPUs only")
    images = rng.normal(size=(2, 9, 8, 3)).astype("float32")
    found = []
    for order in ("channels_last", "channels_first"):
        keras.utils.set_random_seed(1)
        given = images if order == "channels_last" else np.moveaxis(images, -1, 1).copy()
        first = keras.Input(given.shape[1:])
        conv = keras.layers.Conv2D(4, 3, data_format=order, name="conv")
        made = prepared(keras.Model(first, keras.layers.ReLU()(conv(first))), given)
        assert made.stored.layers["conv"].shape == (7, 6)
        found.append(responses_of(made)["conv"])
    np.testing.assert_allclose(found[0].values(), found[1].values(), atol=0.05)
    np.testing.assert_array_equal(found[0].places[..., :3], found[1].places[..., :3])


# The pass.


def test_parts_of_the_probes_give_the_same_responses(chain, keras, x, monkeypatch):
    """With at most two different numbers of probes, so that two shapes are compiled."""
    model = chain((8, 8, 3), keras.layers.Conv2D(4, 3, name="conv", activation="relu"))
    whole = responses_of(prepared(model, x[:7]))["conv"]
    monkeypatch.setattr(probe_pass, "_MOST_AT_ONCE", 3 * 4 * 6 * 6 * 4)
    made = prepared(model, x[:7])
    sizes = [next(iter(part.values())).shape[0] for part in made._parts]
    assert sizes == [3, 3, 1]
    parts = responses_of(made)["conv"]
    np.testing.assert_allclose(parts.statistics, whole.statistics, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(parts.places[..., :3], whole.places[..., :3])


def test_model_is_traced_once(chain, keras, backend, x):
    """Compiling backends call Python once for all snapshots; torch to plan, and each time."""
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    model = chain((8, 8, 3), Counting(), keras.layers.Conv2D(4, 3))
    calls.clear()
    made = prepared(model, x[:5])
    for _ in range(3):
        responses_of(made)
    assert len(calls) == (4 if backend == "torch" else 1)


def test_responses_follow_the_weights(chain, keras, x):
    """Each pass reads the variables as they are then."""
    model = chain((8, 8, 3), keras.layers.Conv2D(4, 3, name="conv"))
    made = prepared(model, x[:2])
    before = responses_of(made)["conv"].highest
    conv = model.get_layer("conv")
    conv.kernel.assign(conv.kernel * 2)
    np.testing.assert_allclose(responses_of(made)["conv"].highest, before * 2, rtol=1e-5)


def test_shared_layer_is_read_at_its_first_call(keras, x):
    """And the description says so."""
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
    first = keras.Input((8, 8, 3))
    made = prepared(keras.Model(first, conv(conv(first))), x[:2])
    assert made.stored.layers["conv"].read.endswith("first of 2 calls")
    expected = keras.ops.convert_to_numpy(conv(x[:2]))
    np.testing.assert_allclose(responses_of(made)["conv"].highest, expected.max((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["functional", "subclassed"])
def test_input_that_a_layer_depends_on_is_stored(keras, x, kind):
    """Also where the receptive field is not known; empty behind both inputs, or an operation."""
    layers = keras.layers
    convs = {n: layers.Conv2D(2, 3, name=n) for n in ("left", "right", "both")}
    norm, dense = layers.GroupNormalization(1), layers.Dense(2)

    def call(inputs):
        one, two = inputs
        two = norm(two)
        both = layers.Concatenate()([convs["left"](one), convs["right"](two)])
        return dense(convs["both"](both))

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.held = [*convs.values(), norm, dense]

        def call(self, inputs):
            return call(inputs)

    images = [x[:2], x[2:4]]
    if kind == "functional":
        first = [keras.Input((8, 8, 3), name=name) for name in ("one", "two")]
        model, names = keras.Model(first, call(first)), ["one", "two"]
    else:
        model, names = Model(), ["input_0", "input_1"]
        model(images)
    stored = prepared(model, images).stored
    assert {name: layer.input for name, layer in stored.layers.items()} == {
        **dict(zip(("left", "right"), names, strict=True)),
        "both": "",
    }
    np.testing.assert_array_equal(stored.pictures(stored.layers["right"].input), images[1])
    assert stored.pictures(stored.layers["both"].input) is None
    with pytest.raises(FiltertrackError, match="depends on several of them, or it is not known"):
        stored.image(0, "both")


def test_pictures_of_an_unknown_input_are_not_shown(keras, x, tmp_path):
    """The strongest patches say why, and the figure of the maps leaves the picture empty."""
    from filtertrack.outputs.response_maps import maps_of, select_responses

    first = [keras.Input((8, 8, 3), name=name) for name in ("one", "two")]
    conv = keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Concatenate()(first))
    model = keras.Model(first, keras.layers.GlobalAveragePooling2D()(conv))
    tracker = FilterTracker(tmp_path / "run", probes=[x[:2], x[:2]], strict=True)
    tracker.set_model(model)
    tracker.snapshot(0)
    tracker.close()
    run = Run(tmp_path / "run")
    with pytest.raises(FiltertrackError, match="layer conv: the model has several inputs"):
        run.strongest_patches("conv", 0)
    (maps,) = maps_of(select_responses(run, True), True)
    assert not maps.image.any()
    assert "which input is not known" in maps.name


def test_shared_layer_names_the_input_of_its_first_call(keras, x):
    conv = keras.layers.Conv2D(3, 3, name="conv")
    first = [keras.Input((8, 8, 3), name=name) for name in ("one", "two")]
    model = keras.Model(first, keras.layers.Add()([conv(each) for each in first]))
    read = prepared(model, [x[:2], x[:2]]).stored.layers["conv"].read
    assert read.endswith("first of 2 calls, on input one")


@pytest.mark.parametrize("moves", [False, True])
def test_order_of_the_axes_is_that_of_the_input(keras, backend, x, moves):
    """Not that of a layer behind one that moves the axes."""
    if backend == "tensorflow":
        pytest.skip("TensorFlow convolves with channels first on GPUs only")
    images = x[:2] if moves else np.moveaxis(x[:2], -1, 1).copy()
    hidden = first = keras.Input(images.shape[1:])
    hidden = keras.layers.Rescaling(0.5)(hidden)
    if moves:
        hidden = keras.layers.Permute((3, 1, 2))(hidden)
    conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
    stored = prepared(keras.Model(first, conv(hidden)), images).stored
    assert stored.channels_first is not moves
    assert stored.pictures().shape == (2, 8, 8, 3)


def test_feature_maps_are_released_once_they_are_stored(chain, keras, x):
    """The pass refers only weakly to the last ones."""
    made = prepared(chain((8, 8, 3)), x[:2])
    pending = made.responses(pytest.fail)
    assert made._waiting() is pending
    del pending
    gc.collect()
    assert made._waiting() is None


def test_pending_responses_are_computed_once_for_several_threads():
    """And the function that holds the feature maps is dropped."""
    calls = []
    pending = PendingResponses(lambda: calls.append(1) or {"conv": 1}, calls.append)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(dict, [pending] * 8)) == [{"conv": 1}] * 8
    assert calls == [1]
    assert pending._compute is None


# Trainings.


def test_startup_log_announces_the_size_before_training(fit, chain, keras, x, caplog):
    """As part of the size of a snapshot, and in one sentence about the probes."""
    conv = keras.layers.Conv2D(4, 3, name="conv")
    fit(chain((8, 8, 3), conv), x, Probes(x[:5], map_size=4, maps=2))
    (said,) = [r.getMessage() for r in caplog.records if "5 probes" in r.getMessage()]
    assert "responses of 1 layer, maps of the first 2 up to 3x3" in said
    assert "shrunk by largest magnitude" in said
    assert said.endswith(", 1 kB a snapshot")


def test_lazily_built_model_has_responses_from_the_first_snapshot_on(fit, keras, x, caplog):
    """Step 0 has none, which one sentence says."""

    class Lazy(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.pool = (
                keras.layers.Conv2D(2, 3, name="conv"),
                keras.layers.GlobalAveragePooling2D(),
            )

        def call(self, inputs):
            return self.pool(self.conv(inputs))

        def compute_output_shape(self, shape):
            return (shape[0], 2)

    model = Lazy()
    model.compile("sgd", "mse")
    run, warnings = fit(model, x, x[:2])
    assert not warnings
    probed = [run.moment(step).probed for step in run.steps]
    assert probed[-2:] == [True, True]
    said = [r for r in caplog.records if "step 0 holds no responses" in r.getMessage()]
    assert len(said) == (0 if all(probed) else 1) or 0 not in run.steps


def test_snapshots_by_hand_have_responses(chain, keras, x, tmp_path):
    model = chain((8, 8, 3), keras.layers.Conv2D(2, 3, name="conv"))
    tracker = FilterTracker(tmp_path / "hand", probes=x[:3], strict=True)
    tracker.set_model(model)
    tracker.snapshot(0)
    conv = model.get_layer("conv")
    conv.kernel.assign(conv.kernel * 2)
    tracker.snapshot(1)
    tracker.close()
    run = Run(tmp_path / "hand")
    highest = [run.probe_responses("conv", step).highest for step in run.steps]
    np.testing.assert_allclose(highest[1], highest[0] * 2, rtol=1e-5)


def test_restored_weights_are_stored_with_their_own_responses(chain, keras, x, tmp_path):
    """``restore_best_weights`` changes the weights after the last snapshot."""
    model = chain((8, 8, 3), keras.layers.Conv2D(2, 3, name="conv"))

    class Restore(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.get_layer("conv").kernel.assign(kept[0])

    kept = [np.array(keras.ops.convert_to_numpy(model.get_layer("conv").kernel))]
    y = np.ones((len(x), 2), "float32")
    folder = tmp_path / "restored"
    tracker = FilterTracker(folder, probes=x[:3], strict=True)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[tracker, Restore()])
    run = Run(folder)
    last = run.steps[-1]
    np.testing.assert_array_equal(run.snapshot(last).arrays["conv/kernel"], kept[0])
    expected = responses_of(prepared(model, x[:3]))["conv"].highest
    np.testing.assert_array_equal(run.probe_responses("conv", last).highest, expected)


def test_unchanged_attributes_stay_in_place_while_others_are_restored():
    """Threads that load data may call a layer of the model at the same moment."""

    class Kept(dict):
        def clear(self):
            raise AssertionError("all attributes were missing for a moment")

        def __setitem__(self, name, value):
            assert name != "steady"
            super().__setitem__(name, value)

    class Holder:
        pass

    holder = Holder()
    holder.__dict__ = Kept(steady=[1], count=1)
    with _unchanged_attributes([holder]):
        vars(holder)["count"] = 2
        vars(holder)["new"] = 3
    assert vars(holder) == {"steady": [1], "count": 1}
