"""The figure of one dot product."""

import re

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, plot_dot_product
from filtertrack.outputs.value_pictures import MINUS, image_rgb, range_of, signed_rgb
from filtertrack.render.palette import THEMES
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes
from filtertrack.snapshot import Preprocessing
from filtertrack.storage import memory_limit

FIRST = {"preprocessing": (), "padding": "same", "activation": "relu"}


@pytest.fixture
def first_run(tmp_path, conv_info):
    """Return a function that writes a run of one first layer, at steps 0 and 1."""

    def make(kernel_shape=(3, 3, 1, 4), *, bias=True, **options):
        info = conv_info("conv1", kernel_shape, bias=bias, **{**FIRST, **options})
        run = Run.create(tmp_path / "first", [info])
        rng = np.random.default_rng(5)
        for step in (0, 1):
            arrays = {info.kernel: rng.normal(size=kernel_shape).astype("f4")}
            if bias:
                arrays[info.bias] = rng.normal(size=kernel_shape[-1]).astype("f4")
            run.append(Snapshot(Moment(step, step), arrays))
        return run

    return make


def shape_of(channels=1):
    """Return an image of 9x11 with a bright diagonal."""
    image = np.zeros((9, 11, channels), np.float32)
    for n in range(9):
        image[n, n : n + 2] = np.linspace(1, 0.5, channels)
    return image


def panels_of(figure):
    """Return the axes by their titles."""
    return {axes.get_title(): axes for axes in figure.axes}


def numbers_in(axes):
    return [text.get_text() for text in axes.texts]


def words_of(figure):
    return " | ".join(text.get_text() for text in figure.texts)


def test_the_panels_show_image_patch_filter_product_and_map(first_run):
    """Each in the colours of its values."""
    run, image = first_run(), shape_of()
    figure = plot_dot_product(run, image, step=1, filter_number=2, at=(4, 5))
    value = run.dot_product("conv1", 1, image, 2, (4, 5))
    panels = panels_of(figure)
    assert list(panels) == ["image", "feature map", "patch", "filter 2", "product"]
    ends = range_of(image)
    drawn = {name: axes.images[0].get_array() for name, axes in panels.items()}
    np.testing.assert_array_equal(drawn["image"], image_rgb(image, *ends))
    np.testing.assert_array_equal(drawn["patch"], image_rgb(value.patch, *ends))
    np.testing.assert_array_equal(drawn["filter 2"], signed_rgb(value.kernel[..., 0]))
    np.testing.assert_array_equal(drawn["product"], signed_rgb(value.product[..., 0]))
    outputs = run.responses("conv1", 1, image[np.newaxis])[0, ..., 2]
    np.testing.assert_array_equal(drawn["feature map"], signed_rgb(outputs))


def test_the_numbers_in_the_cells_are_the_values(first_run):
    """Rounded to two digits of the largest."""
    run, image = first_run(), shape_of()
    panels = panels_of(plot_dot_product(run, image, filter_number=2, at=(4, 5)))
    value = run.dot_product("conv1", 1, image, 2, (4, 5))
    for name, values in (
        ("patch", value.patch),
        ("filter 2", value.kernel),
        ("product", value.product),
    ):
        printed = [float(text.replace(MINUS, "-")) for text in numbers_in(panels[name])]
        np.testing.assert_allclose(printed, values.ravel(), atol=0.051)


def test_the_sum_and_the_value_are_written_below(first_run):
    """With the bias, the place, and the value after the activation function."""
    run, image = first_run(), shape_of()
    value = run.dot_product("conv1", 1, image, 2, (4, 5))
    words = words_of(plot_dot_product(run, image, filter_number=2, at=(4, 5))).replace(MINUS, "-")
    assert (
        f"sum of the products {value.sum:#.3g} + bias {value.bias:#.3g} = {value.output:#.3g}"
        in words
    )
    assert "row 4, column 5" in words
    assert f"after relu: {value.activated:#.3g}" in words
    assert "first, conv1 · filter 2 · epoch 1" in words


def test_without_bias_and_activation_neither_is_written(first_run):
    run = first_run(bias=False, activation="linear")
    words = words_of(plot_dot_product(run, shape_of()))
    assert "bias" not in words
    assert "after" not in words


