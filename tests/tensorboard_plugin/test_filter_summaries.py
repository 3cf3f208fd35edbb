"""Images, scalars and histograms of filters, read back with TensorBoard's own reader."""

import io

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Run, Snapshot, measures
from filtertrack.render.cells import to_cells, to_channels, view_of
from filtertrack.render.grid import draw_pages, to_image
from filtertrack.render.palette import SEPARATOR_RGB, colormap_levels, theme_palette
from filtertrack.render.scale_bar import BarTexts, bar_height, draw_scale_bar
from filtertrack.render.text import font_size
from filtertrack.render.value_range import ValueRange, range_of_cells
from filtertrack.tensorboard_plugin.filter_summaries import default_image_layers
from filtertrack.tensorboard_plugin.summaries import Summaries


def decoded_pages(value):
    """Return the pages of an image summary, as Pillow decodes them; all have the stated size."""
    width, height, *files = list(value.tensor.string_val)
    pages = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            assert image.size == (int(width), int(height))
            pages.append(np.asarray(image.convert("RGB")))
    return pages


LAYERS = {
    "colour": (5, 5, 3, 8),
    "deep": (3, 3, 8, 100),
    "grey": (3, 3, 1, 5),
    "matrix": (1, 1, 4, 9),
}


@pytest.fixture
def layers_run(make_run, conv_info):
    """A run with a layer of each kind."""
    return make_run(*(conv_info(name, shape) for name, shape in LAYERS.items()))


def test_images_are_those_of_the_renderer(layers_run, read_events, summarize):
    """Pixel for pixel, decoded by Pillow; a scale bar is below those of one value a weight."""
    summarize(layers_run)
    seen = set()
    for step, value in read_events(layers_run.folder):
        if not value.tag.startswith("filters/"):
            continue
        info = layers_run.layer(value.tag.removeprefix("filters/"))
        view = view_of(info)
        cells = to_cells(view, layers_run.kernels(info.name, step))
        pages = draw_pages(view, cells, range_of_cells(cells), 320)
        found = decoded_pages(value)
        assert len(found) == len(pages) == (2 if info.name == "deep" else 1)
        for picture, page in zip(found, pages, strict=True):
            expected = np.asarray(to_image(page).convert("RGB"))
            np.testing.assert_array_equal(picture[: len(page)], expected)
            bar = picture[len(page) :]
            assert len(bar) == (0 if view.coloured else bar_height(font_size(320)))
            check_bar(bar, colormap_levels("gray"), BarTexts("lowest", "", "highest"))
        seen.add(info.name)
    assert seen == set(LAYERS)


def check_bar(bar, colours, texts):
    """Check that a scale bar is that of a colormap; nothing where there is none."""
    if len(bar):
        drawn = draw_scale_bar(texts, bar.shape[1], font_size(320))
        np.testing.assert_array_equal(bar, theme_palette("dark", colours)[drawn])


def test_what_was_learned_is_the_difference_from_the_start(layers_run, read_events, summarize):
    """In blue and red around white, or in colour around mid-grey; none of a matrix."""
    summarize(layers_run)
    seen = set()
    for step, value in read_events(layers_run.folder):
        if not value.tag.startswith("filters_learned/"):
            continue
        info = layers_run.layer(value.tag.removeprefix("filters_learned/"))
        view = view_of(info)
        start, end = (layers_run.kernels(info.name, each).astype(float) for each in (0, step))
        cells = to_cells(view, end - start)
        least = np.abs(to_cells(view, start)).max(axis=(1, 2, 3)) / 256
        cells = np.where(np.abs(cells) < least.reshape(-1, 1, 1, 1), 0, cells)
        reach = np.maximum(np.abs(cells).max(axis=(1, 2, 3)), 4 * least)
        pages = draw_pages(view, cells, ValueRange(-reach, reach), 320)
        palette = theme_palette("dark", colormap_levels("RdBu_r"))
        for picture, page in zip(decoded_pages(value), pages, strict=True):
            expected = page if page.ndim == 3 else palette[page]
            np.testing.assert_array_equal(picture[: len(page)], expected)
            texts = BarTexts("decreased", "0", "increased")
            check_bar(picture[len(page) :], colormap_levels("RdBu_r"), texts)
        seen.add((info.name, step))
    assert seen == {(name, step) for name in ("colour", "deep", "grey") for step in (1, 2)}


