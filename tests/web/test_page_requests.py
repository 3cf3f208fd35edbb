"""Answers that come late, fail once or fail for good, and runs that are replaced."""

import shutil
import time

import numpy as np
import pytest

from filtertrack import LayerInfo, Moment, Run, Snapshot
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.response import ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.probe_format import write_probes

LAST = 8

PROBED = ProbedLayer(
    "c", "the layer's output", False, (6, 6), (6, 6), 1, "images",
    ReceptiveField((3, 3), (1, 1), (0, 0)),
)  # fmt: skip
CONV3D = LayerInfo(
    name="c", path="c", class_name="Conv3D", kernel="c/kernel", bias=None,
    kernel_shape=(3, 3, 3, 1, 16), axes=(4, 0, 1, 2, 3), shape=(16, 3, 9, 1), dtype="float32",
    strides=(1, 1, 1), dilation=(1, 1, 1),
)  # fmt: skip


class Fault:
    """Answers of a route that are held, or replaced by an error, and how many there were."""

    def __init__(self, tab, route, *, part="", status=503, times=1):
        self.count, self.held = 0, []
        self._part, self._status, self._left = part, status, times
        tab.page.route(f"**/plugin/filtertrack/{route}?*", self._answer)
        tab.expected.append(rf"\b{status}\b.*/{route}\?")

    def _answer(self, route):
        if self._part not in route.request.url:
            route.continue_()
            return
        self.count += 1
        if self._status is None:
            self.held.append(route)
        elif self._left > 0:
            self._left -= 1
            route.fulfill(
                status=self._status, body="an answer is missing", content_type="text/plain"
            )
        else:
            route.continue_()

    def release(self):
        """Continue the requests that are held, and all that follow."""
        self._status, self._left = 503, 0
        for route in self.held:
            route.continue_()


@pytest.fixture
def two_kinds(logs, conv_info):
    """Write a run whose layer ``a`` has edges, and whose layer ``b`` has blobs."""
    folder = logs.logdir / "w_kinds"
    if not folder.exists():
        infos = [conv_info(name, (7, 7, 1, 16), bias=False) for name in "ab"]
        y, x = np.mgrid[-3:4, -3:4]
        blob = np.exp(-(x**2 + y**2) / 3)
        edge = np.sin(x) * np.exp(-(x**2 + y**2) / 8)
        rng = np.random.default_rng(0)
        run = Run.create(folder, infos)
        arrays = {
            info.kernel: (kind[..., None, None] + 0.02 * rng.normal(size=(7, 7, 1, 16))).astype(
                "f4"
            )
            for info, kind in zip(infos, (edge, blob - blob.mean()), strict=True)
        }
        run.append(Snapshot(Moment(0, 0, 0), arrays))
    return "w_kinds"


@pytest.fixture
def write_constant(logs, conv_info):
    """Write a run whose probes and metrics have one value; the kernel is that of its steps."""

    def write(name, value, *, steps=3, probes=True):
        info = conv_info("c", (3, 3, 1, 4), bias=False, preprocessing=(), padding="valid",
                         activation="linear")  # fmt: skip
        run = Run.create(logs.logdir / name, [info])
        if probes:
            add_probes(run, value)
        for step in range(steps):
            append(run, step, value, probes=probes)
        return run

    return write


def add_probes(run, value):
    images = np.full((2, 8, 8, 1), value, "f4")
    images[:, 7, 7] = 0
    write_probes(run.folder, StoredProbes({"images": images}, {"c": PROBED}, 2))


def append(run, step, value, *, probes):
    responses = {}
    if probes:
        reduction = ResponseReduction(PROBED, 2)
        reduction.add(np.full((2, 6, 6, 4), 9 * value * (step + 1), "f4"))
        responses["c"] = reduction.result()
    kernel = np.full((3, 3, 1, 4), step + 1, "f4")
    moment = Moment(step, step, step, {"loss": value})
    run.append(Snapshot(moment, {run.layer("c").kernel: kernel}, responses))


def settle(tab, seconds=0.7):
    """Let the page continue for a time in which nothing may happen."""
    tab.page.wait_for_timeout(1000 * seconds)


