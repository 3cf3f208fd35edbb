"""A program: makes runs whose checksums are right and whose content is hostile, and reads them.

``python hostile_runs.py make FOLDER`` writes one run for each of ``VARIANTS`` below the folder;
``python hostile_runs.py read FOLDER`` reads each in bounded memory, and prints a line of JSON for
each: what came out, how long it took, how much memory. With ``draw`` in place of ``read`` they are
also drawn and measured.
"""

import contextlib
import io
import json
import logging
import os
import resource
import sys
import time
import traceback
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # not where pytest looks for doctests
    # It takes more address space than is allowed here.
    sys.modules.setdefault("tensorflow", None)
from filtertrack import (
    FiltertrackError,
    Moment,
    Run,
    animate,
    filmstrip,
    measure,
    to_xarray,
)

MEMORY = 3 << 30
VARIANTS = {}


def variant(*arguments, name=None):
    """Register a function that makes a run, or one for each of its arguments."""

    def note(make):
        for each in arguments or [None]:
            given = [] if each is None else [each]
            label = make.__name__ if each is None else f"{make.__name__}: {each!r:.60}"
            VARIANTS[label] = lambda folder, given=given: make(folder, *given)
        return make

    return note


# How a run is made.

LAYER = {
    "name": "conv",
    "path": "conv",
    "class_name": "Conv2D",
    "kernel": "conv/kernel",
    "bias": "conv/bias",
    "kernel_shape": [3, 3, 1, 4],
    "axes": [3, 0, 1, 2],
    "shape": [4, 3, 3, 1],
    "dtype": "float32",
    "strides": [1, 1],
    "dilation": [1, 1],
    "data_format": "channels_last",
}


def npy(array):
    """Return the bytes of an ``.npy`` file of an array."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=True)
    return stream.getvalue()


def raw_npy(head, values=b"", version=1, length=None):
    """Return the bytes of an ``.npy`` file with any header, and any claimed length of it."""
    head = head.encode() if isinstance(head, str) else head
    size = (len(head) if length is None else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + head + values


def meta(step, /, **changes):
    """Return a moment as JSON."""
    fields = {"step": step, "epoch": step, "batch": None, "metrics": {"loss": 1.0}, "wall_time": 1}
    return json.dumps({**fields, **changes})


def text(content):
    """Return the bytes of an ``.npy`` file of a text."""
    return npy(np.array(content))


def members(layers, step):
    """Return the arrays of a valid snapshot of some layers."""
    rng = np.random.default_rng(step)
    found = {}
    for layer in layers:
        with contextlib.suppress(TypeError, ValueError, OverflowError, MemoryError, KeyError):
            kernel = tuple(layer["kernel_shape"])
            if np.prod([n or 1 for n in kernel], dtype=float) < 1e6:
                found[layer["kernel"]] = npy(rng.normal(size=kernel).astype(np.float32))
            if layer["bias"]:
                found[layer["bias"]] = npy(np.zeros(min(layer["shape"][0], 1000), np.float32))
    return {**found, "meta": text(meta(step))}


def write_snapshot(file, contents, compression=zipfile.ZIP_STORED):
    """Write arrays as a zip file, without code of this package."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)


def write_manifest(folder, layers, **changes):
    """Write a manifest of any content with a correct checksum."""
    manifest = {"format": 1, "created": "", "software": {"keras": "3"}, "layers": layers, **changes}
    checksum = zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
    (folder / "filters").mkdir(parents=True, exist_ok=True)
    file = folder / "filters" / "manifest.json"
    file.write_text(json.dumps({"checksum": checksum, **manifest}))
    return file


def write_run(folder, layers=(LAYER,), steps=(0, 1, 2), hostile=None, **changes):
    """Write a run of valid snapshots, in one of which some arrays are replaced."""
    layers = list(layers)
    manifest = write_manifest(folder, layers, **changes)
    for step in steps:
        contents = members(layers, step)
        if step == 1:
            contents |= hostile or {}
        write_snapshot(snapshot(folder, step), contents)
    return manifest


def snapshot(folder, step=1):
    """Return the file of a snapshot."""
    return folder / "filters" / "snapshots" / f"{step:012d}.npz"


# Manifests.


