"""The figure of the patches that excite filters most."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, plot_strongest_patches
from filtertrack.render.palette import THEMES
from filtertrack.response import LayerResponse, ProbedLayer, ReceptiveField, StoredProbes


def words_of(figure):
    return [text.get_text() for text in figure.texts]


def test_rows_are_filters_with_their_values(probed_run):
    """The numbers of the filters, the time, and what is read are written as well."""
    figure = plot_strongest_patches(probed_run, layer="conv2", steps=1, filters=[4, 1])
    words = words_of(figure)
    values = probed_run.probe_responses("conv2", 1).places[[4, 1], :, 3]
    for value in values.ravel():
        assert f"{value:#.3g}" in words
    assert {"4", "1", "epoch 1 · batch 10"} <= set(words)
    assert any("the layer's output, without an activation" in text for text in words)


def test_patches_are_drawn_in_their_cells(tmp_path, conv_info):
    """Each magnified, in the brightness of its picture; missing ones are left out."""
    info = conv_info("conv1", (2, 2, 1, 2), bias=False)
    run = Run.create(tmp_path / "run", [info])
    images = np.stack([np.full((4, 4, 1), 0.0), np.full((4, 4, 1), 1.0)]).astype("f4")
    images[0, 0, 0] = images[1, 3, 3] = 2  # the highest value of both, and 0 and 1 the lowest
    field = ReceptiveField((2, 2), (1, 1), (0, 0))
    layer = ProbedLayer("conv1", "its output", True, (3, 3), (3, 3), 1, "x", field)
    run.store_probes(StoredProbes({"x": images}, {"conv1": layer}, 0))
    places = np.full((2, 9, 4), (-1, -1, -1, np.nan), "f4")
    places[0, 0] = 0, 0, 0, 3.0
    places[0, 1] = 1, 2, 2, 2.0
    response = LayerResponse(np.zeros((0, 2, 3, 3), "u1"), np.zeros((3, 2, 2), "f4"), places)
    kernel = np.arange(8, dtype="f4").reshape(2, 2, 1, 2)
    run.append(Snapshot(Moment(0, 0), {info.kernel: kernel}, {"conv1": response}))
    figure = plot_strongest_patches(run, dpi=100)
    (axes,) = figure.axes
    pixels = np.asarray(axes.images[0].get_array())
    ground = THEMES["light"].background
    row = pixels[: len(pixels) // 2]
    inked = (row != ground).any(axis=(0, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inked, [False]]).astype(int)))
    assert len(edges) == 6, "the filter and two patches"
    for start, end, expected in zip(
        edges[::2], edges[1::2], ([0, 85, 170, 255], [255, 0, 0, 0], [0, 0, 0, 255]), strict=True
    ):
        side = end - start
        corners = [row[y, start + x] for y in (2, side - 3) for x in (2, side - 3)]
        assert [int(corner[0]) for corner in corners] == expected
        frame = [row[0, start + 3], row[side - 1, start + 3], row[3, start], row[3, end - 1]]
        assert {tuple(map(int, pixel)) for pixel in frame} == {THEMES["light"].separator}
    assert (pixels[len(pixels) // 2 :, edges[2] :] == ground).all()
    assert "silent: it answered to no probe" in words_of(figure)


def test_a_filter_with_responses_that_are_not_finite_is_not_called_silent(probed_run):
    response = probed_run.probe_responses("conv1", 2)
    statistics, places = response.statistics.copy(), response.places.copy()
    statistics[:, :, 1] = np.nan
    places[1] = -1, -1, -1, np.nan
    changed = dataclasses.replace(response, statistics=statistics, places=places)
    others = {"conv2": probed_run.probe_responses("conv2", 2), "conv1": changed}
    probed_run.append(dataclasses.replace(probed_run.snapshot(2), responses=others))
    words = words_of(plot_strongest_patches(probed_run, "conv1", filters=[1]))
    assert "its responses are not finite" in words
    assert not any("silent" in word for word in words)


def test_steps_are_side_by_side(probed_run):
    """Each with its time."""
    figure = plot_strongest_patches(probed_run, steps=[0, 2])
    assert len(figure.axes) == 2
    assert {"before training", "epoch 2 · batch 20"} <= set(words_of(figure))
    assert "silent: it answered to no probe" in words_of(figure)  # filter 1 at the last step


@pytest.mark.parametrize("steps", [[0], [0, 1], [0, 1, 2], [0, 1, 2, 0]], ids=len)
@pytest.mark.parametrize("width", ["6cm", "17cm"])
def test_each_patch_has_its_value_in_one_legible_font_size(probed_run, steps, width):
    """Patches are left out where values would not fit; a title says how many are drawn."""
    figure = plot_strongest_patches(probed_run, "conv2", steps=steps, width=width, dpi=200)
    values = [
        text for text in figure.texts if "." in text.get_text() and "·" not in text.get_text()
    ]
    (size,) = {text.get_fontsize() for text in values}
    assert size >= 5
    words = " ".join(words_of(figure))
    found = re.search(r"the (?:(\d) )?patch(?:es)? that excite", words)
    count = int(found[1] or 1)
    assert len(values) == count * probed_run.layer("conv2").filters * len(steps)
    assert (f"{count} of 9 patches fit the width" in words) == (count < 9)
    boxes = [text.get_window_extent() for text in values]
    for before, after in itertools.pairwise(boxes):
        assert before.x1 + 1 < after.x0 or abs(before.y0 - after.y0) > 2


def test_a_value_is_nearer_to_its_patch_than_to_the_next_row(probed_run):
    figure = plot_strongest_patches(probed_run, "conv2", steps=2, dpi=200)
    axes = figure.axes[0]
    pixels = np.asarray(axes.images[0].get_array())
    inked = (pixels != THEMES["light"].background).any(axis=(1, 2))
    edges = np.flatnonzero(np.diff(inked.astype(int))) + 1
    bottom_of_first, top_of_second = (axes.get_window_extent().y1 - edge for edge in edges[:2])
    for text in figure.texts:
        box = text.get_window_extent()
        if top_of_second < box.y0 < box.y1 < bottom_of_first:
            assert bottom_of_first - box.y1 < (box.y0 - top_of_second) / 2


@pytest.mark.parametrize(
    ("filters", "title"),
    [
        (None, "4 filters, and the 9 patches that excite each most"),
        ([2, 0], "2 of 4 filters, and the 9 patches that excite each most"),
        ([3], "filter 3 of 4, and the 9 patches that excite it most"),
    ],
)
def test_the_title_counts_the_filters(probed_run, filters, title):
    assert title in " · ".join(words_of(plot_strongest_patches(probed_run, filters=filters)))


@pytest.mark.parametrize(("theme", "tint"), [("light", "grey-blue"), ("dark", "dark blue")])
@pytest.mark.parametrize("offset", [0, -1])
def test_the_colour_outside_of_a_picture_is_explained_where_it_occurs(
    tmp_path, conv_info, theme, tint, offset
):
    info = conv_info("conv1", (3, 3, 1, 1), bias=False)
    run = Run.create(tmp_path / "run", [info])
    field = ReceptiveField((3, 3), (1, 1), (offset, offset))
    layer = ProbedLayer("conv1", "its output", True, (6, 6), (6, 6), 1, "x", field)
    run.store_probes(StoredProbes({"x": np.zeros((1, 8, 8, 1), "f4")}, {"conv1": layer}, 0))
    response = LayerResponse(
        np.zeros((0, 1, 6, 6), "u1"), np.zeros((3, 1, 1), "f4"), np.zeros((1, 9, 4), "f4")
    )
    run.append(Snapshot(Moment(0, 0), {info.kernel: np.ones((3, 3, 1, 1))}, {"conv1": response}))
    words = " ".join(words_of(plot_strongest_patches(run, theme=theme)))
    assert (f"{tint}: outside the picture" in words) == (offset < 0)


def test_the_layer_comes_before_the_file_as_in_strongest_patches(probed_run, tmp_path):
    plot_strongest_patches(probed_run, "conv2", tmp_path / "a.png", dpi=60)
    assert (tmp_path / "a.png").exists()


def test_the_last_step_with_responses_is_the_default(probed_run):
    snapshot = probed_run.snapshot(2)
    moment = dataclasses.replace(snapshot.moment, step=3)
    probed_run.append(dataclasses.replace(snapshot, moment=moment))
    assert "epoch 2 · batch 20" in words_of(plot_strongest_patches(probed_run))


def test_whole_pictures_are_named_as_such(probed_run):
    """Where the receptive field is not known."""
    words = words_of(plot_strongest_patches(probed_run, layer="conv2"))
    assert any("whole probes, of 5, as the receptive field is not known" in text for text in words)


@pytest.mark.parametrize("kind", ["1-D", "1x1", "3-D", "three channels", "channels first"])
def test_layers_of_every_kind_are_drawn(tmp_path, conv_info, kind):
    shapes = {
        "1-D": ((3, 3, 4), {"axes": (2, 0, 1), "shape": (4, 1, 3, 3), "strides": (1,)}, (3, 6, 3)),
        "1x1": ((1, 1, 3, 4), {}, (3, 6, 6, 3)),
        "3-D": (
            (2, 3, 3, 3, 4),
            {"axes": (4, 1, 0, 2, 3), "shape": (4, 3, 6, 3), "strides": (1, 1, 1)},
            (3, 6, 6, 3),
        ),
        "three channels": ((3, 3, 3, 4), {}, (3, 6, 6, 3)),
        "channels first": ((3, 3, 3, 4), {"data_format": "channels_first"}, (3, 3, 6, 6)),
    }
    kernel_shape, options, images = shapes[kind]
    info = conv_info("conv1", kernel_shape, bias=False, **{"dilation": (), **options})
    run = Run.create(tmp_path / "run", [info])
    rng = np.random.default_rng(0)
    field = (
        None if kind == "1x1" else ReceptiveField((1 if kind == "1-D" else 3, 3), (1, 1), (0, -1))
    )
    layer = ProbedLayer("conv1", "its output", False, (1, 4), (1, 4), 1, "x", field)
    first = kind == "channels first"
    run.store_probes(
        StoredProbes({"x": rng.normal(size=images)}, {"conv1": layer}, 0, channels_first=first)
    )
    response = LayerResponse(
        np.zeros((0, 4, 1, 4), "u1"), np.zeros((3, 3, 4), "f4"), np.zeros((4, 9, 4), "f4")
    )
    kernel = rng.normal(size=kernel_shape).astype("f4")
    run.append(Snapshot(Moment(0, 0), {info.kernel: kernel}, {"conv1": response}))
    assert len(plot_strongest_patches(run, dpi=60).axes) == 1


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_files_of_each_format_are_written(probed_run, tmp_path, ending):
    """The same for the same run."""
    paths = [tmp_path / f"{n}.{ending}" for n in (1, 2)]
    for path in paths:
        plot_strongest_patches(probed_run, None, path, theme="dark", dpi=60)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("width", ["4cm", "8cm", "17cm"])
def test_texts_stay_in_the_figure(probed_run, width):
    figure = plot_strongest_patches(probed_run, layer="conv2", width=width, dpi=200)
    edge = figure.get_window_extent()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= edge.x0 - 1, text
        assert box.x1 <= edge.x1 + 1, text
        assert box.y0 >= edge.y0 - 1, text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [4]}, "filters: expected numbers from 0 to 3"),
        ({"filters": []}, "filters: expected 1 to 64"),
        ({"filters": range(100)}, "filters: expected 1 to 64"),
        ({"steps": [0, 1, 2, 0, 1]}, "steps: expected 1 to 4"),
        ({"steps": []}, "steps: expected 1 to 4"),
        ({"steps": 7}, "no snapshot at step 7"),
        ({"layer": "other"}, "no layer 'other'"),
        ({"theme": "blue"}, "theme: expected"),
        ({"width": "1cm", "dpi": 50}, "pixels are too few"),
        ({"output": "a.gif"}, "expected a name that ends in"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error(probed_run, options, message):
    with pytest.raises(FiltertrackError, match=message):
        plot_strongest_patches(probed_run, **options)


def test_a_run_without_probes_says_how_to_record_responses(run):
    with pytest.raises(FiltertrackError, match="has no probes; train with FilterTracker"):
        plot_strongest_patches(run)


def test_the_figure_looks_as_before(probed_run, golden_figure):
    """Look at a new golden picture before it is committed."""
    figure = plot_strongest_patches(probed_run, steps=[0, 2], dpi=60)
    golden_figure("strongest_patches.png", figure)
