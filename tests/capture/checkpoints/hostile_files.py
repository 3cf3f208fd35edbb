"""A program: makes hostile or damaged checkpoint files, and opens and reads each.

``python hostile_files.py make FOLDER`` writes one file for each of ``VARIANTS``;
``python hostile_files.py read FOLDER`` opens and reads each in bounded memory, and prints a line of
JSON for each: what came out and how long it took. ``python hostile_files.py fuzz FILE SEED COUNT``
reads damaged copies of a file, and prints a line for each seed before it is read, so that a crash
can be repeated.
"""

import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np

if __name__ == "__main__":  # not where pytest looks for doctests
    # It takes more address space than is allowed here.
    sys.modules.setdefault("tensorflow", None)
from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.file_formats import open_checkpoint

MEMORY = 2 << 30
KERNEL = np.arange(3 * 3 * 2 * 4, dtype=np.float32).reshape(3, 3, 2, 4)
VARIANTS = {}


def report(**row):
    """Write a line of JSON."""
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()


def variant(make):
    """Register a function that writes a hostile file into a folder and returns its path."""
    VARIANTS[make.__name__] = make
    return make


def config(**options):
    """Return the description of a model with one convolution."""
    own = {"name": "conv", "filters": 4, "kernel_size": [3, 3], "trainable": True, **options}
    conv = {"module": "keras.layers", "class_name": "Conv2D", "config": own}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [conv]},
    }


def h5(path, change=None, **options):
    """Write a weights file of Keras 3, changed by a function of the open file."""
    with h5py.File(path, "w", **options) as file:
        own = file.create_group("layers/conv2d/vars")
        own.attrs["name"] = "conv"
        own["1"] = np.zeros(4, np.float32)
        if change is None:
            own["0"] = KERNEL
        else:
            change(own)
    return path


def archive(path, text=None, weights=None, method=zipfile.ZIP_STORED, extra=()):
    """Write a ``.keras`` file of any content."""
    if weights is None:
        weights = h5(path.with_name("w.h5")).read_bytes()
        path.with_name("w.h5").unlink()
    with zipfile.ZipFile(path, "w", method) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("config.json", json.dumps(config()) if text is None else text)
        file.writestr("model.weights.h5", weights)
        for name, content in extra:
            file.writestr(name, content)
    return path