@variant(
    {"name": "c" * 100_000},
    {"path": "p" * 100_000},
    {"name": "../../escape"},
    {"kernel": "/etc/passwd"},
    {"path": "a\x1b[2Jb"},
    {"path": "\ud800"},
    {"class_name": "Conv\u202e2D"},
    {"class_name": 7},
    {"kernel_shape": [True, 3, 3, 4]},
    {"kernel_shape": [3, 3, 1, -4]},
    {"kernel_shape": [3.0, 3, 1, 4]},
    {"kernel_shape": [3, 3, 1, 1 << 63], "shape": [1 << 63, 3, 3, 1]},
    {"kernel_shape": [3, 3, 1, 10**400], "shape": [10**400, 3, 3, 1]},
    {"kernel_shape": [3, 3, 1, 10**9], "shape": [10**9, 3, 3, 1]},
    {"kernel_shape": "3314"},
    {"kernel_shape": []},
    {"shape": [9, 4, 1, 1]},
    {"shape": [4, 9, 1, 1]},
    {"shape": [4, 1, 3, 3]},
    {"shape": [36, 1, 1, 1]},
    {"shape": [4, 3, 3, 1, 1]},
    {"kernel_shape": [3, 4, 1, 5], "shape": [5, 4, 3, 1]},
    {"kernel_shape": [2, 3, 3, 1, 4], "axes": [4, 0, 1, 2, 3], "shape": [4, 2, 9, 1]},
    {"kernel_shape": [2, 3, 3, 1, 4], "axes": [4, 0, 1, 2, 3], "shape": [4, 6, 3, 1]},
    {"kernel_shape": [0, 3, 1, 10**9], "shape": [10**9, 0, 3, 1]},
    {"kernel_shape": [3, 3, 10**9, 0], "shape": [0, 3, 3, 10**9]},
    {"kernel_shape": [0, 0, 0, 0], "shape": [0, 0, 0, 0]},
    {"kernel_shape": [3, 3, 1, 0], "shape": [0, 3, 3, 1]},
    {"kernel_shape": [3, 3, 0, 4], "shape": [4, 3, 3, 0]},
    {"kernel_shape": [0, 3, 1, 4], "shape": [4, 0, 3, 1]},
    {"kernel_shape": [1] * 65, "axes": list(range(65)), "shape": [1, 1, 1, 1]},
    {"axes": [0, 0, 1, 2]},
    {"axes": [3, 0, 1]},
    {"axes": [3, 0, 1, 1 << 70]},
    {"dtype": "O"},
    {"dtype": "f4,f4"},
    {"dtype": "f" * 100_000},
    {"dtype": "longdouble"},
    {"strides": [1] * 100_000},
    {"strides": [[1]]},
    {"dilation": {"a": 1}},
    {"data_format": "\x07"},
    {"bias": "conv/kernel"},
    {"bias": "meta"},
    {"kernel": "meta"},
    {"bias": ""},
    {"unknown": [[[]]] * 1000},
)
def a_layer_with(folder, change):
    write_run(folder, [{**LAYER, **change}])


@variant(
    {"layers": []},
    {"layers": {}},
    {"layers": [{}]},
    {"layers": [LAYER, LAYER]},
    {"layers": [LAYER, {**LAYER, "name": "other"}]},
    {"software": {"keras": {"a": [1]}}},
    {"software": {"k\x1b[2J": "\x07"}},
    {"format": 0},
    {"format": True},
    {"format": 10**400},
    {"created": float("nan")},
    {"extra": "x" * (20 << 20)},
    {"extra": [[]] * 500_000},
)
def a_manifest_with(folder, change):
    write_run(folder, **change) if "layers" not in change else write_run(
        folder, change["layers"] if isinstance(change["layers"], list) else []
    )
    if isinstance(change.get("layers"), dict):
        write_manifest(folder, change["layers"])


@variant()
def thousands_of_layers(folder):
    layers = [
        {**LAYER, "name": f"c{n}", "kernel": f"c{n}/kernel", "bias": None} for n in range(3000)
    ]
    write_manifest(folder, layers)
    write_snapshot(snapshot(folder), {"c0/kernel": npy(np.zeros((3, 3, 1, 4), "f4"))})


