import io
import json
import random
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run


def everything(run):
    """Read all contents of a run, as bytes."""
    return [
        (
            step,
            run.moment(step),
            *((a.shape, a.dtype, a.tobytes()) for a in run.snapshot(step).arrays.values()),
        )
        for step in run.steps
    ]


def is_reported(run, expected):
    """Return whether reading raises an error that names the file; else check the values."""
    try:
        values = everything(run)
    except FiltertrackError as error:
        return str(run.file(0)) in str(error)
    assert values == expected
    return False


def test_a_truncated_snapshot_is_reported(make_run, conv_info):
    """At every length, with the file's name."""
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 2)), steps=[0])
    whole, expected = run.file(0).read_bytes(), everything(run)
    for length in range(len(whole)):
        run.file(0).write_bytes(whole[:length])
        assert is_reported(run, expected)


def test_a_flipped_bit_of_a_snapshot_is_reported_or_harmless(make_run, conv_info):
    """By a new run and by one that has read similar files.

    Every bit of the zip records, and one of each byte that a checksum covers.
    """
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 2)), steps=[0])
    whole, expected = run.file(0).read_bytes(), everything(run)
    with zipfile.ZipFile(run.file(0)) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    checksummed = {whole.index(each) + n for each in contents for n in range(len(each))}
    reported = tested = 0
    for bit in range(8 * len(whole)):
        is_one_per_byte = bit % 8 == bit // 8 % 8
        if bit // 8 in checksummed and not is_one_per_byte:
            continue
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        run.file(0).write_bytes(flipped)
        found = is_reported(run, expected)
        if is_one_per_byte:
            assert is_reported(Run(run.path), expected) == found
        reported += found
        tested += 1
    assert reported > tested / 3


def test_a_damaged_manifest_raises_no_other_error(run):
    """Each byte flipped, and truncated at each length."""
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
def test_invalid_fields_of_a_layer_are_an_error(run, forge_manifest, field, value):
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
def test_a_manifest_of_other_json_is_an_error(run, text):
    """Or of no JSON at all."""
    (run.folder / "manifest.json").write_text(text)
    with pytest.raises(FiltertrackError):
        Run(run.path)


def test_a_newer_format_is_an_error_that_says_to_update(run):
    """It cannot be read."""
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
def test_an_invalid_array_is_an_error(run, member, compression):
    """Nothing is unpickled or decompressed, and no memory is allocated for a claimed size."""
    replace_member(run.file(0), "conv1/kernel.npy", member, compression)
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.kernels("conv1", 0)


def raw_npy(head, values=b"", version=1):
    """Return the bytes of an ``.npy`` file with any text as its header."""
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
def test_an_invalid_header_is_damage(run, head, version, warm):
    """Whatever error numpy raises; ``verify`` continues with the other snapshots."""
    if warm:
        run.kernels("conv1", 1)
    replace_member(run.file(0), "conv1/kernel.npy", raw_npy(head, bytes(144), version))
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.kernels("conv1", 0)
    assert list(run.verify()) == [0]


@pytest.mark.parametrize("dtype", ["<U1", "<c8", "<M8[s]", "V4", "<m8[s]", "S4"])
@pytest.mark.parametrize("warm", [False, True], ids=["first read", "read before"])
def test_a_kernel_of_a_type_without_numbers_is_damage(run, dtype, warm):
    """Reported when it is read, not when it is drawn."""
    if warm:
        run.kernels("conv1", 1)
    kernel = np.zeros((3, 3, 1, 4), dtype)
    replace_member(run.file(0), "conv1/kernel.npy", npy(kernel))
    with pytest.raises(FiltertrackError, match="holds values of type"):
        run.kernels("conv1", 0)


def test_a_duplicate_entry_is_damage(run):
    """Programs differ in which of the two they read; also for a run that has read the file."""
    run.kernels("conv1", 0)
    with zipfile.ZipFile(run.file(0), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("conv1/kernel.npy", npy(np.full((3, 3, 1, 4), 7, np.float32)))
    for each in (run, Run(run.path)):
        with pytest.raises(FiltertrackError, match="twice"):
            each.kernels("conv1", 0)
    assert list(run.verify()) == [0]


def test_a_wrong_checksum_in_the_index_is_damage(run):
    """Also for a run that has read similar files."""
    run.snapshot(0)
    data = bytearray(run.file(0).read_bytes())
    data[data.rindex(b"PK\1\2") + 16] ^= 1  # a checksum in the index
    run.file(0).write_bytes(data)
    for each in (run, Run(run.path)):
        with pytest.raises(FiltertrackError, match="checksum of meta"):
            each.snapshot(0)
    assert list(run.verify()) == [0]


@pytest.mark.parametrize(
    "meta", ["", "{", "[]", "{}", '{"step": 1, "epoch": 0}', '{"step": 0, "epoch": -1}', "[" * 9999]
)
def test_an_invalid_moment_is_an_error(run, meta):
    """Also one of another step."""
    replace_member(run.file(0), "meta.npy", npy(np.array(meta)))
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.moment(0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged file"),
        (b'{"format": 1, "layers": []}', "damaged file"),
        (None, "cannot read"),
    ],
)
def test_errors_of_a_manifest_name_the_file(run, content, said):
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
def test_inconsistent_content_of_a_manifest_is_damage(run, forge_manifest, change):
    """Even with a correct checksum."""
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
def test_invalid_characters_in_a_moment_are_damage(run, codes):
    """Numpy raises errors of Python's own for them; ``verify`` continues."""
    text = np.array([*map(ord, "{}"), *codes], np.uint32).view(f"<U{len(codes) + 2}").reshape(())
    replace_member(run.file(0), "meta.npy", header_of(text) + text.tobytes())
    with pytest.raises(FiltertrackError, match=str(run.file(0))):
        run.moment(0)
    assert list(run.verify()) == [0]


def header_of(array):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    return stream.getvalue()


def test_metric_names_are_made_printable(run):
    """They may contain control codes of a terminal."""
    meta = {"step": 0, "epoch": 0, "metrics": {"a\x1b[2J": 1.0, "\ud800": 2.0, "é\u202e": 3.0}}
    meta["of a later version"] = 1
    replace_member(run.file(0), "meta.npy", npy(np.array(json.dumps(meta))))
    assert dict(run.moment(0).metrics) == {"a?[2J": 1.0, "?": 2.0, "é?": 3.0}


@pytest.mark.parametrize("dtype", ["float128", ">c8"])
def test_a_kernel_of_an_unsupported_type_is_damage(run, dtype):
    """Reported when it is read, not when it is measured."""
    replace_member(run.file(0), "conv1/kernel.npy", npy(np.zeros((3, 3, 1, 4), dtype)))
    with pytest.raises(FiltertrackError, match="holds values of type"):
        run.kernels("conv1", 0)
