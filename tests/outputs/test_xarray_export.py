import json
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, LayerInfo, Moment, Run, Snapshot, to_xarray
from filtertrack.outputs import xarray_export

xarray = pytest.importorskip("xarray")
dask = pytest.importorskip("dask")

KINDS = {
    "Conv2D": {"kernel_shape": (3, 2, 4, 5)},
    "Conv1D": {"kernel_shape": (3, 2, 4), "axes": (2, 0, 1), "shape": (4, 3, 1, 2)},
    "Conv3D": {"kernel_shape": (2, 3, 3, 1, 4), "axes": (4, 1, 0, 2, 3), "shape": (4, 3, 6, 1)},
    "DepthwiseConv2D": {"kernel_shape": (3, 3, 2, 2), "axes": (2, 3, 0, 1), "shape": (4, 3, 3, 1)},
    "Nothing": {"kernel_shape": (3, 3, 0, 2)},
}


@pytest.fixture
def reads(monkeypatch):
    """The steps in the order they are read."""
    read, steps = Run.kernels, []

    def counted(run, layer, step):
        steps.append(step)
        return read(run, layer, step)

    monkeypatch.setattr(Run, "kernels", counted)
    return steps


@pytest.fixture
def in_chunks_of(monkeypatch):
    return lambda snapshots: monkeypatch.setattr(xarray_export, "_MOST_FILES", snapshots)


def stacked(run, layer):
    return np.stack([run.kernels(layer, step) for step in run.steps])


def append(run, step, dtype=np.float32):
    arrays = {}
    for info in run.layers.values():
        arrays[info.kernel] = np.full(info.kernel_shape, step, dtype)
        arrays[info.bias] = np.zeros(info.filters, dtype)
    run.append(Snapshot(Moment(step, step), arrays))


