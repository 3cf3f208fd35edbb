"""Curves of the measures of a run."""

import dataclasses
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from filtertrack import FiltertrackError, Moment, Run, Snapshot, measure, plot_trajectories
from filtertrack.measures import LABELS
from filtertrack.render.palette import OUTLINED, THEMES

STEPS = [0, 1, 2, 5, 10, 20]


@pytest.fixture(scope="module")
def measured(planted_run):
    return measure(planted_run)


@pytest.fixture
def batches(conv_info, tmp_path, rng):
    """The measures of a run whose steps count batches."""
    info = conv_info(kernel_shape=(3, 3, 1, 2), bias=False)
    run = Run.create(tmp_path / "batches", [info])
    for step in (0, 1, 10, 100, 5000):
        kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
        run.append(Snapshot(Moment(step, step // 1000, step), {info.kernel: kernel}))
    return measure(run)


def lines(axes):
    """Return the curves of axes: label to x and y."""
    return {line.get_label(): line.get_data() for line in axes.lines}


def rows(figure):
    """Return the three axes of each layer."""
    return [figure.axes[start : start + 3] for start in range(0, len(figure.axes), 3)]


def outline_of(collection):
    return collection.get_paths()[0].vertices


def test_curves_are_the_measures(measured):
    """Left: structure and roughness; middle: the median drift; each at every step."""
    figure = plot_trajectories(measured)
    assert isinstance(figure, Figure)
    for axes, layer in zip(rows(figure), measured.layers.values(), strict=True):
        structure = lines(axes[0])
        for label, key in (
            ("share structured", "structured"),
            ("mean roughness (noise: 1)", "roughness"),
        ):
            np.testing.assert_array_equal(structure[label], [STEPS, layer.whole[key]])
        (drift,) = lines(axes[1]).values()
        known = layer.filters["drift"]
        np.testing.assert_array_equal(drift[0], STEPS)
        np.testing.assert_allclose(drift[1], np.nanmedian(known, axis=1))
        half, whole = axes[1].collections
        for collection, (low, high) in ((whole, (0, 1)), (half, (0.25, 0.75))):
            for bound in np.nanquantile(known, [low, high], axis=1):
                drawn = outline_of(collection)
                for point in zip(STEPS, bound, strict=True):
                    assert np.isclose(drawn, point).all(axis=1).any(), point


def test_a_run_with_probes_has_axes_of_its_responses(probed_run):
    """Layers whose responses may be negative have a sentence there."""
    measured = measure(probed_run)
    figure = plot_trajectories(measured)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:4]]
    assert titles == ["structure", "drift", "labels", "responses"]
    first, second = figure.axes[3], figure.axes[7]
    whole = measured.layers["conv1"].whole
    expected = {
        "share silent": whole["silent_share"],
        "mean lifetime sparsity": whole["lifetime_sparsity"],
        "mean class selectivity": whole["class_selectivity"],
    }
    assert list(lines(first)) == list(expected)
    for label, values in expected.items():
        np.testing.assert_array_equal(lines(first)[label], [[0, 1, 2], values])
    assert not lines(second)
    assert [text.get_text() for text in second.texts] == ["responses may\nbe negative"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {*expected} < {*names}


def test_without_labels_of_probes_there_is_no_curve_of_class_selectivity(probed_run):
    probed_run.store_probes(dataclasses.replace(probed_run.probes, labels=None))
    figure = plot_trajectories(measure(probed_run, layers="conv1"))
    assert list(lines(figure.axes[3])) == ["share silent", "mean lifetime sparsity"]


def test_a_run_without_known_responses_has_three_axes_a_layer(probed_run):
    """No empty axes where all responses may be negative."""
    figure = plot_trajectories(measure(probed_run, layers="conv2"))
    assert len(figure.axes) == 3


def test_a_vertical_line_marks_the_step_of_half_formed(measured, batches):
    """There is none where half of the filters never formed."""
    figure = plot_trajectories(measured)
    for axes, step in zip(rows(figure), (5, 1), strict=True):
        assert list(lines(axes[0])["half had formed"][0]) == [step, step]
    (axes,) = rows(plot_trajectories(batches))
    assert "half had formed" not in lines(axes[0])


def test_label_areas_are_stacked(measured):
    """The height of each area is the number of filters; together they are all filters."""
    figure = plot_trajectories(measured)
    for axes, layer in zip(rows(figure), measured.layers.values(), strict=True):
        assert [area.get_label() for area in axes[2].collections] == list(LABELS)
        below = np.zeros(len(STEPS))
        for area, name in zip(axes[2].collections, LABELS, strict=True):
            above = below + layer.whole[name]
            drawn = outline_of(area)
            ends = np.array(STEPS, float)
            ends[1:-1] = (ends[1:-1] + ends[2:]) / 2  # half-way to the next: the nearest snapshot's
            for bound in (below, above):
                for point in zip(ends, bound, strict=True):
                    assert np.isclose(drawn, point).all(axis=1).any(), (name, point)
            below = above
        assert axes[2].get_ylim() == (0, layer.info.filters)
        assert (below == layer.info.filters).all()


def test_labels_of_the_last_snapshot_are_visible(planted_run, tmp_path):
    """Of two snapshots the second has an area too: its edges."""
    measured = measure(planted_run, layers="conv2", steps=[0, 20])
    plot_trajectories(measured, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        canvas = np.asarray(image.convert("RGB"))
    area = canvas[: canvas.shape[0] // 2, 2 * canvas.shape[1] // 3 :]  # the legend is below
    assert (area == THEMES["light"].outlines[0]).all(axis=-1).sum() > 50


@pytest.mark.parametrize("theme", THEMES)
def test_colours_are_those_of_the_theme(measured, theme):
    """Background, text, curves; each label has the colour of its outline."""
    look = THEMES[theme]
    figure = plot_trajectories(measured, theme=theme)

    def rgb(colour):
        return tuple(np.rint(255 * np.array(mpl.colors.to_rgb(colour))).astype(int).tolist())

    assert rgb(figure.get_facecolor()) == look.background
    axes = figure.axes[:3]
    assert {rgb(each.get_facecolor()) for each in axes} == {look.background}
    assert [rgb(line.get_color()) for line in axes[0].lines] == [look.first, look.second, look.text]
    areas = {area.get_label(): rgb(area.get_facecolor()[0]) for area in axes[2].collections}
    assert [areas[name] for name in OUTLINED] == list(look.outlines)
    assert len(set(areas.values())) == len(LABELS)
    assert rgb(axes[0].yaxis.label.get_color()) == look.text
    assert {rgb(text.get_color()) for text in figure.legends[0].get_texts()} == {look.text}


def test_the_x_axis_counts_epochs_or_batches(measured, batches):
    """Epochs are linear; batches logarithmic from zero, with plain numbers."""
    for figure, word, scale in (
        (plot_trajectories(measured), "epochs", "linear"),
        (plot_trajectories(batches), "batches, log scale", "symlog"),
    ):
        bottom = rows(figure)[-1]
        assert [axes.get_xlabel() for axes in bottom] == [word] * 3
        assert {axes.get_xscale() for axes in figure.axes} == {scale}
    assert {axes.get_xlim() for axes in figure.axes} == {(0, 5000)}
    figure.canvas.draw()
    ticks = [label.get_text() for label in bottom[0].get_xticklabels()]
    assert {"0", "10", "1000"} <= set(ticks)


def test_rows_name_layers_and_columns_have_titles(measured):
    """Only the first row has titles."""
    figure = plot_trajectories(measured)
    assert [axes[0].get_ylabel() for axes in rows(figure)] == ["conv1", "conv2"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["structure", "drift", "labels", "", "", ""]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "share structured",
        "mean roughness (noise: 1)",
        "half had formed",
        "median drift",
        "middle half",
        "all filters",
        *LABELS,
    ]


def test_the_legend_names_marks_that_only_a_later_row_has(planted_run, make_run, conv_info):
    """Also where the first layer has no such mark."""
    figure = plot_trajectories(measure(planted_run, layers=["conv1", "conv2"], steps=[0, 1, 2]))
    assert "half had formed" not in lines(rows(figure)[0][0])
    assert "half had formed" in lines(rows(figure)[1][0])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "half had formed" in names


def test_the_axes_contain_a_roughness_above_noise(conv_info, tmp_path):
    """Checkerboards are about twice as rough as noise."""
    info = conv_info(kernel_shape=(5, 5, 1, 2), bias=False)
    run = Run.create(tmp_path / "run", [info])
    checks = np.broadcast_to((-1.0) ** np.add.outer(np.arange(5), np.arange(5)), (2, 5, 5))
    for step in range(3):
        kernel = checks.transpose(1, 2, 0)[:, :, None].astype(np.float32)
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    axes = plot_trajectories(measure(run)).axes[0]
    rough = lines(axes)["mean roughness (noise: 1)"][1]
    assert rough.min() > 1.5
    assert axes.get_ylim()[1] >= rough.max()


def test_layer_names_are_plain_text(make_run, conv_info, tmp_path):
    """Markup or mathematics in a name is drawn as it is, without an error."""
    infos = [
        conv_info("_x_", path="$x$", bias=False),
        conv_info("a.b_c-1", path=r"$\frac{1$ <b>", bias=False),
    ]
    figure = plot_trajectories(measure(make_run(*infos)), tmp_path / "a.svg")
    labels = [axes[0].yaxis.label for axes in rows(figure)]
    assert [label.get_text() for label in labels] == ["_x_", "a.b_c-1"]
    assert "<b>" not in (tmp_path / "a.svg").read_text()


def test_long_names_stay_inside_the_figure(make_run, conv_info):
    """Shortened if needed: no name leaves the figure or overlaps that of the next row."""
    names = [f"functional_1/backbone/block_{n}/expand_depthwise_conv2d" for n in (11, 12)]
    run = make_run(*(conv_info(name, (3, 3, 1, 2), bias=False) for name in names))
    figure = plot_trajectories(measure(run))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    first, second = (axes[0].yaxis.label.get_window_extent(renderer) for axes in rows(figure))
    assert first.y1 <= figure.bbox.height + 1
    assert second.y0 >= -1
    assert first.y0 >= second.y1


@pytest.mark.parametrize("count", [1, 2, 16])
def test_axes_and_legend_do_not_overlap(make_run, conv_info, count):
    """With one layer and with the most that are allowed, all inside the figure."""
    infos = [conv_info(f"conv{n}", (1, 3, 1, 2), bias=False) for n in range(count)]
    figure = plot_trajectories(measure(make_run(*infos, steps=range(2))))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes.append(figure.legends[0].get_window_extent(renderer))
    assert len(boxes) == 3 * count + 1
    for number, box in enumerate(boxes):
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1
        for other in boxes[:number]:
            apart = box.x1 <= other.x0 + 1 or other.x1 <= box.x0 + 1
            assert apart or box.y1 <= other.y0 + 1 or other.y1 <= box.y0 + 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_non_finite_weights_are_drawn_without_warnings(conv_info, tmp_path, rng, value):
    """The finite part of each curve is drawn."""
    info = conv_info(kernel_shape=(5, 5, 1, 3), bias=False)
    run = Run.create(tmp_path / "run", [info])
    for step in range(3):
        kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
        kernel[..., 0] = value
        kernel[..., 1 if step == 2 else 0] = value
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    measured = measure(run)
    figure = plot_trajectories(measured, tmp_path / "a.png")
    (drift,) = lines(figure.axes[1]).values()
    known = measured.layers["conv1"].filters["drift"]
    np.testing.assert_allclose(drift[1], np.nanmedian(known, axis=1))


def test_a_layer_without_filters_has_an_empty_row(make_run, conv_info, tmp_path):
    """The other rows are drawn."""
    run = make_run(conv_info(), conv_info("none", (3, 3, 1, 0), bias=False))
    figure = plot_trajectories(measure(run), tmp_path / "a.pdf")
    assert len(figure.axes) == 6
    assert not figure.axes[4].lines


def test_one_snapshot_is_an_error(planted_run, tmp_path):
    """Nothing is written."""
    with pytest.raises(FiltertrackError, match="at least two snapshots, got 1"):
        plot_trajectories(measure(planted_run, steps=[5]), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())


def test_more_than_sixteen_layers_are_an_error(make_run, conv_info, tmp_path):
    """The message names the limit; nothing is written."""
    infos = [conv_info(f"conv{n}", (1, 2, 1, 1), bias=False) for n in range(17)]
    measured = measure(make_run(*infos, steps=range(2)))
    with pytest.raises(FiltertrackError, match="at most 16, got 17; choose some"):
        plot_trajectories(measured, tmp_path / "a.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "a.gif"}, "expected a name that ends in .png, .pdf, .svg"),
        ({"output": "no/a.pdf"}, "there is no folder"),
        ({"theme": "blue"}, "theme: expected one of dark, light, got 'blue'"),  # a KeyError
    ],
    ids=str,
)
def test_invalid_options_are_errors(measured, tmp_path, options, message):
    """The message names the option; nothing is written."""
    output = tmp_path / options.pop("output", "a.png")
    with pytest.raises(FiltertrackError) as error:
        plot_trajectories(measured, output, **options)
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_files_do_not_depend_on_matplotlib_settings(measured, tmp_path, ending):
    """The same bytes twice, also with unusual settings, which are kept."""
    strange = {
        "axes.grid": True,
        "axes.prop_cycle": mpl.cycler(color=["red"]),
        "axes.xmargin": 0.3,
        "figure.dpi": 37,
        "font.family": ["monospace"],
        "font.size": 30,
        "legend.frameon": True,
        "lines.linewidth": 9,
        "pdf.fonttype": 3,
        "savefig.bbox": "tight",
        "savefig.dpi": 37,
        "svg.fonttype": "none",
        "svg.hashsalt": "another",
        "text.usetex": True,
        "xtick.direction": "in",
    }
    one, two = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    plot_trajectories(measured, one)
    with mpl.rc_context(strange):
        plot_trajectories(measured, two)
        assert mpl.rcParams["pdf.fonttype"] == 3
        assert mpl.rcParams["savefig.dpi"] == 37
    assert one.read_bytes() == two.read_bytes()
    start = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[ending]
    assert one.read_bytes().startswith(start)


@pytest.mark.parametrize("theme", THEMES)
def test_the_file_has_the_background_of_the_theme(measured, tmp_path, theme):
    """White or dark; 6.7 inches wide at 200 pixels an inch."""
    plot_trajectories(measured, tmp_path / "a.png", theme=theme)
    with Image.open(tmp_path / "a.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == THEMES[theme].background
        assert image.width == 1340


def test_the_figure_can_be_changed(measured, tmp_path):
    """Pyplot does not know the figure, and a notebook shows it."""
    figure = plot_trajectories(measured)
    figure.axes[0].set_ylabel("first")
    figure.savefig(tmp_path / "own.png", dpi=50)
    assert (tmp_path / "own.png").stat().st_size
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_drawing_sets_no_backend(planted_run, tmp_path):
    """Drawing needs no screen and does not load pyplot."""
    code = (
        "import sys; from filtertrack import measure, plot_trajectories\n"
        f"measured = measure({str(planted_run.path)!r}, layers='conv2')\n"
        f"plot_trajectories(measured, {str(tmp_path / 'a.pdf')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "a.pdf").exists()


def epoch_marks(axes):
    """Return the batches with a vertical line for the end of an epoch, and the lines' name."""
    marks = [line for line in axes.lines if "epochs" in line.get_label()]
    return [round(line.get_xdata()[0]) for line in marks], {line.get_label() for line in marks}


def test_ends_of_epochs_are_marked(batches):
    """By a thin line in each axes with batches, named in the legend; the curves have no gap."""
    figure = plot_trajectories(batches)
    for axes in figure.axes:
        assert epoch_marks(axes) == ([1080, 2060, 3040, 4020], {"ends of epochs"})
    (legend,) = figure.legends
    assert "ends of epochs" in [text.get_text() for text in legend.get_texts()]


def test_dense_epochs_are_thinned(conv_info, tmp_path, rng):
    """On the logarithmic axis late epochs lie close together."""
    info = conv_info(kernel_shape=(3, 3, 1, 2), bias=False)
    run = Run.create(tmp_path / "dense", [info])
    for epoch in range(61):
        moment = Moment(10 * epoch, epoch, 10 * epoch, epoch_batch=0, epoch_batches=10)
        kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
        run.append(Snapshot(moment, {info.kernel: kernel}))
    figure = plot_trajectories(measure(run, steps=[0, *range(10, 601, 10)]))
    marks, names = epoch_marks(figure.axes[0])
    assert marks == [100, 200, 300, 400, 500]
    assert names == {"every 10 epochs"}


def test_an_axis_of_epochs_has_no_further_marks(measured):
    """Its numbers are the epochs."""
    assert epoch_marks(plot_trajectories(measured).axes[0]) == ([], set())
