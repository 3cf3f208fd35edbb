"""The tab Filters in a real browser: a real TensorBoard serves it, Chromium shows it."""

import base64
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from filtertrack import FilterTracker, Moment, Run, Snapshot, animate, measures
from filtertrack.measures import drift
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.render.grid import Layout
from filtertrack.render.look import Look
from filtertrack.render.palette import THEMES, colormap_levels, theme_palette

PATIENCE = 12  # seconds
LAST = 8
HOSTILE = "<img src=x onerror=alert(1)>"

# The pixels of a canvas, as width, height and base64.
READ = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
  let text = "";
  for (let n = 0; n < data.length; n += 8192) {
    text += String.fromCharCode(...data.subarray(n, n + 8192));
  }
  return [width, height, btoa(text)];
}"""

# A real training that takes an epoch for each line it reads.
TRAINING = """
import sys
import keras, numpy as np
from filtertrack import FilterTracker

class OnDemand(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        sys.stdin.readline()

model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="rgb"),
                          keras.layers.GlobalAveragePooling2D()])
model.compile("adam", "mse")
x = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
model.fit(x, np.ones((32, 4), "float32"), epochs=8, verbose=0,
          callbacks=[FilterTracker(sys.argv[1]), OnDemand()])
"""

# What is read of a page, and read aloud.
READABLE = """body => body.innerText + [...body.querySelectorAll("[title], [aria-label]")]
  .map(each => each.title + each.getAttribute("aria-label")).join("")"""

# Changes of what is drawn, counted as they come, for some seconds.
COUNT = """seconds => new Promise(done => {
  const figure = document.querySelector("figure.grid");
  let steps = 0;
  const observer = new MutationObserver(() => steps++);
  observer.observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
  const began = performance.now();
  setTimeout(() => done(1000 * steps / (performance.now() - began)), 1000 * seconds);
})"""


# Which steps are drawn from now on.
SEEN = """() => {
  const figure = document.querySelector("figure.grid");
  window.seen = [];
  new MutationObserver(() => window.seen.push(Number(figure.dataset.drawn)))
    .observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
}"""

WHERE_FOCUS_IS = "document.activeElement.getAttribute('aria-label')"


class Tab:
    """A page of TensorBoard with the tab in front, and all that goes wrong in it."""

    def __init__(self, page):
        self.page = page
        self.at = page.frame_locator("iframe")
        self.troubles, self.expected = [], []
        page.set_default_timeout(1000 * PATIENCE)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _dialog(self, dialog):
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message):
        if message.type == "error":
            self.troubles.append(f"console: {message.text} {message.location.get('url')}")

    def _failed(self, request):
        if "ERR_ABORTED" not in str(request.failure):  # what is no longer wanted
            self.troubles.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response):
        if response.status >= 400:
            self.troubles.append(f"{response.status}: {response.url}")

    def go(self, address, *, dark=False, **look):
        """Open the tab; the look goes into the address."""
        pieces = "".join(f"&p.filtertrack.{name}={quote(str(v))}" for name, v in look.items())
        dark = "?darkMode=true" if dark else ""
        self.page.goto(f"{address}/{dark}#filtertrack{pieces}")
        return self

    @property
    def frame(self):
        """The page itself."""
        return next(frame for frame in self.page.frames if "plugin_entry" in frame.url)

    def button(self, name):
        """Find a button by its whole name."""
        return self.at.get_by_role("button", name=name, exact=True)

    def choice(self, name):
        """Find a select or a box by its whole name."""
        return self.at.get_by_label(name, exact=True)

    def choose_runs(self, *names):
        """Tick these runs and no others."""
        self.at.locator("details.runs summary").click()
        boxes = self.at.locator("details.runs")
        for name in names:
            boxes.get_by_label(name, exact=True).check()
        every = boxes.locator("label:has(input:checked)").all_inner_texts()
        for name in set(every) - set(names):
            boxes.get_by_label(name, exact=True).uncheck()
        boxes.get_by_role("checkbox").first.press("Escape")

    @property
    def grid(self):
        """One or more."""
        return self.at.locator("figure.grid")

    @property
    def canvas(self):
        """That of each grid."""
        return self.at.locator(".stage canvas")

    def drawn(self, step):
        """Wait until a step is drawn in every grid."""
        self.at.locator(f"figure.grid[data-drawn='{step}']").first.wait_for()
        return self

    def loaded(self):
        """Wait until every step is fetched."""
        self.at.locator(".status[data-loaded=true]").wait_for()
        return self

    def says(self, where, text):
        """Wait until it is said."""
        self.at.locator(where).filter(has_text=text).first.wait_for()

    def wait(self, look, what):
        """Look until there is something, and let the page go on meanwhile."""
        end = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < end, f"{what} did not come in time"
            self.page.wait_for_timeout(40)
        return found

    def shows(self, canvas, draw):
        """Wait until a canvas holds exactly a picture; ``draw`` makes it for a canvas's shape."""
        end = time.monotonic() + PATIENCE
        while True:
            got = pixels(canvas)
            expected = draw(got.shape[:2])
            if any(np.array_equal(got, each) for each in expected):
                return got
            if time.monotonic() > end:
                wrong = [f"{(got != each).any(-1).mean():.1%}" for each in expected]
                raise AssertionError(f"pixels of {got.shape} that differ: {wrong or 'no layout'}")
            self.page.wait_for_timeout(40)