def test_nothing_learned_is_a_blank_image(make_run, conv_info, read_events, summarize):
    """Changes below one grey level of the start have zero's colour everywhere."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 6), bias=False), steps=[0])
    kernel = run.snapshot(0).arrays["conv1/kernel"]
    run.append(Snapshot(Moment(1, 1), {"conv1/kernel": kernel + np.float32(1e-7)}))
    summarize(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_learned/conv1")
    (picture,) = decoded_pages(value)
    grid = picture[: -bar_height(font_size(320))]
    white = colormap_levels("RdBu_r")[117]
    assert set(map(tuple, grid.reshape(-1, 3).tolist())) == {tuple(white.tolist()), SEPARATOR_RGB}


def test_a_continued_run_has_what_was_learned_since_its_first_snapshot(run, read_events):
    """Not since the training was continued."""
    Summaries(run).add(run.snapshot(2))
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters_learned/conv1", "filters_learned/conv2"} <= tags


def test_learned_images_have_descriptions(layers_run, read_events, summarize):
    """Since when, the kernel, and what the colours mean."""
    summarize(layers_run)
    texts = {}
    for _, value in read_events(layers_run.folder):
        if value.tag.startswith("filters_learned/"):
            texts.setdefault(value.tag, set()).add(value.metadata.summary_description)
    for tag, said in texts.items():
        (text,) = said - {""}
        assert text.startswith("What training has added: the difference of each weight from")
        assert "x".join(map(str, LAYERS[tag.removeprefix("filters_learned/")])) in text
        colours = "Mid-grey is no change" if tag.endswith("colour") else "White is no change, red"
        assert colours in text


def test_images_have_descriptions(run, read_events, summarize):
    """Shape, count, normalisation, dark and light; the same at every step of a tag."""
    summarize(run)
    texts = {}
    for _, value in read_events(run.folder):
        if value.tag.startswith("filters/"):
            texts.setdefault(value.tag, set()).add(value.metadata.summary_description)
    (text,) = texts["filters/conv2"] - {""}
    for part in ("3x3x4x6", "6 filters", "rank 1", "Normalised", "dark", "light"):
        assert part in text
    assert "grey" in next(iter(texts["filters/conv1"] - {""}))


def test_scalars_are_the_measures(run, read_events, summarize):
    """Drift is 0 at the start; the norm is the mean length of the filters."""
    summarize(run)
    scalars = {
        (value.tag, step): value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag.startswith(("filter_drift/", "filter_norm/"))
    }
    assert scalars["filter_drift/conv1", 0] == pytest.approx(0, abs=1e-6)
    start, end = (run.kernels("conv1", step).reshape(4, -1).astype(float) for step in (0, 2))
    lengths = np.linalg.norm(end, axis=1)
    assert scalars["filter_norm/conv1", 2] == pytest.approx(lengths.mean(), rel=1e-6)
    cosine = (start * end).sum(axis=1) / lengths / np.linalg.norm(start, axis=1)
    drift = (1 - cosine).mean()
    assert scalars["filter_drift/conv1", 2] == pytest.approx(drift, rel=1e-6)


def buckets(value):
    """Return a histogram's left edges, right edges and counts, as TensorBoard reads it."""
    from tensorboard.util import tensor_util

    read = tensor_util.make_ndarray(value.tensor)
    assert read.ndim == 2
    assert read.shape[1] == 3
    return read.T


def distributions(events):
    """Return the histograms by tag and step."""
    return {(value.tag, step): value for step, value in events if "_distribution/" in value.tag}


def test_the_roughness_is_the_mean_of_the_measure(planted_run, copied, read_events, summarize):
    """Of the filters for which it is defined."""
    run = copied(planted_run)
    summarize(run)
    scalars = {
        (value.tag, step): value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag.startswith("filter_roughness/")
    }
    assert len(scalars) == 2 * len(run.steps)
    for layer in run.layers:
        for step in run.steps:
            rough = measures.roughness(run.kernels(layer, step))
            expected = np.nanmean(rough)
            tag = f"filter_roughness/{layer}"
            assert scalars[tag, step] == pytest.approx(expected, rel=1e-6)
    assert scalars["filter_roughness/conv2", 20] < 0.4, "all smooth by then"
    about = {
        value.metadata.summary_description
        for _, value in read_events(run.folder)
        if value.tag == "filter_roughness/conv1"
    }
    assert any("1 is noise" in text for text in about)


def test_histograms_count_every_filter(planted_run, copied, read_events, summarize):
    """Each filter with a value is in one bucket, or each weight; buckets span the values."""
    run = copied(planted_run)
    summarize(run, histograms=True)
    found = distributions(read_events(run.folder))
    assert len(found) == 3 * 2 * len(run.steps)
    for (tag, step), value in found.items():
        if step == run.steps[0]:
            assert value.metadata.plugin_data.plugin_name == "histograms"
        group, layer = tag.split("/")
        kernels = run.kernels(layer, step)
        values = {
            "filter_drift_distribution": lambda kernels=kernels, layer=layer: measures.drift(
                kernels, run.kernels(layer, 0)
            ),
            "filter_roughness_distribution": lambda kernels=kernels: measures.roughness(kernels),
            "filter_weight_distribution": lambda kernels=kernels: kernels.ravel(),
        }[group]()
        values = values[np.isfinite(values)]
        if "weight" not in group:
            assert len(values) == (7 if layer == "conv1" else 4), "zeros have neither"
        left, right, counts = buckets(value)
        assert counts.sum() == len(values)
        assert (left <= right).all()
        np.testing.assert_allclose(left[1:], right[:-1])
        inside = (values >= left[0] - 1e-12) & (values <= right[-1] + 1e-12)
        assert inside.all()
        for low, high, count in zip(left, right, counts, strict=True):
            assert ((values > low) & (values < high)).sum() <= count
        if np.ptp(values):
            ends = [values.min(), values.max()]
            np.testing.assert_allclose([left[0], right[-1]], ends, rtol=1e-12)