def test_late_labels_of_another_layer_are_not_shown(logs, open_tab, two_kinds):
    """Neither as outlines, nor as headings of groups, nor in the legend."""
    tab = open_tab()
    fault = Fault(tab, "labels", part="layer=a&", status=None)
    look = {"layer": "b", "order": "label", "outline": 1}
    tab.go(logs.address, runs=f'["{two_kinds}"]', **look).loaded()
    tab.says("p.labels", "kinds at step")
    before = tab.at.locator("p.labels").first.inner_text()
    assert "blob" in before
    tab.frame.locator("body").press("p")
    tab.wait(lambda: fault.held, "the request of the labels of the other layer")
    tab.frame.locator("body").press("n")
    settle(tab)
    fault.release()
    settle(tab)
    tab.page.set_viewport_size({"width": 1270, "height": 790})
    settle(tab)
    assert tab.choice("layer").input_value() == "b"
    assert tab.at.locator("p.labels").first.inner_text() == before


def test_a_layer_is_shown_until_the_answers_about_the_next_one_are_there(logs, open_tab, conv_info):
    """Also in a run that does not have the next one."""
    info = conv_info("rgb", (7, 7, 3, 8), bias=False)
    logs.write("w_one_layer", range(2), info)
    tab = open_tab()
    fault = Fault(tab, "parts", part="layer=deep&", status=None)
    tab.go(logs.address, runs='["exp1", "w_one_layer"]', layer="rgb").loaded()
    tab.choice("layer").select_option("deep")
    tab.wait(lambda: fault.held, "the request of the parts")
    tab.at.get_by_role("slider").press("ArrowLeft")
    settle(tab, 0.3)
    assert tab.grid.count() == 2
    assert all(grid.is_visible() for grid in tab.grid.all())
    fault.release()
    tab.says(".note", "This run has no such layer.")


def test_an_open_filter_has_the_probes_of_the_run_that_replaced_another(
    logs, open_tab, write_constant
):
    """And its metrics: those of the deleted run are not shown while the answer is missing."""
    write_constant("w_new", 1.0)
    tab = open_tab().poll_often()
    tab.expected.append("w_new")
    tab.go(logs.address, runs='["w_new"]', filter=1, responses=1).loaded()
    total = tab.at.locator(".product .sum").first
    tab.wait(lambda: "27" in total.inner_text(), "the product with the old probes")
    tab.says(".legend", "1.000")
    fault = Fault(tab, "metrics", status=None)
    shutil.rmtree(logs.logdir / "w_new")
    write_constant("w_new", 5.0)
    tab.wait(lambda: "135" in total.inner_text(), "the product with the new probes")
    assert fault.held
    assert tab.at.locator(".entry").count() == 0
    assert "loss 5" in tab.at.locator(".caption").first.inner_text()
    fault.release()
    tab.says(".legend", "5.000")


def test_an_answer_that_failed_once_is_requested_again(logs, open_tab, write_constant):
    """The labels, the curves and the label of a filter, its products and the pictures of probes."""
    write_constant("w_busy", 2.0)
    tab = open_tab(height=1000)
    tab.set_constants("answer_cache.js", RETRY_DELAY=500).poll_often()
    routes = ("labels", "trajectory", "label", "input", "probe", "probes", "metrics", "steps")
    faults = {route: Fault(tab, route) for route in routes}
    tab.expected.append("503")
    tab.go(logs.address, runs='["w_busy"]', outline=1, filter=1, responses=1).loaded()
    tab.says(".product .sum", "54")
    tab.says("p.labels", "kinds at step 2")
    tab.says("p.label", "roughness")
    tab.says(".curves", "norm: 9")
    tab.says(".legend", "2.000")
    tab.wait(lambda: min(fault.count for fault in faults.values()) >= 2, "each request again")
    tab.at.locator(".alert").wait_for(state="hidden")


@pytest.mark.parametrize("route", ["input", "trajectory", "label"])
def test_an_answer_that_is_refused_is_requested_once(logs, open_tab, write_constant, route):
    """The reason is shown as long as the filter is open."""
    if not (logs.logdir / "w_refused").exists():
        write_constant("w_refused", 2.0)
    tab = open_tab(height=1000).set_constants("answer_cache.js", RETRY_DELAY=200)
    part = "step=2&" if route == "label" else ""  # the history requests labels of other steps
    fault = Fault(tab, route, part=part, status=400, times=99)
    tab.go(logs.address, runs='["w_refused"]', filter=1, responses=1).loaded()
    tab.says("p.label" if route == "label" else ".alert", "an answer is missing")
    settle(tab, 0.8)
    assert fault.count == 1
    tab.button("Close").click()
    tab.at.locator(".alert").wait_for(state="hidden")


