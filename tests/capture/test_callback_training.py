"""``fit`` of many kinds of models, as in Keras's examples."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run, Snapshot
from filtertrack.snapshot import describe

TARGETS = np.ones((32, 4), "float32")


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"],
)
def test_every_precision_is_stored_exactly(  # noqa: PLR0917
    keras,
    x,
    tmp_path,
    dtype,
    small,
    kernel_of,
):
    """bfloat16 as float32, which is exact."""
    keras.utils.set_random_seed(0)
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("jax holds float64 only when it is configured to")
    model = small(dtype)
    start = kernel_of(model).copy()
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert run.layers["conv"].dtype == {
        "mixed_float16": "float32",
        "mixed_bfloat16": "float32",
    }.get(dtype, dtype)
    for step, expected in ((0, start), (2, kernel_of(model))):
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
def test_compiled_eager_and_multi_step_training_are_stored_exactly(  # noqa: PLR0917
    keras,
    x,
    tmp_path,
    options,
    small,
    kernel_of,
):
    """The first and the last snapshot equal the model's weights."""
    if keras.backend.backend() == "torch" and options.get("jit_compile"):
        pytest.skip("torch's compiler needs a C++ toolchain and minutes")
    if keras.backend.backend() == "torch" and "steps_per_execution" in options:
        pytest.skip("Keras on torch allows one step an execution only")
    model = small(**options)
    start = kernel_of(model).copy()
    tracker = FilterTracker(tmp_path, schedule="log")
    model.fit(x, TARGETS, batch_size=2, epochs=3, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert {0, 16, 32, 48} <= set(run.steps)
    kernels = [run.snapshot(step).arrays["conv/kernel"] for step in (0, 48)]
    np.testing.assert_array_equal(kernels[0], start)
    np.testing.assert_array_equal(kernels[1], kernel_of(model))


def test_a_channels_first_model_is_tracked(
    keras,
    x,
    tmp_path,
    kernel_of,
):
    """Where the backend trains one on the CPU."""
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
    expected = kernel_of(model).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(run.kernels("conv", 2), expected)


def test_both_models_of_a_gan_with_its_own_train_step_are_tracked(keras, x, tmp_path):
    """In a subclassed model with two sub-models, under their own names."""

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


def test_two_models_with_a_tracker_each_have_separate_runs(
    x,
    tmp_path,
    small,
    kernel_of,
):
    """Trained alternately in one program."""
    models = [small(), small()]
    trackers = [FilterTracker(tmp_path / "a"), FilterTracker(tmp_path / "b")]
    for _ in range(2):
        for model, tracker in zip(models, trackers, strict=True):
            model.fit(x, TARGETS, verbose=0, callbacks=[tracker])
    for model, folder in zip(models, ("a", "b"), strict=True):
        run = Run(tmp_path / folder)
        assert run.steps == [0, 1, 2]
        expected = kernel_of(model).transpose(3, 0, 1, 2)
        np.testing.assert_array_equal(run.kernels("conv", 2), expected)


def test_models_of_each_fold_have_equal_layer_names(keras, x, tmp_path):
    """Although Keras numbers their layers."""
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


def test_other_callbacks_are_called_as_without_the_tracker(
    keras,
    x,
    tmp_path,
    small,
):
    """Before and after it in the list."""
    received = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: received.append(dict(logs))
    )
    model = small()
    callbacks = [watch, FilterTracker(tmp_path), watch]
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=callbacks)
    assert len(received) == 4
    assert received[0] == received[1]
    assert Run(tmp_path).moment(1).metrics["loss"] == pytest.approx(received[0]["loss"])