@variant("[" * 200_000, '{"a":' * 200_000, "nul\0", "\ufeff{}", '{"checksum": 1e999}', "1" * 10_000)
def a_manifest_of(folder, content):
    write_run(folder).write_text(content)


# What is no file, and links.


@variant(
    "pipe", "folder", "link to itself", "link to nowhere", "/dev/zero", "/dev/tty", "pipe's link"
)
def in_place_of_a_file(folder, what):
    manifest = write_run(folder)
    for file in (snapshot(folder), manifest) if what == "pipe" else (snapshot(folder),):
        file.unlink()
        if what == "pipe":
            os.mkfifo(file)
        elif what == "folder":
            file.mkdir()
        elif what == "pipe's link":
            os.mkfifo(folder / "pipe")
            file.symlink_to(folder / "pipe")
        else:
            names = {"link to itself": file, "link to nowhere": folder / "nowhere"}
            file.symlink_to(names.get(what, what))


@variant("a file", "gone", "/", "itself")
def in_place_of_the_snapshots(folder, what):
    write_manifest(folder, [LAYER])
    if what == "a file":
        (folder / "filters" / "snapshots").write_bytes(b"")
    elif what != "gone":
        link = folder / "filters" / "snapshots"
        link.symlink_to(link if what == "itself" else what)


@variant()
def links_where_files_are_written(folder):
    write_run(folder)
    victim = folder.parent / "victim"
    for number in [*range(1, 100), os.getpid()]:
        for place, name in ((folder, "evolution.gif"), (folder / "filters", "manifest.json")):
            (place / f".{name}.{number}.tmp").symlink_to(victim)
    for name in ("evolution.gif", "filmstrip.png", "filters/.lock", "filters/.probe"):
        (folder / name).symlink_to(victim)
    (folder / "filters" / "events.out.tfevents.9999999999.999999.h.1").symlink_to(victim)


@variant()
def a_snapshot_that_is_a_link_out_of_the_folder(folder):
    write_run(folder)
    snapshot(folder).rename(folder.parent / "elsewhere.npz")
    snapshot(folder).symlink_to(folder.parent / "elsewhere.npz")


# Arrays.

HEAD = "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}\n"


@variant(
    "(True, 3, 3, 4)",
    "(9223372036854775808,)",
    "(0, 1180591620717411303424)",
    "(3, 3, 1, -4)",
    "'abc'",
    "(3, 3, 1, 4.0)",
    "(" * 500,
    "()",
    "(4, 3, 3, 1)",
    "(36,)",
)
def an_array_of_the_shape(folder, shape):
    head = raw_npy(HEAD.format("'<f4'", shape), bytes(144))
    write_run(folder, hostile={"conv/kernel": head})


@variant(
    "'|O'", "'<f4,<f4'", "[('a', '<f4')]", "('<f4', (1,))", "'<U1'", "'|V4'", "'<m8[s]'", "'<c8'",
    "'|S0'", "'\\x1b[2J'", "None", "{}", "'<f3'", "'<f16'",
)  # fmt: skip
def an_array_of_the_type(folder, dtype):
    head = raw_npy(HEAD.format(dtype, "(3, 3, 1, 4)"), bytes(576 if "16" in dtype else 144))
    write_run(folder, hostile={"conv/kernel": head})


@variant((1, 60_000), (2, (1 << 32) - 1), (3, 1 << 30), (9, 4))
def a_head_that_claims(folder, version_and_length):
    version, length = version_and_length
    npy_file = raw_npy(HEAD.format("'<f4'", "(3, 3, 1, 4)"), bytes(144), version, length)
    write_run(folder, hostile={"conv/kernel": npy_file})


@variant("pickle", "empty", "garbage", "missing", "bias without end", "bias of nothing")
def a_member_that_is(folder, what):
    hostile = {
        "pickle": {"conv/kernel": npy(np.array([print], object))},
        "empty": {"conv/kernel": b""},
        "garbage": {"conv/kernel": b"\x93NUMPY" * 20},
        "missing": {},
        "bias without end": {"conv/bias": npy(np.zeros(100_000, "f4"))},
        "bias of nothing": {"conv/bias": npy(np.zeros((0, 1 << 40), "f4"))},
    }[what]
    write_run(folder, hostile=hostile)
    if what == "missing":
        write_snapshot(snapshot(folder), {"meta": text(meta(1))})