@pytest.mark.parametrize("kind", KINDS)
def test_the_array_has_the_values_of_the_run(kind, make_run, conv_info, in_chunks_of):
    """For any layer, in any chunks."""
    in_chunks_of(2)
    info = conv_info("block/conv", class_name=kind, **KINDS[kind])
    run = make_run(info, steps=(0, 1, 5, 7, 30))
    array = to_xarray(run, "block/conv")
    assert array.dims == ("step", "filter", "height", "width", "channel")
    assert array.name == "block/conv"
    assert array.step.values.tolist() == run.steps
    assert array.dtype == np.float32
    assert array.data.chunks[0] == (2, 2, 1)
    np.testing.assert_array_equal(array.values, stacked(run, "block/conv"))
    for step in run.steps:
        np.testing.assert_array_equal(array.sel(step=step), run.kernels("block/conv", step))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Fifty snapshots of a small layer; read-only."""
    shapes = {"kernel_shape": (2, 3, 3, 4), "axes": (3, 0, 1, 2), "shape": (4, 2, 3, 3)}
    info = LayerInfo("conv1", "conv1", "Conv2D", "conv1/kernel", None, **shapes, dtype="float32")
    run = Run.create(tmp_path_factory.mktemp("long") / "run", [info])
    rng = np.random.default_rng(5)
    for step in range(0, 100, 2):
        kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    return run


def indices(size):
    whole = st.integers(-size, size - 1)
    bound = st.none() | st.integers(-size, size + 1)  # dask takes x[-11::-1] of ten for all of them
    pace = st.none() | st.sampled_from([1, 2, 7, -1, -3])
    some = st.lists(whole, max_size=4).map(lambda places: np.array(places, int))
    return whole | st.builds(slice, bound, bound, pace) | some


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_selection_has_the_values_of_the_whole(long_run, in_chunks_of, data):
    """Single snapshots, slices and lists, forwards and backwards, in sequence."""
    in_chunks_of(8)
    lazy = to_xarray(long_run, "conv1")
    whole = lazy.compute()
    for _ in range(data.draw(st.integers(1, 2))):
        sizes = {dim: size for dim, size in lazy.sizes.items() if size}
        chosen = data.draw(
            st.fixed_dictionaries({}, optional={d: indices(sizes[d]) for d in sizes})
        )
        lazy, whole = lazy.isel(chosen), whole.isel(chosen)
    xarray.testing.assert_identical(lazy.compute(), whole)


def test_only_used_snapshots_are_read(long_run, in_chunks_of, reads):
    """When the array is computed, each once."""
    in_chunks_of(8)
    array = to_xarray(long_run, "conv1")
    spread = (array - array.sel(step=0)).std("step")
    assert reads == []
    array.sel(step=42).compute()
    assert reads == [42]
    reads.clear()
    array.sel(step=slice(10, 14), filter=2).compute()
    assert sorted(reads) == [10, 12, 14]
    reads.clear()
    array.sel(step=[40, 10]).compute()
    assert len(reads) == 16  # the chunks they are in
    reads.clear()
    array.std("step").compute()
    assert sorted(reads) == long_run.steps
    spread.compute()


def test_the_call_reads_no_snapshot(make_run):
    """It lists the folder."""
    run = make_run(steps=())
    for step in range(5000):
        run.file(step).touch()
    array = to_xarray(run, "conv1")
    assert array.sizes["step"] == 5000
    with pytest.raises(FiltertrackError, match=r"000000000042\.npz"):
        array.sel(step=42).compute()


def test_chunk_sizes(make_run, conv_info):
    """About 16 MB, or one snapshot; of a small layer a bounded number of files."""
    large = conv_info("large", (3, 3, 256, 512))
    small = conv_info("small", (3, 3, 64, 64))
    tiny = conv_info("tiny", (1, 1, 1, 1))
    run = make_run(large, small, tiny, steps=(0,))
    sizes = [xarray_export._stored(run, name, None).snapshots_a_chunk() for name in run.layers]
    assert sizes == [3, 113, 1000]
    huge = conv_info("huge", (3, 3, 1024, 1024))
    assert (
        xarray_export._stored(Run.create(run.path / "b", [huge]), "huge", None).snapshots_a_chunk()
        == 1
    )


def test_computation_takes_bounded_memory(make_run, conv_info):
    """A mean over 120 MB of snapshots takes a few chunks."""
    info = conv_info("conv1", (3, 3, 128, 256), bias=False)
    run = Run.create(make_run(info, steps=(0,)).path / "long", [info])
    kernel = np.ones(info.kernel_shape, np.float32)
    for step in range(102):
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel * step}))
    array = to_xarray(run, "conv1")
    with dask.config.set(scheduler="threads", num_workers=1):
        array.isel(step=0).compute()
        tracemalloc.start()
        mean = array.mean("step").compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (mean == 50.5).all()
    assert peak < 60 << 20 < array.nbytes


def test_steps_are_selected(run, reads):
    """By numbers and ranges, ascending, each once; no other is read."""
    array = to_xarray(run, "conv1", steps=[2, 0, 2])
    assert array.step.values.tolist() == [0, 2]
    array.compute()
    assert sorted(reads) == [0, 2]
    assert to_xarray(run, "conv1", steps=range(1, 9)).step.values.tolist() == [1, 2]
    assert to_xarray(run, "conv1", steps=np.array([1])).step.values.tolist() == [1]


@pytest.mark.parametrize(
    ("layer", "steps", "message"),
    [
        ("conv9", None, "no layer 'conv9'"),
        (["conv1"], None, "layer: expected one name"),
        ("conv1", [0, 7], "no snapshot at step 7"),
        ("conv1", [], "none of .* are chosen"),
        ("conv1", 2, "expected numbers and ranges"),
    ],
)
def test_a_missing_layer_or_step_is_an_error_of_the_call(run, layer, steps, message):
    """Not of the computation."""
    with pytest.raises(FiltertrackError, match=message):
        to_xarray(run, layer, steps=steps)


def test_a_missing_run_is_an_error_of_the_call(tmp_path):
    """Not of the computation."""
    with pytest.raises(FiltertrackError, match="no run in"):
        to_xarray(tmp_path, "conv1")


def test_a_run_without_snapshots_is_an_empty_array(make_run):
    """As at the start of a training."""
    array = to_xarray(make_run(steps=()), "conv2")
    assert array.shape == (0, 6, 3, 3, 4)
    assert array.compute().shape == array.shape


def test_a_damaged_file_is_an_error_of_the_computation(run):
    """The others can be read."""
    file = run.file(1)
    data = bytearray(file.read_bytes())
    data[250] ^= 1
    file.write_bytes(data)
    array = to_xarray(run, "conv1")
    with pytest.raises(FiltertrackError, match=r"damaged file .*000000000001\.npz"):
        array.mean().compute()
    np.testing.assert_array_equal(array.sel(step=2), run.kernels("conv1", 2))


@pytest.mark.parametrize("declared", ["float16", "float64", "int8"])
def test_the_type_is_that_of_the_manifest(declared, make_run, conv_info):
    """Before and after the computation."""
    run = make_run(conv_info(dtype=declared), dtype=declared)
    array = to_xarray(run, "conv1")
    assert array.dtype == array.compute().dtype == run.kernels("conv1", 0).dtype == declared


@pytest.mark.parametrize("declared", ["bfloat16", "float8_e4m3fn"])
def test_types_that_numpy_lacks_are_float32(declared, make_run, conv_info):
    """As they are stored."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    run = make_run(conv_info(dtype=declared), dtype=getattr(ml_dtypes, declared))
    array = to_xarray(run, "conv1")
    assert array.dtype == array.compute().dtype == np.float32
    assert array.attrs["keras_dtype"] == declared
    np.testing.assert_array_equal(array, stacked(run, "conv1"))


