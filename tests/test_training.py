import logging

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run


@pytest.fixture
def keras():
    import keras

    return keras


@pytest.fixture
def x(rng):
    return rng.normal(size=(32, 8, 8, 3)).astype("float32")


def small(keras, dtype=None, **options):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="conv", dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    return model


def held(keras, model):
    return keras.ops.convert_to_numpy(model.get_layer("conv").kernel)


TARGETS = np.ones((32, 4), "float32")


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"],
)
def test_every_precision(keras, x, tmp_path, dtype):
    """What is stored is what Keras holds: bit for bit, bfloat16 widened exactly to float32."""
    keras.utils.set_random_seed(0)
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("jax holds float64 only when it is configured to")
    model = small(keras, dtype)
    start = held(keras, model).copy()
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert run.layers["conv"].dtype == {
        "mixed_float16": "float32",
        "mixed_bfloat16": "float32",
    }.get(dtype, dtype)
    for step, expected in ((0, start), (2, held(keras, model))):
        with np.load(run.file(step)) as file:
            stored = file["conv/kernel"]
        wide = expected.astype(stored.dtype)
        assert stored.tobytes() == wide.tobytes()
        if dtype != "bfloat16":
            assert stored.dtype == expected.dtype
        assert wide.astype(expected.dtype).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 32}],
    ids=["compiled", "eager", "32 steps"],
)
def test_every_way_to_execute(keras, x, tmp_path, options):
    """Compiled, eager, or many steps at once: the first and the last snapshot are exact."""
    if keras.backend.backend() == "torch" and options.get("jit_compile"):
        pytest.skip("torch's compiler needs a C++ toolchain and minutes")
    if keras.backend.backend() == "torch" and "steps_per_execution" in options:
        pytest.skip("Keras on torch allows one step an execution only")
    model = small(keras, **options)
    start = held(keras, model).copy()
    tracker = FilterTracker(tmp_path, schedule="log")
    model.fit(x, TARGETS, batch_size=2, epochs=3, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert {0, 16, 32, 48} <= set(run.steps)
    kernels = [run.snapshot(step).arrays["conv/kernel"] for step in (0, 48)]
    np.testing.assert_array_equal(kernels[0], start)
    np.testing.assert_array_equal(kernels[1], held(keras, model))


def test_channels_first(keras, x, tmp_path):
    """A model that takes channels first, where the backend trains one on the CPU."""
    if keras.backend.backend() == "tensorflow":
        pytest.skip("tensorflow trains channels_first on GPUs only")
    model = keras.Sequential(
        [
            keras.Input((3, 8, 8)),
            keras.layers.Conv2D(4, 3, data_format="channels_first", name="conv"),
            keras.layers.GlobalAveragePooling2D(data_format="channels_first"),
        ]
    )
    model.compile("sgd", "mse")
    first = np.moveaxis(x, 3, 1)
    model.fit(first, TARGETS, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    expected = held(keras, model).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(run.kernels("conv", 2), expected)


def test_an_adversarial_pair_with_its_own_train_step(keras, x, tmp_path):
    """A subclassed ``fit`` over two models: both are tracked, under their own names."""

    class Gan(keras.Model):
        def __init__(self):
            super().__init__(name="gan")
            self.seed = keras.random.SeedGenerator(0)
            self.generator = keras.Sequential(
                [
                    keras.Input((2, 2, 4)),
                    keras.layers.Conv2DTranspose(3, 4, 4, name="up"),
                ],
                name="generator",
            )
            self.discriminator = keras.Sequential(
                [
                    keras.Input((8, 8, 3)),
                    keras.layers.Conv2D(2, 3, name="look"),
                    keras.layers.GlobalAveragePooling2D(),
                    keras.layers.Dense(1),
                ],
                name="discriminator",
            )

        def call(self, real):
            noise = keras.random.normal((4, 2, 2, 4), seed=self.seed)
            return keras.ops.mean(self.discriminator(real)) - keras.ops.mean(
                self.discriminator(self.generator(noise))
            )

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred)

    gan = Gan()
    gan.compile(keras.optimizers.SGD(0.1))
    gan.build((None, 8, 8, 3))
    gan.fit(x, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert sorted(run.layers) == ["discriminator/look", "generator/up"]
    assert run.steps == [0, 1, 2]
    for name in run.layers:
        assert (run.kernels(name, 0) != run.kernels(name, 2)).any()


def test_two_models_with_a_tracker_each(keras, x, tmp_path):
    """In one program, trained in turn: each run holds its own model's weights."""
    models = [small(keras), small(keras)]
    trackers = [FilterTracker(tmp_path / "a"), FilterTracker(tmp_path / "b")]
    for _ in range(2):
        for model, tracker in zip(models, trackers, strict=True):
            model.fit(x, TARGETS, verbose=0, callbacks=[tracker])
    for model, folder in zip(models, ("a", "b"), strict=True):
        run = Run(tmp_path / folder)
        assert run.steps == [0, 1, 2]
        expected = held(keras, model).transpose(3, 0, 1, 2)
        np.testing.assert_array_equal(run.kernels("conv", 2), expected)


def test_k_folds_with_a_new_model_each(keras, x, tmp_path):
    """Models that Keras names and numbers by itself: each fold's run has the same layer names."""
    for fold in range(3):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, name="conv"),
                keras.layers.GlobalAveragePooling2D(),
            ]
        )
        model.compile("sgd", "mse")
        tracker = FilterTracker(tmp_path / f"fold{fold}")
        model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=[tracker])
    assert {tuple(Run(tmp_path / f"fold{n}").layers) for n in range(3)} == {("conv",)}