@variant(">f4", ">i8", "f2", "f8", "i1", "u8", "?", "fortran", "nan", "huge")
def honest_values_of_a_rare_kind(folder, what):
    values = np.random.default_rng(0).normal(size=(3, 3, 1, 4)) * 100
    if what == "fortran":
        array = np.asfortranarray(values.astype("f4"))
    elif what in {"nan", "huge"}:
        array = np.full((3, 3, 1, 4), {"nan": np.nan, "huge": 1e308}[what])
    else:
        array = np.abs(values).astype(what)
    write_run(folder, hostile={"conv/kernel": npy(array)})


# Moments.


@variant(
    {"step": 2},
    {"step": 10**30},
    {"epoch": 10**30},
    {"epoch": 10**15},
    {"epoch": -1},
    {"epoch": None},
    {"batch": 10**18},
    {"batch": "3"},
    {"wall_time": float("nan")},
    {"wall_time": 1e300},
    {"wall_time": "now"},
    {"metrics": []},
    {"metrics": None},
    {"metrics": {"loss": [1]}},
    {"metrics": {"loss": "high"}},
    {"metrics": {"loss": 10**400}},
    {"metrics": {"loss": "1e999"}},
    {"metrics": {"a\x1b[2J\x07": 1.0, "\ud800": 2.0, "\u202e": 3.0, "\n": 4.0, "": 5.0}},
    {"metrics": {"m" * 500_000: 1.0}},
    {"metrics": {"卷" * 150_000: 1.0}},
    {"metrics": {str(n): n for n in range(40_000)}},
    {"unknown": 1, "another": [2]},
)
def a_moment_with(folder, change):
    write_run(folder, hostile={"meta": text(meta(1, **change))})


@variant("", "null", "[]", "[" * 200_000, "{", '"text"', '{"step": 1}')
def a_moment_of(folder, content):
    write_run(folder, hostile={"meta": text(content)})


@variant(0x110000, 0xFFFFFFFF, 0xD800, 0)
def a_moment_of_the_character(folder, code):
    codes = np.array([*map(ord, meta(1)), code], "<u4")
    head = raw_npy(HEAD.format(f"'<U{len(codes)}'", "()"), codes.tobytes())
    write_run(folder, hostile={"meta": head})


@variant("bytes", "other byte order", "number", "several")
def a_moment_as(folder, what):
    arrays = {
        "bytes": np.array(meta(1).encode()),
        "other byte order": np.array(meta(1)).astype(np.dtype("U").newbyteorder(">")),
        "number": np.array(1.0),
        "several": np.array([meta(1)] * 2),
    }
    write_run(folder, hostile={"meta": npy(arrays[what])})


# Zip files.


@variant(
    "cut off", "garbage behind", "garbage before", "comment", "empty", "twice", "packed", "locked"
)
def a_zip_file(folder, what):
    write_run(folder)
    file = snapshot(folder)
    data = file.read_bytes()
    if what == "twice":
        with zipfile.ZipFile(file, "a") as archive, contextlib.suppress(UserWarning):
            archive.writestr("conv/kernel.npy", npy(np.ones((3, 3, 1, 4), "f4")))
    elif what == "packed":
        contents = {**members([LAYER], 1), "conv/kernel": npy(np.zeros((3, 3, 1, 4), "f4"))}
        write_snapshot(file, contents, zipfile.ZIP_DEFLATED)
    elif what == "comment":
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = b"\x1b[2J" * 1000
    elif what == "locked":
        at = data.index(b"PK\1\2")
        file.write_bytes(data[: at + 8] + b"\1" + data[at + 9 :])
    else:
        changed = {
            "cut off": data[:-30],
            "garbage behind": data + b"x" * 100,
            "garbage before": b"x" * 100 + data,
            "empty": b"",
        }
        file.write_bytes(changed[what])


def changed_record(folder, **fields):
    """Change fields of the first record in a snapshot's index: offsets from its start."""
    file = snapshot(folder)
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\1\2")
    for field, value in fields.items():
        place, width = {"packed": (20, 4), "size": (24, 4), "start": (42, 4), "extra": (30, 2)}[
            field
        ]
        data[at + place : at + place + width] = value.to_bytes(width, "little")
    file.write_bytes(data)