def test_the_expected_size_is_logged_before_training(
    x,
    tmp_path,
    caplog,
    small,
):
    """Kernels, bytes of a snapshot, bytes of all planned epochs, and layers not tracked."""
    caplog.set_level(logging.INFO, "filtertrack")
    model = small()
    model.fit(x, TARGETS, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert "(1 kernel, 6 kB a snapshot with pictures; about 4 snapshots: 22 kB)" in caplog.text


@pytest.mark.filterwarnings("ignore:.*it looks like it has unbuilt state")  # intended
def test_a_convolution_that_is_never_called_is_left_out_and_logged(keras, x, tmp_path, caplog):
    """The others are tracked from step 0 on."""

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


def test_a_run_with_names_of_an_earlier_version_is_continued(keras, tmp_path, rng):
    """With its own names, which omit sub-models and are in reverse order."""

    def model():
        convs = [keras.layers.Conv2D(2, 3, name="c1"), keras.layers.Conv2D(2, 3, name="c2")]
        encoder = keras.Sequential([keras.Input((8, 8, 2)), *convs], name="enc")
        made = keras.Sequential([keras.Input((8, 8, 2)), encoder, keras.layers.Flatten()])
        made.compile("sgd", "mse")
        return made

    tracker = FilterTracker(tmp_path / "today")
    tracker.set_model(model())
    tracker.snapshot(0)
    tracker.close()
    today = Run(tmp_path / "today")
    earlier = [
        replace(info, name=name, path=name, kernel=f"{name}/kernel", bias=f"{name}/bias")
        for name, info in (("c2", today.layer("enc/c2")), ("c1", today.layer("enc/c1")))
    ]
    run = Run.create(tmp_path / "run", earlier)
    first = today.snapshot(0)
    arrays = {name.removeprefix("enc/"): array for name, array in first.arrays.items()}
    run.append(Snapshot(first.moment, arrays))

    loaded = model()
    data = rng.random((4, 8, 8, 2)).astype("float32"), np.zeros((4, 32), "float32")
    callbacks = [FilterTracker(tmp_path / "run")]
    loaded.fit(*data, epochs=2, initial_epoch=1, verbose=0, callbacks=callbacks)
    run = Run(tmp_path / "run")
    assert (list(run.layers), run.steps[-1]) == (["c2", "c1"], 2)
    for name in ("c1", "c2"):
        layer = loaded.get_layer("enc").get_layer(name)
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        np.testing.assert_array_equal(run.kernels(name, 2), run.layer(name).canonical(kernel))


def test_a_frozen_teacher_is_tracked_beside_the_student(
    keras,
    x,
    tmp_path,
    caplog,
    small,
):
    """The end of the log says that it did not change."""
    caplog.set_level(logging.INFO, "filtertrack")

    class Distiller(keras.Model):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = small(), small()
            self.teacher.trainable = False

        def call(self, x):
            return self.student(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean((self.teacher(x, training=False) - y_pred) ** 2)

    model = Distiller()
    model.compile(keras.optimizers.SGD(0.1))
    model(x)
    model.fit(x, TARGETS, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert len(run.layers) == 2
    moved = [(run.kernels(name, 0) != run.kernels(name, 2)).any() for name in run.layers]
    assert sorted(moved) == [False, True]
    (still,) = (name for name, moves in zip(run.layers, moved, strict=True) if not moves)
    (logged,) = (r.getMessage() for r in caplog.records if "did not change" in r.getMessage())
    assert still in logged
    assert not [name for name in run.layers if name != still and f"{name}," in logged]


def test_one_tracker_writes_three_runs_of_models_that_share_an_encoder(keras, x, tmp_path):
    """As in contrastive learning: a baseline, pretraining, finetuning."""

    def encoder():
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, name="conv"),
                keras.layers.GlobalAveragePooling2D(),
            ]
        )

    def headed(body, units):
        model = keras.Sequential([keras.Input((8, 8, 3)), body, keras.layers.Dense(units)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    tracker = FilterTracker(tmp_path / "run", existing="new")
    shared = encoder()
    folders = []
    for body, units in ((encoder(), 4), (shared, 2), (shared, 4)):
        targets = np.ones((32, units), "float32")
        headed(body, units).fit(x, targets, epochs=2, verbose=0, callbacks=[tracker])
        folders.append(tracker.run_dir)
    assert [folder.name for folder in folders] == ["run", "run-2", "run-3"]
    runs = [Run(folder) for folder in folders]
    assert all(run.steps == [0, 1, 2] for run in runs)
    (pretrained, finetuned), (name,) = runs[1:], runs[1].layers
    np.testing.assert_array_equal(pretrained.kernels(name, 2), finetuned.kernels(name, 0))


def test_restored_weights_of_a_custom_train_step_are_the_last_snapshot(
    keras,
    x,
    tmp_path,
    kernel_of,
):
    """As with Keras's own step."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this train_step is written for tensorflow")
    import tensorflow as tf

    class Own(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            return {"loss": -loss}  # so that it increases

    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    model = Own(inputs, keras.layers.GlobalAveragePooling2D()(hidden))
    model.compile(keras.optimizers.SGD(0.1))
    stop = keras.callbacks.EarlyStopping(
        "loss", patience=2, mode="min", restore_best_weights=True, verbose=0
    )
    callbacks = [FilterTracker(tmp_path, schedule="log"), stop]
    model.fit(x, TARGETS, epochs=9, batch_size=8, verbose=0, callbacks=callbacks)
    run = Run(tmp_path)
    last = run.moment(run.steps[-1])
    assert last.note == "restored: epoch 1"
    np.testing.assert_array_equal(run.snapshot(last.step).arrays["conv/kernel"], kernel_of(model))


def test_an_ema_copy_of_the_network_is_tracked(
    keras,
    x,
    tmp_path,
    small,
):
    """A callback updates it after each epoch."""
    network = small()
    average = keras.models.clone_model(network)
    average.set_weights(network.get_weights())

    class Update(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pairs = zip(average.get_weights(), self.model.get_weights(), strict=True)
            average.set_weights([0.5 * old + 0.5 * new for old, new in pairs])
            tracker.snapshot(epoch + 1, epoch=epoch + 1)

    tracker = FilterTracker(tmp_path / "average")
    tracker.set_model(average)
    tracker.snapshot(0)
    callbacks = [FilterTracker(tmp_path / "network"), Update()]
    network.fit(x, TARGETS, epochs=3, verbose=0, callbacks=callbacks)
    tracker.close()
    average, network = (Run(tmp_path / name) for name in ("average", "network"))
    assert average.steps == network.steps == [0, 1, 2, 3]
    mean = 0.5 * network.kernels("conv", 0) + 0.5 * network.kernels("conv", 1)
    np.testing.assert_allclose(average.kernels("conv", 1), mean, rtol=1e-6)
    assert describe(average.moment(2)) == "epoch 2"


def test_a_run_of_other_layers_of_equal_shape_is_not_continued(keras, x, tmp_path):
    """Their kernels have another history."""

    def model():
        convs = [keras.layers.Conv2D(3, 3, padding="same") for _ in range(2)]
        return keras.Sequential(
            [keras.Input((8, 8, 3)), *convs, keras.layers.GlobalAveragePooling2D()]
        )

    made = model()
    made.compile("sgd", "mse")
    targets = np.zeros((32, 3), "float32")
    first, second = made.layers[:2]
    tracker = FilterTracker(tmp_path, layers=lambda layer: layer is second)
    made.fit(x, targets, verbose=0, callbacks=[tracker])
    other = FilterTracker(tmp_path, layers=lambda layer: layer is first)
    with pytest.raises(FiltertrackError, match="holds a run of other layers"):
        made.fit(x, targets, epochs=2, initial_epoch=1, verbose=0, callbacks=[other])
    assert list(Run(tmp_path).layers) == ["conv2d_1"]
