import json
import os
import resource
import subprocess
import sys
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import load_file, save_file

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.checkpoint_paths import is_checkpoint
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
from filtertrack.capture.checkpoints.safetensors_file import SafetensorsFile

STORED = [
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
    "bool",
]
NARROW = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
PER_TEST = [HealthCheck.function_scoped_fixture]


def resnet_state(rng, dtype=np.float32, width=8):
    """A state dict in torch's style of a small residual network."""

    def make(*shape):
        return rng.normal(size=shape).astype(dtype)

    return {
        "conv1.weight": make(width, 3, 7, 7),
        "bn1.weight": make(width),
        "bn1.running_mean": make(width),
        "layer1.0.conv1.weight": make(2 * width, width, 3, 3),
        "layer1.0.conv1.bias": make(2 * width),
        "layer1.10.conv1.weight": make(width, width, 3, 3),
        "layer1.2.conv1.weight": make(width, width, 1, 1),
        "fc.weight": make(10, width),
        "pos_embed": make(1, 197, 16),
    }


def read_all(path):
    """Every array of a file, by the package's reader."""
    file = SafetensorsFile(path)
    try:
        return {name: file.read(name) for name in file.arrays}
    finally:
        file.close()


@st.composite
def states(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=20), max_size=6, unique=True))
    return {
        name: draw(
            arrays_of.arrays(
                draw(st.sampled_from(STORED)),
                arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
            )
        )
        for name in names
        if name != "__metadata__" and name.isprintable()
    }


@settings(suppress_health_check=PER_TEST)
@given(state=states())
def test_all_arrays_equal_those_of_the_safetensors_package(tmp_path, state):
    """Any names, shapes and types; in the package's own type and shape."""
    path = tmp_path / "any.safetensors"
    save_file(state, path)
    expected = load_file(path)
    found = read_all(path)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], strict=True)


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.__name__)
def test_every_value_of_a_narrow_type_is_read_exactly(tmp_path, dtype):
    """As float32; compared with ml_dtypes."""
    bits = 8 * np.dtype(dtype).itemsize
    codes = np.arange(1 << bits, dtype=f"uint{bits}").view(dtype)
    path = tmp_path / "codes.safetensors"
    save_file({"codes": codes}, path)
    np.testing.assert_array_equal(read_all(path)["codes"], codes.astype(np.float32), strict=True)


def test_kernels_and_biases_of_a_torch_state_dict(tmp_path, rng):
    """In natural order, with the names of torch's modules, unchanged."""
    state, path = resnet_state(rng), tmp_path / "model.safetensors"
    save_file(state, path)
    with open_checkpoint(path) as checkpoint:
        infos, arrays = checkpoint.infos, checkpoint.read()
    assert is_checkpoint(path)
    names = ["conv1", "layer1/0/conv1", "layer1/2/conv1", "layer1/10/conv1"]
    assert [info.name for info in infos] == names
    assert [info.path for info in infos] == [name.replace("/", ".") for name in names]
    assert {info.class_name for info in infos} == {"Conv2d"}
    assert [info.bias for info in infos] == [None, "layer1/0/conv1/bias", None, None]
    assert infos[0].shape == (8, 7, 7, 3)
    members = {f"{name}/weight" for name in names} | {"layer1/0/conv1/bias"}
    assert arrays.keys() == members
    for member, array in arrays.items():
        np.testing.assert_array_equal(array, state[member.replace("/", ".")], strict=True)
    kernel = infos[1].canonical(arrays["layer1/0/conv1/weight"])
    expected = state["layer1.0.conv1.weight"].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(kernel, expected)


