import logging
from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run, Snapshot
from filtertrack.snapshot import describe


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
    with pytest.raises(FiltertrackError, match=r"conv2d: not built, .* on one batch"):
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
    assert "(1 kernel, 6 kB a snapshot with pictures; about 4 snapshots: 23 kB)" in caplog.text


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


def test_a_run_with_names_of_an_earlier_version_goes_on(keras, tmp_path, rng):
    """It named nested layers by themselves, and listed them backwards; its names are kept."""

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


# Loops by hand.


def test_a_loop_by_hand_says_its_steps(keras, x, tmp_path):
    """And batches where they are given; never "epoch 0"."""
    model = small(keras)
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    for step in (0, 100, 200):
        tracker.snapshot(step)
        model.train_on_batch(x, TARGETS)
    tracker.snapshot(300, batch=1200)
    tracker.snapshot(400, epoch=2)
    tracker.close()
    run = Run(tmp_path)
    assert [describe(run.moment(step)) for step in run.steps] == [
        "before training",
        "step 100",
        "step 200",
        "batch 1200",
        "epoch 2, step 400",
    ]


def test_a_loop_whose_model_does_not_change(keras, x, tmp_path, caplog):
    """Said once, at the second snapshot, with what to do; not where something has changed."""
    model = small(keras)
    tracker = FilterTracker(tmp_path / "still")
    tracker.set_model(model)
    for step in range(4):
        tracker.snapshot(step)
    tracker.close()
    said = [r for r in caplog.records if "no tracked weight has changed" in r.getMessage()]
    assert len(said) == 1
    assert "variable.assign(value)" in said[0].getMessage()
    caplog.clear()
    tracker = FilterTracker(tmp_path / "moving")
    tracker.set_model(model)
    for step in range(3):
        tracker.snapshot(step)
        model.train_on_batch(x, TARGETS)
    tracker.close()
    assert "no tracked weight" not in caplog.text


@pytest.mark.parametrize("assigned", [False, True])
def test_a_loop_of_jax_with_stateless_call(keras, x, tmp_path, caplog, assigned):
    """The model's own variables stay at their start unless the state is assigned back."""
    if keras.backend.backend() != "jax":
        pytest.skip("stateless_call is how loops are written on jax")
    import jax

    model = small(keras)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    def loss_of(trainable, others):
        predicted, others = model.stateless_call(trainable, others, x, training=True)
        return keras.ops.mean((predicted - TARGETS) ** 2), others

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    state = [variable.value for variable in optimizer.variables]
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    for step in range(3):
        tracker.snapshot(step)
        (_, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        if assigned:
            for variable, value in zip(model.trainable_variables, trainable, strict=True):
                variable.assign(value)
    tracker.close()
    run = Run(tmp_path)
    moved = (run.kernels("conv", 0) != run.kernels("conv", 2)).any()
    assert moved == assigned
    assert ("no tracked weight has changed" in caplog.text) == (not assigned)


# Kinds of models and trainings that Keras's examples show.


def halves(keras):
    """Return a generator and a discriminator."""
    generator = keras.Sequential(
        [keras.Input((2, 2, 4)), keras.layers.Conv2DTranspose(3, 4, 4, name="up")]
    )
    return generator, small(keras)


def test_an_adversarial_pair_in_a_loop_by_hand(keras, x, tmp_path):
    """A tracker for each half: captions by step, both runs go on when the loop does."""
    generator, discriminator = halves(keras)
    combined = keras.Sequential([generator, discriminator])
    combined.compile("sgd", "mse")
    noise = np.random.default_rng(1).normal(size=(32, 2, 2, 4)).astype("float32")
    held_last = {}
    for first in (0, 3):
        trackers = {"g": generator, "d": discriminator}
        trackers = {FilterTracker(tmp_path / name): model for name, model in trackers.items()}
        for tracker, model in trackers.items():
            tracker.set_model(model)
        for step in range(first, first + 3):
            for tracker in trackers:
                tracker.snapshot(step, metrics={"step": step})
            held_last = {"d": held(keras, discriminator).copy()}
            discriminator.train_on_batch(x, TARGETS)
            combined.train_on_batch(noise, TARGETS)
        for tracker in trackers:
            tracker.close()
    for name, layer in (("g", "up"), ("d", "conv")):
        run = Run(tmp_path / name)
        assert run.steps == [*range(6)]
        assert run.moment(5).metrics == {"step": 5}
        assert all((run.kernels(layer, s) != run.kernels(layer, s + 1)).any() for s in range(5))
    np.testing.assert_array_equal(
        Run(tmp_path / "d").snapshot(5).arrays["conv/kernel"], held_last["d"]
    )


def test_a_distiller(keras, x, tmp_path, caplog):
    """The frozen teacher is tracked beside the student, and the end says that it did not change."""
    caplog.set_level(logging.INFO, "filtertrack")

    class Distiller(keras.Model):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = small(keras), small(keras)
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
    (said,) = (r.getMessage() for r in caplog.records if "did not change" in r.getMessage())
    assert still in said
    assert not [name for name in run.layers if name != still and f"{name}," in said]


def test_three_fits_of_models_that_share_an_encoder(keras, x, tmp_path):
    """As in contrastive learning: a baseline, pretraining, finetuning; one tracker, three runs."""

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


def test_a_train_step_of_ones_own(keras, x, tmp_path):
    """With weights restored in the end: the last snapshot is the model in hand."""
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
            return {"loss": -loss}  # so that it seems to get worse

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
    np.testing.assert_array_equal(run.snapshot(last.step).arrays["conv/kernel"], held(keras, model))


def test_a_copy_of_the_network_that_averages(keras, x, tmp_path):
    """An EMA copy that a callback updates after each epoch is tracked as any other model."""
    network = small(keras)
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


def test_another_choice_of_like_layers_does_not_go_on_with_the_run(keras, x, tmp_path):
    """Its kernels have the same shape, but are no others' history."""

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