@variant(
    {"size": 0xFFFFFFFE, "packed": 0xFFFFFFFE},
    {"size": 0xFFFFFFFF},
    {"start": 0xFFFFFFFE},
    {"start": 300},
    {"extra": 0xFFFF},
)
def an_index_that_claims(folder, fields):
    write_run(folder)
    changed_record(folder, **fields)


@variant(0, 4, 8, 12, 0xFFF0)
def an_index_that_lacks_a_size(folder, size):
    write_run(folder)
    with zipfile.ZipFile(snapshot(folder), "w") as archive:
        for name, content in members([LAYER], 1).items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.extra = (
                (1).to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(min(size, 16))
            )
            archive.writestr(info, content)
    changed_record(folder, size=0xFFFFFFFF, packed=0xFFFFFFFF, start=0xFFFFFFFF)


@variant()
def an_index_without_end(folder):
    write_run(folder)
    file = snapshot(folder)
    with file.open("r+b") as opened:
        opened.seek(40 << 30)
        opened.write(b"PK\5\6" + bytes(4) + b"\3\0\3\0" + ((40 << 30) - 1000).to_bytes(8, "little"))
        opened.write(b"\0\0")


@variant()
def two_entries_that_share_their_bytes(folder):
    layers = [LAYER, {**LAYER, "name": "other", "kernel": "othe/kernel", "bias": None}]
    write_run(folder, layers)
    file = snapshot(folder)
    data = bytearray(file.read_bytes())
    first, second = data.index(b"PK\1\2"), data.index(b"othe/kernel", data.index(b"PK\1\2")) - 46
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    data[second + 16 : second + 20] = data[first + 16 : first + 20]
    file.write_bytes(data)


@variant()
def a_sparse_file_larger_than_memory(folder):
    count = 1 << 38
    layer = {**LAYER, "kernel_shape": [1, 1, 1, count], "shape": [count, 1, 1, 1], "bias": None}
    write_manifest(folder, [layer])
    head = npy(np.zeros((1, 1, 1, 0), "f4")).replace(b"0)", f"{count})".encode())[:118]
    size = 10 + 118 + 4 * count
    head = raw_npy(head[10:].ljust(117) + b"\n")
    file = snapshot(folder, 0)
    write_snapshot(file, {"conv/kernel": head, "meta": text(meta(0))})
    # As a zip file of 64-bit sizes, with holes for the values.
    name = b"conv/kernel.npy"
    extra = (1).to_bytes(2, "little") + (16).to_bytes(2, "little") + size.to_bytes(8, "little") * 2
    wide = b"\xff" * 8
    common = b"-\0\0\0\0\0\0\0!\0" + bytes(4) + wide + len(name).to_bytes(2, "little")
    with file.open("wb") as opened:
        opened.write(b"PK\3\4" + common + len(extra).to_bytes(2, "little") + name + extra + head)
        opened.seek(4 * count, 1)
        start = opened.tell()
        moment = text(meta(0))
        common_2 = b"-\0\0\0\0\0\0\0!\0" + zlib.crc32(moment).to_bytes(4, "little")
        common_2 += len(moment).to_bytes(4, "little") * 2 + (8).to_bytes(2, "little")
        opened.write(b"PK\3\4" + common_2 + b"\0\0" + b"meta.npy" + moment)
        index = opened.tell()
        long = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + start.to_bytes(8, "little")
        opened.write(b"PK\1\2-\0" + common + len(extra).to_bytes(2, "little") + bytes(14) + name)
        opened.write(extra)
        opened.write(b"PK\1\2-\0" + common_2 + len(long).to_bytes(2, "little") + bytes(10))
        opened.write(b"\xff" * 4 + b"meta.npy" + long)
        length, at = opened.tell() - index, opened.tell()
        opened.write(b"PK\6\6" + (44).to_bytes(8, "little") + b"-\0-\0" + bytes(8))
        for number in (2, 2, length, index):
            opened.write(number.to_bytes(8, "little"))
        opened.write(b"PK\6\7" + bytes(4) + at.to_bytes(8, "little") + b"\1\0\0\0")
        opened.write(b"PK\5\6" + bytes(4) + b"\2\0\2\0" + length.to_bytes(4, "little"))
        opened.write(b"\xff" * 4 + b"\0\0")


