"""Training is bit-identical with and without probes, for models of many kinds."""

import pickle
import random

import numpy as np
import pytest

from filtertrack import FilterTracker, Run

ROWS = 12


def images(*shape):
    return np.random.default_rng(0).normal(size=(ROWS, *shape)).astype("float32")


def models(keras):  # noqa: C901 - one function a model
    """Return name to a function that makes a model, its inputs and its targets."""
    layers, ops = keras.layers, keras.ops

    class Block(layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(filters, 3, padding="same")
            self.norm = layers.BatchNormalization()
            self.relu = layers.ReLU()

        def build(self, shape):
            self.conv.build(shape)
            self.norm.build(self.conv.compute_output_shape(shape))
            self.built = True

        def call(self, x, training=None):
            return self.relu(self.norm(self.conv(x), training=training))

    class Counting(layers.Layer):
        """Changes a variable, adds a loss and updates a metric at each call."""

        def build(self, _):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.mean = keras.metrics.Mean(name="mean_of_maps")

        def call(self, x):
            self.calls.assign(self.calls + 1)
            self.add_loss(1e-3 * ops.mean(ops.square(x)))
            if keras.backend.backend() != "jax":  # Keras cannot there
                self.mean.update_state(ops.mean(x))
            return x

    class AlwaysRandom(layers.Layer):
        """Draws numbers in inference mode, too: those of Keras, Python and numpy."""

        def __init__(self, **options):
            super().__init__(**options)
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x):
            constant = 1e-3 * (random.random() + np.random.random())  # noqa: NPY002
            if keras.backend.backend() != "jax":  # Keras cannot there
                constant += 1e-3 * keras.random.normal(ops.shape(x), dtype=x.dtype)
            seeded = keras.random.normal(ops.shape(x), seed=self.seeds, dtype=x.dtype)
            return x + constant + 0.1 * seeded

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(4, 3, name="first")
            self.drop = layers.Dropout(0.3)
            self.second = layers.Conv2D(4, 3, name="second")
            self.last = layers.Dense(2)

        def call(self, x, training=None):
            x = self.drop(ops.relu(self.first(x)), training=training)
            return self.last(ops.mean(self.second(x) * 2, axis=(1, 2)))

    class WithoutTraining(Subclassed):
        def call(self, x):
            return self.last(ops.mean(self.second(self.drop(self.first(x))), axis=(1, 2)))

    def compiled(model, optimizer=None, **options):
        model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", metrics=["mae"], **options)
        return model

    def sequential(*middle, shape=(8, 8, 3), optimizer=None, **options):
        model = keras.Sequential(
            [keras.Input(shape), *middle, layers.GlobalAveragePooling2D(), layers.Dense(2)]
        )
        return compiled(model, optimizer, **options), images(*shape), np.ones((ROWS, 2), "float32")

    def conv(name, **options):
        return layers.Conv2D(4, 3, name=name, **options)

    def functional():
        x = first = keras.Input((8, 8, 3))
        x = layers.Dropout(0.4)(layers.BatchNormalization()(conv("first")(x)))
        x = ops.relu(x)
        skip = conv("second", padding="same", activity_regularizer="l2")(x)
        x = layers.Activation("relu6")(layers.Add()([x, skip]))
        return made(first, layers.Dense(2)(layers.Flatten()(x)))

    def made(inputs, outputs, x=None, **options):
        model = compiled(keras.Model(inputs, outputs), **options)
        return model, images(8, 8, 3) if x is None else x, np.ones((ROWS, 2), "float32")

    def subclassed(cls=Subclassed):
        model = cls()
        model(images(8, 8, 3)[:1])
        return compiled(model), images(8, 8, 3), np.ones((ROWS, 2), "float32")

    def nested():
        part = keras.Sequential([keras.Input((8, 8, 3)), conv("first"), layers.ReLU()], name="part")
        x = first = keras.Input((8, 8, 3))
        return made(first, layers.Dense(2)(layers.Flatten()(Block(4)(part(x)))))

    def shared():
        x = first = keras.Input((8, 8, 3))
        same = layers.Conv2D(3, 3, padding="same", name="first")
        return made(first, layers.Dense(2)(layers.Flatten()(same(layers.ReLU()(same(x))))))

    def two_inputs(structure):
        one, two = keras.Input((8, 8, 3), name="one"), keras.Input((6, 6, 3), name="two")
        parts = [layers.Flatten()(conv("first")(one)), layers.Flatten()(conv("second")(two))]
        given = {"one": (one, images(8, 8, 3)), "two": (two, images(6, 6, 3))}
        inputs, x = ({name: pair[n] for name, pair in given.items()} for n in (0, 1))
        if structure is list:
            inputs, x = list(inputs.values()), list(x.values())
        return made(inputs, layers.Dense(2)(layers.Concatenate()(parts)), x)

    def own_call():
        model, *rest = sequential(conv("first"))
        layer = model.get_layer("first")
        call = layer.call
        object.__setattr__(layer, "call", lambda x: call(x) * 2)
        return model, *rest

    def averaging():
        return keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_overwrite_frequency=3)

    return {
        "functional": functional,
        "sequential": lambda: sequential(conv("first", activation="relu"), conv("second")),
        "subclassed": subclassed,
        "without training": lambda: subclassed(WithoutTraining),
        "nested": nested,
        "shared": shared,
        "dict": lambda: two_inputs(dict),
        "list": lambda: two_inputs(list),
        "augmentation": lambda: sequential(
            layers.RandomFlip(),
            layers.RandomRotation(0.1),
            layers.GaussianNoise(0.1),
            conv("first"),
        ),
        "counting": lambda: sequential(Counting(), conv("first"), Counting()),
        "always random": lambda: sequential(AlwaysRandom(), conv("first")),
        "float16": lambda: sequential(
            *(layers.Conv2D(4, 3, name="first", dtype="mixed_float16"),),
            layers.BatchNormalization(dtype="mixed_float16"),
        ),
        "bfloat16": lambda: sequential(
            layers.Conv2D(4, 3, name="first", dtype="mixed_bfloat16"), layers.ReLU()
        ),
        "eager": lambda: sequential(
            *(AlwaysRandom(), layers.Dropout(0.3), conv("first")), run_eagerly=True
        ),
        "not compiled": lambda: sequential(layers.Dropout(0.3), conv("first"), jit_compile=False),
        "averages": lambda: sequential(conv("first"), optimizer=averaging()),
        "own call": own_call,
        "depthwise": lambda: sequential(
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="first"),
            layers.SeparableConv2D(4, 3, name="second"),
        ),
    }


