import io
import warnings
import zipfile
from contextlib import suppress
from random import Random

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run
from filtertrack.capture.checkpoint_import import import_sources
from filtertrack.capture.checkpoint_search import find_files
from filtertrack.capture.checkpoints.file_formats import open_checkpoint


def test_an_npy_file_is_one_kernel_with_the_name_of_the_file(tmp_path, rng):
    kernel = rng.normal(size=(3, 3, 2, 4)).astype(">f4")
    np.save(tmp_path / "conv1.npy", np.asfortranarray(kernel))
    with open_checkpoint(tmp_path / "conv1.npy", axes="HWIO") as checkpoint:
        (info,) = checkpoint.infos
        array = checkpoint.read()["conv1/kernel"]
    assert (info.name, info.shape, info.dtype) == ("conv1", (4, 3, 3, 2), "float32")
    np.testing.assert_array_equal(array, kernel.astype("float32"), strict=True)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_arrays_of_an_npz_file_have_the_names_of_its_keys(write, tmp_path, rng):
    """Arrays with another number of axes are left out, with a remark."""
    arrays = {"block/a": rng.normal(size=(4, 2, 3, 3)), "b/kernel": rng.normal(size=(5, 4, 3, 3))}
    write(tmp_path / "w.npz", **arrays, bias=np.zeros(4), names=np.array(["x"]))
    with open_checkpoint(tmp_path / "w.npz", axes="OIHW") as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["block/a", "b"]
        assert "bias of shape (4,), names" in checkpoint.remarks[0]
        found = checkpoint.read(checkpoint.infos[1:])
    assert list(found) == ["b/kernel"]
    np.testing.assert_array_equal(found["b/kernel"], arrays["b/kernel"], strict=True)


def test_a_snapshot_of_a_run_is_read():
    snapshot = Run("tests/golden/run-v1").file(2)
    with open_checkpoint(snapshot, axes="HWIO") as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv1", "conv2"]
        assert checkpoint.read().keys() == {"conv1/kernel", "conv2/kernel"}


def test_axes_are_needed(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3, 1, 2)))
    with pytest.raises(FiltertrackError, match=r"axes: say which axis of the arrays in .*a\.npy"):
        open_checkpoint(tmp_path / "a.npy")


def npy(array=None, *, head=None, **options):
    file = io.BytesIO()
    np.save(file, np.zeros((3, 3, 1, 2), "<f4") if array is None else array, **options)
    content = file.getvalue()
    return content if head is None else content[:10] + head.ljust(117).encode() + b"\n"


DAMAGED = {
    "objects": npy(np.array([{}] * 4, object).reshape(1, 1, 2, 2)),
    "truncated": npy()[:-4],
    "no values": npy()[:40],
    "claims": npy(head="{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999, 9, 9)}"),
    "negative": npy(head="{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1, 1, 1)}"),
    "nested": npy(head="(" * 100),
    "structured": npy(np.zeros((1, 1, 1, 1), [("a", "f4")])),
    "complex": npy(np.zeros((1, 1, 1, 1), complex)),
    "no weights": npy(np.zeros((3, 3, 0, 2))),
    "axes": npy(np.zeros((3, 3))),
    "version": npy()[:6] + b"\x09" + npy()[7:],
}


@pytest.mark.parametrize("archived", [False, True], ids=["npy", "npz"])
@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_foreign_arrays_are_refused_by_name(kind, archived, tmp_path):
    """Python objects are never loaded, and no memory is taken for what is not there."""
    path = tmp_path / f"a.np{'z' if archived else 'y'}"
    if archived:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", DAMAGED[kind])
    else:
        path.write_bytes(DAMAGED[kind])
    with (
        pytest.raises(FiltertrackError, match=r"cannot read .*a\.np[yz]"),
        open_checkpoint(path, axes="HWIO") as checkpoint,
    ):
        checkpoint.read()


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros((3, 3, 1, 2)))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FiltertrackError, match=r"cannot read .*a\.npz"):
        open_checkpoint(path, axes="HWIO")


@pytest.mark.parametrize("write", [np.save, np.savez, np.savez_compressed])
def test_changed_bytes_are_read_or_refused(write, tmp_path):
    """No other error is raised."""
    random, path = Random(1), tmp_path / ("a.npy" if write is np.save else "a.npz")
    write(path, np.zeros((3, 3, 1, 2), "f4"))
    content = path.read_bytes()
    head = 140 if write is np.save else len(content)
    for _ in range(500):
        changed = bytearray(content)
        for _ in range(random.choice([1, 2, 5])):
            changed[random.randrange(head)] = random.choice(
                [0, 255, *b"('9", random.randrange(256)]
            )
        path.write_bytes(changed)
        with (
            warnings.catch_warnings(action="ignore"),  # of numpy, about files of Python 2
            suppress(FiltertrackError),
            open_checkpoint(path, axes="HWIO") as checkpoint,
        ):
            checkpoint.read()


def test_a_compression_bomb_is_refused(tmp_path):
    """An array of zeros of a thousand times the size of the file."""
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((1 << 10, 1 << 15, 1, 1), np.int8))
    with pytest.raises(FiltertrackError, match="more than there are"):
        open_checkpoint(tmp_path / "a.npz", axes="HWIO")


def test_a_pattern_of_arrays_becomes_a_run(tmp_path, rng):
    """A folder with other files and arrays is imported without the arrays."""
    kernels = [rng.normal(size=(3, 3, 1, 2)) for _ in range(3)]
    for step, kernel in enumerate(kernels):
        np.save(tmp_path / f"conv_{step}.npy", kernel)
    found = find_files([str(tmp_path / "*.npy")])
    run = import_sources(tmp_path / "run", found.sources, axes="HWIO").run
    assert run.steps == [0, 1, 2]
    np.testing.assert_array_equal(
        run.kernels(*run.layers, 2)[..., 0], kernels[2][:, :, 0].transpose(2, 0, 1)
    )
    with pytest.raises(FiltertrackError, match="no checkpoint"):
        find_files([str(tmp_path)])