def legacy(path, change=None, names=("conv/kernel:0", "conv/bias:0"), text=None):
    """Write a whole model in the format of Keras 2."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config()) if text is None else text
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"conv"]
        group = weights.create_group("conv")
        group.attrs["weight_names"] = [name.encode() for name in names]
        group["conv/kernel:0"] = KERNEL
        group["conv/bias:0"] = np.zeros(4, np.float32)
        if change:
            change(file)
    return path


# Arrays.


@variant
def a_soft_link(folder):
    return h5(folder / "a.weights.h5", lambda own: own.update({"0": h5py.SoftLink("/secret")}))


@variant
def a_link_to_another_file(folder):
    h5(folder / "other.h5")
    link = h5py.ExternalLink("other.h5", "/layers/conv2d/vars/0")
    return h5(folder / "a.weights.h5", lambda own: own.update({"0": link}))


@variant
def a_linked_group(folder):
    h5(folder / "other.h5")

    def change(own):
        del own.parent["vars"]
        own.file["layers/conv2d/vars"] = h5py.ExternalLink("other.h5", "/layers/conv2d/vars")

    return h5(folder / "a.weights.h5", change)


@variant
def values_in_another_file(folder):
    (folder / "secret").write_bytes(KERNEL.tobytes())

    def change(own):
        external = [(str(folder / "secret"), 0, KERNEL.nbytes)]
        own.create_dataset("0", KERNEL.shape, "f4", external=external)

    return h5(folder / "a.weights.h5", change)


@variant
def a_virtual_array(folder):
    def change(own):
        layout = h5py.VirtualLayout(KERNEL.shape, "f4")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", KERNEL.shape)
        own.create_virtual_dataset("0", layout)

    return h5(folder / "a.weights.h5", change)


@variant
def a_shape_without_values(folder):
    return h5(
        folder / "a.weights.h5", lambda own: own.create_dataset("0", (99, 99, 999, 999), "f4")
    )


@variant
def a_compressed_shape_without_values(folder):
    def change(own):
        own.create_dataset("0", (99, 99, 999, 999), "f4", chunks=(9, 9, 9, 9), compression="gzip")

    return h5(folder / "a.weights.h5", change)


@variant
def a_compression_bomb(folder):
    def change(own):
        zeros = np.zeros((512, 512, 32, 32), np.float32)
        own.create_dataset(
            "0", zeros.shape, "f4", data=zeros, chunks=(512, 512, 32, 1), compression="gzip"
        )

    return h5(folder / "a.weights.h5", change)


@variant
def one_array_under_many_names(folder):
    def change(own):
        own["0"] = np.zeros((8, 8, 256, 256), np.float32)
        for number in range(1, 1000):
            other = own.file.create_group(f"layers/conv2d_{number}/vars")
            other["0"] = own["0"]

    return h5(folder / "a.weights.h5", change)


@variant
def a_huge_chunk(folder):
    def change(own):
        own.create_dataset(
            "0", (3, 3, 2, 4), "f4", maxshape=(None,) * 4, chunks=(512, 512, 64, 32), compression=9
        )

    return h5(folder / "a.weights.h5", change)


@variant
def objects(folder):
    dtype = h5py.vlen_dtype(np.float32)
    return h5(folder / "a.weights.h5", lambda own: own.create_dataset("0", (3, 3, 2, 4), dtype))


@variant
def texts(folder):
    dtype = h5py.string_dtype()
    return h5(folder / "a.weights.h5", lambda own: own.create_dataset("0", (3, 3, 2, 4), dtype))


@variant
def references(folder):
    dtype = h5py.ref_dtype
    return h5(folder / "a.weights.h5", lambda own: own.create_dataset("0", (3, 3, 2, 4), dtype))


@variant
def compounds(folder):
    dtype = np.dtype([("a", "f4"), ("b", "f4")])
    return h5(folder / "a.weights.h5", lambda own: own.create_dataset("0", (3, 3, 2, 4), dtype))


@variant
def complex_numbers(folder):
    return h5(
        folder / "a.weights.h5", lambda own: own.create_dataset("0", data=KERNEL.astype("c8"))
    )


@variant
def an_array_of_no_shape(folder):
    return h5(folder / "a.weights.h5", lambda own: own.update({"0": h5py.Empty("f4")}))


@variant
def an_array_in_place_of_a_group(folder):
    def change(own):
        del own.parent["vars"]
        own.file["layers/conv2d/vars"] = KERNEL

    return h5(folder / "a.weights.h5", change)


# Groups and attributes.


@variant
def a_cycle_of_groups(folder):
    def change(own):
        own["0"] = KERNEL
        for name in ("a", "b", "c"):
            own.file[f"layers/{name}"] = own.file["/"]

    return h5(folder / "a.weights.h5", change)


@variant
def a_cycle_through_lists(folder):
    def change(own):
        own["0"] = KERNEL
        group = own.file.create_group("blocks")
        for name in ("a", "b", "c"):
            group[name] = group

    return h5(folder / "a.weights.h5", change)


@variant
def thousands_of_levels(folder):
    def change(own):
        own["0"] = KERNEL
        group = own.file["layers"]
        for _ in range(3000):
            group = group.create_group("sub/layers")

    return h5(folder / "a.weights.h5", change)


@variant
def thousands_of_groups(folder):
    def change(own):
        own["0"] = KERNEL
        for number in range(60_000):
            own.file.create_group(f"layers/x_{number}")

    return h5(folder / "a.weights.h5", change, libver="latest")


@variant
def a_huge_name(folder):
    def change(own):
        own["0"] = KERNEL
        own.attrs["name"] = "x" * (40 << 20)

    return h5(folder / "a.weights.h5", change, libver="latest")


@variant
def an_odd_name(folder):
    def change(own):
        own["0"] = KERNEL
        own.attrs["name"] = "../../\x1b[2J\u202e"

    return h5(folder / "a.weights.h5", change)


@variant
def a_list_of_huge_names(folder):
    def change(file):
        group = file["model_weights/conv"]
        del group.attrs["weight_names"]
        group.attrs["weight_names"] = np.array(["x" * (1 << 20)] * 64, object)

    return legacy(folder / "a.h5", change)


@variant
def a_weight_name_that_leads_out(folder):
    return legacy(folder / "a.h5", names=("../../../conv/kernel:0", "/model_weights/conv/kernel:0"))


@variant
def a_weight_name_that_is_a_group(folder):
    return legacy(folder / "a.h5", names=("conv/kernel:0", "conv"))


@variant
def weight_names_of_numbers(folder):
    def change(file):
        group = file["model_weights/conv"]
        del group.attrs["weight_names"]
        group.attrs["weight_names"] = np.arange(4)

    return legacy(folder / "a.h5", change)


# Descriptions.

TEXTS = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[1, 2]",
    "deep lists": "[" * 200_000,
    "deep models": '{"class_name":"A","config":{"layers":[' * 5000 + "]}}" * 5000,
    "many lists": '{"class_name":"A","config":{"layers":[' + "[]," * 4_000_000 + "[]]}}",
    "a large number": '{"class_name":"A","config":' + "9" * 100_000 + "}",
    "names of other types": json.dumps(config(name=[1], strides={"a": 1}, activation=7)),
    "numbers out of range": json.dumps(
        config(groups=-1, strides=[10**400, -1], padding="x" * 9999)
    ),
    "twenty megabytes": json.dumps(config(note="x" * (20 << 20))),
    "surrogates": '{"class_name":"\\ud800","config":{"name":"\\ud800","layers":[]}}',
}
for _name, _text in TEXTS.items():
    VARIANTS[f"config: {_name}"] = lambda folder, text=_text: archive(folder / "a.keras", text)
    VARIANTS[f"legacy config: {_name}"] = lambda folder, text=_text: legacy(
        folder / "a.h5", text=text
    )


# Archives.


@variant
def two_entries_of_one_name(folder):
    return archive(folder / "a.keras", extra=[("config.json", "{}")])


@variant
def an_entry_that_leads_out(folder):
    return archive(folder / "a.keras", extra=[("../../etc/x", "x")])


@variant
def a_compressed_archive(folder):
    return archive(folder / "a.keras", method=zipfile.ZIP_DEFLATED)


@variant
def a_compressed_config_bomb(folder):
    return archive(folder / "a.keras", " " * (600 << 20), method=zipfile.ZIP_DEFLATED)


@variant
def an_archive_without_weights(folder):
    path = folder / "a.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config()))
    return path


@variant
def weights_that_are_no_hdf5(folder):
    return archive(folder / "a.keras", weights=b"x" * 1000)


@variant
def no_weights_at_all(folder):
    return archive(folder / "a.keras", weights=b"")


def patched(path, where, value):
    """Change the record of the weights in an archive's index."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + where : at + where + len(value)] = value
    path.write_bytes(content)
    return path


