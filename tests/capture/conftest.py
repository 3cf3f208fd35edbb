import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

_STARTER = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import keras
from filtertrack import FilterTracker

def read(descriptor):
    with open(descriptor, "rb") as file:
        return file.read().decode()

for line in sys.stdin:
    task = json.loads(line)
    pipes = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        break
    for _, write in pipes:
        os.close(write)
    with ThreadPoolExecutor(2) as pool:
        printed = list(pool.map(read, [descriptor for descriptor, _ in pipes]))
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), *printed]), flush=True)
else:
    sys.exit()
os.chdir(task["folder"])
os.environ.update(task["environment"])
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
for number, (read, write) in enumerate(pipes, start=1):
    os.close(read)
    os.dup2(write, number)
    os.close(write)
exec(task["program"])
"""

_TRAINING = """
import os, resource, sys, time
import numpy as np
import keras
from filtertrack import FilterTracker

def train(*callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    model.fit(x, np.ones((8, 4), "float32"), epochs=10, verbose=0, callbacks=list(callbacks))
    return b"".join(w.tobytes() for w in model.get_weights())

def at_epoch(**actions):
    def act(epoch, logs):
        actions.get(f"epoch_{epoch}", lambda: None)()
    return keras.callbacks.LambdaCallback(on_epoch_begin=act)
"""


@pytest.fixture(scope="session")
def keras():
    import keras

    return keras


@dataclass
class Ended:
    """The exit code and the output of a program."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def _starter():
    """A process that has imported Keras, once, and forks for each program."""
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as starter:
        yield starter
        starter.stdin.close()


@pytest.fixture
def run_program(_starter, tmp_path):
    """Run a program in a process of its own, which may be killed or fill its disk.

    The program may use ``train``, which trains a small model for 10 epochs, and ``at_epoch``, a
    callback that calls functions when epochs begin.
    """

    def run(program, **environment):
        task = {
            "program": _TRAINING + textwrap.dedent(program),
            "folder": str(tmp_path),
            "environment": environment,
        }
        _starter.stdin.write(json.dumps(task) + "\n")
        _starter.stdin.flush()
        return Ended(*json.loads(_starter.stdout.readline()))

    return run


@pytest.fixture
def weights_of():
    """Return the kernel and bias of both convolutions of ``tiny_model``, by layer name."""
    return lambda model: {name: model.get_layer(name).get_weights() for name in ("conv1", "conv2")}


@pytest.fixture
def assert_stored():
    """Assert that a step's file holds the given weights, bit for bit."""

    def check(run, step, weights):
        with np.load(run.file(step)) as file:
            for name, (kernel, bias) in weights.items():
                np.testing.assert_array_equal(file[f"{name}/kernel"], kernel, strict=True)
                np.testing.assert_array_equal(file[f"{name}/bias"], bias, strict=True)

    return check


@pytest.fixture
def watching(weights_of):
    """Return a callback that keeps the weights after each epoch, or after each batch."""

    def make(model, weights_at, batches=False):
        import keras

        if batches:

            class Watch(keras.callbacks.Callback):
                def on_train_batch_end(self, batch, logs=None):
                    weights_at[max(weights_at) + 1] = weights_of(
                        self.model
                    )  # on jax this updates it

            return Watch()
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: weights_at.update({epoch + 1: weights_of(model)})
        )

    return make


@pytest.fixture
def x(rng):
    return rng.normal(size=(32, 8, 8, 3)).astype("float32")


@pytest.fixture
def small(keras):
    """Return a function that makes a compiled model of one convolution, ``conv``."""

    def make(dtype=None, **options):
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

    return make


@pytest.fixture
def kernel_of(keras):
    """Return the kernel of ``small``'s convolution."""
    return lambda model: keras.ops.convert_to_numpy(model.get_layer("conv").kernel)
