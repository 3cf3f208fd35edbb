"""``live=True``: a picture below the cell of a notebook, in kernels that really run."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.capture import callback
from filtertrack.capture.live_picture import LivePicture
from filtertrack.capture.processes import InactiveProcess, Processes
from filtertrack.outputs import frames
from filtertrack.outputs.frame_header import FrameHeader

_LOOP = """
import time, numpy as np
from filtertrack import ArrayTracker
from filtertrack.capture.live_picture import LivePicture

def train(folder, seconds, **options):
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 8))
    with ArrayTracker(folder, **options) as tracker:
        for step in range(int(10 * seconds)):
            metrics = {"loss": 1 / (1 + step)}
            tracker.snapshot(step, {"conv": kernel + step}, axes="HWIO", metrics=metrics)
            time.sleep(0.1)
"""


def pictures(executed):
    """Return the time and the PNG file of each picture that was shown."""
    updates = [(when, c["data"]) for when, kind, c in executed.messages if "update" in kind]
    return [
        (when, base64.b64decode(data["image/png"])) for when, data in updates if "image/png" in data
    ]


@pytest.fixture(scope="module")
def trained(run_notebook, tmp_path_factory):
    """A loop of five seconds in a cell that prints after it; then a second one, and one without."""
    return run_notebook(
        _LOOP,
        "train('run', 5, live=True)\nprint('the end')",
        "train('other', 1, live=True)",
        "train('quiet', 0.2)",
        cwd=tmp_path_factory.mktemp("live"),
    )


def test_pictures_follow_training_at_most_every_two_seconds(trained):
    """Of fifty snapshots in five seconds about three are drawn; each is below 50 KB."""
    first = [(when, file) for when, file in pictures(trained)][:4]
    times = [when for when, _ in first]
    assert len(first) >= 3
    assert min(np.diff(times[:3])) > 1.8
    assert all(len(file) <= 50_000 for _, file in first)
    with Image.open(io.BytesIO(first[0][1])) as picture:
        assert picture.width > 300


def test_the_page_takes_the_place_of_the_picture(trained):
    """The cell has one output for both, above what it prints."""
    (shown,) = trained.shown(1)
    assert "srcdoc" in shown["text/html"]
    assert shown["text/plain"] == "Run('run': 1 layers, 50 snapshots)"
    assert trained.notebook.cells[1].outputs[0].output_type == "display_data"
    assert trained.printed(1).endswith("the end\n")


def test_nothing_is_cleared(trained):
    """The output is replaced in place: ``clear_output`` would remove a progress bar."""
    assert "clear_output" not in {kind for _, kind, _ in trained.messages}


def test_each_tracker_has_an_output_of_its_own(trained):
    """And none without ``live``."""
    assert "other" in trained.shown(2)[0]["text/plain"]
    assert len(trained.shown(2)) == 1
    assert trained.shown(3) == []


@pytest.fixture(scope="module")
def with_keras(run_notebook, tmp_path_factory):
    """Trainings by Keras: with and without pictures, one that is interrupted, and one after it."""
    return run_notebook(
        """
        import numpy as np, keras
        from filtertrack import FilterTracker

        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 2:
                    raise KeyboardInterrupt

        def train(*callbacks):
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
                                      keras.layers.Dropout(0.2),
                                      keras.layers.GlobalAveragePooling2D()])
            model.compile("adam", "mse")
            x = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
            model.fit(x, np.ones((32, 4), "float32"), epochs=4, callbacks=list(callbacks))
            return b"".join(weights.tobytes() for weights in model.get_weights())
        """,
        "live = train(FilterTracker('live', schedule=1, live=True))",
        "print(live == train(FilterTracker('quiet', schedule=1)) == train())",
        "stopped = FilterTracker('stopped', live=True)\ntrain(stopped, Stop())",
        "stopped.close()",
        "train(FilterTracker('after', live=True));",
        cwd=tmp_path_factory.mktemp("keras"),
    )


def test_training_with_pictures_is_bit_identical(with_keras):
    """The weights are those of a training without a tracker."""
    assert with_keras.printed(2).splitlines()[-1] == "True"


def test_the_progress_bar_of_keras_stays(with_keras):
    """Every epoch is below the page, and nothing is printed in red."""
    assert "srcdoc" in with_keras.shown(1)[0]["text/html"]
    for epoch in range(1, 5):
        assert f"Epoch {epoch}/4" in with_keras.printed(1)
    assert "filtertrack" not in with_keras.printed(1, "stderr")


def test_an_interrupted_training_keeps_its_picture(with_keras):
    """``close`` in a later cell replaces it by the page, in the cell that trained."""
    assert with_keras.error(3) == "KeyboardInterrupt"
    (shown,) = with_keras.shown(3)
    assert "srcdoc" in shown["text/html"]
    assert with_keras.shown(4) == []


def test_the_next_training_has_a_picture(with_keras):
    """Also after an interrupted one."""
    assert "Run('after'" in with_keras.shown(5)[0]["text/plain"]


_SLOW_PAGE = """
import os, signal, threading
import filtertrack.web.notebook_page as notebook
from filtertrack.tensorboard_plugin.summaries import Summaries