@variant
def an_encrypted_entry(folder):
    return patched(archive(folder / "a.keras"), 8, b"\x01\x00")


@variant
def an_entry_larger_than_the_file(folder):
    return patched(archive(folder / "a.keras"), 20, struct.pack("<LL", 1 << 31, 1 << 31))


@variant
def an_entry_of_two_sizes(folder):
    return patched(archive(folder / "a.keras"), 24, struct.pack("<L", 10))


@variant
def an_entry_of_64_bits_without_sizes(folder):
    return patched(archive(folder / "a.keras"), 20, b"\xff" * 8)


@variant
def an_entry_elsewhere(folder):
    return patched(archive(folder / "a.keras"), 42, struct.pack("<L", 5))


# Lists of shards.

LISTS = {
    "above": {"a": ["../a.h5"]},
    "absolute": {"a": ["/etc/passwd"]},
    "a folder": {"a": ["."]},
    "a folder above": {"a": [".."]},
    "a drive": {"a": ["C:x.h5"]},
    "backslashes": {"a": ["..\\x.h5"]},
    "missing": {"a": ["missing.h5"]},
    "itself": {"a": ["a.weights.json"]},
    "numbers": {"a": [1]},
    "nothing": {},
    "a list": [],
    "many": {str(n): [f"{n}.h5"] for n in range(9999)},
    "a nul": {"a": ["x\0y"]},
}
for _name, _map in LISTS.items():

    def _write(folder, names=_map):
        path = folder / "a.weights.json"
        path.write_text(json.dumps({"metadata": {}, "weight_map": names}))
        return path

    VARIANTS[f"shards: {_name}"] = _write


@variant
def a_list_of_shards_that_is_deep(folder):
    (folder / "a.weights.json").write_text('{"weight_map":' + "[" * 200_000)
    return folder / "a.weights.json"


@variant
def a_pipe(folder):
    os.mkfifo(folder / "a.weights.h5")
    return folder / "a.weights.h5"


@variant
def a_folder(folder):
    (folder / "a.keras").mkdir()
    return folder / "a.keras"


# Reading.


def outcome(path):
    """Open and read a file; return what came out in one word and the message."""
    try:
        with open_checkpoint(path) as file:
            arrays = file.read()
    except FiltertrackError as error:
        return "refused", str(error)
    except OSError as error:
        return "OSError", str(error)
    except BaseException as error:  # noqa: BLE001 - reported
        return "FAULT", f"{type(error).__name__}: {error}"
    right = all(
        np.array_equal(array, KERNEL) or not array.any()
        for array in arrays.values()
        if array.shape == KERNEL.shape
    )
    return "read" if right else "wrong", " ".join(arrays)[:500]


def main():
    """Run one of the commands above."""
    command, where = sys.argv[1], Path(sys.argv[2])
    if command == "make":
        for number, make in enumerate(VARIANTS.values()):
            folder = where / f"{number:03d}"
            folder.mkdir(parents=True)
            (folder / "path").write_text(str(make(folder)))
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if command == "read":
        for number, name in enumerate(VARIANTS):
            path = Path((where / f"{number:03d}" / "path").read_text())
            began = time.perf_counter()
            what, message = outcome(path)
            took = time.perf_counter() - began
            report(name=name, what=what, took=took, message=message)
        return
    fuzz(where, int(sys.argv[3]), int(sys.argv[4]))


def fuzz(path, first, count):
    """Read damaged copies of a file."""
    content = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / path.name
        for seed in range(first, first + count):
            report(seed=seed)
            damaged.write_bytes(damage(content, random.Random(seed)))
            began = time.perf_counter()
            what, message = outcome(damaged)
            took = time.perf_counter() - began
            if what == "FAULT" or took > 5:
                report(seed=seed, what=what, took=took, message=message)


def damage(content, rng):
    """Return a file's content cut off, or with some bytes changed, mostly among its structure."""
    data = bytearray(content)
    if rng.random() < 0.1:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(data))
        data[at] = rng.choice((data[at] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255))
    return bytes(data)


if __name__ == "__main__":
    main()
