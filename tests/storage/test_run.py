import io
import json
import random
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, measure, snapshot


def everything(run):
    """Read all that a run holds, as bytes."""
    return [
        (
            step,
            run.moment(step),
            *((a.shape, a.dtype, a.tobytes()) for a in run.snapshot(step).arrays.values()),
        )
        for step in run.steps
    ]


@pytest.fixture
def small_run(make_run, conv_info):
    return make_run(conv_info(kernel_shape=(2, 3, 1, 2), bias=False), steps=[])


@pytest.mark.parametrize("bits", ["uint16", "uint32", "uint64"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_bit_comes_back(small_run, bits, data):
    """Whatever the bits, NaN payloads, infinities, -0.0 and subnormals included."""
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
def test_every_type_is_read_back_exactly(make_run, conv_info, name):
    """Each value of a narrow type, some of a wide one: cast back it has the same bits."""
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
def test_a_type_that_cannot_be_stored_is_refused_before_training(tmp_path, conv_info, name):
    """Not snapshot after snapshot, when it is too late."""
    with pytest.raises(FiltertrackError, match=f"layer conv1: its kernel is of type '{name}'"):
        Run.create(tmp_path, [conv_info(dtype=name)])
    assert not Run.exists(tmp_path)


@pytest.mark.parametrize("name", ["complex64", "longdouble", "S4", "object"])
def test_values_that_cannot_be_stored_are_refused(run, name):
    """Whatever the manifest says of them."""
    arrays = {**run.snapshot(0).arrays, "conv1/kernel": np.zeros((3, 3, 1, 4), name)}
    with pytest.raises(FiltertrackError, match="conv1/kernel: cannot store values of type"):
        run.append(Snapshot(Moment(9, 9), arrays))


def test_kernels_come_in_the_one_order(run):
    """``kernels`` is ``(filters, height, width, channels)`` of what the file holds."""
    with np.load(run.file(1)) as file:
        kernel, bias = file["conv2/kernel"], file["conv2/bias"]
    np.testing.assert_array_equal(run.kernels("conv2", 1), np.moveaxis(kernel, 3, 0))
    np.testing.assert_array_equal(run.bias("conv2", 1), bias)


def test_a_layer_without_bias(make_run, conv_info):
    """It is said as None, not as zeros."""
    run = make_run(conv_info(bias=False))
    assert run.bias("conv1", 0) is None
    assert list(run.snapshot(0).arrays) == ["conv1/kernel"]


def test_moments_come_back(make_run):
    """Metrics too, also those that JSON has no number for."""
    run = make_run(steps=[])
    arrays = {i.kernel: np.zeros(i.kernel_shape) for i in run.layers.values()}
    metrics = {"loss": float("nan"), "top": float("inf"), "low": float("-inf"), "x": 0.1}
    run.append(Snapshot(Moment(7, 2, None, metrics, 1.5), arrays))
    moment = run.moment(7)
    assert (moment.step, moment.epoch, moment.batch, moment.wall_time) == (7, 2, None, 1.5)
    np.testing.assert_equal(dict(moment.metrics), metrics)


def test_a_run_of_format_1_is_read():
    """Every later version reads the run of the first."""
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


def test_steps_are_the_folder_as_it_is(run):
    """Ascending; temporaries and foreign files are not steps; a reader sees what is added."""
    reader = Run(run.path)
    snapshots = run.folder / "snapshots"
    (snapshots / ".000000000009.npz.123.tmp").write_bytes(b"half")
    (snapshots / "000000000008.npz.bak").write_bytes(b"")
    (snapshots / "notes.txt").write_text("mine")
    assert reader.steps == [0, 1, 2]
    run.append(Snapshot(Moment(100, 9), run.snapshot(0).arrays))
    assert reader.steps == [0, 1, 2, 100]


def test_append_replaces_and_truncate_removes(run):
    """One snapshot a step; training that starts again removes what lay at or past it."""
    other = {name: array + 1 for name, array in run.snapshot(1).arrays.items()}
    run.append(Snapshot(Moment(1, 1), other))
    assert run.steps == [0, 1, 2]
    np.testing.assert_array_equal(run.snapshot(1).arrays["conv1/kernel"], other["conv1/kernel"])
    run.truncate(1)
    assert run.steps == [0]


def test_truncate_removes_what_a_killed_writer_left(run):
    """Temporaries of any name, in both folders; nothing of the user's."""
    run.file(9).with_name(".000000000009.npz.123.tmp").write_bytes(b"half")  # of an old version
    (run.folder / ".manifest.json.0f3a55c1d2e4b697.tmp").write_bytes(b"half")
    (run.folder / "thoughts.tmp").write_text("mine")
    run.truncate(9)
    assert not [name for name in run.path.rglob("*") if name.name.startswith(".")]
    assert (run.folder / "thoughts.tmp").exists()
    assert run.steps == [0, 1, 2]


def test_history_yields_one_array_a_step(run):
    """All steps, or those that are asked for, in that order."""
    assert len(list(run.history("conv1"))) == 3
    (last, first) = run.history("conv1", [2, 0])
    np.testing.assert_array_equal(last, run.kernels("conv1", 2))
    np.testing.assert_array_equal(first, run.kernels("conv1", 0))


def test_the_filters_folder_is_the_run_too(run):
    """People give what they see in TensorBoard's list."""
    inside = Run(run.folder)
    assert inside.path == run.path
    assert inside.steps == run.steps


def test_delete_leaves_what_is_not_ours(run):
    """Only the manifest, the snapshots and the events go."""
    (run.folder / "events.out.tfevents.1.host.2").write_bytes(b"")
    (run.folder / "thoughts.md").write_text("mine")
    Run.delete(run.path)
    assert not Run.exists(run.path)
    assert [path.name for path in run.folder.iterdir()] == ["thoughts.md"]


def test_what_is_not_there_is_said(run, tmp_path):
    """No run, no layer, no step: what was looked for, and what there is."""
    with pytest.raises(FiltertrackError, match=r"no run in .*nothing.*manifest\.json"):
        Run(tmp_path / "nothing")
    with pytest.raises(FiltertrackError, match=r"no layer 'conv9'.*it has: conv1, conv2"):
        run.kernels("conv9", 0)
    with pytest.raises(FiltertrackError, match=r"no snapshot at step 5.*steps: 0, 1, 2"):
        run.kernels("conv1", 5)
    with pytest.raises(FiltertrackError, match="already holds a run"):
        Run.create(run.path, [])


@pytest.mark.parametrize("change", ["missing", "shape", "objects"])
def test_a_snapshot_that_does_not_fit_is_refused(run, change):
    """Before anything is written."""
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


def noticed(run, expected):
    """Read all: the same values (False), or this package's error that names the file (True)."""
    try:
        values = everything(run)
    except FiltertrackError as error:
        return str(run.file(0)) in str(error)
    assert values == expected
    return False


def test_a_snapshot_cut_off_anywhere_is_noticed(make_run, conv_info):
    """Truncation at every length is reported with the file's name."""
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 2)), steps=[0])
    whole, expected = run.file(0).read_bytes(), everything(run)
    for length in range(len(whole)):
        run.file(0).write_bytes(whole[:length])
        assert noticed(run, expected)


