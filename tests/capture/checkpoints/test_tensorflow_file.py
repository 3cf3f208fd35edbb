import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.checkpoint_paths import is_checkpoint
from filtertrack.capture.checkpoints.file_formats import open_checkpoint

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module", name="keras")
def keras_on_tensorflow():
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("a TensorFlow checkpoint holds variables of that backend")
    return keras


@pytest.fixture(scope="module", name="model")
def trained_model(keras):
    """A model of every kind of convolution, with an optimizer's slots."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(5, 3, name="separable"),
            layers.Conv2DTranspose(3, 2, name="up"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="multiplied"),
            keras.Sequential([layers.Conv2D(4, 1, use_bias=False, name="inner")], name="block"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 12, 12, 3)), np.zeros((4, 2)), verbose=0)
    return model


def tracked(model):
    """Return what the callback takes from a model: descriptions and arrays."""
    from filtertrack.capture.sources import open_source

    with open_source(model) as layers:
        return list(layers.infos), dict(layers.read())


def assert_same_as_tracked(path, model):
    """Assert that a checkpoint gives the names, axes and arrays of the callback."""
    expected, arrays = tracked(model)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.read()
        for info, wanted in zip(checkpoint.infos, expected, strict=True):
            for field in ("name", "kernel", "bias", "shape", "axes", "kernel_shape", "dtype"):
                assert getattr(info, field) == getattr(wanted, field), info
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_a_checkpoint_of_a_model_gives_what_the_callback_takes(tmp_path, model):
    """Under the same names; also with the optimizer, which holds the variables as well."""
    for number, objects in enumerate(
        [{"model": model}, {"model": model, "optimizer": model.optimizer}, {"root": model}]
    ):
        prefix = tf.train.Checkpoint(**objects).save(tmp_path / str(number) / "ckpt")
        path = tmp_path / str(number) / "ckpt-1"
        assert str(path) == prefix
        assert is_checkpoint(path)
        assert_same_as_tracked(path, model)
        assert_same_as_tracked(path.with_name("ckpt-1.index"), model)


def test_a_saved_model_gives_the_kernels_of_its_variables(tmp_path, keras, model):
    """Its functions are not loaded."""
    model.export(tmp_path / "exported", verbose=False)
    tf.saved_model.save(model, tmp_path / "saved")
    expected, arrays = tracked(model)
    assert_same_as_tracked(tmp_path / "saved", model)
    with open_checkpoint(tmp_path / "exported") as checkpoint:
        assert {info.name for info in checkpoint.infos} == {info.name for info in expected}
        for name, array in checkpoint.read().items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_a_subclassed_model_with_a_convolution_lstm_gives_what_the_callback_takes(tmp_path, keras):
    """Its variables have no names of their own; the recurrent kernel has no bias."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Conv2D(4, 3)
            self.lstm = keras.layers.ConvLSTM2D(2, 3)

        def call(self, x):
            return self.lstm(self.first(x)[:, None])

    net = Net()
    net(np.zeros((1, 12, 12, 3), "float32"))
    for number, objects in enumerate([{"net": net}, {"model": net}, {"root": net}]):
        tf.train.Checkpoint(**objects).save(tmp_path / str(number) / "ckpt")
        assert_same_as_tracked(tmp_path / str(number) / "ckpt-1", net)


