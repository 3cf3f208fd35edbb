"""The page in a real browser, below TensorBoard's application or in a whole TensorBoard."""

import base64
import json
import re
import threading
import time
import warnings
from contextlib import contextmanager
from functools import partial, reduce
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from tensorboard.plugins import base_plugin
from werkzeug.serving import WSGIRequestHandler, make_server

from filtertrack import LayerInfo, Moment, Run, Snapshot
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.grid import Layout
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    THEMES,
    colormap_levels,
    outline_entries,
    theme_palette,
)
from filtertrack.render.value_range import ValueRange
from filtertrack.tensorboard_plugin.plugin import FiltersPlugin
from filtertrack.tensorboard_plugin.summaries import Summaries
from filtertrack.web.page_script import joined_script, page_files

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of html5lib, which TensorBoard imports
    from tensorboard.backend import application

# Seconds that a test waits for what must happen. A machine that runs other things may need most of
# them; what happens ends the wait, so that they cost nothing.
PATIENCE = 60

LAST = 8

BAR = 64  # height of TensorBoard's bar above the page

HOSTILE = "<img src=x onerror=alert(1)>"

# Returns the pixels of a canvas: width, height and base64.
READ = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
  let text = "";
  for (let n = 0; n < data.length; n += 8192) {
    text += String.fromCharCode(...data.subarray(n, n + 8192));
  }
  return [width, height, btoa(text)];
}"""


class Tab:
    """The page, and the errors that occur in it.

    Attributes:
        page: The browser's page.
        at: Locates elements of the page.
        errors: What the browser reports: dialogs, exceptions, failed requests and error answers.
        expected: Patterns of the errors that a test causes on purpose.
    """

    is_offline = False

    def __init__(self, page):
        self.page = self.at = page
        self.errors, self.expected = [], []
        page.set_default_timeout(1000 * PATIENCE)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _dialog(self, dialog):
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message):
        if message.type == "error":
            self.errors.append(f"console: {message.text} {message.location.get('url')}")

    def _failed(self, request):
        if "ERR_ABORTED" not in str(request.failure):  # by the page itself
            self.errors.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def go(self, address, *, dark=False, **look):
        """Open the page; the look is written into the URL."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self._leave()
        self._entry = f"{address}/data/plugin_entry.html?name=filtertrack"
        self.page.goto(f"{self._entry}#{_hash_of(look)}")
        return self

    def reload(self):
        """Open the page again with the state that is in its URL."""
        state = self.page.url.partition("#")[2]
        self._leave()
        self.page.goto(f"{self._entry}#{state}")  # without a frame around, it has another path now

    def _leave(self):
        """Leave the page that is open: its URL with another part after ``#`` would not load it."""
        if self.page.url != "about:blank":
            self.page.goto("about:blank")

    @property
    def frame(self):
        """The frame of the page."""
        return self.page.main_frame

    def set_constants(self, file, **constants):
        """Serve a JavaScript file of the page with other values of its constants."""

        def rewrite(route):
            response = route.fetch()
            script = response.text()
            for name, value in constants.items():
                script, count = re.subn(rf"(const {name}) = [^;]+;", rf"\1 = {value};", script)
                assert count == 1, f"{file} has no constant {name}"
            route.fulfill(response=response, body=script)

        self.page.route(f"**/static/{file}", rewrite)
        return self

    def poll_often(self):
        """Let the page request new steps every 0.2 seconds, and new runs every 0.4 seconds."""
        return self.set_constants("page.js", LEAST_POLL=200, POLLS_OF_RUNS=2)

    def button(self, name):
        """Find a button by its whole name."""
        return self.at.get_by_role("button", name=name, exact=True)

    def choice(self, name):
        """Find a select or a checkbox by its whole name."""
        return self.at.get_by_label(name, exact=True)

    def choose_runs(self, *names):
        """Tick these runs and no others."""
        boxes = self.at.locator(".sidebar .list")
        for name in names:
            boxes.get_by_label(name, exact=True).check()
        every = boxes.locator("label:has(input:checked)").all_inner_texts()
        for name in set(every) - set(names):
            boxes.get_by_label(name, exact=True).uncheck()

    @staticmethod
    def pixels(canvas):
        """Return the pixels of a canvas: ``(height, width, 3)``."""
        width, height, data = canvas.evaluate(READ)
        pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        return pixels[..., :3]

    @property
    def grid(self):
        """The grids."""
        return self.at.locator("figure.grid")

    @property
    def canvas(self):
        """The canvases of the grids."""
        return self.at.locator(".stage canvas")

    def title(self, number):
        """The title of a grid."""
        return self.grid.nth(number).locator("figcaption").inner_text()

    def drawn(self, step):
        """Wait until a step is drawn in every grid."""
        self.at.locator(f"figure.grid[data-drawn='{step}']").first.wait_for()
        return self

    def loaded(self):
        """Wait until every step is loaded."""
        self.at.locator(".status[data-loaded=true]").wait_for()
        return self

    def says(self, where, text):
        """Wait until an element holds a text."""
        self.at.locator(where).filter(has_text=text).first.wait_for()

    def reads(self, where, *texts):
        """Wait until these elements, and no others, hold these texts; white space is one space."""
        from playwright.sync_api import expect

        found = self.at.locator(where)
        expect(found).to_have_text(list(texts), timeout=1000 * PATIENCE, use_inner_text=True)

    def wait(self, check, what):
        """Wait until a function returns something true, while the page continues; return it."""
        end = time.monotonic() + PATIENCE
        while not (found := check()):
            assert time.monotonic() < end, f"{what} did not come in time"
            self.page.wait_for_timeout(40)
        return found

    @staticmethod
    def find(picture, part):
        """Return where a picture holds another one: the row and the column of its corner."""
        height, width = part.shape[:2]
        rows, columns = (len(picture) - height + 1, picture.shape[1] - width + 1)
        corners = (picture[:rows, :columns] == part[0, 0]).all(-1)
        corners &= (picture[height - 1 :, width - 1 :] == part[-1, -1]).all(-1)
        for row, column in np.argwhere(corners).tolist():
            if np.array_equal(picture[row : row + height, column : column + width], part):
                return row, column
        raise AssertionError("the picture is not in it")

    def shows(self, canvas, draw):
        """Wait until a canvas holds exactly one of the pictures that ``draw`` makes for it."""
        end = time.monotonic() + PATIENCE
        while True:
            got = self.pixels(canvas)
            expected = draw(got.shape[:2])
            if any(np.array_equal(got, each) for each in expected):
                return got
            if time.monotonic() > end:
                wrong = [f"{(got != each).any(-1).mean():.1%}" for each in expected]
                raise AssertionError(f"pixels of {got.shape} that differ: {wrong or 'no layout'}")
            self.page.wait_for_timeout(40)