def test_no_flipped_bit_of_a_snapshot_is_believed(make_run, conv_info):
    """Every bit flipped, one at a time: harmless or reported, never another value.

    And a run that has read others like it says the same as one that is new.
    """
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 2)), steps=[0])
    whole, expected = run.file(0).read_bytes(), everything(run)
    reported = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        run.file(0).write_bytes(flipped)
        seen = noticed(run, expected)
        if bit % 8 == bit // 8 % 8:  # one of each byte, as it takes its time
            assert noticed(Run(run.path), expected) == seen
        reported += seen
    assert reported > 8 * len(whole) / 2


def test_a_damaged_manifest_is_an_error_or_reads(run):
    """Flipped or cut off anywhere: only this package's error class comes out."""
    file = run.folder / "manifest.json"
    whole = file.read_bytes()
    chance = random.Random(0)
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        for damaged in (bytes(flipped), whole[:at]):
            file.write_bytes(damaged)
            with suppress(FiltertrackError):
                opened = Run(run.path)
                for name in opened.layers:
                    opened.kernels(name, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../escape"),
        ("name", "/etc/passwd"),
        ("name", "<script>"),
        ("name", "a\x1b[2J"),
        ("kernel", "../../x"),
        ("kernel", 3),
        ("shape", [1 << 40, 3, 3, 1]),
        ("shape", "4331"),
        ("axes", [0, 0, 1, 2]),
        ("kernel_shape", None),
        ("kernel_shape", [3, 3, 1, -4]),
        ("dtype", {}),
        ("name", {}),
        ("bias", ""),
        ("strides", {}),
    ],
)
def test_a_hostile_manifest_is_refused(run, forge_manifest, field, value):
    """Names that leave the folder or the page, and shapes that contradict each other."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["layers"][0][field] = value
    forge_manifest(file, manifest)
    with pytest.raises(FiltertrackError):
        Run(run.path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"format": "1"}', '{"format": 1}', "[" * 100_000]
)
def test_a_manifest_that_is_none_is_refused(run, text):
    """Whatever JSON, or none."""
    (run.folder / "manifest.json").write_text(text)
    with pytest.raises(FiltertrackError):
        Run(run.path)


def test_a_newer_format_says_to_update(run):
    """A reader refuses what it cannot know."""
    file = run.folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    with pytest.raises(FiltertrackError, match=r"format 2, newer than the 1.*update filtertrack"):
        Run(run.path)


def replace_member(path, member, data, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**members, member: data}.items():
            archive.writestr(name, content)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(shape):
    stream = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("member", "compression"),
    [
        (npy(np.array([print], object)), zipfile.ZIP_STORED),
        (npy(np.zeros((3, 3, 1, 4), np.float32)), zipfile.ZIP_DEFLATED),
        (header((1 << 30, 1 << 20)), zipfile.ZIP_STORED),
        (header((-1, 3)), zipfile.ZIP_STORED),
        (npy(np.zeros((3, 3, 1, 5), np.float32)), zipfile.ZIP_STORED),
        (npy(np.array("text")), zipfile.ZIP_STORED),
        (b"no npy at all", zipfile.ZIP_STORED),
    ],
    ids=["pickle", "packed", "huge", "negative", "other shape", "text", "garbage"],
)
def test_a_hostile_member_is_refused(run, member, compression):
    """Never unpickled, never unpacked, no memory that the file does not fill."""
    replace_member(run.file(0), "conv1/kernel.npy", member, compression)
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.kernels("conv1", 0)


def raw_npy(head, values=b"", version=1):
    """Return an ``.npy`` file's bytes with any text as its head."""
    length = len(head).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + head + values