def test_the_highest_value_is_the_default_place(first_run):
    """At the last step."""
    run, image = first_run(), shape_of()
    outputs = run.responses("conv1", 1, image[np.newaxis])[0, 1:-1, 1:-1, 0]
    row, column = np.unravel_index(outputs.argmax(), outputs.shape)
    assert f"row {row + 1}, column {column + 1}" in words_of(plot_dot_product(run, image))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": (2, 2)},
        {"dilation": (2, 2)},
        {"preprocessing": (Preprocessing(pads=((2, 1), (0, 3))),)},
    ],
    ids=str,
)
def test_the_default_place_has_no_padding_in_its_patch(first_run, options):
    """Even where the highest value is at the edge; the highest of the others is explained."""
    run = first_run((3, 3, 1, 16), **options)
    image = -np.ones((9, 11, 1), np.float32)
    outputs = run.responses("conv1", 1, image[np.newaxis])[0]
    inside = {}
    for place in np.ndindex(outputs.shape[:2]):
        region = run.dot_product("conv1", 1, image, 0, place).region
        if all(
            part.start >= 0 and part.stop <= side
            for part, side in zip(region, (9, 11), strict=True)
        ):
            inside[place] = outputs[place]
    at_the_edge = 0
    for number in range(16):
        words = words_of(plot_dot_product(run, image, filter_number=number, dpi=50))
        row, column = map(int, re.search(r"row (\d+), column (\d+)", words).groups())
        highest = max(values[number] for values in inside.values())
        assert inside[row, column][number] == highest
        assert "outside of the image" not in words
        at_the_edge += outputs[..., number].max() > highest
    assert at_the_edge


def test_a_filter_larger_than_the_image_is_explained_with_padding(first_run):
    """No patch lies within the image: then the highest value of all is explained."""
    run, image = first_run((9, 9, 1, 4)), shape_of()[:5, :5]
    outputs = run.responses("conv1", 1, image[np.newaxis])[0, ..., 0]
    row, column = np.unravel_index(outputs.argmax(), outputs.shape)
    words = words_of(plot_dot_product(run, image))
    assert f"row {row}, column {column}" in words
    assert "outside of the image" in words


@pytest.mark.parametrize(("theme", "tint"), [("light", "grey-blue"), ("dark", "dark blue")])
def test_padding_in_the_patch_has_its_own_colour_and_a_line(first_run, theme, tint):
    figure = plot_dot_product(first_run(), shape_of(), at=(0, 5), theme=theme)
    drawn = panels_of(figure)["patch"].images[0].get_array()
    assert (drawn[0] == THEMES[theme].separator).all()
    assert not (drawn[1:] == THEMES[theme].separator).all(axis=-1).any()
    assert f"{tint} in the patch: padding outside of the image" in words_of(figure)


def test_the_sum_of_each_colour_is_written(first_run):
    """And that grey is zero in the filter; the bias belongs to the value."""
    run, image = first_run((3, 3, 3, 4)), shape_of(3)
    value = run.dot_product("conv1", 1, image, 0, (4, 5))
    red, green, blue = value.product.sum(axis=(0, 1))
    figure = plot_dot_product(run, image, at=(4, 5))
    assert "filter 0: grey is zero" in panels_of(figure)
    expected = (
        f"red {red:#.3g} + green {green:#.3g} + blue {blue:#.3g} + bias {value.bias:#.3g} "
        f"= {value.output:#.3g}"
    )
    words = words_of(figure).replace(MINUS, "-")
    assert expected in words
    assert "the products and the bias are added" in words.replace("\n", " ")


def test_a_rescaled_patch_is_named_as_such(first_run):
    figure = plot_dot_product(first_run(preprocessing=(Preprocessing((0.5,)),)), shape_of())
    assert "patch, rescaled" in panels_of(figure)
    assert "after the model's preprocessing" in words_of(figure)