class TensorBoardTab(Tab):
    """The page inside TensorBoard, with the tab selected."""

    def __init__(self, page):
        super().__init__(page)
        self.at = page.frame_locator("iframe")

    def go(self, address, *, dark=False, **look):
        """Open TensorBoard; the look is written into the URL."""
        dark = "?darkMode=true" if dark else ""
        self.page.goto(f"{address}/{dark}#{_hash_of(look)}")
        return self

    def reload(self):
        """Load TensorBoard again, with the state that is in its URL."""
        self.page.reload()

    @property
    def frame(self):
        """The frame of the page."""
        return next(frame for frame in self.page.frames if "plugin_entry" in frame.url)


def _hash_of(look):
    """Return the part of a URL after ``#``."""
    pieces = (f"&p.filtertrack.{name}={quote(str(value))}" for name, value in look.items())
    return "filtertrack" + "".join(pieces)


def _picture(
    runs, layer, step, *, number=0, only=None, page=None, steps=None, one_scale=False, **look
):
    """Draw as the renderer does.

    Args:
        runs: The runs that are shown together.
        layer: The layer.
        step: The step.
        number: Which of the runs is drawn.
        only: A single filter that is drawn, enlarged; None for all.
        page: The filters on the page; None for all.
        steps: The steps over which the value range is; None for those that all runs have.
        one_scale: Whether all runs have the same value range.
        look: Options of ``Look``; of those that are left out, what suits the part that is drawn.

    Returns:
        A function from a canvas's shape to all pictures of that shape: the sizes of weights and
        gaps are the page's choice.
    """
    part = part_of(Look(filters=page, **{"theme": "light", **look}))
    steps = steps or sorted(set(runs[0].steps).intersection(*(run.steps for run in runs[1:])))
    layers = [LayerCells(run, layer, steps, part) for run in runs]
    cells = [next(each.walk([steps.index(step)])) for each in layers]
    ranges = [each.values(drawn) for each, drawn in zip(layers, cells, strict=True)]
    values = reduce(ValueRange.union, ranges) if one_scale else ranges[number]
    cells_of_layer = layers[number]
    palette = theme_palette(part.theme, colormap_levels(part.colormap))
    view, separator = cells_of_layer.view, THEMES[part.theme].separator
    tones = cells_of_layer.draw(cells[number], values, _layout_of(view, view.count))
    if not view.coloured:
        tones = palette[tones]
    if only is not None:
        tones = tones[cells_of_layer.numbers.index(only)][np.newaxis]
    outlines = None
    if part.outline:
        outlines = palette[outline_entries(cells_of_layer.labels(steps.index(step)))]

    def draw(shape):
        return [
            each.compose(tones, separator, outlines)
            for each in _layouts_of(view, len(tones), shape)
        ]

    return draw