# Probes and responses.

PROBED = {
    "name": "conv",
    "read": "its output",
    "rectified": True,
    "shape": [10, 10],
    "map_shape": [5, 5],
    "block": 2,
    "input": "x",
    "field": {"size": [3, 3], "strides": [1, 1], "offsets": [0, 0]},
}
DESCRIPTION = {"inputs": ["x"], "labels": True, "maps": 2, "channels_first": False}


def write_probed_run(folder, layers=(PROBED,), arrays=None, responses=None, **changes):
    """Write a run of valid probes and responses, some of which are replaced."""
    write_run(folder, steps=())
    description = {**DESCRIPTION, "layers": list(layers), **changes}
    probes = {
        "inputs/0": npy(np.zeros((3, 12, 12, 1), "f4")),
        "labels": npy(np.arange(3)),
        "meta": text(json.dumps(description)),
    }
    write_snapshot(folder / "filters" / "probes.npz", {**probes, **(arrays or {})})
    for step in (0, 1):
        found = {
            "conv/response_maps": npy(np.zeros((2, 4, 5, 5), "u1")),
            "conv/response_statistics": npy(np.zeros((3, 3, 4), "f4")),
            "conv/response_places": npy(np.ones((4, 9, 4), "f4")),
        }
        contents = {**members([LAYER], step), **found, "meta": text(meta(step, probed=True))}
        write_snapshot(snapshot(folder, step), {**contents, **(responses or {})})


@variant()
def honest_probes(folder):
    write_probed_run(folder)


@variant(
    {"name": "conv\x1b[2J"},
    {"name": "other"},
    {"shape": [1 << 20, 1 << 20], "map_shape": [1 << 20, 1 << 20], "block": 1},
    {"shape": [10**30, 1], "map_shape": [10**30, 1], "block": 1},
    {"field": {"size": [1 << 20, 1 << 20], "strides": [1, 1], "offsets": [0, 0]}},
    {"field": {"size": [3, 3], "strides": [1 << 20, 0], "offsets": [-(1 << 20), 1 << 20]}},
    {"field": {"size": [10**30, 3], "strides": [1, 1], "offsets": [0, 0]}},
    {"read": "r\x07" * 2000},
    {"input": "nothing"},
)
def a_probed_layer_with(folder, change):
    write_probed_run(folder, [{**PROBED, **change}])


@variant(
    {"maps": 10**30},
    {"maps": float("nan")},
    {"inputs": [str(n) for n in range(100_000)]},
    {"inputs": [[]]},
    {"labels": False},
    {"layers": [PROBED] * 10_000},
    {"layers": [[]] * 100_000},
    {"unknown": [[[]]] * 1000},
)
def probes_with(folder, change):
    write_probed_run(folder, **change)


@variant("sparse", "no axes", "no values", "objects", "text", "dates", "complex", "huge head")
def probes_of(folder, what):
    head = HEAD.format("'<f4'", "(3, 4398046511104, 12, 1)")
    images = {
        "sparse": raw_npy(head, bytes(64)),
        "no axes": npy(np.float32(1)),
        "no values": npy(np.zeros((3, 1 << 50, 0), "f4")),
        "objects": npy(np.array([print] * 3, object)),
        "text": npy(np.array(["a"] * 3)),
        "dates": npy(np.zeros(3, "M8[s]")),
        "complex": npy(np.zeros((3, 12, 12, 1), "c8")),
        "huge head": raw_npy(b"x", b"", 2, (1 << 32) - 1),
    }
    write_probed_run(folder, arrays={"inputs/0": images[what]})


@variant("nan", "inf", "far", "negative", "between", "float16", "too many", "too few", "pickled")
def places_of(folder, what):
    places = np.ones((4, 9, 4), "f4")
    far = {"nan": np.nan, "inf": np.inf, "far": 1e9, "negative": -7, "between": 0.5}
    places[1, 2, 1] = far.get(what, 1)
    shape = {"too many": (4, 9, 4000), "too few": (4, 0, 4)}.get(what, (4, 9, 4))
    kind = {"float16": "f2", "pickled": object}.get(what, "f4")
    hostile = npy(np.resize(places, shape).astype(kind))
    write_probed_run(folder, responses={"conv/response_places": hostile})