def test_kernels_that_only_the_optimizer_holds_are_named_in_a_remark(tmp_path, keras):
    """Those of layers in a list: the objects of a checkpoint do not lead to them."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Conv2D(4, 3)
            self.blocks = [keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 1)]
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.blocks[1](self.blocks[0](self.first(x))))

    net = Net()
    net.compile("adam", "mse")
    net.fit(np.zeros((4, 12, 12, 3), "float32"), np.zeros((4, 4), "float32"), verbose=0)
    tf.train.Checkpoint(net=net, optimizer=net.optimizer).save(tmp_path / "ckpt")
    with open_checkpoint(tmp_path / "ckpt-1") as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["first"]
        assert checkpoint.remarks[0].startswith("left out: 2 kernels of layers in lists")


def test_layers_of_one_name_in_several_blocks_are_all_there(tmp_path, keras):
    """With the paths of their attributes."""
    root = tf.train.Checkpoint()
    for block in ("a", "b"):
        layer = keras.layers.Conv2D(2, 3, name="conv")
        layer.build((None, 8, 8, 1))
        setattr(root, block, tf.train.Checkpoint(layer=layer))
    root.save(tmp_path / "ckpt")
    with open_checkpoint(tmp_path / "ckpt-1") as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["a/layer", "b/layer"]


@pytest.fixture(scope="module", name="slim")
def slim_checkpoint(tmp_path_factory):
    """A name-based checkpoint as TF-Slim's, with slots and averages; and its values."""
    v1, prefix = tf.compat.v1, tmp_path_factory.mktemp("slim") / "model.ckpt"
    with tf.Graph().as_default():
        shapes = {
            "net/conv10/weights": (3, 3, 4, 8),
            "net/conv2/weights": (3, 3, 3, 4),
            "net/conv2/biases": (4,),
            "net/conv3/depthwise_weights": (3, 3, 4, 2),
            "net/logits/weights": (8, 2),
        }
        make = v1.random_normal_initializer(seed=1)
        variables = {
            name: v1.get_variable(name, shape, initializer=make) for name, shape in shapes.items()
        }
        loss = sum(tf.reduce_sum(each) for each in variables.values())
        steps = [
            v1.train.AdamOptimizer().minimize(loss),
            v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss),
            tf.train.ExponentialMovingAverage(0.9).apply(list(variables.values())),
        ]
        v1.train.get_or_create_global_step()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(steps)
            path = v1.train.Saver().save(session, str(prefix), global_step=7)
            return Path(path), session.run(variables)


def test_a_checkpoint_of_names_gives_kernels_without_slots(slim):
    """In natural order; a depthwise kernel has filters of one channel."""
    prefix, values = slim
    with open_checkpoint(prefix) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["net/conv2", "net/conv3", "net/conv10"]
        assert [info.shape for info in checkpoint.infos] == [
            (4, 3, 3, 3),
            (8, 3, 3, 1),
            (8, 3, 3, 4),
        ]
        arrays = checkpoint.read()
        assert "moving averages" in checkpoint.remarks[0]
    assert arrays.keys() == {
        "net/conv2/weights",
        "net/conv2/biases",
        "net/conv3/depthwise_weights",
        "net/conv10/weights",
    }
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, values[name], strict=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_values_are_exact(tmp_path, dtype):
    """In the type that a snapshot stores for the type of the variable."""
    values = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    module = tf.Module()
    module.kernel = tf.Variable(tf.cast(values, dtype))
    tf.train.Checkpoint(conv=module).save(tmp_path / "ckpt")
    with open_checkpoint(tmp_path / "ckpt-1") as checkpoint:
        (info,) = checkpoint.infos
        assert (info.name, info.dtype) == ("conv", dtype)
        found = checkpoint.read()[info.kernel]
    stored = "float32" if dtype == "bfloat16" else dtype
    np.testing.assert_array_equal(found, tf.cast(module.kernel, stored).numpy(), strict=True)


def test_damaged_checkpoints_raise_no_other_error(tmp_path, slim):
    """150 with flipped bits or cut off, in a process of its own: it must not end either."""
    prefix, _ = slim
    chance = random.Random(0)
    ends = (".index", ".data-00000-of-00001")
    files = {end: prefix.with_name(prefix.name + end).read_bytes() for end in ends}
    for number in range(150):
        for end, content in files.items():
            damaged = bytearray(content)
            if end == ".index" or number % 3 == 0:
                for _ in range(chance.randint(1, 5)):
                    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
                if number % 5 == 0:
                    del damaged[chance.randrange(len(damaged)) :]
            (tmp_path / f"{number}{end}").write_bytes(damaged)
    program = f"""
from pathlib import Path
from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
refused = 0
for number in range(150):
    try:
        with open_checkpoint(Path({str(tmp_path)!r}, str(number))) as checkpoint:
            checkpoint.read()
    except (FiltertrackError, OSError):
        refused += 1
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50


def test_without_tensorflow_the_error_names_the_extra(slim, monkeypatch):
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    prefix, _ = slim
    with pytest.raises(FiltertrackError, match=r"pip install 'filtertrack\[tensorflow\]'"):
        open_checkpoint(prefix)