def _layout_of(view, count, columns=1, scale=1, gap=1):
    return Layout(count, view.height, view.width, columns, scale, gap, view.slices)


def _layouts_of(view, count, shape):
    """Return all layouts of a shape in pixels: columns, magnification and gaps are the page's."""
    for columns in range(1, count + 1):
        for gap in range(1, 65):
            width = shape[1] - (columns + 1) * gap - columns * (view.slices - 1)
            scale = width // (columns * view.width)
            if scale > 0 and (each := _layout_of(view, count, columns, scale, gap)).shape == shape:
                yield each


def _info(name, shape):
    *space, channels, filters = shape
    return LayerInfo(
        name=name,
        path=name,
        class_name="Conv2D",
        kernel=f"{name}/kernel",
        bias=None,
        kernel_shape=shape,
        axes=(3, 0, 1, 2),
        shape=(filters, *space, channels),
        dtype="float32",
        strides=(1, 1),
        dilation=(1, 1),
    )


RGB_INFO = _info("rgb", (5, 5, 3, 4))
TRAINED = [_info("rgb", (7, 7, 3, 8)), _info("deep", (3, 3, 8, 70)), _info("point", (1, 1, 70, 12))]


def _write_trained(folder, seed):
    """Write a run as that of a training: three layers whose weights change a little each epoch."""
    rng = np.random.default_rng(seed)
    run = Run.create(folder, TRAINED)
    kernels = {info.kernel: 0.1 * rng.normal(size=info.kernel_shape) for info in TRAINED}
    for step in range(LAST + 1):
        arrays = {name: kernel.astype("float32") for name, kernel in kernels.items()}
        metrics = {"loss": 1 / (1 + step)} if step else {}
        progress = {"epochs": LAST, "epoch_batch": 0, "epoch_batches": 1}
        run.append(Snapshot(Moment(step, step, step, metrics, 1.7e9 + step, **progress), arrays))
        for name, kernel in kernels.items():
            kernels[name] = kernel + 0.1 * rng.normal(size=kernel.shape)


def _weights_at(run, step, seed=0):
    """Make a snapshot of random weights with metrics."""
    rng = np.random.default_rng([seed, step])
    arrays = {
        info.kernel: rng.normal(size=info.kernel_shape).astype("float32")
        for info in run.layers.values()
    }
    metrics = {} if step == 0 else {"loss": 1 / step, f"<b>{HOSTILE}</b>": 2.0}
    return Snapshot(Moment(step, step, 10 * step, metrics, 1.7e9 + step), arrays)


def _write(folder, steps, info=RGB_INFO):
    """Write a run without any training."""
    run = Run.create(folder, [info])
    for step in steps:
        run.append(_weights_at(run, step))
    return run