def test_the_label_of_a_3d_filter_says_that_it_is_too_small(logs, open_tab):
    """As the legend of its grid does: each slice has fewer weights than a label needs."""
    kernel = np.random.default_rng(0).normal(size=CONV3D.kernel_shape).astype("f4")
    logs.write_kernels("w_3d", CONV3D, [kernel])
    tab = open_tab(height=1000).go(logs.address, runs='["w_3d"]', filter=1, outline=1).loaded()
    tab.says("p.label", "a filter of 3×3 is too small to be told from noise")
    tab.choice("order").select_option("label")
    tab.says(".grids", "filters of 3×3 are too small to be distinguished from noise")


def test_a_request_without_an_answer_is_repeated(logs, open_tab, exp1):
    """After three seconds here, a minute in use, with a notice; then the page shows the answer."""
    tab = open_tab().set_constants("requests.js", DEFAULT_TIMEOUT=3000)
    tab.set_constants("answer_cache.js", RETRY_DELAY=200)
    held, answers = [], []
    tab.page.route("**/cells?*", lambda each: each.continue_() if answers else held.append(each))
    tab.go(logs.address, runs='["exp1"]', layer="rgb", delta=0)
    tab.says(".alert", "TensorBoard did not answer for 3 seconds. (It is asked again")
    answers.append(True)
    tab.drawn(LAST).loaded()
    tab.at.locator(".alert").wait_for(state="hidden")
    tab.shows(tab.canvas, logs.picture([exp1], "rgb", LAST))


def test_polling_continues_after_an_error(logs, open_tab, write_constant):
    """Also where the page cannot read an answer, and that answer is requested again."""
    write_constant("w_error", 1.0)
    tab = open_tab().poll_often()
    tab.expected += ["w_error", "^error: .*null"]
    tab.go(logs.address, runs='["w_error"]').drawn(2)
    left = [1]

    def answer(route):
        if left:
            left.pop()
            route.fulfill(body="null", content_type="application/json")
        else:
            route.continue_()

    tab.page.route("**/plugin/filtertrack/parts?*", answer)
    shutil.rmtree(logs.logdir / "w_error")
    run = write_constant("w_error", 2.0, steps=2)
    tab.wait(lambda: not left, "the answer that cannot be read")
    tab.drawn(1)
    append(run, 2, 2.0, probes=True)
    tab.says(".when", "step 2 · 3 of 3")


def test_probes_that_are_added_later_are_found_without_delaying_snapshots(
    logs, open_tab, write_constant
):
    """They are not requested with every new snapshot."""
    run = write_constant("w_later", 1.0, steps=1, probes=False)
    tab = open_tab().poll_often().set_constants("run_data.js", PROBES_DELAY=3000)
    requests = []
    tab.page.on("request", lambda each: requests.append("/probes?" in each.url))
    start = time.monotonic()
    tab.go(logs.address, runs='["w_later"]', filter=1).drawn(0)
    for step in (1, 2, 3):
        append(run, step, 1.0, probes=False)
        tab.drawn(step)
    assert sum(requests) <= 1 + (time.monotonic() - start) // 3
    fault = Fault(tab, "probes", status=None)
    add_probes(run, 1.0)
    append(run, 4, 1.0, probes=True)
    tab.wait(lambda: fault.held, "the request of the probes")
    append(run, 5, 1.0, probes=True)
    tab.drawn(5)
    fault.release()
    tab.says(".product .sum", "54")


def test_values_are_added_to_those_that_are_known(logs, open_tab, write_constant):
    """A metric may begin later, and a snapshot may be replaced."""
    run = write_constant("w_values", 1.0, steps=2, probes=False)
    kernel = run.layer("c").kernel
    weights = np.ones((3, 3, 1, 4), "f4")
    tab = open_tab().poll_often()
    answered = []
    tab.page.on("response", lambda each: "/metrics?" in each.url and answered.append(each))
    tab.go(logs.address, runs='["w_values"]').drawn(1)
    tab.says(".legend", "1.000")
    run.append(Snapshot(Moment(2, 2, 2, {"loss": 3.0, "other": 4.0}), {kernel: weights}))
    tab.says(".legend", "3.000")
    answers = [each.json() for each in answered]
    assert (2, [2]) in [(answer["first"], answer["steps"]) for answer in answers]
    slider = tab.at.get_by_role("slider")
    slider.fill("0")
    tab.says(".legend", "1.000")
    run.append(Snapshot(Moment(0, 0, 0, {"loss": 7.0}), {kernel: weights}))
    tab.says(".legend", "7.000")
    tab.choice("metric").select_option("other")
    slider.fill("2")
    tab.says(".legend", "4.000")
