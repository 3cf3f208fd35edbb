"""What ``Probes`` takes as images and labels, and what it refuses, before any training."""

import copy
import pickle
import random

import keras
import numpy as np
import pytest
from PIL import Image

from filtertrack import FilterTracker, FiltertrackError, Probes

IMAGES = np.random.default_rng(0).random((6, 5, 4, 3), np.float32)


@pytest.fixture
def write_picture(tmp_path):
    def write(name, *, size=(6, 4), value=100):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (value, 0, 0)).save(path)
        return path

    return write


def tensors_of(backend):
    if backend == "tensorflow":
        tensorflow = pytest.importorskip("tensorflow")
        return tensorflow.constant(IMAGES)
    if backend == "jax":
        return pytest.importorskip("jax.numpy").asarray(IMAGES)
    torch = pytest.importorskip("torch")
    return torch.tensor(IMAGES, requires_grad=True)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_tensors_of_each_framework_are_arrays(backend):
    np.testing.assert_array_equal(Probes(tensors_of(backend)).images, IMAGES)


def test_bfloat16_becomes_float32():
    """Since numpy stores no bfloat16."""
    for images in (
        keras.ops.cast(keras.ops.convert_to_tensor(IMAGES), "bfloat16"),
        keras.ops.convert_to_numpy(keras.ops.cast(IMAGES, "bfloat16")),
    ):
        assert Probes(images).images.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64, np.int32, bool])
def test_the_type_of_an_array_is_kept(dtype):
    assert Probes(IMAGES.astype(dtype)).images.dtype == dtype


def test_images_are_copied():
    images = IMAGES.copy()
    probes = Probes(images)
    images[:] = 0
    np.testing.assert_array_equal(probes.images, IMAGES)


def test_a_list_of_images_is_an_array():
    probes = Probes(list(IMAGES))
    np.testing.assert_array_equal(probes.images, IMAGES)
    assert Probes(IMAGES.tolist()).count == 6


def test_several_inputs_are_a_dict_or_a_list():
    by_name = Probes({"left": IMAGES, "right": IMAGES[:, :, :, :1]})
    assert (by_name.count, list(by_name.images)) == (6, ["left", "right"])
    assert [each.shape for each in Probes([IMAGES, IMAGES[:, 0, 0]]).images] == [
        (6, 5, 4, 3),
        (6, 3),
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 1, 4, 1, 5, 9], [3, 1, 4, 1, 5, 9]),
        (np.array([[3.0], [1], [4], [1], [5], [9]]), [3, 1, 4, 1, 5, 9]),
        (np.eye(6)[[0, 1, 2, 2, 1, 0]], [0, 1, 2, 2, 1, 0]),
        (np.linspace(0, 1, 6), None),
        (np.zeros((6, 5, 4)), None),
        ({"a": [1]}, None),
    ],
)
def test_labels_of_a_batch_are_kept_if_they_are_classes(labels, expected):
    found = Probes((IMAGES, labels)).labels
    assert (found if found is None else found.tolist()) == expected


def test_labels_that_are_given_replace_those_of_the_batch():
    assert Probes((IMAGES, np.zeros(6)), labels=range(6)).labels.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], "one for each of 6 images, got 2"),
        ([0.5] * 6, "expected a whole number for each image"),
        (["cat"] * 6, "expected a whole number for each image"),
        ([1, np.nan, 1, 1, 1, 1], "expected a whole number for each image"),
        (3, "expected a whole number for each image"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(FiltertrackError, match=message):
        Probes(IMAGES, labels=labels)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES * 1j, "got complex numbers"),
        (np.array([["a", "b"]]), "got text"),
        (np.array([[None, {}]]), "got objects"),
        ([IMAGES[0], IMAGES[0, :3]], r"one shape, got \(5, 4, 3\) and \(3, 4, 3\)"),
        (np.where(IMAGES > 0.99, np.nan, IMAGES), "not finite"),
        (np.array([[[1.0, np.inf]], [[0, 0]]]), "1 value not finite .* first in image 0"),
        (IMAGES[:0], r"whose first axis counts them, got shape \(0, 5, 4, 3\)"),
        (np.zeros((3, 0, 4, 1)), "are empty"),
        ([], "no images were given"),
        ({}, "no inputs"),
        (np.zeros(5), r"got shape \(5,\)"),
        (3, "got int"),
        ({"a": IMAGES, "b": IMAGES[:2]}, "6 of input a, 2 of input b"),
        ((IMAGES,) * 4, "a tuple is a batch"),
        ((each for each in [IMAGES]), "generator or iterator"),
    ],
)
def test_what_cannot_be_shown_is_refused_when_the_tracker_is_made(images, message, tmp_path):
    with pytest.raises(FiltertrackError, match=message):
        FilterTracker(tmp_path / "run", probes=images)


def test_images_beyond_the_memory_are_refused_before_they_are_copied():
    huge = np.broadcast_to(np.float32(0), (1 << 20, 1024, 1024, 3))
    with pytest.raises(FiltertrackError, match=r"the images take 13,194\.1 GB, expected at most"):
        Probes(huge)


@pytest.mark.parametrize("values", [(1,), (0, 0), (0, np.nan), "ab", 3])
def test_values_are_two_different_numbers(values, write_picture):
    with pytest.raises(FiltertrackError, match="values: expected two numbers"):
        Probes(write_picture("a.png"), values=values)


def test_values_are_for_picture_files_only():
    with pytest.raises(FiltertrackError, match="picture files only"):
        Probes(IMAGES, values=(0, 255))


# Picture files.


def names(probes):
    return [path.name for path in probes.files]