def test_a_file_of_another_type_is_converted_without_loss(make_run, conv_info):
    """Or it is an error that names the file."""
    narrow = make_run(conv_info(dtype="float32"), dtype=np.float16, folder="narrow")
    array = to_xarray(narrow, "conv1").compute()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, stacked(narrow, "conv1"))
    wide = to_xarray(make_run(conv_info(dtype="float32"), dtype=np.float64, folder="wide"), "conv1")
    with pytest.raises(FiltertrackError, match=r"0\.npz.* holds layer conv1 as float64"):
        wide.sel(step=0).compute()


@pytest.mark.parametrize("declared", ["object", "str", "f4,f4", "complex64", "float7", "", "1,"])
def test_an_unsupported_type_is_an_error_of_the_call(declared, run, forge_manifest):
    """Whatever numpy would accept."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["layers"][0]["dtype"] = declared
    forge_manifest(file, manifest)
    with pytest.raises(FiltertrackError, match="the manifest says that its kernel is of type"):
        to_xarray(run.path, "conv1")


def test_a_layer_larger_than_memory_is_an_error_of_the_call(run, forge_manifest):
    """No memory of its size is allocated."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["layers"][0] |= {"kernel_shape": [3, 3, 1, 10**10], "shape": [10**10, 3, 3, 1]}
    forge_manifest(file, manifest)
    with pytest.raises(FiltertrackError, match=r"layer conv1: a snapshot of it takes 360.0 GB"):
        to_xarray(run.path, "conv1")


def test_other_processes_can_compute_it(long_run, in_chunks_of, monkeypatch):
    """Without an open file, and for a run given as a relative path."""
    in_chunks_of(30)
    monkeypatch.chdir(long_run.path.parent)
    array = to_xarray("run", "conv1")
    monkeypatch.chdir(long_run.path)
    means = array.mean(("step", "filter"))
    xarray.testing.assert_allclose(means.compute(scheduler="processes"), means.compute())
    xarray.testing.assert_identical(pickle.loads(pickle.dumps(array)).compute(), array.compute())  # noqa: S301


