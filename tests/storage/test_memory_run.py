import pickle

import numpy as np
import pytest

from filtertrack.capture.array_layers import ArrayLayers
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.filmstrip_figure import filmstrip
from filtertrack.storage.memory_run import MemoryRun


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    kernels = {"conv1": rng.normal(size=(5, 5, 1, 8)), "conv2": rng.normal(size=(3, 3, 8, 4))}
    return ArrayLayers(
        {name: kernel.astype(np.float32) for name, kernel in kernels.items()}, "HWIO"
    )


def test_a_layer_is_read_once_when_it_is_needed(layers):
    asked = []

    def read(infos):
        asked.append([info.name for info in infos])
        return layers.read(infos)

    run = MemoryRun("model", layers.infos, read)
    assert asked == []
    for _ in range(2):
        kernels = run.kernels("conv2", 0)
    np.testing.assert_array_equal(kernels, layers.infos[1].canonical(layers.read()["conv2/kernel"]))
    assert asked == [["conv2"]]


def test_it_has_one_step_and_no_file(layers):
    run = MemoryRun("model", layers.infos, layers.read)
    assert run.steps == [0]
    assert run.moment(0).step == 0
    with pytest.raises(FiltertrackError, match="only step 0"):
        run.kernels("conv1", 1)
    with pytest.raises(FiltertrackError, match="not a run on disk"):
        run.append(run.snapshot(0))
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(run)


def test_it_is_drawn_like_a_run(layers):
    figure = filmstrip(MemoryRun("model", layers.infos, layers.read), layers="conv1", dpi=100)
    assert len(figure.axes[0].images) == 1