def test_histograms_have_descriptions(run, read_events, summarize):
    """The same at every step."""
    summarize(run, histograms=True)
    texts = {}
    for (tag, _), value in distributions(read_events(run.folder)).items():
        texts.setdefault(tag, set()).add(value.metadata.summary_description)
    assert len(texts) == 6
    for tag, said in texts.items():
        (text,) = said - {""}
        expected = {"drift": "1 - cos(w, w0)", "roughness": "1 is noise", "weight": "each weight"}
        assert expected[tag.split("_")[1]] in text


def test_histograms_omit_filters_that_are_not_finite(make_run, conv_info, read_events):
    """Of the weights, those that are not finite are omitted."""
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 6), bias=False))
    kernel = run.snapshot(2).arrays["conv1/kernel"].copy()
    kernel[..., 1], kernel[0, 0, 0, 2] = np.nan, np.inf
    summaries = Summaries(run, histograms=True)
    summaries.add(Snapshot(Moment(3, 3), {"conv1/kernel": kernel}))
    found = distributions(read_events(run.folder))
    counts = {tag: buckets(value)[2].sum() for (tag, _), value in found.items()}
    assert counts == {
        "filter_drift_distribution/conv1": 4,
        "filter_roughness_distribution/conv1": 4,
        "filter_weight_distribution/conv1": 5 * 75 - 1,
    }


@pytest.mark.parametrize("kernel_shape", [(1, 1, 8, 5), (1, 1, 1, 3), (3, 3, 1, 0), (3, 3, 1, 1)])
def test_undefined_measures_have_no_histogram(
    make_run, conv_info, read_events, kernel_shape, summarize
):
    """Such as the roughness of a 1x1 kernel, and all of a layer without filters."""
    run = make_run(conv_info(kernel_shape=kernel_shape, bias=False))
    summarize(run, histograms=True)
    tags = {tag for tag, _ in distributions(read_events(run.folder))}
    has_filters = kernel_shape[-1] > 0
    expected = {
        "drift": has_filters,
        "roughness": kernel_shape == (3, 3, 1, 1),
        "weight": has_filters,
    }
    assert tags == {f"filter_{name}_distribution/conv1" for name, is_ in expected.items() if is_}


def test_slices_are_measured_as_channels(make_run, conv_info, read_events, summarize):
    """The slices of a 3-D kernel are side by side in the image, but not adjacent."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 7, 35, 1), bias=False
    )
    run = make_run(info)
    summarize(run)
    kernels = run.kernels("conv1", 2)
    expected = measures.roughness(to_channels(view_of(info), kernels)).mean()
    assert expected != pytest.approx(measures.roughness(kernels).mean(), rel=1e-6)
    (rough,) = (
        value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag == "filter_roughness/conv1" and step == 2
    )
    assert rough == pytest.approx(expected, rel=1e-6)


def test_values_that_differ_by_rounding_are_in_one_bucket(conv_info, tmp_path, read_events):
    """Such as the roughness of a filter and its mirror image."""
    info = conv_info(kernel_shape=(5, 5, 1, 4), bias=False)
    run = Run.create(tmp_path / "run", [info])
    base = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    kernel = np.stack([base, base[::-1], base.T, base[:, ::-1]], axis=-1)[:, :, None]
    run.append(Snapshot(Moment(0, 0), {info.kernel: kernel}))
    Summaries(run, histograms=True).add(run.snapshot(0))
    found = distributions(read_events(run.folder))
    assert buckets(found["filter_roughness_distribution/conv1", 0])[2].sum() == 4


def test_up_to_8_layers_all_have_images(conv_info):
    """Also those with 1x1 kernels."""
    layers = [conv_info(f"conv{n}", (1, 1, 4, 4)) for n in range(8)]
    assert default_image_layers(layers) == tuple(info.name for info in layers)


def test_of_more_layers_the_first_8_with_large_kernels_have_images(conv_info):
    """Kernels of one row or one column count as large."""
    shapes = [(7, 7, 3, 8), (1, 1, 8, 8), (3, 3, 8, 8), (1, 5, 8, 8)]
    layers = [conv_info(f"conv{n}", shapes[n % 4]) for n in range(40)]
    large = [f"conv{n}" for n in range(40) if n % 4 != 1]
    assert default_image_layers(layers) == tuple(large[:8])


def test_the_first_layer_always_has_images(conv_info):
    """Also with a 1x1 kernel, and if it is the only one."""
    layers = [conv_info(f"conv{n}", (1, 1, 8, 8)) for n in range(9)]
    assert default_image_layers(layers) == ("conv0",)