def test_only_the_kernels_that_are_asked_for_are_read(tmp_path, rng):
    """An array that is cut off does not prevent the reading of others."""
    path = tmp_path / "model.safetensors"
    save_file({"a.weight": rng.normal(size=(4, 3, 3, 3)), "b.weight": np.ones((4, 4, 3, 3))}, path)
    with open_checkpoint(path) as checkpoint:
        path_of_data = os.open(path, os.O_RDWR)
        os.ftruncate(path_of_data, path.stat().st_size - 8)
        os.close(path_of_data)
        first, second = checkpoint.infos
        assert checkpoint.read([first]).keys() == {"a/weight"}
        with pytest.raises(FiltertrackError, match="ends within an array"):
            checkpoint.read([second])


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float16", "float64", "int8"])
def test_the_type_of_a_kernel_is_named_and_its_values_are_exact(tmp_path, rng, dtype):
    """The type in the file, and the type that stores it."""
    kernel = rng.normal(size=(4, 3, 3, 3)).astype(getattr(ml_dtypes, dtype, dtype))
    path = tmp_path / "model.safetensors"
    save_file({"conv.weight": kernel}, path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.infos[0].dtype == dtype
        found = checkpoint.read()["conv/weight"]
    stored = np.float32 if hasattr(ml_dtypes, dtype) else dtype
    np.testing.assert_array_equal(found, kernel.astype(stored), strict=True)


def test_flax_kernels_have_the_axes_of_flax(tmp_path, rng):
    """Space, channels, filters; the kernels of attention are not taken."""
    state = {
        "params.Conv_0.kernel": rng.normal(size=(3, 5, 2, 4)),
        "params.Conv_0.bias": np.zeros(4),
        "params.Dense_0.kernel": np.zeros((8, 2)),
        "params.attention.query.kernel": np.zeros((8, 4, 2)),
        "params.attention.query.bias": np.zeros((4, 2)),
        "params.attention.out.kernel": np.zeros((4, 2, 8)),
        "params.attention.out.bias": np.zeros(8),
    }
    path = tmp_path / "flax_model.safetensors"
    save_file(state, path)
    with open_checkpoint(path) as checkpoint:
        (info,) = checkpoint.infos
        assert (info.name, info.class_name, info.shape) == ("Conv_0", "Conv2D", (4, 3, 5, 2))
        assert checkpoint.read().keys() == {"Conv_0/kernel", "Conv_0/bias"}
        assert "axes= takes them" in checkpoint.remarks[0]


def test_mlx_files_have_the_channels_last(tmp_path):
    """The file names the framework that wrote it."""
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": np.zeros((8, 5, 3, 2))}, path, metadata={"format": "mlx"})
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.infos[0].shape == (8, 5, 3, 2)


def test_axes_override_the_order_for_all_kernels_of_as_many_axes(tmp_path):
    """And take kernels of three axes that names do not show to be convolutions."""
    path = tmp_path / "model.safetensors"
    state = {"a.weight": np.zeros((2, 3, 5, 7)), "b.weight": np.zeros((30, 40, 50))}
    save_file(state, path)
    with open_checkpoint(path, axes="IOHW") as checkpoint:
        assert [info.shape for info in checkpoint.infos] == [(3, 5, 7, 2)]
    with open_checkpoint(path, axes="OIW") as checkpoint:
        assert [info.shape for info in checkpoint.infos] == [(2, 5, 7, 3), (30, 1, 50, 40)]
    with pytest.raises(FiltertrackError, match="axes: 'DHWIO' has 5 letters"):
        open_checkpoint(path, axes="DHWIO")


def test_a_file_without_convolutions_is_an_error(tmp_path):
    """It names what was left out."""
    path = tmp_path / "model.safetensors"
    save_file({"bilinear.weight": np.zeros((30, 40, 50))}, path)
    with pytest.raises(FiltertrackError, match=r"no kernel of a convolution.*bilinear/weight"):
        open_checkpoint(path)


def test_reading_loads_no_framework(tmp_path, rng):
    """Neither torch nor tensorflow, keras, jax, h5py or the safetensors package."""
    path = tmp_path / "model.safetensors"
    save_file(resnet_state(rng), path)
    code = (
        "import sys; from pathlib import Path; "
        "from filtertrack.capture.checkpoints.file_formats import open_checkpoint; "
        f"open_checkpoint(Path({str(path)!r})).read(); "
        "print({n.partition('.')[0] for n in sys.modules} & "
        "{'torch', 'tensorflow', 'keras', 'jax', 'h5py', 'safetensors', 'ml_dtypes'})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_two_threads_read_the_right_arrays(tmp_path, rng):
    """From one open file."""
    state = {f"conv{n}.weight": np.full((4, 3, 3, 3), n, np.float32) for n in range(20)}
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    wrong = []
    with open_checkpoint(path) as checkpoint:

        def read():
            for _ in range(100):
                for info in checkpoint.infos:
                    array = checkpoint.read([info])[info.kernel]
                    if array.min() != array.max() or f"conv{int(array.max())}" != info.name:
                        wrong.append(info.name)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_100_checkpoints_take_the_memory_of_one(tmp_path, rng):
    """Of the arrays that are read at a time; the others are not read."""
    state = resnet_state(rng)
    path = tmp_path / "model.safetensors"
    save_file({**state, "embedding.weight": np.zeros((1 << 21, 8), np.float32)}, path)  # 64 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    for _ in range(100):
        with open_checkpoint(path) as checkpoint:
            checkpoint.read()
    assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_names_that_are_no_paths_of_modules_get_safe_names(tmp_path):
    """Of any characters."""
    path = tmp_path / "model.safetensors"
    state = {
        "../../x.weight": np.zeros((2, 1, 3, 3)),
        "a\nb.weight": np.ones((2, 1, 3, 3)),
        "weight": np.full((2, 1, 3, 3), 2.0),
    }
    save_file(state, path)
    header = json.loads(path.read_bytes()[8:].split(b"}}")[0] + b"}}")
    assert "a\nb.weight" in header
    with open_checkpoint(path) as checkpoint:
        assert {info.name for info in checkpoint.infos} == {"x", "a_b", "conv2d"}
        assert len(checkpoint.read()) == 3