def test_neighbours_see_the_same_training(keras, x, tmp_path):
    """Other callbacks before and after the tracker are called as ever."""
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    model = small(keras)
    callbacks = [watch, FilterTracker(tmp_path), watch]
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=callbacks)
    assert len(seen) == 4
    assert seen[0] == seen[1]
    assert Run(tmp_path).moment(1).metrics["loss"] == pytest.approx(seen[0]["loss"])


def test_train_on_batch_by_hand(keras, x, tmp_path):
    """Without ``fit``: ``snapshot`` takes them, ``close`` finishes the run."""
    model = small(keras)
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    expected = {}
    for step in range(5):
        tracker.snapshot(step, epoch=step // 2, metrics={"loss": 1.0 - 0.1 * step})
        expected[step] = held(keras, model).copy()
        model.train_on_batch(x, TARGETS)
    with pytest.raises(FiltertrackError, match="step 4: expected more than the last, 4"):
        tracker.snapshot(4)
    tracker.close()
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4]
    for step, kernel in expected.items():
        np.testing.assert_array_equal(run.snapshot(step).arrays["conv/kernel"], kernel)
    assert run.moment(3).metrics == {"loss": pytest.approx(0.7)}
    assert run.moment(3).epoch == 1
    for step in (0, 3, 4):
        with pytest.raises(FiltertrackError, match="already holds a run, up to step 4") as error:
            tracker.snapshot(step)
        for way in ("Go on from step 5", "another folder", "existing='new'", "existing='replace'"):
            assert way in str(error.value)
    tracker.snapshot(5)
    tracker.close()
    assert run.steps == [0, 1, 2, 3, 4, 5]


def test_by_hand_without_a_model_or_weights(keras, tmp_path):
    """What is missing is said."""
    tracker = FilterTracker(tmp_path)
    with pytest.raises(FiltertrackError, match=r"tracker\.set_model\(model\)"):
        tracker.snapshot(0)
    tracker.set_model(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    with pytest.raises(FiltertrackError, match=r"model\.build\(input_shape\)"):
        tracker.snapshot(0)
    assert not Run.exists(tmp_path)


def test_hooks_called_by_a_loop_of_ones_own(keras, x, tmp_path):
    """A ``CallbackList`` that says nothing about epochs and steps is enough."""
    model = small(keras)
    callbacks = keras.callbacks.CallbackList([FilterTracker(tmp_path, schedule=2)], model=model)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            model.train_on_batch(x, TARGETS)
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert Run(tmp_path).steps == [0, 2, 4, 6]


def test_the_cost_is_said_before_training(keras, x, tmp_path, caplog):
    """Kernels, bytes a snapshot, bytes for the planned epochs; what is not tracked."""
    caplog.set_level(logging.INFO, "filtertrack")
    model = small(keras)
    model.fit(x, TARGETS, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert "(1 kernels, 0.00 MB a snapshot; about 4 snapshots: 0.0 MB)" in caplog.text


@pytest.mark.filterwarnings("ignore:.*it looks like it has unbuilt state")  # as it is meant to
def test_a_convolution_that_is_never_called(keras, x, tmp_path, caplog):
    """It has no weights, and that is said; the others are tracked from step 0 on."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.used = keras.layers.Conv2D(4, 3, name="used")
            self.forgotten = keras.layers.Conv2D(4, 3, name="forgotten")
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.used(x))

    caplog.set_level(logging.INFO, "filtertrack")
    model = Net()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model(x)
    start = keras.ops.convert_to_numpy(model.used.kernel).copy()
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    (name,) = run.layers
    assert name.endswith("used")
    assert run.steps == [0, 1, 2]
    np.testing.assert_array_equal(run.kernels(name, 0), start.transpose(3, 0, 1, 2))
    assert "forgotten: never called" in caplog.text


def test_a_run_over_1_gb_is_warned_of(tmp_path, conv_info, caplog):
    """With the remedy; below that there is no warning."""
    from filtertrack.recording import announce

    caplog.set_level(logging.WARNING, "filtertrack")
    large = conv_info(kernel_shape=(3, 3, 512, 512))
    announce(tmp_path, [large], {}, planned=100)
    assert not caplog.records
    announce(tmp_path, [large], {}, planned=200)
    assert "about 1.9 GB" in caplog.text
    assert "layers='first'" in caplog.text
    assert "schedule=N" in caplog.text
