"""``/animation``: drawn in a separate process."""

import threading

import pytest

from filtertrack import animate
from filtertrack.tensorboard_plugin import animation_process

# The ending, the query of a look, the options of ``animate`` if they differ, and whether there is
# another run.
ANIMATIONS = [
    (".gif", {}, None, False),
    (".png", {"delta": 0}, {"delta": False}, False),
    (".apng", {}, None, True),
    (".webp", {"colormap": "viridis", "channels": 0}, None, False),
    (".gif", {"scale": "filter", "zero_centred": 1, "theme": "light"}, None, False),
    (".gif", {"delta": 1, "filters": "0-1,3", "fps": 5},
     {"delta": True, "filters": (0, 1, 3), "fps": 5.0}, True),
    (".gif", {"delta": 0, "one_scale": 1}, {"delta": False, "one_scale": True}, True),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "query", "options", "compared"), ANIMATIONS, ids=str)
def test_an_animation_equals_that_of_animate(
    make_run, tab, tmp_path, *, ending, query, options, compared
):
    """Byte for byte, with the same options; one scale takes two runs."""
    run = make_run()
    other = make_run(folder="b/other") if compared else None
    options = query if options is None else options
    options = {k: v == 1 if k == "zero_centred" else v for k, v in options.items()}
    expected = animate(run, tmp_path / f"a{ending}", layers="conv1", compare=other, **options)
    request = {"run": "run", "layer": "conv1", "ending": ending, **query}
    if compared:
        request["compare"] = "b/other"
    answer = tab.ask("animation", request)
    assert answer.status_code == 200, answer.text
    assert answer.data == expected.path.read_bytes()
    mime = {".gif": "image/gif", ".webp": "image/webp"}.get(ending, "image/png")
    assert answer.mimetype == mime
    assert answer.headers["Content-Disposition"] == f'attachment; filename="conv1{ending}"'
    assert "no-cache" in answer.headers["Cache-Control"]


def test_videos_have_their_media_type(run, tab):
    """If their encoder is installed."""
    pytest.importorskip("av")
    for ending, mime in ((".mp4", "video/mp4"), (".webm", "video/webm")):
        query = {"run": "run", "layer": "conv1", "ending": ending}
        answer = tab.ask("animation", query)
        assert (answer.status_code, answer.mimetype) == (200, mime)


@pytest.mark.parametrize("ending", ["", "gif", ".GIF", ".exe", "/../x.gif", ".gif/", ".jpg"])
def test_an_unknown_ending_is_refused(run, tab, ending):
    """The error lists the valid ones."""
    request = {"run": "run", "layer": "conv1", "ending": ending}
    tab.refused("animation", request, "expected one of .gif")


def test_an_invalid_option_answers_400(run, tab):
    """The next animation is drawn."""
    right = {"run": "run", "layer": "conv1", "ending": ".gif"}
    for wrong in (
        *({"fps": "0"}, {"fps": "999999999999"}, {"scale": "x"}, {"theme": "x"}),
        *({"colormap": "x"}, {"filters": "9"}, {"channels": "9"}, {"compare": "none"}),
        *({"layer": "conv9"}, {"filters": ","}, {"colormap": "__class__"}),
    ):
        tab.refused("animation", {**right, **wrong})
    assert tab.ask("animation", right).status_code == 200


def test_one_animation_is_drawn_at_a_time(run, tab, monkeypatch):
    """A second request answers 503 with ``Retry-After``; after the first it is drawn."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(runs, ending, options, is_wanted):
        begun.set()
        assert go_on.wait(30)
        return b"drawn"

    monkeypatch.setattr(animation_process, "draw_in_process", slow)
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    got = []
    first = threading.Thread(target=lambda: got.append(tab.ask("animation", query)))
    first.start()
    assert begun.wait(30)
    busy = tab.ask("animation", query)
    assert (busy.status_code, busy.mimetype) == (503, "text/plain")
    assert "another animation" in busy.text
    assert int(busy.headers["Retry-After"]) > 0
    assert tab.ask("steps", {"run": "run"}).status_code == 200
    go_on.set()
    first.join()
    assert got[0].data == b"drawn"
    assert tab.ask("animation", query).data == b"drawn"


def test_drawing_is_ended_after_the_limit(run, tab, monkeypatch):
    """The error says so; the next animation is drawn."""
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    monkeypatch.setattr(animation_process, "_LONGEST", 0.0)
    tab.refused("animation", query, "drawing was ended after 0 seconds")
    monkeypatch.setattr(animation_process, "_LONGEST", 120.0)
    assert tab.ask("animation", query).status_code == 200


def test_the_process_imports_the_servers_modules(run, tab, tmp_path, monkeypatch):
    """Not those in the folder in which TensorBoard was started."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    assert tab.ask("animation", query).data.startswith(b"GIF89a")


def test_no_temporary_file_is_left(run, tab, tmp_path, monkeypatch):
    """Neither after success nor after an error."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    request = {"run": "run", "layer": "conv1", "ending": ".gif"}
    assert tab.ask("animation", request).status_code == 200
    assert tab.ask("animation", {**request, "fps": 0}).status_code == 400
    assert list((tmp_path / "temporary").iterdir()) == []
