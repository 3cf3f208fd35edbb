"""Step 0 of models that are built inside their first training step, with real training."""

import logging

import numpy as np
import pytest

from filtertrack import FilterTracker, Run


@pytest.fixture
def data(rng):
    return rng.random((12, 8, 8, 3)).astype("float32"), rng.random((12, 4)).astype("float32")


def seeded(keras):
    """Return an initializer that gives other values on each call."""
    return keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(3))


def sequential(keras):
    return keras.Sequential(
        [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()], name="sequential"
    )


def subclassed(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, kernel_initializer=seeded(keras))
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.conv(x))

    return Net()


def block(keras, initializer="glorot_uniform"):
    class Block(keras.layers.Layer):
        def build(self, shape):
            self.conv = keras.layers.Conv2D(4, 3, kernel_initializer=initializer)

        def call(self, x):
            return self.conv(x)

    return Block()


def made_in_build(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = block(keras, seeded(keras))
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.block(x))

    return Net()


def made_in_train_step(keras):
    """Return a model that makes its layers and optimizer in ``train_step``, without ``call``."""
    import tensorflow as tf

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = block(keras)
            self.optimizers = {"only": keras.optimizers.SGD(0.1)}

        def train_step(self, data):
            if not hasattr(self, "late"):
                self.late = keras.layers.Conv2D(2, 3)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.late(self.block(data[0])) ** 2)
            weights = self.block.trainable_weights + self.late.trainable_weights
            gradients = tape.gradient(loss, weights)
            self.optimizers["only"].apply_gradients(zip(gradients, weights, strict=True))
            return {"loss": loss}

    return Net()


MODELS = {
    "sequential without an input": sequential,
    "subclassed": subclassed,
    "layers made in build": made_in_build,
    "layers made in train_step": made_in_train_step,
}
MODES = {
    "traced": {},
    "compiled": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "several steps at once": {"steps_per_execution": 2},
}


def trained(keras, make, data, mode, callbacks, *, rate=0.1):
    keras.utils.set_random_seed(5)
    model = make(keras)
    model.compile(keras.optimizers.SGD(rate), "mse", **mode)
    if hasattr(model, "optimizers"):
        model.optimizers["only"].learning_rate = rate
    model.fit(*data, batch_size=4, epochs=1, verbose=0, callbacks=callbacks)
    return model.get_weights()


CASES = [(model, "traced") for model in MODELS]
CASES += [("sequential without an input", mode) for mode in MODES if mode != "traced"]
CASES += [("subclassed", "eager")]


@pytest.mark.parametrize(("model", "how"), CASES)
def test_step_0_holds_the_initial_weights(keras, model, how, data, tmp_path):
    """They equal the weights after a step of rate 0, and tracking does not change training."""
    make, mode = MODELS[model], MODES[how]
    if make is made_in_train_step and keras.backend.backend() != "tensorflow":
        pytest.skip("this train_step is TensorFlow's")
    if keras.backend.backend() == "torch" and mode not in ({}, {"run_eagerly": True}):
        pytest.skip("torch runs one step at a time, and compiles with a C++ compiler")
    still = trained(keras, make, data, mode, [FilterTracker(tmp_path / "still")], rate=0.0)
    run = Run(tmp_path / "still")
    first = run.snapshot(0).arrays
    for name, array in run.snapshot(1).arrays.items():
        np.testing.assert_array_equal(first[name], array)
        assert any(np.array_equal(array, weight) for weight in still)

    moved = trained(keras, make, data, mode, [FilterTracker(tmp_path / "moved")])
    run = Run(tmp_path / "moved")
    assert run.steps == [0, 1]
    for name, array in run.snapshot(0).arrays.items():
        np.testing.assert_array_equal(first[name], array)
        assert not np.array_equal(array, run.snapshot(1).arrays[name])
    for ours, alone in zip(moved, trained(keras, make, data, mode, []), strict=True):
        np.testing.assert_array_equal(ours, alone)


def test_no_method_stays_wrapped_after_training(keras, data, tmp_path):
    """Of the model, its layers and its optimizer."""
    model = sequential(keras)
    model.compile("sgd", "mse")
    build = model.layers[0].build
    model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert model.layers[0].build is build
    assert "apply" not in vars(model.optimizer)
    assert not hasattr(model.train_function, "__wrapped__") or (
        "initial_weights" not in model.train_function.__code__.co_filename
    )


def test_no_method_stays_wrapped_after_a_failed_first_step(keras, data, tmp_path):
    """The error is that of the model."""
    model = sequential(keras)
    model.compile("sgd", "mse")
    with pytest.raises(Exception, match=r".") as caught:
        model.fit(data[0], data[1][:, :3], verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert "filtertrack" not in str(caught.value)
    assert "apply" not in vars(model.optimizer)


def test_the_remedy_for_a_missing_step_0_works(keras, data, tmp_path, caplog):
    """TensorFlow initializes these variables and trains them in one operation."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends build before training")

    def fit(model, folder):
        model.compile("sgd", "mse", jit_compile=False)
        model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path / folder)])
        return Run(tmp_path / folder).steps

    def make():
        conv = keras.layers.Conv2D(4, 3, kernel_initializer=seeded(keras))
        return keras.Sequential([conv, keras.layers.GlobalAveragePooling2D()])

    with caplog.at_level(logging.INFO, "filtertrack"):
        assert fit(make(), "without") == [1]
    (logged,) = [record for record in caplog.records if "step 0" in record.message]
    assert "call the model, or each part of it, on one batch before fit" in logged.message
    assert logged.levelno == logging.INFO
    model = make()
    model(data[0][:1])
    assert fit(model, "with") == [0, 1]
    model = made_in_train_step(keras)
    model.late = keras.layers.Conv2D(2, 3, kernel_initializer=seeded(keras))
    model.late(model.block(data[0][:1]))
    assert fit(model, "parts") == [0, 1]
