import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

_STARTER = """
import json, os, sys
import numpy as np
import keras
from filtertrack import FilterTracker

for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if not child:
        break
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()
os.chdir(task["folder"])
os.environ.update(task["environment"])
for descriptor, name in ((0, "/dev/null"), (1, "stdout"), (2, "stderr")):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
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
        code = int(_starter.stdout.readline())
        return Ended(code, *((tmp_path / name).read_text() for name in ("stdout", "stderr")))

    return run
