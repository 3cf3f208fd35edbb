"""Errors of `animate`."""

import subprocess
import sys
import tracemalloc

import pytest

from filtertrack import FiltertrackError, animate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps: expected"),
        ({"fps": float("nan")}, "fps: expected"),
        ({"seconds": -1}, "seconds: expected"),
        ({"seconds": 2, "hold": (1, 1)}, "hold: 2 seconds of rest leave nothing"),
        ({"time": "batch"}, "time: expected one of snapshot, epoch, log"),
        ({"between": -1}, "between: expected"),
        ({"size": 0}, "size: expected a whole number"),
        ({"size": 640.5}, "size: expected a whole number from 1 on, got 640.5"),
        ({"hold": 2}, "hold: expected two numbers"),
        ({"steps": 5}, "steps: expected numbers and ranges in a list, got 5"),
        ({"size": 20}, "size: 20 pixels are too few for one pixel a weight; expected at least"),
        ({"columns": 0}, "columns: expected"),
        ({"scale": "run"}, "scale: expected one of frame, filter, layer"),
        ({"order": "size"}, "order: expected one of"),
        ({"theme": "blue"}, "theme: expected one of dark, light"),
        ({"colormap": "virids"}, "try viridis"),
        ({"hold": (-1, 1)}, "hold: expected"),
        ({"loop": -1}, "loop: expected"),
        ({"loop": 2, "output": "a.mp4"}, "loop: how often a video plays is up to its player"),
        ({"layers": "conv9"}, "no layer 'conv9' in"),
        ({"layers": []}, "layers: none are chosen"),
        ({"filters": []}, "filters: none are chosen"),
        ({"filters": 3}, "filters: expected numbers in a list, got 3"),
        ({"filters": "0-3"}, "filters: expected numbers in a list, got '0-3'"),
        ({"layers": 0}, "layers: expected a name or several, got 0"),
        ({"steps": "0,1"}, "steps: expected numbers and ranges in a list, got '0,1'"),
        ({"filters": [8]}, "filters: layer conv1 has the filters 0 to 7, got 8"),
        ({"filters": [1], "order": "drift"}, "not both"),
        ({"channels": 1}, "'all' or some of the channels 0 to 0 of conv1, got 1"),
        ({"channels": "red"}, "or two or three of them such as (2, 1, 0) or 'bgr', got 'red'"),
        ({"steps": []}, "are chosen; it has 6 snapshots"),
        (
            {"steps": [0, 9]},
            "no snapshot at step 9; it has 6 snapshots from step 0 to 5; near it: 5",
        ),
        ({"steps": [3]}, "1 readable snapshot to show; it takes at least 2"),
        ({"output": "a.bmp"}, "expected a name that ends in .gif, .png, .apng, .webp, .mp4, .webm"),
        ({"output": "nowhere/a.gif"}, "no folder"),
        ({"size": 60_000, "output": "a.webp"}, "or allow it with huge=True"),
        (
            {"size": 17_000, "output": "a.webp", "huge": True},
            "image/webp holds at most 16383 a side",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_options_are_errors(grey_run, tmp_path, options, message):
    """The message names the option, and nothing is written."""
    output = tmp_path / options.pop("output", "a.gif")
    with pytest.raises(FiltertrackError) as error:
        animate(grey_run, output, **options)
    assert message in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_size_named_in_the_error_is_enough(grey_run, tmp_path):
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(grey_run, tmp_path / "a.gif", size=20)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(grey_run, tmp_path / "a.gif", size=needed).frames == 6


def test_the_size_named_in_the_error_is_enough_for_a_wide_matrix(make_run, conv_info, tmp_path):
    """Its gaps would grow with the size."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 1024), bias=False), steps=range(2))
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(run, tmp_path / "a.png", size=640)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(run, tmp_path / "a.png", size=needed).shape[1] <= needed


def test_runs_that_cannot_be_compared_are_an_error(make_run, conv_info, tmp_path):
    """Other filters, no such layer, no common step."""
    one = make_run(conv_info(), steps=range(3), folder="one")
    other = {
        "has other filters": make_run(conv_info(kernel_shape=(5, 5, 1, 4)), folder="shape"),
        "no layer 'conv1'": make_run(conv_info("conv9"), folder="layer"),
        "no step in common": make_run(conv_info(), steps=[7, 8], folder="steps"),
    }
    for reason, run in other.items():
        with pytest.raises(FiltertrackError, match=reason):
            animate(one, tmp_path / "a.gif", compare=run)


def test_a_colormap_for_colour_filters_is_an_error(colour_run, tmp_path):
    """They are drawn in their own colours."""
    with pytest.raises(FiltertrackError, match="leave the colormap out"):
        animate(colour_run, tmp_path / "a.gif", colormap="viridis")


def test_a_video_without_its_encoder_is_an_error_that_names_the_extra(grey_run, tmp_path):
    """Before anything is drawn."""
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from filtertrack import FiltertrackError, animate\n"
        f"try:\n    animate({str(grey_run.path)!r}, {str(tmp_path / 'a.mp4')!r})\n"
        "except FiltertrackError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "pip install 'filtertrack[video]'" in result.stdout


def test_too_large_an_animation_is_an_error_before_it_is_drawn(make_run, conv_info, tmp_path):
    """The caption would be a million pixels wide."""
    run = make_run(conv_info(kernel_shape=(1, 1_000_000, 1, 1), bias=False), steps=range(2))
    tracemalloc.start()
    with pytest.raises(FiltertrackError, match=r"GB of memory .*--huge"):
        animate(run, tmp_path / "a.png", delta=True, order="label")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6
    assert not (tmp_path / "a.png").exists()