def pixels(canvas):
    width, height, data = canvas.evaluate(READ)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def picture(runs, layer, step, *, number=0, only=None, page=None, steps=None, **look):
    """Draw as the renderer does; returns a function from a canvas's shape to its pixels.

    How large a weight and a gap are is the page's choice: all pictures of that shape are returned.

    ``number``: which of the runs; ``only``: one filter, large; ``page``: filters, where not all.
    """
    look = {"scale": "frame", "theme": "light", **look}
    steps = steps or sorted(set(runs[0].steps).intersection(*(run.steps for run in runs[1:])))
    panel = LayerCells(runs, layer, steps, Look(filters=page, **look))
    *_, cells = panel.walk(range(steps.index(step) + 1))
    palette = theme_palette(look["theme"], colormap_levels(look.get("colormap", "gray")))
    tones = panel.paint(cells[number], panel.values(cells), palette)
    view, separator = panel.view, THEMES[look["theme"]].separator
    if only is not None:
        tones = tones[panel.numbers.index(only)][np.newaxis]

    def draw(shape):
        size = (len(tones), view.height, view.width)
        columns = Layout.fit(*size, 320, view.slices).columns
        layouts = [
            Layout(*size, columns, scale, gap, view.slices)
            for gap in range(1, 10)
            for scale in range(1, max(shape))
        ]
        return [each.compose(tones, separator) for each in layouts if each.shape == shape]

    return draw


def train(folder, seed):
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


def weights_at(run, step, seed=0):
    """Make a snapshot of random weights with metrics."""
    rng = np.random.default_rng([seed, step])
    arrays = {
        info.kernel: rng.normal(size=info.kernel_shape).astype("float32")
        for info in run.layers.values()
    }
    metrics = {} if step == 0 else {"loss": 1 / step, f"<b>{HOSTILE}</b>": 2.0}
    return Snapshot(Moment(step, step, 10 * step, metrics, 1.7e9 + step), arrays)


def write(folder, info, steps):
    """Write a run without any training."""
    run = Run.create(folder, [info])
    for step in steps:
        run.append(weights_at(run, step))
    return run


