import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, measure, snapshot


@pytest.fixture
def small_run(make_run, conv_info):
    return make_run(conv_info(kernel_shape=(2, 3, 1, 2), bias=False), steps=[])


@pytest.mark.parametrize("bits", ["uint16", "uint32", "uint64"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_floats_are_stored_bit_for_bit(small_run, bits, data):
    """NaN payloads, infinities, -0.0 and subnormals included."""
    run, dtype = small_run, np.dtype(bits.replace("uint", "float"))
    kernel = data.draw(arrays(bits, (2, 3, 1, 2))).view(dtype)
    run.append(Snapshot(Moment(0, 0), {"conv1/kernel": kernel}))
    stored = run.snapshot(0).arrays["conv1/kernel"]
    assert stored.dtype == dtype
    assert stored.tobytes() == kernel.tobytes()
    with np.load(run.file(0)) as file:
        assert file["conv1/kernel"].tobytes() == kernel.tobytes()


EXACT = [*snapshot.PLAIN_TYPES, "bfloat16"]


EXACT += [name for name in dir(ml_dtypes) if re.match("float[468]_|u?int[0-9]", name)]


@pytest.mark.parametrize("name", sorted(EXACT))
def test_every_storable_type_is_stored_without_loss(make_run, conv_info, name):
    """All values of a narrow type, some of a wide one: cast back they have the same bits."""
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    width = int(re.findall("[0-9]+", name)[0]) if name != "bool" else 1
    if re.fullmatch("u?int[124]", name):
        low = 0 if name.startswith("u") else -(1 << (width - 1))
        values = np.arange(low, low + (1 << width)).astype(dtype)
    else:
        bits = np.arange(1 << min(16, width), dtype=f"u{dtype.itemsize}")
        values = (bits << max(0, width - 16)).view(dtype)
    kernel = values.reshape(-1, 1, 1, 1)
    run = make_run(conv_info(kernel_shape=kernel.shape, bias=False, dtype=name), steps=[])
    run.append(Snapshot(Moment(0, 0), {"conv1/kernel": kernel}))
    assert not run.verify()
    stored = Run(run.path).snapshot(0).arrays["conv1/kernel"]
    assert stored.dtype.name == snapshot.stored_type(name)
    assert stored.nbytes == snapshot.total_bytes([run.layer("conv1")])
    with np.load(run.file(0)) as file:
        np.testing.assert_array_equal(file["conv1/kernel"], stored)
    with np.errstate(invalid="ignore"):
        number = stored == stored  # noqa: PLR0124 - not so of NaN, which may have another sign
        assert (np.isnan(kernel.astype(np.float64)) == ~number).all()
    back = stored[number].astype(dtype)
    assert back.tobytes() == kernel[number].tobytes()


@pytest.mark.parametrize("name", ["complex64", "complex128", "float128", "string", "object", "V1"])
def test_a_layer_of_an_unsupported_type_is_an_error_of_create(tmp_path, conv_info, name):
    """Before training, not at each snapshot."""
    with pytest.raises(FiltertrackError, match=f"layer conv1: its kernel is of type '{name}'"):
        Run.create(tmp_path, [conv_info(dtype=name)])
    assert not Run.exists(tmp_path)


@pytest.mark.parametrize("name", ["complex64", "longdouble", "S4", "object"])
def test_arrays_of_an_unsupported_type_are_an_error_of_append(run, name):
    """Whatever type the manifest has."""
    arrays = {**run.snapshot(0).arrays, "conv1/kernel": np.zeros((3, 3, 1, 4), name)}
    with pytest.raises(FiltertrackError, match="conv1/kernel: cannot store values of type"):
        run.append(Snapshot(Moment(9, 9), arrays))


def test_kernels_have_the_axis_order_of_the_package(run):
    """``kernels`` is the stored array with the filter axis first."""
    with np.load(run.file(1)) as file:
        kernel, bias = file["conv2/kernel"], file["conv2/bias"]
    np.testing.assert_array_equal(run.kernels("conv2", 1), np.moveaxis(kernel, 3, 0))
    np.testing.assert_array_equal(run.bias("conv2", 1), bias)


def test_bias_is_none_for_a_layer_without_bias(make_run, conv_info):
    """And the snapshot contains no array for it."""
    run = make_run(conv_info(bias=False))
    assert run.bias("conv1", 0) is None
    assert list(run.snapshot(0).arrays) == ["conv1/kernel"]


def test_moments_are_stored_without_loss(make_run):
    """Metrics included, also those that JSON has no number for."""
    run = make_run(steps=[])
    arrays = {i.kernel: np.zeros(i.kernel_shape) for i in run.layers.values()}
    metrics = {"loss": float("nan"), "top": float("inf"), "low": float("-inf"), "x": 0.1}
    run.append(Snapshot(Moment(7, 2, None, metrics, 1.5), arrays))
    moment = run.moment(7)
    assert (moment.step, moment.epoch, moment.batch, moment.wall_time) == (7, 2, None, 1.5)
    np.testing.assert_equal(dict(moment.metrics), metrics)


def test_a_run_of_format_1_is_read():
    """Every later version reads it."""
    run = Run(Path(__file__).parents[1] / "golden" / "run-v1")
    assert list(run.layers) == ["conv1", "conv2"]
    assert run.steps == [0, 1, 2]
    assert run.software == {"filtertrack": "0.1.0"}
    assert run.kernels("conv1", 2).shape == (4, 3, 3, 1)
    expected = [[0.60610676, -0.72725445, 0.23390134], [-1.3428605, 0.09150745, -0.37360367]]
    np.testing.assert_allclose(run.kernels("conv1", 2)[0, :2, :, 0], expected, rtol=1e-6)
    moment = run.moment(2)
    assert (moment.epoch, moment.batch, moment.metrics["loss"]) == (2, 20, 0.5)
    assert np.isnan(moment.metrics["val_loss"])
    assert run.layer("conv2").bias == "conv2/bias"


def test_steps_are_those_of_the_files_in_the_folder(run):
    """Ascending, without temporary and foreign files; an open run sees added snapshots."""
    reader = Run(run.path)
    snapshots = run.folder / "snapshots"
    (snapshots / ".000000000009.npz.123.tmp").write_bytes(b"half")
    (snapshots / "000000000008.npz.bak").write_bytes(b"")
    (snapshots / "notes.txt").write_text("mine")
    assert reader.steps == [0, 1, 2]
    run.append(Snapshot(Moment(100, 9), run.snapshot(0).arrays))
    assert reader.steps == [0, 1, 2, 100]


def test_append_replaces_and_truncate_removes(run):
    """A step has one snapshot; ``truncate`` removes those at or past a step."""
    other = {name: array + 1 for name, array in run.snapshot(1).arrays.items()}
    run.append(Snapshot(Moment(1, 1), other))
    assert run.steps == [0, 1, 2]
    np.testing.assert_array_equal(run.snapshot(1).arrays["conv1/kernel"], other["conv1/kernel"])
    run.truncate(1)
    assert run.steps == [0]


def test_truncate_removes_temporary_files(run):
    """Of any version, in both folders, but no file of the user."""
    run.file(9).with_name(".000000000009.npz.123.tmp").write_bytes(b"half")  # of an old version
    (run.folder / ".manifest.json.0f3a55c1d2e4b697.tmp").write_bytes(b"half")
    (run.folder / "thoughts.tmp").write_text("mine")
    run.truncate(9)
    assert not [name for name in run.path.rglob("*") if name.name.startswith(".")]
    assert (run.folder / "thoughts.tmp").exists()
    assert run.steps == [0, 1, 2]


def test_history_yields_one_array_per_step(run):
    """All steps, or the given ones in their order."""
    assert len(list(run.history("conv1"))) == 3
    (last, first) = run.history("conv1", [2, 0])
    np.testing.assert_array_equal(last, run.kernels("conv1", 2))
    np.testing.assert_array_equal(first, run.kernels("conv1", 0))


def test_the_filters_folder_opens_the_run(run):
    """It is the name that TensorBoard lists."""
    inside = Run(run.folder)
    assert inside.path == run.path
    assert inside.steps == run.steps


def test_delete_keeps_files_of_the_user(run):
    """The manifest, the snapshots and the events are removed."""
    (run.folder / "events.out.tfevents.1.host.2").write_bytes(b"")
    (run.folder / "thoughts.md").write_text("mine")
    Run.delete(run.path)
    assert not Run.exists(run.path)
    assert [path.name for path in run.folder.iterdir()] == ["thoughts.md"]


def test_errors_name_the_missing_run_layer_or_step(run, tmp_path):
    """And list the existing ones."""
    with pytest.raises(FiltertrackError, match=r"no run in .*nothing.*manifest\.json"):
        Run(tmp_path / "nothing")
    with pytest.raises(FiltertrackError, match=r"no layer 'conv9'.*it has: conv1, conv2"):
        run.kernels("conv9", 0)
    with pytest.raises(FiltertrackError, match=r"no snapshot at step 5.*steps: 0, 1, 2"):
        run.kernels("conv1", 5)
    with pytest.raises(FiltertrackError, match="already holds a run"):
        Run.create(run.path, [])


@pytest.mark.parametrize("change", ["missing", "shape", "objects"])
def test_a_snapshot_that_does_not_fit_the_manifest_is_an_error(run, change):
    """Nothing is written then."""
    arrays = dict(run.snapshot(0).arrays)
    if change == "missing":
        del arrays["conv2/kernel"]
    elif change == "shape":
        arrays["conv2/kernel"] = arrays["conv2/kernel"][:2]
    else:
        arrays["conv2/bias"] = np.array([{}] * 6)
    with pytest.raises(FiltertrackError, match="conv2"):
        run.append(Snapshot(Moment(9, 9), arrays))
    assert run.steps == [0, 1, 2]


def test_threads_share_a_run(make_run, conv_info):
    """Each thread gets the weights it reads, from files of different layouts."""
    infos = [conv_info(name, kernel_shape=(3, 3, 1, n)) for n, name in enumerate("abcd", start=2)]
    run = make_run(*infos, steps=range(6))
    for step in (1, 4):  # as numpy would have written them
        snapshot = run.snapshot(step)
        with np.load(run.file(step)) as file:
            members = {name: file[name] for name in reversed(file.files)}
        np.savez(run.file(step), **members)
        assert run.snapshot(step).moment == snapshot.moment
    expected = {(n, step): Run(run.path).kernels(n, step) for n in "abcd" for step in run.steps}

    def read(name):
        return all(
            (run.kernels(name, step) == expected[name, step]).all() for step in run.steps * 20
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, "abcd"))


def test_a_failed_deletion_leaves_a_run(run, monkeypatch):
    """The manifest is removed last, so the rest is not mixed into a new run."""

    def fail(folder):
        (folder / "000000000000.npz").unlink()
        raise PermissionError(13, "no")

    monkeypatch.setattr("filtertrack.storage.local.shutil.rmtree", fail)
    with pytest.raises(PermissionError):
        Run.delete(run.path)
    assert Run.exists(run.path)
    assert Run(run.path).steps == [1, 2]


def test_create_refuses_a_folder_with_snapshots(run, conv_info):
    """They belong to another run."""
    (run.folder / "manifest.json").unlink()
    with pytest.raises(FiltertrackError, match="holds snapshots of a run whose manifest is gone"):
        Run.create(run.path, [conv_info()])


def test_a_run_without_a_snapshot_folder_can_be_continued(run, conv_info):
    """As left by an interrupted deletion."""
    arrays = run.snapshot(0).arrays
    shutil.rmtree(run.folder / "snapshots")
    left = Run(run.path)
    assert left.steps == []
    assert left.stamps() == {}
    assert not left.verify()
    assert "0 snapshots" in repr(left)
    assert left.version()
    for show in (animate, measure):
        with pytest.raises(FiltertrackError, match="0 readable snapshots"):
            show(left)
    left.truncate(0)
    left.append(Snapshot(Moment(0, 0), arrays))
    assert Run(run.path).steps == [0]


def test_a_deleted_run_has_no_snapshots(run):
    """It can be printed, and reading is an error that names the step."""
    shutil.rmtree(run.path)
    assert "0 snapshots" in repr(run)
    with pytest.raises(FiltertrackError, match="no snapshot at step 1"):
        run.kernels("conv1", 1)


def test_a_folder_that_cannot_be_listed_is_an_error(run):
    """It names the folder."""
    shutil.rmtree(run.folder / "snapshots")
    (run.folder / "snapshots").symlink_to(run.folder / "snapshots")
    for ask in (lambda: run.steps, run.stamps, run.verify, lambda: animate(run)):
        with pytest.raises(FiltertrackError, match=r"cannot read .*snapshots': Too many levels"):
            ask()


def test_a_failed_write_of_the_manifest_is_an_error(tmp_path, conv_info):
    """It names the file, and no temporary file is left."""
    (tmp_path / "filters" / "manifest.json").mkdir(parents=True)
    (tmp_path / "filters" / "manifest.json").rename(tmp_path / "filters" / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(FiltertrackError, match=r"manifest\.json' failed: No space left"):
            Run.create(tmp_path, [conv_info()])
    assert not list((tmp_path / "filters").glob(".*"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FiltertrackError, match="cannot start a run"):
        Run.create(tmp_path / "file", [conv_info()])


def test_too_many_layers_are_an_error_of_create(tmp_path, conv_info):
    """Before training, as the manifest could not be read later."""
    infos = [conv_info(f"conv{number}", path="x" * 4000) for number in range(2500)]
    with pytest.raises(FiltertrackError, match=r"2500 layers take a manifest .* track fewer"):
        Run.create(tmp_path, infos)
    assert not Run.exists(tmp_path)