def test_a_run_on_object_storage_is_read_by_its_address(run):
    """Pickled, the array contains nothing else."""
    pytest.importorskip("fsspec")
    there = Run.create("memory://export/run", list(run.layers.values()))
    assert to_xarray(there, "conv1").shape[0] == 0
    for step in run.steps:
        there.append(run.snapshot(step))
    array = to_xarray("memory://export/run", "conv1")
    np.testing.assert_array_equal(array, stacked(run, "conv1"))
    name = to_xarray(there, "conv1").data.name
    assert name == array.data.name
    assert array.attrs["run"] == "memory://export/run"
    stored = pickle.loads(pickle.dumps(xarray_export._stored(there, "conv1", None)))  # noqa: S301
    assert stored.path == "memory://export/run"
    there.append(run.snapshot(0))
    assert to_xarray(there, "conv1").data.name != name
    Run.delete("memory://export/run")


def test_the_same_array_has_the_same_name_in_dask(run):
    """Also in another process; another array has another name."""
    name = to_xarray(run, "conv1").data.name
    code = (
        f"from filtertrack import to_xarray; print(to_xarray({str(run.path)!r}, 'conv1').data.name)"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert there.stdout.split()[-1] == name == to_xarray(run.path, "conv1").data.name
    others = [to_xarray(run, "conv2"), to_xarray(run, "conv1", steps=[0, 1])]
    append(run, 2)
    others.append(to_xarray(run, "conv1"))
    run.truncate(2)
    others.append(to_xarray(run, "conv1"))
    assert len({name, *(other.data.name for other in others)}) == 5


def test_the_array_does_not_change_during_training(run):
    """A later call has the new snapshots."""
    array = to_xarray(run, "conv1")
    before = stacked(run, "conv1")
    append(run, 3)
    np.testing.assert_array_equal(array, before)
    longer = to_xarray(run, "conv1")
    assert longer.step.values.tolist() == [0, 1, 2, 3]
    assert (longer.sel(step=3) == 3).all()


def test_a_replaced_run_is_an_error(make_run, conv_info):
    """Its weights are not mixed with those of the first."""
    array = to_xarray(make_run(conv_info()), "conv1")
    Run.delete(make_run(conv_info(), folder="gone").path)
    path = array.attrs["run"]
    Run.delete(path)
    other = Run.create(path, [conv_info("conv1", (5, 5, 1, 4))])
    append(other, 0)
    with pytest.raises(FiltertrackError, match=r"expected .*: the run was replaced"):
        array.sel(step=0).compute()


def test_the_array_can_be_saved_as_netcdf(run, tmp_path):
    """With its attributes."""
    pytest.importorskip("scipy")
    array = to_xarray(run, "conv1")
    array.to_netcdf(tmp_path / "conv1.nc", engine="scipy")
    with xarray.open_dataarray(tmp_path / "conv1.nc", engine="scipy") as back:
        xarray.testing.assert_equal(back, array)
        assert back.attrs["layer_class"] == "Conv2D"
        assert back.attrs["run"] == str(run.path)
        assert list(back.attrs["kernel_shape"]) == [3, 3, 1, 4]
        assert list(back.attrs["strides"]) == [1, 1]


def test_arithmetic_aligns_steps_of_two_runs(make_run):
    """By their numbers."""
    one = make_run(steps=(0, 1, 2, 4), folder="one")
    two = make_run(steps=(0, 2, 3, 4), folder="two")
    apart = to_xarray(two, "conv1") - to_xarray(one, "conv1")
    assert apart.step.values.tolist() == [0, 2, 4]
    expected = two.kernels("conv1", 4) - one.kernels("conv1", 4)
    np.testing.assert_array_equal(apart.sel(step=4), expected)


@pytest.mark.parametrize("missing", ["xarray", "dask"])
def test_without_the_extra_the_message_says_what_to_install(missing, run, monkeypatch):
    """In one sentence."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, f"{missing}.array", raising=False)
    with pytest.raises(FiltertrackError, match=r"pip install 'filtertrack\[xarray\]'"):
        to_xarray(run, "conv1")