def test_a_folder_holds_its_pictures_in_natural_order(tmp_path, write_picture):
    for name in ("b10.png", "b9.JPG", "a.gif", ".hidden.png"):
        write_picture(name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png").rmdir()
    assert names(Probes(tmp_path)) == names(Probes(str(tmp_path))) == ["a.gif", "b9.JPG", "b10.png"]


def test_patterns_are_expanded(tmp_path, write_picture):
    for name in ("cats/2.png", "cats/10.png", "dogs/1.png", "a[1].png"):
        write_picture(name)
    assert names(Probes(str(tmp_path / "*s" / "*.png"))) == ["2.png", "10.png", "1.png"]
    assert names(Probes(str(tmp_path / "**" / "1*.png"))) == ["10.png", "1.png"]
    assert names(Probes(tmp_path / "a[1].png")) == ["a[1].png"]
    assert sorted(names(Probes((tmp_path / "cats").glob("*.png")))) == ["10.png", "2.png"]


def test_files_keep_their_order(write_picture):
    files = [write_picture(name) for name in ("b.png", "a.png")]
    assert names(Probes(files)) == names(Probes(tuple(map(str, files)))) == ["b.png", "a.png"]
    assert Probes(files, labels=[1, 0]).count == 2


def test_files_that_cannot_be_read_are_named(tmp_path, write_picture):
    (tmp_path / "text.png").write_text("no picture")
    good = write_picture("good.png")
    with pytest.raises(FiltertrackError, match=r"text\.png': it is no picture"):
        Probes([good, tmp_path / "text.png"])
    with pytest.raises(FiltertrackError, match=r"missing\.png': No such file"):
        Probes(tmp_path / "missing.png")
    with pytest.raises(FiltertrackError, match="no file matches"):
        Probes(str(tmp_path / "*.jpg"))


def test_an_empty_folder_is_refused(tmp_path, write_picture):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FiltertrackError, match=r"no picture in the folder .*empty'$"):
        Probes(tmp_path / "empty")
    write_picture("classes/cat.png").rename(tmp_path / "empty" / "cat.png")
    with pytest.raises(FiltertrackError, match=r"give .*\*/\*"):
        Probes(tmp_path)


# Copies.


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],  # noqa: S301
)
def test_trackers_with_probes_can_be_copied_and_pickled(copied, tmp_path):
    tracker = FilterTracker(tmp_path / "run", probes=Probes(IMAGES, labels=range(6), maps=2))
    probes = copied(tracker)._probes
    np.testing.assert_array_equal(probes.images, IMAGES)
    assert (probes.labels.tolist(), probes.maps) == ([0, 1, 2, 3, 4, 5], 2)


# Datasets.


class Batches(keras.utils.PyDataset):
    """A dataset that draws from the global generators."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return IMAGES[3 * index :][:3] + np.random.rand() * 0 + random.random() * 0, np.arange(3)  # noqa: NPY002


class Iterable:
    """An iterable that starts anew each time."""

    def __iter__(self):
        return iter([IMAGES[:2] + np.random.rand() * 0, IMAGES[2:]])  # noqa: NPY002


@pytest.mark.parametrize(("dataset", "count"), [(Batches(), 3), (Iterable(), 2)])
def test_one_batch_of_a_dataset_is_taken_without_drawing_random_numbers(dataset, count):
    before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    probes = Probes(dataset)
    np.testing.assert_array_equal(probes.images, IMAGES[:count])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002


def test_one_batch_of_a_torch_loader_is_taken_without_drawing_random_numbers():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.tensor(IMAGES), torch.arange(6))
    loader = torch.utils.data.DataLoader(pairs, batch_size=4, shuffle=True)
    before = torch.random.get_rng_state()
    probes = Probes(loader)
    np.testing.assert_array_equal(probes.images, IMAGES[:4])
    assert probes.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_batch_of_a_tensorflow_dataset_is_taken():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(6))).batch(4)
    scaled = dataset.map(lambda x, y: (x * 2, y)).cache().prefetch(1)
    probes = Probes(scaled)
    np.testing.assert_array_equal(probes.images, IMAGES[:4] * 2)
    assert probes.labels.tolist() == [0, 1, 2, 3]
    fixed = dataset.shuffle(2, seed=1, reshuffle_each_iteration=False)
    assert Probes(fixed).count in {2, 4}


@pytest.mark.parametrize("kind", ["shuffle", "random", "augmentation", "generator", "nested"])
def test_a_tensorflow_dataset_that_would_yield_other_batches_is_refused(kind):
    """Taking a batch would change what training sees."""
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES)
    flip = keras.layers.RandomFlip()
    dataset = {
        "shuffle": lambda: dataset.shuffle(6).batch(2).prefetch(1),
        "random": lambda: dataset.map(lambda x: x + tf.random.uniform([])).batch(2),
        "augmentation": lambda: dataset.map(flip).batch(2),
        "generator": lambda: tf.data.Dataset.from_generator(
            lambda: iter(IMAGES), output_signature=tf.TensorSpec((5, 4, 3))
        ).batch(2),
        "nested": lambda: (
            dataset.batch(3)
            .flat_map(lambda x: tf.data.Dataset.from_tensor_slices(x).shuffle(3))
            .batch(2)
        ),
    }[kind]()
    with pytest.raises(FiltertrackError, match=r"other batches .* give a batch instead"):
        Probes(dataset)


def test_an_empty_dataset_is_refused():
    class Empty(Iterable):
        def __iter__(self):
            return iter([])

    with pytest.raises(FiltertrackError, match="Empty has no batch"):
        Probes(Empty())