# How a run is read.


def arrays(run):
    """Read each array of the first layers and each moment, also behind damaged ones."""
    for name in list(run.layers)[:3]:
        for step in run.steps:
            for read in (run.kernels, run.bias):
                with contextlib.suppress(FiltertrackError):
                    read(name, step)
            for read in (run.moment, run.snapshot):
                with contextlib.suppress(FiltertrackError):
                    read(step)
    list(run.history(next(iter(run.layers))))


def answers_to_probes(run):
    """Read the probes and all responses, and cut the strongest patches."""
    for name in run.probes.layers if run.probes else ():
        for step in run.steps:
            run.probe_responses(name, step).values()
            run.strongest_patches(name, step)


def labelled(run):
    """Read the first layer as an xarray array."""
    to_xarray(run, next(iter(run.layers))).compute()


def page(run):
    """Request what the page in TensorBoard requests."""
    from filtertrack.tensorboard_plugin.logdir import LogDirectory
    from filtertrack.web import page_api as answers
    from filtertrack.web import payload as parts

    served = LogDirectory.of_flags(str(run.path), None).open(".")
    answers.describe_run(served)
    answers.describe_steps(served, "")
    info = next(iter(served.layers.values()))
    few = tuple(range(min(info.filters, parts.filters_per_page(info))))
    for delta in (False, True):
        parts.cells_at(parts.Part(served, info, few, delta=delta), 0, 99)
    answers.order_of_filters(served, info, "similarity")
    if info.filters:
        answers.trajectory_of_filter(served, info, 0)
        answers.label_of_filter(served, info, 0, served.steps[0])


def events(run):
    """Write events of it, as a continued training does."""
    from filtertrack.tensorboard_plugin.summaries import Summaries

    summaries = Summaries(run)
    for step in run.steps:
        with contextlib.suppress(FiltertrackError):
            summaries.add(run.snapshot(step))
    summaries.add_evolution(run)


def continue_training(run):
    """Continue the run as the tracker does."""
    from filtertrack.capture.run_writer import RunWriter

    writer = RunWriter(run.path, None)
    try:
        writer.open(list(run.layers.values()), {})
        writer.begin_from(Moment(0, 0), None)
    finally:
        writer.close()


def command(name):
    """Return a function that calls a command of the command line."""

    def run_command(run):
        from filtertrack.cli import main

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main([name, str(run.path)])

    return run_command


QUICK = {
    "print": repr,
    "verify": lambda run: run.verify(),
    "arrays": arrays,
    "probes": answers_to_probes,
    "to_xarray": labelled,
    "verify by command": command("verify"),
}
SLOW = {
    "animate": lambda run: animate(run, run.path / "evolution.gif", size=100),
    "filmstrip": lambda run: filmstrip(run, run.path / "filmstrip.png", width="8cm"),
    "measure": measure,
    "page": page,
    "info": command("info"),
    "events": events,
    "going on": continue_training,
}


def outcome(act, folder):
    """Return the error of reading a run in one way, or None."""
    try:
        act(Run(folder))
    except FiltertrackError as error:
        return ("" if str(error).isprintable() else "unprintable ") + f"FiltertrackError: {error}"
    except Exception:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()
    return None


def make_all(folder):
    """Make every run, in a folder named by its number."""
    (folder / "victim").write_bytes(b"mine")
    for number, make in enumerate(VARIANTS.values()):
        (folder / str(number)).mkdir()
        make(folder / str(number))


def read_all(folder, acts):
    """Read every run in the given ways."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number, name in enumerate(VARIANTS):
        began = time.monotonic()
        found = {label: outcome(act, folder / str(number)) for label, act in acts.items()}
        seconds = time.monotonic() - began
        # Not ru_maxrss: a process inherits that of the one that starts it.
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
        line = {"name": name, "found": found, "seconds": seconds, "peak": peak}
        print(json.dumps(line), flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    place = Path(sys.argv[2])
    if sys.argv[1] == "make":
        make_all(place)
    else:
        read_all(place, QUICK if sys.argv[1] == "read" else {**QUICK, **SLOW})