timers = []  # started when the page is

def slow(run, build=notebook.run_html):
    if timers:
        timers.pop().start()
    time.sleep(1.5)
    return build(run)

notebook.run_html = slow

def interrupted(folder):
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 8))
    tracker = ArrayTracker(folder, live=True)
    for step in range(3):
        tracker.snapshot(step, {"conv": kernel + step}, axes="HWIO")
    return tracker
"""


@pytest.fixture(scope="module")
def with_slow_page(run_notebook, tmp_path_factory):
    """Trainings whose page takes 1.5 seconds, at the end of cells and of the notebook."""
    return run_notebook(
        _LOOP + _SLOW_PAGE,
        """
        timers.append(threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)))
        train('run', 1, live=True)
        result = "kept"
        """,
        "print(result)",
        """
        start = time.monotonic()
        train('other', 0.5, live=True)
        print(time.monotonic() - start)
        """,
        """
        def fail(*arguments):
            raise OSError("disk full")
        added, Summaries.add_evolution = Summaries.add_evolution, fail
        train('faulty', 0.5, live=True)
        Summaries.add_evolution = added
        """,
        """
        first = interrupted('taken')
        start = time.monotonic()
        train('taken', 0.2, existing='replace')
        print(time.monotonic() - start)
        """,
        "last = interrupted('last')\nraise KeyboardInterrupt",
        cwd=tmp_path_factory.mktemp("slow"),
    )


def test_an_interrupt_at_the_end_of_the_cell_loses_nothing(with_slow_page):
    """Neither the result of training nor the page, which comes below its own cell."""
    assert with_slow_page.error(1) is None
    assert with_slow_page.printed(2) == "kept\n"
    (shown,) = with_slow_page.shown(1)
    assert "srcdoc" in shown["text/html"]
    assert with_slow_page.shown(2) == []


def test_training_ends_before_the_page_is_built(with_slow_page):
    assert float(with_slow_page.printed(3).splitlines()[-1]) < 1.5
    assert "srcdoc" in with_slow_page.shown(3)[0]["text/html"]


def test_the_page_is_shown_also_if_the_evolution_cannot_be_stored(with_slow_page):
    assert "disk full" in with_slow_page.printed(4)
    assert "srcdoc" in with_slow_page.shown(4)[0]["text/html"]


def test_a_training_that_replaces_an_interrupted_one_does_not_wait_for_its_page(with_slow_page):
    """Its picture stays, since its snapshots are deleted; this is no fault to report."""
    assert float(with_slow_page.printed(5).splitlines()[-1]) < 1.5
    (shown,) = with_slow_page.shown(5)
    assert "text/html" not in shown
    assert "no live picture" not in with_slow_page.printed(5)


def test_an_interrupted_cell_ends_with_the_page(with_slow_page):
    """Without ``close``, and in the last cell of a notebook."""
    assert with_slow_page.error(6) == "KeyboardInterrupt"
    (shown,) = with_slow_page.shown(6)
    assert "srcdoc" in shown["text/html"]


def test_a_fault_in_drawing_costs_the_pictures_only(run_notebook, tmp_path):
    """A warning; every snapshot is stored, also with ``strict``. The page is shown if it can be."""
    executed = run_notebook(
        _LOOP,
        """
        def fail(self, snapshot):
            raise ValueError("cannot draw")
        draw, LivePicture._draw = LivePicture._draw, fail
        train("drawing", 1, live=True, strict=True)
        LivePicture._draw = draw
        """,
        """
        from IPython.display import DisplayHandle
        def fail(self, *arguments, **options):
            raise RuntimeError("cannot show")
        DisplayHandle.update = fail
        train("showing", 1, live=True)
        """,
        cwd=tmp_path,
    )
    cases = ((1, "drawing", "cannot draw", 1), (2, "showing", "cannot show", 2))
    for cell, folder, reason, count in cases:
        assert executed.error(cell) is None
        text = executed.printed(cell)
        assert text.count(f"no live picture, training goes on: {reason}") == count
        assert len(Run(tmp_path / folder).steps) == 10
    assert "srcdoc" in executed.shown(1)[0]["text/html"]


def test_outside_a_notebook_live_does_nothing(tiny_model, data, tmp_path, capsys):
    """No thread is started, and nothing is displayed."""
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, live=True)])
    assert "filtertrack live" not in {thread.name for thread in threading.enumerate()}
    assert capsys.readouterr().out == ""
    assert len(Run(tmp_path).steps) == 2


class _OtherProcess(Processes):
    """One of several processes that takes part in reading the weights; another one writes."""

    writes = False
    alone = False

    def begin(self, source, start):
        return 0

    def read(self, source, step):
        super().read(source, step)


@pytest.mark.parametrize(
    ("processes", "count"),
    [(Processes, 1), (_OtherProcess, 0), (InactiveProcess, 0)],
    ids=["alone", "takes part", "inactive"],
)
@pytest.mark.parametrize("built", [True, False], ids=["built", "built by training"])
def test_only_the_process_that_writes_has_a_live_picture(  # noqa: PLR0917
    tmp_path, monkeypatch, data, processes, count, built
):
    """However many processes train, also where the run opens during training."""
    import keras

    started = []
    monkeypatch.setattr(LivePicture, "start", started.append)
    monkeypatch.setattr(callback, "current_processes", processes)
    layers = [keras.layers.Conv2D(4, 3, name="conv1"), keras.layers.GlobalAveragePooling2D()]
    shape = [keras.Input(data[0].shape[1:])] if built else []
    model = keras.Sequential([*shape, *layers, keras.layers.Dense(data[1].shape[1])])
    model.compile("sgd", "mse")
    model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "run", live=True)])
    assert len(started) == count
    assert Run.exists(tmp_path / "run") == bool(count)


@pytest.mark.parametrize(
    "shape",
    [
        (7, 7, 3, 64),
        (16, 16, 3, 256),
        (3, 3, 64, 128),
        (1, 1, 64, 128),
        (3, 3, 1, 2),
        (100, 100, 3, 4),
    ],
)
def test_a_picture_of_any_layer_is_below_50_kb(conv_info, rng, shape):
    """Of large filters fewer are drawn."""
    info = conv_info("conv", shape, bias=False)
    live = LivePicture([info])
    for step in range(3):
        kernel = rng.normal(size=shape).astype("float32")
        moment = Moment(step, step, metrics={"loss": 1.0, "accuracy": 0.5})
        live._moments.append(moment)
        file = live._draw(Snapshot(moment, {info.kernel: kernel}))
        assert len(file) <= 50_000
    with Image.open(io.BytesIO(file)) as picture:
        assert min(picture.size) > 100


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((16, 16, 3, 768), "conv · filters 0–15 of 768"),
        ((3, 3, 3, 65), "conv · filters 0–63 of 65"),
        ((100, 100, 3, 4), "conv · filter 0 · one filter of 4"),
        ((3, 3, 3, 64), "conv"),
    ],
    ids=str,
)
def test_the_caption_names_the_filters_unless_all_are_drawn(
    conv_info, rng, monkeypatch, shape, expected
):
    """Of a layer with more filters than a grid has cells, and where they take too many bytes."""
    titles = []

    class Header(FrameHeader):
        def __init__(self, *arguments, title, **options):
            titles.append(title)
            super().__init__(*arguments, title=title, **options)

    monkeypatch.setattr(frames, "FrameHeader", Header)
    info = conv_info("conv", shape, bias=False)
    live = LivePicture([info])
    kernel = rng.normal(size=shape).astype("float32")
    live._draw(Snapshot(Moment(0, 0), {info.kernel: kernel}))
    assert titles[-1] == expected


def test_the_caption_is_of_the_snapshot_that_is_drawn(conv_info, rng):
    """Whichever moments the curves hold, also later ones."""
    info = conv_info("conv", (5, 5, 3, 4), bias=False)
    kernel = rng.normal(size=info.kernel_shape).astype("float32")
    moments = [Moment(step, step, metrics={"loss": 1 / (1 + step)}) for step in range(9)]
    expected, live = LivePicture([info]), LivePicture([info])
    expected._moments, live._moments = moments[:5], [*moments[:4], *moments[6:]]
    snapshot = Snapshot(moments[4], {info.kernel: kernel})
    assert live._draw(snapshot) == expected._draw(snapshot)


def test_a_filter_that_is_too_large_for_a_picture_is_an_error(conv_info, rng):
    """It ends the pictures with one warning, as other faults do."""
    info = conv_info("conv", (200, 200, 3, 2), bias=False)
    live = LivePicture([info])
    live._moments.append(moment := Moment(0, 0))
    kernel = rng.normal(size=info.kernel_shape).astype("float32")
    with pytest.raises(FiltertrackError, match="a filter of conv takes"):
        live._draw(Snapshot(moment, {info.kernel: kernel}))
