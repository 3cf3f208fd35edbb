"""The page in a real browser: a real TensorBoard serves it, Chromium shows it."""

import base64
import json
import re
import time
from functools import reduce
from urllib.parse import quote

import numpy as np
import pytest

from filtertrack import FilterTracker, LayerInfo, Moment, Run, Snapshot
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
from filtertrack.web.page_script import joined_script, page_files

PATIENCE = 12  # seconds

LAST = 8

RGB_INFO = LayerInfo(
    name="rgb",
    path="rgb",
    class_name="Conv2D",
    kernel="rgb/kernel",
    bias=None,
    kernel_shape=(5, 5, 3, 4),
    axes=(3, 0, 1, 2),
    shape=(4, 5, 5, 3),
    dtype="float32",
    strides=(1, 1),
    dilation=(1, 1),
)

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
    """A page of TensorBoard with the tab selected, and the errors that occur in it.

    Attributes:
        page: TensorBoard's page.
        at: Locates elements in the tab's frame.
        errors: What the browser reports: dialogs, exceptions, failed requests and error answers.
        expected: Patterns of the errors that a test causes on purpose.
    """

    def __init__(self, page):
        self.page = page
        self.at = page.frame_locator("iframe")
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
        """Open the tab; the look is written into the URL."""
        pieces = "".join(f"&p.filtertrack.{name}={quote(str(v))}" for name, v in look.items())
        dark = "?darkMode=true" if dark else ""
        self.page.goto(f"{address}/{dark}#filtertrack{pieces}")
        return self

    @property
    def frame(self):
        """The tab's frame."""
        return next(frame for frame in self.page.frames if "plugin_entry" in frame.url)

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


def _train(folder, seed):
    """Train a network of three convolutions for eight epochs."""
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 7, name="rgb", activation="relu"),
            keras.layers.Conv2D(70, 3, name="deep", activation="relu"),
            keras.layers.Conv2D(12, 1, name="point"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    x = np.random.default_rng(seed).normal(size=(32, 16, 16, 3)).astype("float32")
    y = np.random.default_rng(seed).normal(size=(32, 12)).astype("float32")
    model.fit(x, y, epochs=LAST, verbose=0, callbacks=[FilterTracker(folder)])


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
    """A log folder that a TensorBoard serves.

    Attributes:
        logdir: Its path.
        address: The URL of TensorBoard.
        process: TensorBoard's process.
    """

    def __init__(self, logdir, server, until):
        self.logdir, self.address, self.process = logdir, server.address, server.process
        self._server, self._until = server, until

    def write(self, name, steps, info=RGB_INFO):
        """Write a run of random weights, and wait until TensorBoard lists it."""
        run = _write(self.logdir / name, steps, info)
        self.lists(name)
        return run

    def write_kernels(self, name, info, kernels):
        """Write a run of one layer, a kernel a step, and wait until TensorBoard lists it."""
        run = Run.create(self.logdir / name, [info])
        for step, kernel in enumerate(kernels):
            run.append(Snapshot(Moment(step, step, 10 * step), {info.kernel: kernel}))
        self.lists(name)
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

    def lists(self, name):
        """Wait until TensorBoard lists a run."""
        runs = "plugin/filtertrack/runs"
        self._until(lambda: name in json.loads(self._server.get(runs))["runs"], f"run {name}")


@pytest.fixture(scope="session")
def logs(tmp_path_factory, tensorboard, until):
    """Two runs of real trainings, served by a TensorBoard for all tests of the page."""
    folder = tmp_path_factory.mktemp("tab") / "logs"
    for seed, name in enumerate(["exp1", "exp2"]):
        _train(folder / name, seed)
    with tensorboard("--logdir", folder) as server:
        yield Logs(folder, server, until)


@pytest.fixture(scope="session")
def exp1(logs):
    return Run(logs.logdir / "exp1")


@pytest.fixture(scope="session")
def exp2(logs):
    return Run(logs.logdir / "exp2")


@pytest.fixture
def open_tab(chromium):
    """Open a tab in a new page; at the end no unexpected error may have occurred in it."""
    opened = []

    def open_tab(width=1280, height=800):
        page = chromium.new_page(viewport={"width": width, "height": height})
        opened.append(Tab(page))
        return opened[-1]

    yield open_tab
    for each in opened:
        each.page.close()
        unexpected = [e for e in each.errors if not any(re.search(p, e) for p in each.expected)]
        assert unexpected == []


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

    def __init__(self, page):
        super().__init__(page)
        self.at = page
        page.context.set_offline(True)
        page.on("request", self._request)

    def _request(self, request):
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.errors.append(f"request: {request.url}")

    def go(self, file, **look):
        """Open a file; the look is written into the URL."""
        pieces = "".join(f"&p.filtertrack.{name}={quote(str(v))}" for name, v in look.items())
        self.page.goto(f"file://{file}#filtertrack{pieces}")
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
def open_file(chromium):
    """Open an HTML file in a new page; at the end no error may have occurred in it."""
    opened = []

    def open_file(file, *, width=1280, dark=False, **look):
        scheme = "dark" if dark else "light"
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        opened.append(FilePage(context.new_page()))
        return opened[-1].go(file, **look)

    yield open_file
    for each in opened:
        each.page.context.close()
        assert each.errors == []