class Logs:
    """A log folder that is served.

    Attributes:
        logdir: Its path.
        address: The URL of the server.
    """

    def __init__(self, logdir, address):
        self.logdir, self.address = logdir, address

    def write(self, name, steps, info=RGB_INFO):
        """Write a run of random weights."""
        return _write(self.logdir / name, steps, info)

    def write_kernels(self, name, info, kernels):
        """Write a run of one layer, a kernel a step."""
        run = Run.create(self.logdir / name, [info])
        for step, kernel in enumerate(kernels):
            run.append(Snapshot(Moment(step, step, 10 * step), {info.kernel: kernel}))
        return run

    @staticmethod
    def weights_at(run, step, seed=0):
        """Make a snapshot of random weights with metrics."""
        return _weights_at(run, step, seed)

    @staticmethod
    def damage(file):
        """Flip the bytes in the middle of a file."""
        data = bytearray(file.read_bytes())
        middle = slice(len(data) // 3, len(data) // 3 + 64)
        data[middle] = bytes(byte ^ 0xFF for byte in data[middle])
        file.write_bytes(data)

    @staticmethod
    def picture(*args, **options):
        """Draw a layer as the renderer does: see ``_picture``."""
        return _picture(*args, **options)


class _Handler(WSGIRequestHandler):
    """Keeps connections, as TensorBoard's, and writes no log."""

    protocol_version = "HTTP/1.1"

    def log(self, *args):
        """Write nothing."""


@contextmanager
def _serve(logdir):
    """Serve the page below TensorBoard's application, without its frontend and its other tabs.

    The log folder is searched at each request, so that a run is listed as soon as it is written.
    The browser keeps the files of the page, which it compiles once.
    """
    flags = SimpleNamespace(logdir=str(logdir), logdir_spec="")
    plugin = FiltersPlugin(base_plugin.TBContext(logdir=str(logdir), flags=flags))
    plugin._logdir._fresh = lambda found: -1
    tensorboard = application.TensorBoardWSGI([plugin])

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/favicon.ico":  # TensorBoard's frontend has one
            start_response("204 No Content", [])
            return []
        if "/static/" not in environ["PATH_INFO"]:
            return tensorboard(environ, start_response)

        def start_kept(status, headers, *error):
            rest = [each for each in headers if each[0] not in {"Cache-Control", "Expires"}]
            return start_response(status, [*rest, ("Cache-Control", "max-age=3600")], *error)

        return tensorboard(environ, start_kept)

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def serve():
    """Serve a log folder; a context manager that yields the URL."""
    return _serve


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """Two runs like those of trainings, served for all tests of the page."""
    folder = tmp_path_factory.mktemp("tab") / "logs"
    for seed, name in enumerate(["exp1", "exp2"]):
        _write_trained(folder / name, seed)
    with _serve(folder) as address:
        yield Logs(folder, address)


@pytest.fixture(scope="session")
def in_tensorboard(logs, exp1, tensorboard, until):
    """A TensorBoard of the same log folder, with other tabs: one of the runs has events."""
    Summaries(exp1).add(exp1.snapshot(0))
    with tensorboard("--logdir", logs.logdir) as server:
        until(lambda: json.loads(server.get("plugins_listing"))["scalars"]["enabled"])
        yield server


@pytest.fixture(scope="session")
def exp1(logs):
    return Run(logs.logdir / "exp1")


@pytest.fixture(scope="session")
def exp2(logs):
    return Run(logs.logdir / "exp2")


@pytest.fixture(scope="session")
def _contexts():
    return {}


@pytest.fixture
def open_page(chromium, _contexts):
    """Open a page of some kind; at the end no unexpected error may have occurred in it.

    Pages share a context, which costs as much processor time as the page itself, or one without a
    network.
    """
    opened = []

    def open_page(kind, width=1280, height=800):
        key = (id(chromium), kind.is_offline)
        if key not in _contexts:
            _contexts[key] = chromium.new_context(offline=kind.is_offline)
        page = _contexts[key].new_page()
        page.set_viewport_size({"width": width, "height": height})
        opened.append(kind(page))
        return opened[-1]

    yield open_page
    for each in opened:
        each.page.close()
        unexpected = [e for e in each.errors if not any(re.search(p, e) for p in each.expected)]
        assert unexpected == []


@pytest.fixture
def open_tab(open_page):
    """Open the page by itself, as large as in TensorBoard below its bar."""
    return lambda width=1280, height=800: open_page(Tab, width, height - BAR)


@pytest.fixture
def modules(open_tab, logs):
    """A frame without the page, in which ``import("./name.js")`` loads a module of the page."""
    tab = open_tab()
    tab.page.goto(f"{logs.address}/data/plugin/filtertrack/static/style.css")
    return tab.frame


@pytest.fixture
def open_tensorboard(open_page):
    """Open TensorBoard with the tab."""
    return partial(open_page, TensorBoardTab)


@pytest.fixture(scope="session")
def write_run():
    return _write


# Sets the functions that take the place of requests.js in a file as a global variable.
REQUESTS = """
import {requestCells, requestKernels, requestPalette} from "./file_answers.js";
import {requestProbe, requestResponses} from "./file_answers.js";
export function render() {
  window.requests = {requestCells, requestKernels, requestPalette, requestProbe, requestResponses};
}
"""


class FilePage(Tab):
    """The page of an HTML file, opened without any network."""

    is_offline = True

    def __init__(self, page):
        super().__init__(page)
        page.on("request", self._request)

    def _request(self, request):
        if not request.url.startswith(("file:", "blob:", "data:", "about:")):
            self.errors.append(f"request: {request.url}")

    def go(self, file, *, dark=False, **look):
        """Open a file; the look is written into the URL."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self._leave()
        self.page.goto(f"file://{file}#{_hash_of(look)}")
        return self

    def request(self, function, *arguments):
        """Call a function of ``file_answers.js``; arrays are returned as lists."""
        modules = {**page_files(".js"), "test": REQUESTS.lstrip()}
        self.page.evaluate(joined_script("test", {"requests": "file_answers"}, modules))
        return self.page.evaluate(
            "async ([name, given]) => { const answer = await requests[name](...given);"
            "return answer.arrays ? {...answer, arrays: answer.arrays.map(a => [...a])} : answer }",
            [function, arguments],
        )


@pytest.fixture
def open_file(open_page):
    """Open an HTML file in a new page; at the end no error may have occurred in it."""

    def open_file(file, *, width=1280, **look):
        return open_page(FilePage, width).go(file, **look)

    return open_file