@pytest.mark.parametrize(
    "head",
    [
        b"{1: 0, 'a': 0}",
        b"{[]: 1}",
        b"{'descr': (",
        b"{'descr': (), 'fortran_order': False, 'shape': (3, 3, 1, 4)}",
        b"-" * 9000,
        b"(" * 5000,
        b"\xff\x00",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 'abc'}",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("warm", [False, True], ids=["first read", "read before"])
def test_a_head_of_anything_is_damage(run, head, version, warm):
    """Whatever numpy's own reader raises over it; ``verify`` goes on to the other snapshots."""
    if warm:
        run.kernels("conv1", 1)
    replace_member(run.file(0), "conv1/kernel.npy", raw_npy(head, bytes(144), version))
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.kernels("conv1", 0)
    assert list(run.verify()) == [0]


@pytest.mark.parametrize("dtype", ["<U1", "<c8", "<M8[s]", "V4", "<m8[s]", "S4"])
@pytest.mark.parametrize("warm", [False, True], ids=["first read", "read before"])
def test_a_kernel_of_no_numbers_is_damage(run, dtype, warm):
    """It would fail only where it is drawn, in numpy's words."""
    if warm:
        run.kernels("conv1", 1)
    kernel = np.zeros((3, 3, 1, 4), dtype)
    replace_member(run.file(0), "conv1/kernel.npy", npy(kernel))
    with pytest.raises(FiltertrackError, match="holds values of type"):
        run.kernels("conv1", 0)


def test_an_entry_that_is_there_twice_is_damage(run):
    """Programs differ in which of the two they read; also to a run that has read the first."""
    run.kernels("conv1", 0)
    with zipfile.ZipFile(run.file(0), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("conv1/kernel.npy", npy(np.full((3, 3, 1, 4), 7, np.float32)))
    for each in (run, Run(run.path)):
        with pytest.raises(FiltertrackError, match="twice"):
            each.kernels("conv1", 0)
    assert list(run.verify()) == [0]


def test_what_the_index_says_counts(run):
    """A run that has read others like it notices, too, what other programs could not read."""
    run.snapshot(0)
    data = bytearray(run.file(0).read_bytes())
    data[data.rindex(b"PK\1\2") + 16] ^= 1  # a checksum in the index
    run.file(0).write_bytes(data)
    for each in (run, Run(run.path)):
        with pytest.raises(FiltertrackError, match="checksum of meta"):
            each.snapshot(0)
    assert list(run.verify()) == [0]


def test_threads_share_a_run(make_run, conv_info):
    """Each gets its own layer's weights, from files that do not lie alike."""
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


@pytest.mark.parametrize(
    "meta", ["", "{", "[]", "{}", '{"step": 1, "epoch": 0}', '{"step": 0, "epoch": -1}', "[" * 9999]
)
def test_a_moment_that_does_not_fit_is_refused(run, meta):
    """Also one that belongs to another step."""
    replace_member(run.file(0), "meta.npy", npy(np.array(meta)))
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.moment(0)


def test_a_run_that_cannot_be_deleted_stays_a_run(run, monkeypatch):
    """What is left is not mixed into a new run: the manifest goes last."""

    def fail(folder):
        (folder / "000000000000.npz").unlink()
        raise PermissionError(13, "no")

    monkeypatch.setattr("filtertrack.storage.local.shutil.rmtree", fail)
    with pytest.raises(PermissionError):
        Run.delete(run.path)
    assert Run.exists(run.path)
    assert Run(run.path).steps == [1, 2]


def test_snapshots_without_a_manifest_are_not_taken_over(run, conv_info):
    """A new run does not begin in a folder with what is left of another."""
    (run.folder / "manifest.json").unlink()
    with pytest.raises(FiltertrackError, match="holds snapshots of a run whose manifest is gone"):
        Run.create(run.path, [conv_info()])


def test_a_run_that_was_being_deleted(run, conv_info):
    """Its snapshots gone, its manifest still there: a run without snapshots, that can go on."""
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


def test_a_folder_that_has_vanished(run):
    """The run can still be printed, and says what is missing."""
    shutil.rmtree(run.path)
    assert "0 snapshots" in repr(run)
    with pytest.raises(FiltertrackError, match="no snapshot at step 1"):
        run.kernels("conv1", 1)


def test_a_folder_that_cannot_be_listed(run):
    """An error that names it, whatever is asked."""
    shutil.rmtree(run.folder / "snapshots")
    (run.folder / "snapshots").symlink_to(run.folder / "snapshots")
    for ask in (lambda: run.steps, run.stamps, run.verify, lambda: animate(run)):
        with pytest.raises(FiltertrackError, match=r"cannot read .*snapshots': Too many levels"):
            ask()


def test_a_manifest_that_cannot_be_written(tmp_path, conv_info):
    """On a disk that is full, or read-only: one error that names the file."""
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


def test_a_manifest_that_could_not_be_read_is_not_written(tmp_path, conv_info):
    """Said before training, not when the run is opened again."""
    infos = [conv_info(f"conv{number}", path="x" * 4000) for number in range(2500)]
    with pytest.raises(FiltertrackError, match=r"2500 layers take a manifest .* track fewer"):
        Run.create(tmp_path, infos)
    assert not Run.exists(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged file"),
        (b'{"format": 1, "layers": []}', "damaged file"),
        (None, "cannot read"),
    ],
)
def test_errors_about_a_manifest_name_it(run, content, said):
    """Whatever is wrong with it."""
    file = run.folder / "manifest.json"
    file.unlink()
    if content is None:
        file.symlink_to(file)
    else:
        file.write_bytes(content)
    with pytest.raises(FiltertrackError, match=f"{said}.*{file}"):
        Run(run.path)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": []},
        {"software": {"keras": 3}},
        {"software": []},
        "two arrays alike",
    ],
    ids=str,
)
def test_a_manifest_whose_content_does_not_fit_is_refused(run, forge_manifest, change):
    """Its checksum right; the file is named."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    if change == "two arrays alike":
        manifest["layers"][0]["kernel"] = manifest["layers"][1]["kernel"]
    else:
        manifest |= change
    forge_manifest(file, manifest)
    with pytest.raises(FiltertrackError, match=f"damaged file.*{file}"):
        Run(run.path)


@pytest.mark.parametrize(
    "codes",
    [[0x110000], [0xFFFFFFFF], [0xD800, 0xDC00]],
    ids=["beyond", "far beyond", "surrogates"],
)
def test_a_moment_of_no_characters_is_damage(run, codes):
    """Numpy fails on them in an error of Python's own; ``verify`` goes on to the others."""
    text = np.array([*map(ord, "{}"), *codes], np.uint32).view(f"<U{len(codes) + 2}").reshape(())
    replace_member(run.file(0), "meta.npy", header_of(text) + text.tobytes())
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.moment(0)
    assert list(run.verify()) == [0]


def header_of(array):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    return stream.getvalue()


def test_what_is_not_printable_in_a_moment(run):
    """Names of metrics come from somebody's program: read, they steer no terminal."""
    meta = {"step": 0, "epoch": 0, "metrics": {"a\x1b[2J": 1.0, "\ud800": 2.0, "é\u202e": 3.0}}
    meta["of a later version"] = 1
    replace_member(run.file(0), "meta.npy", npy(np.array(json.dumps(meta))))
    assert dict(run.moment(0).metrics) == {"a?[2J": 1.0, "?": 2.0, "é?": 3.0}


@pytest.mark.parametrize("dtype", ["float128", ">c8"])
def test_a_kernel_of_a_wide_type_is_damage(run, dtype):
    """It would fail only where it is measured, in numpy's words."""
    replace_member(run.file(0), "conv1/kernel.npy", npy(np.zeros((3, 3, 1, 4), dtype)))
    with pytest.raises(FiltertrackError, match="holds values of type"):
        run.kernels("conv1", 0)
