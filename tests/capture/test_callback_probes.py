"""Training with probes that users give in several ways, right or wrong."""

import logging

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from filtertrack import FilterTracker, FiltertrackError, Probes, Run

RNG = np.random.default_rng(0)
IMAGES = RNG.random((24, 8, 8, 3), np.float32)
LABELS = RNG.integers(0, 2, 24)


def train(data, *callbacks, epochs=2):
    """Return the weights after training from a fixed seed."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Dropout(0.3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = data() if callable(data) else data
    options = {"shuffle": False} if len(data) == 1 else {}  # a dataset shuffles by itself
    model.fit(*data, epochs=epochs, verbose=0, callbacks=callbacks, **options)
    return b"".join(weight.tobytes() for weight in model.get_weights())


class Batches(keras.utils.PyDataset):
    """A dataset that augments with the global generator of numpy."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        noise = 0.1 * np.random.normal(size=(8, 8, 8, 3))  # noqa: NPY002
        return (IMAGES[part] + noise).astype(np.float32), LABELS[part]


@pytest.mark.parametrize("kind", ["tensorflow", "keras", "torch"])
def test_training_on_a_dataset_of_which_probes_are_taken_stays_the_same(kind, tmp_path):
    """Bit for bit, although the data are shuffled or drawn at random."""
    pytest.importorskip({"keras": "numpy"}.get(kind, kind))

    def dataset():
        if kind == "tensorflow":
            import tensorflow as tf

            pairs = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
            return pairs.shuffle(24, reshuffle_each_iteration=False).batch(8)
        if kind == "torch":
            import torch

            pairs = torch.utils.data.TensorDataset(torch.tensor(IMAGES), torch.tensor(LABELS))
            return torch.utils.data.DataLoader(pairs, batch_size=8, shuffle=True)
        return Batches(workers=1)

    plain = train(lambda: (dataset(),))

    def data():
        made = dataset()
        tracker._probes = Probes(made)  # after the seed was set
        return (made,)

    tracker = FilterTracker(tmp_path / "run", probes=IMAGES[:1], strict=True)
    assert train(data, tracker) == plain
    run = Run(tmp_path / "run")
    assert run.probes.count == 8
    assert run.probe_responses("conv", run.steps[-1]).maps.shape[0] == 8


def test_pictures_of_a_folder_are_shown(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in (10, 9):
        pixels = np.full((16, 16, 3), 10 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    tracker = FilterTracker(tmp_path / "run", probes=str(tmp_path / "pictures"), strict=True)
    train((IMAGES, LABELS), tracker)
    (images,) = Run(tmp_path / "run").probes.inputs.values()
    np.testing.assert_allclose(images[:, 0, 0, 0], [90 / 255, 100 / 255], rtol=1e-6)


def test_the_labels_of_a_batch_are_stored(tmp_path):
    train((IMAGES, LABELS), FilterTracker(tmp_path / "run", probes=(IMAGES[:5], LABELS[:5])))
    assert Run(tmp_path / "run").probes.labels.tolist() == LABELS[:5].tolist()


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        (lambda: IMAGES[:, :4], r"takes images of shape \(8, 8, 3\), got an array of shape"),
        (lambda: IMAGES[0], r"for one image give x\[np.newaxis\]"),
        (lambda: {"left": IMAGES, "right": IMAGES}, "got left, right"),
        (lambda: IMAGES[..., :2], "the images have 2 channels, and the model takes 3"),
        (lambda: IMAGES[..., :1], r"for equal channels give np.repeat\(x, 3, axis=-1\)"),
    ],
)
def test_probes_that_do_not_fit_are_reported_before_the_first_batch(
    probes, message, tmp_path, caplog
):
    """Once; training is the same as without probes, and the run has none."""
    batches = []
    warned = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: batches.append(len(caplog.records))
    )
    caplog.set_level(logging.WARNING, logger="filtertrack")
    plain = train((IMAGES, LABELS))
    assert (
        train((IMAGES, LABELS), FilterTracker(tmp_path / "run", probes=probes()), warned) == plain
    )
    (record,) = [each for each in caplog.records if each.name == "filtertrack"]
    assert batches[0] >= 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(record.message)
    assert record.exc_info is None or record.exc_info is False
    assert Run(tmp_path / "run").probes is None
    with pytest.raises(FiltertrackError, match=message):
        train((IMAGES, LABELS), FilterTracker(tmp_path / "strict", probes=probes(), strict=True))


def test_later_changes_of_the_users_array_do_not_matter(tmp_path):
    images = IMAGES[:4].copy()
    tracker = FilterTracker(tmp_path / "run", probes=images)
    images[:] = 7
    train((IMAGES, LABELS), tracker)
    (stored,) = Run(tmp_path / "run").probes.inputs.values()
    np.testing.assert_array_equal(stored, IMAGES[:4])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "convl",
            "no convolution matches 'convl'. Did you mean 'conv'[?] The tracked ones are: conv",
        ),
        (["conv", "dense9"], "no convolution matches 'dense9'"),
        ("other", "probes: layers: other: not tracked.* choose it in FilterTracker"),
    ],
)
def test_wrong_names_of_layers_are_refused_before_training(layer, message, tmp_path):
    """As those in ``FilterTracker(layers=...)``; a layer that exists is told from a wrong name."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(2, 3, name="conv"),
            layers.Conv2D(2, 3, name="other"),
        ]
    )
    model.compile("sgd", "mse")
    tracker = FilterTracker(tmp_path / "run", layers="conv", probes=Probes(IMAGES, layers=layer))
    before = model.get_weights()
    with pytest.raises(FiltertrackError, match=message):
        model.fit(IMAGES, np.zeros((24, 4, 4, 2)), verbose=0, callbacks=[tracker])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_probes_that_could_not_be_stored_are_tried_again(tmp_path, monkeypatch, caplog):
    """At the next snapshot; earlier ones hold weights only."""
    fails = [OSError("disk full")]
    store = Run.store_probes

    def store_probes(run, probes):
        if fails:
            raise fails.pop()
        store(run, probes)

    monkeypatch.setattr(Run, "store_probes", store_probes)
    train((IMAGES, LABELS), FilterTracker(tmp_path / "run", probes=IMAGES[:2]))
    run = Run(tmp_path / "run")
    assert [run.moment(step).probed for step in run.steps] == [False, True, True]
    assert caplog.text.count("could not store the probes, training goes on: disk full") == 1
