"""Pictures of responses: golden ones of a frame, a filmstrip and two steps; the colours of GIFs.

Titles and labels are left out: how letters are drawn depends on the version of FreeType.
"""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from filtertrack import animate
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.outputs.filmstrip_responses import ResponseFilmstrip
from filtertrack.outputs.paper_size import PaperSize
from filtertrack.outputs.response_maps import maps_of, select_responses
from filtertrack.render.look import Look
from filtertrack.render.palette import colormap_levels
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.probe_format import write_probes

STEPS = range(3)


def drawn_probe(side=24):
    """Return a picture in colour: an orange disc on a blue ground that becomes lighter."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    disc = ((y - 0.45) ** 2 + (x - 0.55) ** 2 < 0.1)[..., np.newaxis]
    ground = np.stack([0.2 * x, 0.3 + 0.2 * y, 0.5 + 0.4 * x], axis=-1)
    return np.where(disc, (0.95, 0.6, 0.15), ground).astype(np.float32)


def drawn_maps(step, filters=8, side=12):
    """Return maps whose pattern becomes clear over training: ``(1, side, side, filters)``.

    The last filter answers to nothing from the second step on.
    """
    y, x = np.mgrid[:side, :side] / (side - 1)
    noise = np.random.default_rng(step).normal(size=(side, side, filters))
    angles = np.arange(filters) * np.pi / filters
    waves = np.sin(9 * (y[..., np.newaxis] * np.sin(angles) + x[..., np.newaxis] * np.cos(angles)))
    maps = waves * step + noise * (2 - step)
    if step:
        maps[..., -1] = -1
    return maps[np.newaxis].astype(np.float32)


@pytest.fixture
def deep_run(make_run, conv_info):
    """A run whose conv2 has 8 filters of 5x5, with the maps of one probe, after a ReLU."""
    run = make_run(
        conv_info("conv1", (5, 5, 3, 4), preprocessing=(), padding="same"),
        conv_info("conv2", (5, 5, 4, 8)),
        steps=STEPS,
    )
    layer = ProbedLayer("conv2", "the output of relu2, after conv2", True, (12, 12), (12, 12))
    write_probes(run.folder, StoredProbes({"images": drawn_probe()[None]}, {"conv2": layer}, 1))
    for step in STEPS:
        reduction = ResponseReduction(layer, 1)
        reduction.add(np.maximum(drawn_maps(step), 0))
        run.append(replace(run.snapshot(step), responses={"conv2": reduction.result()}))
    return run


def test_golden_frame_of_a_deep_layer(deep_run, grid_in, golden):
    """The probe, the filters and their maps at the last step; the last map is dark."""
    from filtertrack.outputs.animation_pace import Pace
    from filtertrack.outputs.frames import AnimationFrames
    from filtertrack.outputs.timeline import plan

    selection = select_responses(deep_run, True)
    timeline = plan(selection.moments[0], Pace())
    drawing = AnimationFrames(selection, timeline, Look(), indexed=False, responses=True)
    (*_, last) = drawing.pictures()
    grids = [grid_in(drawing, last, number) for number in range(3)]
    high = max(len(grid) for grid in grids)
    padded = [np.pad(grid, [(0, high - len(grid)), (0, 8), (0, 0)]) for grid in grids]
    golden("responses_frame.png", Image.fromarray(np.concatenate(padded, axis=1)))


def golden_filmstrip(golden, name, run, responses, **options):
    """Compare the cells of a filmstrip, and the images above them."""
    selection = select_responses(run, responses, **options)
    maps, paper = maps_of(selection, responses), PaperSize.of("9cm", None, 150)
    picture, layout = ResponseFilmstrip.fit(selection, Look(theme="light"), maps, paper)
    whole = picture.layout(picture.rows, layout.grid.scale, layout.grid.gap)
    cells = picture.picture(range(picture.rows), whole)
    image = picture.images[0].draw(60, 60)
    above = np.full((len(image) + 8, cells.shape[1], 3), 255, np.uint8)
    above[: len(image), : image.shape[1]] = image
    golden(name, Image.fromarray(np.concatenate([above, cells])))


def test_golden_filmstrip_of_a_deep_layer(deep_run, golden):
    golden_filmstrip(golden, "responses_filmstrip.png", deep_run, True)


def test_golden_figure_of_the_first_and_the_last_step(deep_run, golden):
    """Of a picture, as the first layer answers to it: signed maps, with white for zero."""
    image = [drawn_probe(32)]
    ends = {"layers": "conv1", "steps": [0, 2]}
    golden_filmstrip(golden, "responses_figure.png", deep_run, image, **ends)


@pytest.fixture
def frames_in_gif(tmp_path, pillow_frames):
    """Return a function that writes a GIF: what drew it, and its decoded frames."""

    def make(run, **options):
        selection = select_responses(run, options.get("responses"), layers=options.get("layers"))
        from filtertrack.outputs.animation_pace import Pace
        from filtertrack.outputs.frames import AnimationFrames
        from filtertrack.outputs.timeline import plan

        timeline = plan(selection.moments[0], Pace())
        responses = options.get("responses")
        drawing = AnimationFrames(selection, timeline, Look(delta=False), responses=responses)
        file = animate(run, tmp_path / "a.gif", delta=False, **options)
        return drawing, pillow_frames(file.path)

    return make


def colours_in(pixels):
    """The different colours of a picture, without those of its lines and texts."""
    found = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    return found - {(40, 52, 74)}


def levels_of(name, colormaps):
    """The colours of a colormap where so many share a palette with colours."""
    count = (235 // (colormaps + 1) - 1) // 2 * 2 + 1
    return {tuple(colour) for colour in colormap_levels(name, count).tolist()}


def test_a_gif_of_a_colour_probe_has_exact_grey_maps_and_filters(deep_run, frames_in_gif, grid_in):
    """None is tinted by the colours of the probe, neither in the cells nor in the scale bars."""
    drawing, frames = frames_in_gif(deep_run, layers="conv2", responses=True)
    greys = levels_of("gray", 1)
    for frame in frames:
        for number in (1, 2):
            assert colours_in(grid_in(drawing, frame, number)) <= greys
    bar = drawing._bar_entries()
    drawn = bar < 117
    assert drawn.any()
    np.testing.assert_array_equal(frames[-1][drawn], drawing.palette[bar[drawn]])
    probe = colours_in(grid_in(drawing, frames[-1], 0))
    assert not probe <= greys


def test_a_gif_of_a_colour_picture_has_exact_signed_maps(deep_run, frames_in_gif, grid_in):
    drawing, frames = frames_in_gif(deep_run, layers="conv1", responses=[drawn_probe(32)])
    assert colours_in(grid_in(drawing, frames[-1], 2)) <= levels_of("RdBu_r", 1)


def test_a_gif_of_colour_and_grey_layers_has_exact_grey_filters(deep_run, frames_in_gif, grid_in):
    drawing, frames = frames_in_gif(deep_run, layers=["conv1", "conv2"])
    greys = levels_of("gray", 1)
    assert not colours_in(grid_in(drawing, frames[-1], 0)) <= greys
    assert colours_in(grid_in(drawing, frames[-1], 1)) <= greys


def test_a_small_filter_beside_a_large_probe_has_its_own_colours_in_a_gif(
    deep_run, frames_in_gif, grid_in
):
    """The palette is not chosen from the colours of the larger picture alone."""
    drawing, frames = frames_in_gif(
        deep_run, layers="conv1", responses=[np.random.default_rng(0).uniform(size=(64, 64, 3))]
    )
    (exact,) = [
        each.draw(each.last_cells(), each.values(each.last_cells()), grid.layout)
        for each, grid in zip(drawing._layers[1:2], drawing._arranged.grids[1:2], strict=True)
    ]
    layout = drawing._arranged.grids[1].layout
    expected = layout.compose(exact, (40, 52, 74)).astype(int)
    error = np.abs(grid_in(drawing, frames[-1], 1).astype(int) - expected).mean()
    assert error < 8