@pytest.mark.parametrize("activation", ["relu", "relu6", "linear"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_filter_that_answers_nowhere_is_said_to(first_run, activation, sign):
    """Only after an activation does a filter not answer."""
    run = first_run(activation=activation)
    arrays = dict(run.snapshot(1).arrays)
    for name, values in arrays.items():
        arrays[name] = sign * np.abs(values)
    run.append(Snapshot(Moment(2, 2), arrays))
    words = words_of(plot_dot_product(run, shape_of()))
    expected = f"the filter answers nowhere in this image: after {activation} every value is 0"
    assert (expected in words) == (sign < 0 and activation != "linear")


@pytest.mark.parametrize("highest", [0.0, 0.5])
def test_the_activation_behind_the_layer_is_named(first_run, highest):
    """Recorded responses tell whether a filter answers to a probe behind batch normalization."""
    run = first_run(activation="linear")
    read = ProbedLayer("conv1", "after relu1", True, (9, 11), (9, 11))
    run.store_probes(StoredProbes({"x": shape_of()[np.newaxis]}, {"conv1": read}, 0))
    statistics = np.zeros((3, 1, 4), "f4")
    statistics[0, 0, 3] = highest
    places = np.full((4, 9, 4), (-1, -1, -1, np.nan), "f4")
    response = LayerResponse(np.zeros((0, 4, 9, 11), "u1"), statistics, places)
    run.append(Snapshot(Moment(2, 2), run.snapshot(1).arrays, {"conv1": response}))
    words = words_of(plot_dot_product(run, 0, filter_number=3)).replace(" | ", " ")
    assert "before any normalization and activation; responses to probes are read after" in words
    assert ("answers nowhere in this image: after relu1" in words) == (highest == 0)
    assert "answers nowhere" not in words_of(plot_dot_product(run, shape_of(), filter_number=3))


def test_the_patch_is_outlined_where_it_lies(first_run):
    """Also one that reaches over the edge, and of a strided layer."""
    run = first_run(strides=(2, 2))
    for at, left, top in (((0, 0), -1, -1), ((2, 3), 5, 3)):
        found = run.dot_product("conv1", 1, shape_of(), 0, at).region
        panels = panels_of(plot_dot_product(run, shape_of(), at=at))
        for axes, place in (
            (panels["image"], (found[1].start - 0.5, found[0].start - 0.5)),
            (panels["feature map"], (at[1] - 0.5, at[0] - 0.5)),
        ):
            assert {patch.get_xy() for patch in axes.patches} == {place}
        assert found[1].start == left
        assert found[0].start == top


def test_three_channels_are_in_colour(first_run):
    """The product is added over the channels, and its numbers are printed."""
    run, image = first_run((3, 3, 3, 4)), shape_of(3)
    value = run.dot_product("conv1", 1, image, 0, (4, 5))
    panels = panels_of(plot_dot_product(run, image, at=(4, 5)))
    assert numbers_in(panels["patch"]) == numbers_in(panels["filter 0: grey is zero"]) == []
    product = panels["product, three channels added"]
    printed = [float(text.replace(MINUS, "-")) for text in numbers_in(product)]
    np.testing.assert_allclose(printed, value.product.sum(axis=-1).ravel(), atol=0.051)


def test_of_other_numbers_of_channels_the_strongest_is_shown(first_run):
    """And the sums of the others are written."""
    run, image = first_run((3, 3, 5, 4)), shape_of(5)
    value = run.dot_product("conv1", 1, image, 0, (4, 5))
    sums = value.product.sum(axis=(0, 1))
    strongest = int(np.abs(sums).argmax())
    figure = plot_dot_product(run, image, at=(4, 5))
    assert f"patch, channel {strongest}" in panels_of(figure)
    words = words_of(figure).replace(MINUS, "-")
    assert f"those of the other channels {value.sum - sums[strongest]:#.3g}" in words


def test_large_kernels_have_no_numbers(first_run):
    figure = plot_dot_product(first_run((8, 8, 1, 4)), shape_of())
    assert not any(numbers_in(axes) for axes in figure.axes)


def test_a_patch_has_the_colours_of_the_image_after_preprocessing(first_run):
    """A rescaling changes the numbers only."""
    run = first_run(preprocessing=(Preprocessing((-2.0,), (7.0,)),))
    image = shape_of()
    panels = panels_of(plot_dot_product(run, image, at=(4, 5)))
    drawn = panels["patch, rescaled"].images[0].get_array()
    np.testing.assert_array_equal(drawn, panels["image"].images[0].get_array()[3:6, 4:7])
    assert numbers_in(panels["patch, rescaled"])[1] != "0"


def test_channels_first(conv_info, first_run):
    run = first_run((3, 3, 3, 4), data_format="channels_first")
    figure = plot_dot_product(run, np.moveaxis(shape_of(3), -1, 0))
    assert panels_of(figure)["image"].images[0].get_array().shape == (9, 11, 3)


def test_a_probe_is_given_by_its_number(first_run):
    run = first_run()
    read = ProbedLayer("conv1", "its output", True, (9, 11), (9, 11))
    run.store_probes(StoredProbes({"x": shape_of()[np.newaxis]}, {"conv1": read}, 0))
    drawn = panels_of(plot_dot_product(run, 0))["image"].images[0].get_array()
    np.testing.assert_array_equal(drawn, image_rgb(shape_of(), *range_of(shape_of())))


@pytest.mark.parametrize(
    ("ending", "theme"), [("png", "light"), ("png", "dark"), ("pdf", "dark"), ("svg", "light")]
)
def test_files_of_each_format_are_written(first_run, tmp_path, ending, theme):
    """The same for the same run."""
    run, paths = first_run(), [tmp_path / f"{n}.{ending}" for n in (1, 2)]
    for path in paths:
        plot_dot_product(run, shape_of(), path, theme=theme, dpi=60)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size > 1000


@pytest.mark.parametrize("width", ["3cm", "8cm", "17cm", "40cm"])
def test_texts_stay_in_the_figure(first_run, width):
    """Of any width; where they are too small to read they are left out."""
    figure = plot_dot_product(first_run((3, 3, 5, 4)), shape_of(5), width=width, dpi=150)
    edge = figure.get_window_extent()
    for text in [*figure.texts, *(axes.title for axes in figure.axes)]:
        if text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= edge.x0 - 1, text
            assert box.x1 <= edge.x1 + 1, text
            assert box.y0 >= edge.y0 - 1, text


def test_what_is_not_finite_is_drawn(first_run):
    """Of a model that has diverged."""
    run = first_run()
    arrays = dict(run.snapshot(1).arrays)
    arrays["conv1/kernel"] = np.full_like(arrays["conv1/kernel"], np.nan)
    run.append(Snapshot(Moment(2, 2), arrays))
    assert "nan" in words_of(plot_dot_product(run, shape_of()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_number": 4}, "filter: expected"),
        ({"at": (9, 0)}, "at: expected a row from 0 to 8, got 9"),
        ({"at": (0, 11)}, "at: expected a column from 0 to 10, got 11"),
        ({"at": 3}, "at: expected"),
        ({"step": 5}, "no snapshot at step 5"),
        ({"layer": "other"}, "no layer 'other'"),
        ({"theme": "blue"}, "theme: expected"),
        ({"width": "0cm"}, "width: expected"),
        ({"output": "a.gif"}, "expected a name that ends in"),
        ({"image": 0}, "has no probes"),
        ({"image": np.zeros((9, 9, 3))}, "takes 1 channels"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error(first_run, options, message):
    with pytest.raises(FiltertrackError, match=message):
        plot_dot_product(first_run(), **{"image": shape_of(), **options})


def test_an_image_with_feature_maps_larger_than_memory_is_refused(first_run, monkeypatch):
    """Before they are computed."""
    monkeypatch.setattr(memory_limit, "machine_memory", lambda: 1 << 28)
    image = np.zeros((2500, 2500, 1), np.float32)
    with pytest.raises(FiltertrackError, match="the feature maps of the image take"):
        plot_dot_product(first_run(), image)


def test_a_run_without_a_known_input_is_an_error(run):
    with pytest.raises(FiltertrackError, match="does not say how the input of any layer"):
        plot_dot_product(run, shape_of())


def test_the_figure_looks_as_before(first_run, golden_figure):
    """Look at a new golden picture before it is committed."""
    golden_figure("dot_product.png", plot_dot_product(first_run(), shape_of(), dpi=60))