FIRST = ("functional", "without training", "counting", "always random", "eager")
OTHERS = (
    *("sequential", "subclassed", "nested", "shared", "dict", "list", "augmentation", "float16"),
    *("bfloat16", "not compiled", "averages", "own call", "depthwise"),
)


def backend_state(keras):
    """Return the global states of random numbers of the backend."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.random.get_rng_state().numpy().tolist()
    if backend == "tensorflow":
        from tensorflow.python.eager import context

        return context.context()._rng.getstate()
    return None


def state_of(keras, model):
    """Return everything that a training changes."""
    return {
        "weights": [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables],
        "optimizer": [np.array(keras.ops.convert_to_numpy(v)) for v in model.optimizer.variables],
        "metrics": [np.array(keras.ops.convert_to_numpy(v)) for v in model.metrics_variables],
        "losses": len(model.losses),
        "layers": [(layer.built, layer._called) for layer in model._flatten_layers()],
        "calls": [layer.__dict__.get("call") for layer in model._flatten_layers()],
        "modes": [getattr(layer, "training", None) for layer in model._flatten_layers()],
        "random": [random.getstate(), np.random.get_state()[1].tolist(), backend_state(keras)],  # noqa: NPY002
        "seeds": keras.backend.backend() and keras.random.randint((), 0, 10**6).__int__(),
    }


def trained(keras, name, folder=None):
    """Train a model, with probes if a folder is given; return its state and history."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)
    model, x, y = models(keras)[name]()
    calls = [layer.__dict__.get("call") for layer in model._flatten_layers()]
    callbacks = []
    if folder is not None:
        probes = keras.tree.map_structure(lambda each: each[:3], x)
        callbacks = [FilterTracker(folder, schedule=2, probes=probes, strict=True)]
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks).history
    state = state_of(keras, model)
    for before, after in zip(calls, state.pop("calls"), strict=True):
        assert after is before
    return model, state, history


@pytest.mark.parametrize(
    "name", [*FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_training_with_probes_is_bit_identical(name, keras, tmp_path):
    """Weights, optimizer, random states, metrics, losses, history and marks of layers."""
    _, expected, expected_history = trained(keras, name)
    _, state, history = trained(keras, name, tmp_path / "run")
    assert history == expected_history
    for what, values in expected.items():
        assert len(values) == len(state[what]) if isinstance(values, list) else True
        if what in {"weights", "optimizer", "metrics"}:
            for one, other in zip(values, state[what], strict=True):
                np.testing.assert_array_equal(one, other, strict=True)
        else:
            assert state[what] == values
    run = Run(tmp_path / "run")
    assert all(run.moment(step).probed for step in run.steps)
    assert "first" in run.probes.layers or name == "nested"
    for layer in run.probes.layers:
        for step in run.steps:
            assert np.isfinite(run.probe_responses(layer, step).values()).all()


def test_models_can_be_saved_and_copied_while_probes_are_shown(keras, tmp_path):
    """Between two snapshots the model holds nothing of the tracker."""
    model, x, y = models(keras)["functional"]()
    sizes = []

    def copy(epoch, logs):
        sizes.append(pickle.loads(pickle.dumps(model)).count_params())  # noqa: S301
        keras.models.clone_model(model)
        model.save(tmp_path / f"{epoch}.keras")

    model.fit(
        *(x, y),
        epochs=2,
        verbose=0,
        callbacks=[
            FilterTracker(tmp_path / "run", probes=x[:2], strict=True),
            keras.callbacks.LambdaCallback(on_epoch_end=copy),
        ],
    )
    assert sizes == [model.count_params()] * 2
    assert keras.models.load_model(tmp_path / "1.keras").count_params() == sizes[0]