def damage(file):
    """Flip the bytes in the middle of a file."""
    data = bytearray(file.read_bytes())
    middle = slice(len(data) // 3, len(data) // 3 + 64)
    data[middle] = bytes(byte ^ 0xFF for byte in data[middle])
    file.write_bytes(data)


class Logs:
    """A log folder that a TensorBoard serves."""

    def __init__(self, logdir, server, until):
        self.logdir, self.address = logdir, server.address
        self._server, self._until = server, until

    def lists(self, name):
        """Wait until a run that was written is known."""
        runs = "plugin/filtertrack/runs"
        self._until(lambda: name in json.loads(self._server.get(runs))["runs"], f"run {name}")


@pytest.fixture(scope="module")
def logs(tmp_path_factory, tensorboard, until):
    """Two runs made by real training, below a TensorBoard."""
    folder = tmp_path_factory.mktemp("tab") / "logs"
    for seed, name in enumerate(["exp1", "exp2"]):
        train(folder / name, seed)
    with tensorboard("--logdir", folder) as server:
        yield Logs(folder, server, until)


@pytest.fixture(scope="module")
def exp1(logs):
    return Run(logs.logdir / "exp1")


@pytest.fixture(scope="module")
def exp2(logs):
    return Run(logs.logdir / "exp2")


@pytest.fixture
def tab(chromium):
    """Open a tab; at the end nothing may have gone wrong in it but what a test expects."""
    opened = []

    def open_tab(width=1280, height=800):
        page = chromium.new_page(viewport={"width": width, "height": height})
        opened.append(Tab(page))
        return opened[-1]

    yield open_tab
    for each in opened:
        each.page.close()
        unexpected = [t for t in each.troubles if not any(re.search(e, t) for e in each.expected)]
        assert unexpected == []


@pytest.fixture(params=["default", "python"])
def loaded_by_each(request, logs, tensorboard):
    """The address of a TensorBoard with each of its two loaders."""
    if request.param == "default":
        yield logs.address
    else:
        with tensorboard("--logdir", logs.logdir, "--load_fast=false") as server:
            yield server.address


def test_steps_play_and_scrub_with_both_loaders(loaded_by_each, tab):
    """The tab is listed; slider, keys, buttons and speeds go through the steps, to the last."""
    tab = tab().go(loaded_by_each, runs='["exp1"]').drawn(LAST).loaded()
    tab.page.get_by_role("tab", name="Filters").first.wait_for()
    slider = tab.at.get_by_role("slider", name="Step")
    assert tab.at.locator(".when").inner_text() == f"step {LAST} · {LAST + 1} of {LAST + 1}"
    slider.fill("4")
    tab.drawn(4)
    assert slider.get_attribute("aria-valuetext") == "step 4, epoch 4 of 8"
    for key, step in [("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)]:
        slider.press(key)
        tab.drawn(step)
    slider.press("Shift+ArrowRight")
    tab.drawn(LAST)
    slider.press("Shift+ArrowLeft")
    tab.drawn(0)
    slider.press("End")
    tab.drawn(LAST)
    for name, step in [("First step", 0), ("Step on", 1), ("Last step", LAST), ("Step back", 7)]:
        tab.button(name).click()
        tab.drawn(step)

    tab.choice("speed").select_option("20")
    tab.choice("loop").uncheck()
    tab.button("First step").click()
    tab.button("Play").click()
    tab.button("Play").wait_for()  # it has come to the end, and stopped
    tab.drawn(LAST)
    tab.choice("loop").check()
    slider.focus()
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("Space")
    tab.button("Pause").wait_for()
    tab.drawn(2)
    tab.drawn(0)  # round again
    tab.page.keyboard.press("Space")
    tab.button("Play").wait_for()
    for key, speed in [("-", "10"), ("-", "5"), ("+", "10")]:
        slider.press(key)
        assert tab.choice("speed").input_value() == speed
    slider.press("l")
    assert not tab.choice("loop").is_checked()


def test_every_look_is_the_renderers_pixel_for_pixel(logs, tab, exp1):
    """Steps, layers, channels, scales, difference, colours, order: drawn as the renderer does."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb", step=3).drawn(3).loaded()
    page = list(range(64))
    for step in (3, 0, 7):
        tab.at.get_by_role("slider").fill(str(step))
        tab.shows(tab.canvas, picture([exp1], "rgb", step))
    for scale in ("filter", "layer", "frame"):
        tab.choice("dark to light").select_option(scale)
        tab.shows(tab.canvas, picture([exp1], "rgb", 7, scale=scale))
    tab.choice("difference from the start").check()
    for scale in ("layer", "frame"):
        tab.choice("dark to light").select_option(scale)
        tab.shows(tab.canvas, picture([exp1], "rgb", 7, scale=scale, delta=True))
    tab.choice("difference from the start").uncheck()
    tab.choice("zero in the middle").check()
    tab.choice("channels").select_option("1")
    tab.choice("colours").select_option("RdBu_r")
    look = {"zero_centred": True, "colormap": "RdBu_r"}
    tab.shows(tab.canvas, picture([exp1], "rgb", 7, channels=1, **look))
    tab.choice("channels").select_option("strongest")
    tab.choice("dark to light").select_option("filter")
    tab.choice("order").select_option("similarity")
    look |= {"channels": "strongest", "scale": "filter", "order": "similarity"}
    tab.shows(tab.canvas, picture([exp1], "rgb", 7, **look))

    tab.choice("colours").select_option("viridis")
    tab.choice("zero in the middle").uncheck()
    tab.choice("order").select_option("stored")
    tab.choice("layer").select_option("deep")
    for scale in ("filter", "layer", "frame"):
        tab.choice("dark to light").select_option(scale)
        look = {"scale": scale, "colormap": "viridis", "page": page}
        tab.shows(tab.canvas, picture([exp1], "deep", 7, **look))
    tab.button("Next filters").click()
    tab.says(".pages", "filters 64–69 of 70")
    tab.shows(tab.canvas, picture([exp1], "deep", 7, colormap="viridis", page=range(64, 70)))
    for key in ("Home", "End"):  # signs follow on, whichever way it is gone through
        tab.at.get_by_role("slider").press(key)
    tab.shows(tab.canvas, picture([exp1], "deep", LAST, colormap="viridis", page=range(64, 70)))
    tab.choice("layer").select_option("point")
    for scale in ("layer", "frame"):
        tab.choice("dark to light").select_option(scale)
        look = {"scale": scale, "colormap": "viridis"}
        tab.shows(tab.canvas, picture([exp1], "point", LAST, **look))


def test_a_filter_opened_says_everything_of_it(logs, tab, exp1):
    """Large pixels, weights by mouse, keys and table, history, label and curves; Escape closes."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb", step=3).drawn(3).loaded()
    tab.button("filter 5").click()
    large = tab.at.locator(".block > canvas")
    tab.shows(large, picture([exp1], "rgb", 3, only=5))
    kernels = exp1.kernels("rgb", 3)

    def reads(row, column):
        text = tab.at.locator(".readout").inner_text().replace("−", "-")  # noqa: RUF001
        match = re.fullmatch(r"row (\d+), column (\d+): red (.+), green (.+), blue (.+)", text)
        assert match, text
        assert (int(match[1]), int(match[2])) == (row, column)
        read = [float(match[n]) for n in (3, 4, 5)]
        np.testing.assert_allclose(read, kernels[5, row, column], rtol=1e-4)

    box = large.bounding_box()
    for row, column in [(0, 0), (2, 4), (6, 6)]:
        place = [
            box[side] * (each + 0.5) / 7 for side, each in (("width", column), ("height", row))
        ]
        large.hover(position={"x": place[0], "y": place[1]})
        reads(row, column)
    tab.page.mouse.move(0, 0)
    tab.says(".readout", "Point at a weight")
    large.focus()
    for key, where in [("ArrowRight", (0, 0)), ("ArrowRight", (0, 1)), ("ArrowDown", (1, 1))]:
        tab.page.keyboard.press(key)
        reads(*where)

    tab.at.get_by_text("Weights as a table").click()
    cells = tab.at.locator(".weights td:not(:empty)")
    cells.nth(48).wait_for()
    assert cells.count() == 49
    table = [text.replace("−", "-").split() for text in cells.all_inner_texts()]  # noqa: RUF001
    written = [[float(part.split()[-1]) for part in row if part[-1].isdigit()] for row in table]
    np.testing.assert_allclose(np.reshape(written, (7, 7, 3)), kernels[5], rtol=1e-4)

    named = measures.label_of_filter(kernels[5:6], rgb=True).names[0]
    tab.says(".label", f"{named} at step 3:")
    assert tab.at.locator(".curve .marker").count() == 3
    far = drift(kernels, exp1.kernels("rgb", 0))[5]
    tab.says(".curve", f"drift from the start: {far:.3f}")
    before = tab.at.locator(".curve .marker").first.get_attribute("x1")
    history = tab.at.get_by_role("group", name="History").get_by_role("button")
    assert history.all_inner_texts() == [str(step) for step in exp1.steps]
    tab.button("go to step 6").click()
    tab.drawn(6)
    assert tab.at.locator(".curve .marker").first.get_attribute("x1") != before
    tab.shows(large, picture([exp1], "rgb", 6, only=5))
    tab.shows(history.nth(2).locator("canvas"), picture([exp1], "rgb", 2, only=5))
    assert tab.at.get_by_role("heading", name="Filter 5").is_visible()
    large.press("Escape")
    tab.at.locator("section.filter").wait_for(state="hidden")


def test_runs_beside_each_other_share_a_scale_and_are_saved(logs, tab, exp1, exp2, tmp_path):
    """Two runs on one scale, their steps linked; a PNG of the canvases, and animate's own bytes."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb", step=5).drawn(5).loaded()
    tab.choose_runs("exp1", "exp2")
    for scale in ("frame", "layer"):
        tab.choice("dark to light").select_option(scale)
        for number in (0, 1):
            drawn = picture([exp1, exp2], "rgb", 5, number=number, scale=scale)
            tab.shows(tab.canvas.nth(number), drawn)
    tab.at.get_by_role("slider").fill("2")
    for number in (0, 1):
        drawn = picture([exp1, exp2], "rgb", 2, number=number, scale="layer")
        tab.shows(tab.canvas.nth(number), drawn)
    tab.button("filter 3").first.click()
    blocks = tab.at.locator(".block > canvas")
    for number in (0, 1):
        drawn = picture([exp1, exp2], "rgb", 2, number=number, scale="layer", only=3)
        tab.shows(blocks.nth(number), drawn)
    tab.button("Close").click()

    def saved(button):
        with tab.page.expect_download() as download:
            tab.button(button).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    file = saved("Save the grid as PNG")
    assert file.name == "rgb-step-2.png"
    with Image.open(file) as image:
        got = np.asarray(image.convert("RGB"))
    left, right = pixels(tab.canvas.nth(0)), pixels(tab.canvas.nth(1))
    np.testing.assert_array_equal(got[: len(left), : left.shape[1]], left)
    np.testing.assert_array_equal(got[: len(right), -right.shape[1] :], right)

    options = {"layers": ["rgb"], "scale": "layer", "theme": "light", "fps": 10.0}
    animate(exp1, tmp_path / "two.gif", compare=exp2, **options)
    file = saved("Save an animation of all steps")
    assert file.name == "rgb.gif"
    assert file.read_bytes() == (tmp_path / "two.gif").read_bytes()
    tab.choose_runs("exp1")
    tab.choice("channels").select_option("2")
    tab.choice("colours").select_option("magma")
    tab.choice("difference from the start").check()
    options |= {"channels": 2, "colormap": "magma", "delta": True}
    animate(exp1, tmp_path / "one.gif", **options)
    file = saved("Save an animation of all steps")
    assert file.read_bytes() == (tmp_path / "one.gif").read_bytes()


def test_a_run_of_another_shape_says_so_beside_the_others(logs, tab, exp1, conv_info):
    """What cannot be compared is named, and the run that can be shown is."""
    write(logs.logdir / "z_small", conv_info("rgb", (5, 5, 3, 4), bias=False), range(3))
    logs.lists("z_small")
    tab = tab().go(logs.address, runs='["exp1", "z_small"]', layer="rgb").drawn(LAST)
    tab.says(".note", "Its filters have another shape here: 4 × 5 × 5 × 3, not 8 × 7 × 7 × 3.")
    tab.shows(tab.canvas.first, picture([exp1], "rgb", LAST))
    tab.choice("layer").select_option("deep")
    tab.says(".note", "This run has no such layer.")
    shutil.rmtree(logs.logdir / "z_small")


def test_training_is_followed_while_it_goes_on(logs, tab, until):
    """Steps come by themselves and the last is shown; who has gone back stays where they are."""
    folder = logs.logdir / "z_live"
    command = [sys.executable, "-c", TRAINING, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as training:

        def more(epochs):
            training.stdin.write("\n" * epochs)
            training.stdin.flush()

        until(lambda: Run.exists(folder) and Run(folder).steps, "the first snapshot")
        logs.lists("z_live")
        tab = tab().go(logs.address, runs='["z_live"]').drawn(0)
        more(3)
        tab.drawn(3)
        slider = tab.at.get_by_role("slider")
        slider.fill("1")
        tab.drawn(1)
        more(2)
        tab.says(".when", "step 1 · 2 of 6")
        assert tab.grid.get_attribute("data-drawn") == "1"
        slider.press("End")
        tab.drawn(5)
        more(3)
        tab.drawn(8)
        assert training.wait(PATIENCE) == 0
    tab.says(".when", "step 8 · 9 of 9")
    tab.shows(tab.canvas, picture([Run(folder)], "rgb", 8))


def test_a_snapshot_written_anew_is_drawn_anew(logs, tab, conv_info):
    """The same step with other weights takes the place of what was shown."""
    run = write(logs.logdir / "z_again", conv_info("rgb", (5, 5, 3, 4), bias=False), range(3))
    logs.lists("z_again")
    tab = tab().go(logs.address, runs='["z_again"]', step=1, scale="layer").drawn(1).loaded()
    tab.shows(tab.canvas, picture([run], "rgb", 1, scale="layer"))
    run.append(weights_at(run, 1, seed=1))
    tab.shows(tab.canvas, picture([run], "rgb", 1, scale="layer"))
    assert tab.at.locator(".when").inner_text() == "step 1 · 2 of 3"


def test_weights_that_are_not_those_of_the_training_are_marked(logs, tab, conv_info):
    """What was restored in the end is the last step, and says what it is."""
    run = write(logs.logdir / "z_restored", conv_info("rgb", (5, 5, 3, 4), bias=False), range(4))
    moment = Moment(4, 3, epochs=9, epoch_batch=0, note="restored: epoch 1")
    run.append(Snapshot(moment, run.snapshot(1).arrays))
    logs.lists("z_restored")
    tab = tab().go(logs.address, runs='["z_restored"]').drawn(4).loaded()
    assert tab.at.locator(".when").inner_text() == "step 4 · 5 of 5 · restored: epoch 1"
    slider = tab.at.get_by_role("slider", name="Step")
    said = slider.get_attribute("aria-valuetext")
    assert said == "step 4, epoch 3 of 9 (restored: epoch 1)"
    assert tab.at.locator(".moment").inner_text().startswith("epoch 3 of 9 (restored: epoch 1)")
    slider.fill("3")
    tab.drawn(3)
    assert tab.at.locator(".when").inner_text() == "step 3 · 4 of 5"


def test_damage_is_marked_and_explained(logs, tab, conv_info, tmp_path):
    """A damaged snapshot is red on the line and says why; the others are shown as ever."""
    run = write(logs.logdir / "z_broken", conv_info("rgb", (5, 5, 3, 4), bias=False), range(5))
    damage(run.file(2))
    logs.lists("z_broken")
    tab = tab().go(logs.address, runs='["z_broken"]').drawn(4).loaded()
    tab.says(".status", "damaged: step 2")
    marks = pixels(tab.at.locator("canvas.marks"))
    assert (marks[4] == (196, 58, 49)).all(-1).any()
    tab.at.get_by_role("slider").fill("2")
    tab.says(".note", "step 2 cannot be read:")
    assert "000000000002.npz" in tab.at.locator(".note").inner_text()
    tab.at.get_by_role("slider").press("ArrowRight")
    tab.drawn(3)
    assert tab.at.locator(".note").is_hidden()
    tab.shows(tab.canvas, picture([run], "rgb", 3, steps=[3]))

    for step in (0, 1, 3, 4):
        damaged = tmp_path / "damaged"
        shutil.copy(run.file(step), damaged)
        damage(damaged)
        damaged.replace(run.file(step))
    tab.says(".status", "damaged: step 0, step 1, step 2, step 3, step 4")
    tab.says(".note", "step 3 cannot be read:")
    tab.choose_runs("exp1")
    tab.drawn(3)


def test_a_run_without_a_manifest_it_can_read_leaves_the_others_alone(logs, tab, exp1, conv_info):
    """The reason is said, and the run beside it is shown."""
    run = write(logs.logdir / "z_nothing", conv_info("rgb", (7, 7, 3, 8), bias=False), range(3))
    logs.lists("z_nothing")
    (run.folder / "manifest.json").write_text("{")
    tab = tab()
    tab.expected = [r"^400: .*run=z_nothing", r"^console: .* 400 .*run=z_nothing"]
    tab.go(logs.address, runs='["exp1", "z_nothing"]', layer="rgb")
    tab.says(".alert", "manifest.json")
    tab.drawn(LAST)
    tab.shows(tab.canvas.first, picture([exp1], "rgb", LAST))
    shutil.rmtree(run.path)


def test_a_run_that_begins_is_found_below_a_path_prefix(tensorboard, tab, tmp_path, conv_info):
    """First there is no run, and a sentence says so; then it is shown by itself."""
    tab = tab()
    # TensorBoard asks for its fonts without the prefix; its process ends before the page.
    tab.expected = ["font-roboto", "ERR_CONNECTION_REFUSED"]
    with tensorboard("--logdir", tmp_path, "--path_prefix", "/some/prefix") as server:
        assert server.address.endswith("/some/prefix")
        tab.go(server.address)
        tab.says(".alert", "There is no run of filtertrack below the log folder yet")
        run = write(tmp_path / "new", conv_info("rgb", (5, 5, 3, 4), bias=False), range(2))
        tab.drawn(1)
        tab.shows(tab.canvas, picture([run], "rgb", 1))
        tab.at.locator(".alert").wait_for(state="hidden")


def test_a_run_without_snapshots_is_said_in_a_sentence(logs, tab, conv_info):
    """It does not look broken, and its first snapshot is shown by itself."""
    run = write(logs.logdir / "z_begun", conv_info("rgb", (5, 5, 3, 4), bias=False), [])
    logs.lists("z_begun")
    tab = tab().go(logs.address, runs='["z_begun"]')
    tab.at.locator("main").filter(
        has_text=re.compile(r"no (snapshot|step)|not begun|not yet", re.IGNORECASE)
    ).wait_for(timeout=5000)
    run.append(weights_at(run, 0))
    tab.drawn(0)


def test_markup_in_names_stays_text(logs, tab, conv_info):
    """Names of runs, layers and metrics are shown as they are, and nothing of them is run."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False, path=HOSTILE, class_name=HOSTILE)
    write(logs.logdir / HOSTILE, info, range(2))
    logs.lists(HOSTILE)
    tab = tab().go(logs.address, runs=json.dumps([HOSTILE])).drawn(1)
    tab.button("filter 1").click()
    tab.says("figcaption strong", HOSTILE)
    tab.says("figcaption", f"<b>{HOSTILE}</b>")
    tab.says("details.runs summary", HOSTILE)
    tab.at.get_by_text("about").click()
    tab.choose_runs("exp1", HOSTILE)
    tab.says(".note", "Its filters have another shape")
    for frame in tab.page.frames:
        assert frame.locator("img[src='x']").count() == 0
    assert tab.at.locator("main b").count() == 0
    shutil.rmtree(logs.logdir / HOSTILE)


def test_what_would_turn_a_line_round_is_shown_as_a_question_mark(logs, tab, conv_info):
    """Characters that change a text's direction or steer a terminal, in names of any kind."""
    name = "run\u202ekcab\x1b[2J\x07"
    run = Run.create(logs.logdir / name, [conv_info("rgb", (5, 5, 3, 4), bias=False)])
    for step in range(2):
        snapshot = weights_at(run, step)
        moment = Moment(step, step, 10 * step, {"lo\u2066ss\r": 1.0})
        run.append(Snapshot(moment, snapshot.arrays))
    logs.lists(name)
    tab = tab().go(logs.address, runs=json.dumps([name])).drawn(1)
    tab.button("filter 1").click()
    shown = "run?kcab?[2J?"
    tab.says("figcaption strong", shown)
    tab.says("figcaption", "lo?ss? 1.000")
    tab.says("details.runs summary", shown)
    tab.choose_runs("exp1", shown)
    read = tab.at.locator("body").evaluate(READABLE)
    assert {c for c in read if not c.isprintable()} <= {"\n", "\xa0"}


def test_the_layer_worth_seeing_is_opened(logs, tab, exp1):
    """The server says which; one that the address names comes first."""

    def other(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "default_layer": "deep"})

    for look, layer in (({}, "deep"), ({"layer": "point"}, "point")):
        opened = tab()
        opened.page.route("**/layers?*", other)
        opened.go(logs.address, runs='["exp1"]', **look).drawn(LAST)
        assert opened.choice("layer").input_value() == layer


def test_a_server_that_hangs_is_said_and_asked_again(logs, tensorboard, tab, exp1):
    """A stopped process: after some seconds the page says so, and goes on when it answers again."""
    with tensorboard("--logdir", logs.logdir) as server:
        tab = tab().go(server.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
        tab.expected = ["ERR_CONNECTION_REFUSED"]  # its process ends before the page
        server.process.send_signal(signal.SIGSTOP)
        try:
            tab.choice("difference from the start").check()
            tab.says(".alert", "has not answered for 5 seconds; the page waits for it")
        finally:
            server.process.send_signal(signal.SIGCONT)
        tab.at.locator(".alert").wait_for(state="hidden")
        tab.loaded().shows(tab.canvas, picture([exp1], "rgb", LAST, delta=True, scale="frame"))


def test_an_answer_that_never_comes_is_asked_for_again(logs, tab, exp1):
    """A minute without an answer: the page says so, asks again, and shows what comes then."""
    tab = tab()
    held = []
    tab.page.clock.install()
    tab.page.route("**/cells?*", lambda each: each.continue_() if held else held.append(each))
    tab.go(logs.address, runs='["exp1"]', layer="rgb")
    tab.wait(lambda: held, "a question")
    tab.page.clock.fast_forward(61_000)
    tab.says(".alert", "TensorBoard did not answer for 60 seconds. (It is asked again")
    tab.page.clock.fast_forward(4_000)
    tab.drawn(LAST).loaded()
    tab.at.locator(".alert").wait_for(state="hidden")
    tab.shows(tab.canvas, picture([exp1], "rgb", LAST))


def test_it_is_used_without_a_mouse(logs, tab):
    """Everything has a name; the grid is one stop of the tab key, and arrows go through it."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    for role in ("button", "combobox", "checkbox", "slider"):
        everything = tab.at.get_by_role(role).all()
        assert everything
        for each in everything:
            assert re.search(rf'- {role} "[^"]+"', each.aria_snapshot()), each.aria_snapshot()
    assert tab.at.get_by_role("slider").get_attribute("aria-valuetext") == "step 8, epoch 8 of 8"
    tab.button("filter 0").focus()
    stops = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"):
        tab.page.keyboard.press(key)
        stops.append(tab.frame.evaluate(WHERE_FOCUS_IS))
    assert stops == [f"filter {number}" for number in (1, 5, 4, 0, 1)]
    outline = tab.frame.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab.page.keyboard.press("Tab")
    assert tab.frame.evaluate(WHERE_FOCUS_IS) == "First step"
    tab.page.keyboard.press("Shift+Tab")
    assert tab.frame.evaluate(WHERE_FOCUS_IS) == "filter 1"
    tab.page.keyboard.press("Enter")
    tab.at.get_by_role("heading", name="Filter 1").wait_for()


def test_the_keyboard_still_works_after_a_filter_was_opened(logs, tab):
    """Focus is not lost when the grid makes room: Escape closes, and an arrow goes on."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    tab.button("filter 1").focus()
    tab.page.keyboard.press("Enter")
    tab.at.get_by_role("heading", name="Filter 1").wait_for()
    tab.page.keyboard.press("Escape")
    tab.at.locator("section.filter").wait_for(state="hidden", timeout=3000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_narrow_and_wide_light_and_dark(logs, tab, tmp_path, width, theme):
    """Nothing lies beyond the right edge; the theme is TensorBoard's, also between the cells."""
    exp1, dark = Run(logs.logdir / "exp1"), theme == "dark"
    tab = tab(width=width).go(logs.address, dark=dark, runs='["exp1"]', layer="rgb", filter=2)
    tab.drawn(LAST).loaded()
    tab.at.get_by_role("heading", name="Filter 2").wait_for()
    assert tab.frame.evaluate("document.documentElement.dataset.theme") == theme
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.shows(tab.canvas, picture([exp1], "rgb", LAST, theme=theme))
    shot = tmp_path / f"{width}-{theme}.png"
    tab.page.screenshot(path=shot)
    with Image.open(io.BytesIO(shot.read_bytes())) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 200


def test_the_address_keeps_what_is_looked_at(logs, tab):
    """After a reload there are the same runs, layer, step, filter and look."""
    tab = tab().go(logs.address).drawn(LAST)
    tab.choose_runs("exp1", "exp2")
    tab.choice("layer").select_option("deep")
    tab.choice("dark to light").select_option("layer")
    tab.choice("order").select_option("drift")
    tab.button("filter 3").first.click()
    tab.at.get_by_role("slider").fill("4")
    tab.wait(lambda: "filtertrack.step=4" in tab.page.url, "the address")
    tab.page.reload()
    tab.drawn(4).loaded()
    assert tab.grid.count() == 2
    assert tab.choice("layer").input_value() == "deep"
    assert tab.choice("dark to light").input_value() == "layer"
    assert tab.choice("order").input_value() == "drift"
    assert tab.at.get_by_role("heading", name="Filter 3").is_visible()


@pytest.mark.parametrize(
    "look",
    [
        {"runs": "[", "layer": "x", "step": "-1", "filter": "999", "page": "77", "scale": "?"},
        {"runs": '{"a": 1}', "step": "9" * 40, "channels": "99", "page": "1e9"},
        {"layer": "__proto__", "runs": '["__proto__", "../exp1"]', "filter": "NaN"},
        {"colormap": "none-such"},
        {"order": "none-such"},
        {"layer": "rgb", "channels": "-1"},
        {"layer": "point", "channels": "1"},
    ],
    ids=["cut", "large", "prototype", "colormap", "order", "channel", "matrix"],
)
def test_a_nonsense_address_does_no_harm(logs, tab, look):
    """What an address says that cannot be is left aside, and the rest is shown."""
    tab = tab()
    tab.expected = ["^400: ", "^console: .* 400 "]  # looked at below, where a fault may be known
    tab.page.set_default_timeout(3000)
    tab.go(logs.address, **look).loaded()
    tab.grid.and_(tab.at.locator("[data-drawn]")).first.wait_for()
    assert tab.at.locator(".alert").is_hidden()
    assert tab.troubles == []


def test_sixty_steps_a_second_are_drawn(logs, tab, conv_info):
    """500 steps of 64 filters of 7x7x3 are played at the screen's own rate."""
    write(logs.logdir / "z_long", conv_info("rgb", (7, 7, 3, 64), bias=False), range(500))
    logs.lists("z_long")
    tab = tab().go(logs.address, runs='["z_long"]').drawn(499).loaded()
    tab.choice("speed").select_option("60")
    tab.button("Play").click()
    tab.button("Pause").wait_for()
    assert tab.frame.evaluate(COUNT, 3) >= 45


@pytest.fixture
def forgetful(logs, tab, conv_info):
    """A run of 200 steps in a page whose memory holds 31 of them."""
    folder = logs.logdir / "z_large"
    if not Run.exists(folder):
        write(folder, conv_info("rgb", (7, 7, 3, 16), bias=False), range(200))
    logs.lists("z_large")
    tab = tab()

    def small(route):
        response = route.fetch()
        script, count = re.subn(r"(const MOST_BYTES) = [^;]+;", r"\1 = 300e3;", response.text())
        route.fulfill(response=response, body=script if count == 1 else "MOST_BYTES is gone")

    tab.page.route("**/static/snapshot_cache.js", small)
    tab.go(logs.address, runs='["z_large"]').drawn(199)
    assert "of 200 steps loaded" in tab.at.locator(".status").inner_text()
    tab.choice("speed").select_option("60")
    return tab


def test_a_run_larger_than_memory_is_played_step_by_step(forgetful):
    """Only what lies around the step looked at is kept, and each is still shown on its way."""
    tab = forgetful
    tab.choice("loop").uncheck()
    tab.frame.evaluate(SEEN)
    tab.at.get_by_role("slider").press("Home")
    tab.drawn(0)
    tab.button("Play").click()
    tab.drawn(199)
    seen = tab.frame.evaluate("window.seen")
    ascending = list(dict.fromkeys(seen[seen.index(0) : seen.index(199, 1) + 1]))
    assert len(ascending) > 150  # at 60 a second a frame may be left out
    assert ascending == sorted(ascending)


def test_a_run_larger_than_memory_goes_round(forgetful):
    """After the last step comes the first one, though it was forgotten."""
    tab = forgetful
    tab.at.get_by_role("slider").fill("190")
    tab.drawn(190)
    tab.frame.evaluate(SEEN)
    tab.button("Play").click()
    tab.frame.wait_for_function("window.seen.length > 30")
    seen = tab.frame.evaluate("window.seen")
    assert {199, 0} <= set(seen)
    assert seen[seen.index(199) + 1] == 0


def test_a_run_ticked_while_it_plays_joins_in(logs, tab):
    """Playing goes on, with both."""
    tab = tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    tab.choice("speed").select_option("60")
    tab.button("Play").click()
    tab.choose_runs("exp1", "exp2")
    tab.at.locator("figure.grid[data-drawn]").nth(1).wait_for()
    tab.frame.evaluate(SEEN)
    tab.frame.wait_for_function("window.seen.length > 20")
    assert len(set(tab.frame.evaluate("window.seen"))) > 3


def test_a_run_that_cannot_be_read_holds_no_other_back(logs, tab, conv_info):
    """New snapshots of the one beside it are shown as ever."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False)
    run = write(logs.logdir / "z_fine", info, range(3))
    other = write(logs.logdir / "z_gone", info, range(3))
    logs.lists("z_fine")
    logs.lists("z_gone")
    tab = tab()
    tab.expected.append("z_gone")
    tab.go(logs.address, runs='["z_fine", "z_gone"]').drawn(2)
    (other.folder / "manifest.json").write_text("{")
    tab.says(".alert", "manifest.json")
    run.append(weights_at(run, 3))
    tab.drawn(3)


def test_no_picture_is_saved_of_a_step_that_cannot_be_read(logs, tab, conv_info):
    """Not of the step before it under this one's name; the filter that is open says so, too."""
    run = write(logs.logdir / "z_unread", conv_info("rgb", (5, 5, 3, 4), bias=False), range(3))
    damage(run.file(1))
    logs.lists("z_unread")
    tab = tab().go(logs.address, runs='["z_unread"]', filter=2, step=0).drawn(0).loaded()
    tab.at.get_by_role("slider").press("ArrowRight")
    tab.says(".note", "step 1 cannot be read")
    tab.at.locator(".block.damaged").wait_for()
    tab.button("Save the grid as PNG").click()
    tab.says(".alert", "no picture to save")


def test_a_run_that_is_replaced_stays_chosen(logs, tab, conv_info):
    """While it is away another one is shown, and it again when it is back."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False)
    run = write(logs.logdir / "z_renewed", info, range(3))
    logs.lists("z_renewed")
    tab = tab()
    tab.expected.append("z_renewed")
    tab.go(logs.address, runs='["z_renewed"]').drawn(2)
    run.folder.rename(run.path / "away")
    tab.says("figure.grid strong", "exp1")
    (run.path / "away").rename(run.folder)
    tab.says("figure.grid strong", "z_renewed")
    tab.drawn(2)
