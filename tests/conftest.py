"""Shared fixtures: small runs, a tiny model, golden pictures, decoders, TensorBoard, a browser."""

import asyncio
import dataclasses
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.parse
import urllib.request
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import filtertrack
from filtertrack import LayerInfo, Moment, Run, Snapshot
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.response import ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.probe_format import write_probes

# A program started in the background of a shell ignores Ctrl-C, and so would its child processes.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Programs that tests start.
collect_ignore = ["capture/distributed_training.py", "storage/hostile_runs.py"]

GOLDEN = Path(__file__).parent / "golden"

# No deadline: a shared machine may be slow at any time. The slow tests are those with @given again,
# with the thorough profile.
settings.register_profile("default", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("default")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One process more than cores, at most 4: some wait for a browser, a server or a disk."""
    return min(4, (os.cpu_count() or 1) + 1)


def pytest_collection_finish():
    """Keep the modules that tests imported out of garbage collections: a tenth of the time."""
    gc.freeze()


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files again: look at them"
    )


@pytest.fixture
def scripts(monkeypatch):
    """Make the modules of ``scripts/`` importable; return that folder."""
    folder = Path(__file__).parent.parent / "scripts"
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def golden(request):
    """Compare a Pillow image exactly with the golden picture of a name; a missing one fails."""

    def compare(name, image):
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            image.save(path)
        assert path.exists(), f"no golden picture {name}: --update-golden makes it, then look at it"
        with Image.open(path) as expected:
            assert expected.mode == image.mode
            np.testing.assert_array_equal(
                np.asarray(image.convert("RGB")), np.asarray(expected.convert("RGB"))
            )

    return compare


def _conv_info(name="conv1", kernel_shape=(3, 3, 1, 4), *, bias=True, **changes):
    """Describe a Conv2D as ``TrackedLayers`` does."""
    *space, channels, filters = kernel_shape
    fields = {
        "name": name,
        "path": name,
        "class_name": "Conv2D",
        "kernel": f"{name}/kernel",
        "bias": f"{name}/bias" if bias else None,
        "kernel_shape": kernel_shape,
        "axes": (3, 0, 1, 2),
        "shape": (filters, *space[:2], channels),
        "dtype": "float32",
        "strides": (1, 1),
        "dilation": (1, 1),
    }
    return LayerInfo(**{**fields, **changes})


@pytest.fixture
def conv_info():
    return _conv_info


@pytest.fixture
def make_run(tmp_path, rng):
    """Write a run without training, with random weights that change at each step."""

    def make(*infos, steps=(0, 1, 2), folder="run", dtype=np.float32):
        infos = infos or (
            _conv_info(),
            _conv_info("conv2", (3, 3, 4, 6)),
        )
        run = Run.create(tmp_path / folder, infos, {"filtertrack": "test"})
        weights = {}
        for step in steps:
            for info in infos:
                shapes = {info.kernel: info.kernel_shape, info.bias: (info.filters,)}
                for member, shape in shapes.items():
                    if member is not None:
                        change = rng.normal(size=shape)
                        weights[member] = (weights.get(member, 0) + change).astype(dtype)
            metrics = {} if step == 0 else {"loss": 1 / step, "accuracy": 1 - 1 / (step + 1)}
            moment = Moment(step, step, 10 * step, metrics, wall_time=1.7e9 + step)
            run.append(Snapshot(moment, {k: v.copy() for k, v in weights.items()}))
        return run

    return make


@pytest.fixture
def make_probed_run(make_run, rng):
    """Write a run with probes, without training: random feature maps, at each step others.

    Five probes of 12x12 with labels, of which three have maps of 5x5. The maps of conv1 were shrunk
    from 10x10, are never negative, and filter 1 answers to nothing at the last step; those of
    conv2 are signed.
    """

    def make(*infos, **options):
        run = make_run(*infos, **options)
        layers = [
            ProbedLayer("conv1", "the output of relu1, after conv1", True, (10, 10), (5, 5), 2,
                        "images", ReceptiveField((3, 3), (1, 1), (0, 0))),
            ProbedLayer("conv2", "the layer's output, without an activation", False, (5, 5), (5, 5),
                        1, "images"),
        ]  # fmt: skip
        images = rng.uniform(size=(5, 12, 12, 1)).astype(np.float32)
        probes = StoredProbes(
            {"images": images}, {each.name: each for each in layers}, 3, np.array([0, 1, 0, 1, 2])
        )
        write_probes(run.folder, probes)
        for step in run.steps:
            responses = {}
            for layer in layers:
                outputs = rng.normal(size=(5, *layer.shape, run.layer(layer.name).filters))
                if layer.rectified:
                    outputs = np.maximum(outputs, 0)
                    if step == run.steps[-1]:
                        outputs[..., 1] = 0
                reduction = ResponseReduction(layer, probes.maps)
                reduction.add(outputs)
                responses[layer.name] = reduction.result()
            run.append(dataclasses.replace(run.snapshot(step), responses=responses))
        return run

    return make


@pytest.fixture
def probe_run(rng):
    """Add probes and random responses of its first layer to a run.

    The maps are never negative.
    """

    def probe(run, *, count=5, maps=3, side=12, map_side=6, read="relu1", input_name="images"):
        info = next(iter(run.layers.values()))
        field, shape = ReceptiveField((3, 3), (2, 2), (0, 0)), (map_side, map_side)
        layer = ProbedLayer(info.name, read, True, shape, shape, 1, input_name, field)
        images = rng.uniform(size=(count, side, side, 1)).astype(np.float32)
        write_probes(run.folder, StoredProbes({input_name: images}, {info.name: layer}, maps))
        for step in run.steps:
            reduction = ResponseReduction(layer, max(1, maps))
            reduction.add(np.maximum(0, rng.normal(size=(count, *shape, info.filters))))
            response = reduction.result()
            responses = {info.name: dataclasses.replace(response, maps=response.maps[:maps])}
            run.append(dataclasses.replace(run.snapshot(step), responses=responses))
        return run

    return probe


@pytest.fixture
def probed_run(make_probed_run):
    return make_probed_run()


@pytest.fixture
def forge_manifest():
    """Write a manifest of any content with a valid checksum."""

    def forge(file, manifest):
        rest = {key: value for key, value in manifest.items() if key != "checksum"}
        checksum = zlib.crc32(json.dumps(rest, sort_keys=True).encode())
        file.write_text(json.dumps({**rest, "checksum": checksum}))

    return forge


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def tiny_model():
    """A model with an RGB convolution and a deeper one: trains in milliseconds."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="conv1"),
            keras.layers.ReLU(),
            keras.layers.Conv2D(6, 3, name="conv2"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def save(tmp_path):
    """Return a function that saves a model of one convolution, ``conv``, full of one value."""
    import keras

    def save(name, value=0.0, shape=(3, 3, 1, 4)):
        *size, channels, filters = shape
        model = keras.Sequential(
            [keras.Input((8, 8, channels)), keras.layers.Conv2D(filters, size, name="conv")]
        )
        model.layers[0].kernel.assign(np.full(shape, value))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        return path

    return save


@pytest.fixture
def data(rng):
    return rng.normal(size=(32, 8, 8, 3)).astype("float32"), np.zeros((32, 2), "float32")


@pytest.fixture
def decoded():
    """Decode a GIF, APNG, MP4 or WebM with ffmpeg: ``(frames, height, width, 3)``."""
    import imageio_ffmpeg

    def decode(path):
        timing = ["-fps_mode", "passthrough"]  # each frame once, whatever its duration
        raw = ["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]  # with a header each
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, *timing, *raw]
        data = subprocess.run(ffmpeg, check=True, capture_output=True).stdout
        header = b"\n".join(data.split(b"\n", 3)[:3]) + b"\n"  # P6, width and height, 255
        width, height = map(int, header.split()[1:3])
        frames = np.frombuffer(data, np.uint8).reshape(-1, len(header) + 3 * height * width)
        return frames[:, len(header) :].reshape(-1, height, width, 3)

    return decode


class TensorBoard:
    """A running TensorBoard on loopback.

    Attributes:
        address: Its URL, without a slash at the end.
        log: The file of its messages.
        process: The server process.
    """

    def __init__(self, address, log, process):
        self.address, self.log, self.process = address, log, process

    def get(self, path, query=""):
        """Request a path below ``/data/``; the query is text, or name to value."""
        query = query if isinstance(query, str) else urllib.parse.urlencode(query)
        url = f"{self.address}/data/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - loopback
            return response.read()


def _until(condition, what="TensorBoard", patience=90):
    """Call a function until it returns a true value, and return that."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {patience} seconds")


@pytest.fixture(scope="session")
def until():
    return _until


@pytest.fixture(scope="session")
def tensorboard(tmp_path_factory):
    """Start TensorBoard with some flags on a free port; a context manager that ends it.

    Without tensorflow, which it imports where it is installed, it starts in a fifth of the time.
    """
    hidden = "import sys; sys.modules['tensorflow'] = None; "
    run_main = "from tensorboard.main import run_main; run_main()"

    @contextmanager
    def start(*flags, cwd=None, tensorflow=False):
        log = tmp_path_factory.mktemp("tensorboard") / "log"
        program = ["-c", run_main if tensorflow else hidden + run_main]
        command = [sys.executable, *program, "--port", "0", "--host", "127.0.0.1"]
        with (
            log.open("w") as stderr,
            subprocess.Popen([*command, *flags], stderr=stderr, cwd=cwd) as server,
        ):
            try:
                found = _until(lambda: re.search(r"http://127\.0\.0\.1:\d+[\w/]*", log.read_text()))
                yield TensorBoard(found[0].rstrip("/"), log, server)
            finally:
                server.terminate()

    return start


class ExecutedNotebook:
    """A notebook whose cells were run in a kernel.

    Attributes:
        notebook: The notebook with its outputs.
        messages: What the kernel sent, in order: the time, the type and the content of each.
    """

    def __init__(self, notebook, messages):
        self.notebook, self.messages = notebook, messages

    def printed(self, cell, stream="stdout"):
        """Return what a cell printed."""
        outputs = self.notebook.cells[cell].outputs
        return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == stream)

    def shown(self, cell):
        """Return what a cell displays: for each output its texts by their types."""
        return [o.data for o in self.notebook.cells[cell].outputs if "data" in o]

    def error(self, cell):
        """Return the name of the exception that ended a cell; None if there was none."""
        errors = [o for o in self.notebook.cells[cell].outputs if o.output_type == "error"]
        return errors[0].ename if errors else None


@pytest.fixture(scope="session")
def run_notebook():
    """Run the cells of a notebook in a new kernel, also those after an error."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, index):
            self.received.append((time.monotonic(), message["msg_type"], message["content"]))
            return super().process_message(message, cell, index)

    def run(*cells, cwd, **environment):
        path = str(Path(filtertrack.__file__).parent.parent)
        environment = {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
        )
        resources = {"metadata": {"path": str(cwd)}}
        options = {"timeout": 180, "kernel_name": "python3", "allow_errors": True}
        client = Client(notebook, resources=resources, **options)
        client.received = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of Jupyter's packages
            # In a thread of its own, since a browser may use asyncio in this one.
            with ThreadPoolExecutor(1) as pool:
                ran = client.async_execute(env={**os.environ, **environment})
                pool.submit(asyncio.run, ran).result()
            received = client.received
            del client, ran
            gc.collect()  # the client leaves sockets open, which warn when they are collected
        return ExecutedNotebook(notebook, received)

    return run


@pytest.fixture(scope="session")
def _launch_chromium():
    """Return a function that starts the system's Chromium, headless, unless it runs."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if not program:
        pytest.skip("needs Chromium")
    flags = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"]
    flags += ["disable-background-networking", "disable-component-update"]
    arguments = [f"--{flag}" for flag in flags]
    browsers = []
    with sync_playwright() as playwright:

        def launch():
            if not browsers or not browsers[-1].is_connected():
                browsers.append(playwright.chromium.launch(executable_path=program, args=arguments))
            return browsers[-1]

        yield launch
        for browser in browsers:
            browser.close()


@pytest.fixture
def chromium(_launch_chromium):
    """A browser for all tests: ``with chromium.new_page() as page``; a new one if it has crashed.

    While it runs, nothing else in this thread can use asyncio: see ``run_notebook``.
    """
    return _launch_chromium()


@pytest.fixture
def read_events():
    """Read a folder's event files with TensorBoard's own loader: every summary value in order."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    def read(folder):
        return [
            (event.step, value)
            for file in sorted(folder.glob("events.out.tfevents.*"))
            for event in EventFileLoader(str(file)).Load()
            for value in event.summary.value
        ]

    return read


PLANTED_STEPS = (0, 1, 2, 5, 10, 20)
_FORMED = {
    "conv1": {
        "edge": 2,
        "blob": 5,
        "colour blob": 1,
        "still": None,
        "copy": 2,
        "zero": None,
        "flat": 10,
        "noise": None,
    },
    "conv2": {"edge": 1, "edge across": 1, "blob": 2, "edge down": 5},
}


def _planted_filter(kind, rng, channels):
    """Return a 7x7 filter of unit variance with the pattern of its kind."""
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    spot = np.exp(-(x**2 + y**2) / 4)
    shape = {
        "edge": np.clip(x + y, -1, 1),
        "copy": np.clip(x + y, -1, 1),
        "edge across": np.clip(x, -1, 1),
        "edge down": np.clip(y, -1, 1),
        "blob": spot - spot.mean(),
        "colour blob": spot - spot.mean(),
        "flat": np.ones((7, 7)),
    }[kind]
    tint = np.array([1.0, -1.0, 0.0]) if kind == "colour blob" else np.ones(channels)
    pattern = shape[..., np.newaxis] * tint
    return pattern / np.sqrt(np.mean(pattern**2))


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory):
    """A run of known filters: noise at step 0, and patterns from known steps on.

    conv1, 7x7x3: an edge from step 2, a blob from 5, a colour blob from 1, constant noise, a copy
    of the edge from 2, zeros, a flat tone from 10, changing noise. conv2, 7x7x1: edges and a blob
    from steps 1, 1, 2 and 5. Tests must not write into it.
    """
    rng = np.random.default_rng(3)
    infos = {
        "conv1": _conv_info("conv1", (7, 7, 3, 8), bias=False),
        "conv2": _conv_info("conv2", (7, 7, 1, 4), bias=False),
    }
    run = Run.create(tmp_path_factory.mktemp("planted") / "run", list(infos.values()))
    still = {name: rng.normal(size=info.kernel_shape) for name, info in infos.items()}
    for step in PLANTED_STEPS:
        arrays = {}
        for name, info in infos.items():
            kernel = rng.normal(size=info.kernel_shape)
            for number, (kind, formed) in enumerate(_FORMED[name].items()):
                if kind == "still":
                    kernel[..., number] = still[name][..., number]
                elif kind == "zero":
                    kernel[..., number] = 0
                elif formed is not None and step >= formed:
                    pattern = _planted_filter(kind, rng, info.shape[3])
                    kernel[..., number] = 10 * pattern + 0.1 * kernel[..., number]
            arrays[info.kernel] = kernel.astype(np.float32)
        metrics = {} if step == 0 else {"loss": 1 / step}
        run.append(Snapshot(Moment(step, step, 10 * step, metrics, 1.7e9 + step), arrays))
    return run


@pytest.fixture
def published():
    """Layers with reference values from a published program: 16 filters of 8 channels, 3x3."""

    def published(name):
        rng = np.random.default_rng(2022)
        plain = rng.normal(size=(16, 8, 3, 3))
        sparse = plain.copy()
        sparse[::3, ::2] *= 1e-3
        mixtures, patterns = rng.normal(size=(16, 8, 2)), rng.normal(size=(2, 3, 3))
        low_rank = np.einsum("oir,rhw->oihw", mixtures, patterns)
        layer = {"plain": plain, "sparse": sparse, "low rank": low_rank}[name]
        # The program's axes are filters, channels, height, width.
        return layer.transpose(0, 2, 3, 1).astype(np.float32)

    return published
