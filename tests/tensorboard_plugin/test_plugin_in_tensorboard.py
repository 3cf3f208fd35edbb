import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from filtertrack import FilterTracker, Run, measures
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.grid import draw_pages, to_image
from filtertrack.render.look import Look
from filtertrack.render.value_range import range_of_cells


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real training of five epochs: an RGB layer, and a deep one of two pages."""
    import keras

    folder = tmp_path_factory.mktemp("logs")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 5, name="rgb"),
            keras.layers.Conv2D(70, 3, name="deep"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
    tracker = FilterTracker(folder / "exp1", histograms=True)
    model.fit(x, np.ones((32, 70), "float32"), epochs=5, verbose=0, callbacks=[tracker])
    return folder


def pages_of(run, layer):
    """Draw each step of a layer as the renderer does: step to its pages."""
    view, pages = view_of(run.layer(layer)), {}
    for step in run.steps:
        cells = to_cells(view, run.kernels(layer, step))
        pages[step] = draw_pages(view, cells, range_of_cells(cells), 320)
    return pages


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("flags", [[], ["--load_fast=false"]], ids=["default", "python"])
def test_both_loaders_serve_the_renderers_pixels(trained, tensorboard, until, flags):
    """Over HTTP: each layer's steps, pages, timelapse, filmstrip, scalars, histograms, table."""
    run, where = Run(trained / "exp1"), "exp1/filters"
    with tensorboard("--logdir", trained, *flags, tensorflow=True) as server:

        def get(path, query=""):
            return server.get(f"plugin/{path}", query)

        def images(tag, sample=0):
            listed = get("images/images", {"run": where, "tag": tag, "sample": sample})
            return {
                entry["step"]: get("images/individualImage", entry["query"])
                for entry in json.loads(listed)
            }

        def tags():
            loaded = json.loads(get("images/tags")).get(where, {})
            return loaded if "filters_filmstrip/deep" in loaded else None

        loaded = until(tags)
        assert set(loaded) == {
            "filters/rgb",
            "filters/deep",
            "filters_learned/rgb",
            "filters_learned/deep",
            "filters_timelapse/rgb",
            "filters_timelapse/deep",
            "filters_filmstrip/rgb",
            "filters_filmstrip/deep",
        }
        assert loaded["filters/deep"]["samples"] == 2
        assert "rank 1" in loaded["filters/deep"]["description"]
        assert "dark" in loaded["filters/rgb"]["description"]

        for layer in ("rgb", "deep"):
            drawn = pages_of(run, layer)
            for number in range(len(drawn[0])):
                served = images(f"filters/{layer}", number)
                assert list(served) == [0, 1, 2, 3, 4, 5]
                for step, data in served.items():
                    expected = np.asarray(to_image(drawn[step][number]).convert("RGB"))
                    # A scale bar is below those of one value a weight.
                    np.testing.assert_array_equal(pixels(data)[: len(expected)], expected)

        selection, look = select_from_run(run, layers="rgb"), Look(delta=False)
        film = AnimationFrames(selection, plan(selection.moments[0], Pace()), look, side=320)
        with Image.open(io.BytesIO(images("filters_timelapse/rgb")[5])) as image:
            assert image.n_frames == 6
            image.seek(5)
            *_, last = film.pictures()
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), film.palette[last])
        strip = images("filters_filmstrip/rgb")[5]
        np.testing.assert_array_equal(pixels(strip), FilmstripPicture(selection, look).card(320))

        drift = {"run": where, "tag": "filter_drift/rgb"}
        scalars = json.loads(get("scalars/scalars", drift))
        assert [step for _, step, _ in scalars] == [0, 1, 2, 3, 4, 5]
        assert scalars[0][2] == pytest.approx(0, abs=1e-6)
        assert scalars[-1][2] > 0
        rough = {"run": where, "tag": "filter_roughness/deep"}
        scalars = json.loads(get("scalars/scalars", rough))
        expected = measures.roughness(run.kernels("deep", 5)).mean()
        assert scalars[-1][2] == pytest.approx(expected, rel=1e-6)

        listed = json.loads(get("histograms/tags"))[where]
        assert set(listed) == {
            f"filter_{what}_distribution/{layer}"
            for what in ("drift", "roughness", "weight")
            for layer in ("rgb", "deep")
        }
        for tag, about in listed.items():
            group, layer = tag.split("/")
            info, of_weights = run.layer(layer), "weight" in group
            assert ("each weight" if of_weights else "each filter") in about["description"]
            counted = math.prod(info.kernel_shape) if of_weights else info.filters
            served = json.loads(get("histograms/histograms", {"run": where, "tag": tag}))
            assert [step for _, step, _ in served] == [0, 1, 2, 3, 4, 5]
            for _, _, buckets in served:
                assert sum(count for _, _, count in buckets) == counted

        text = json.loads(get("text/text", {"run": where, "tag": "filters_layers"}))
        assert "<table>" in text[0]["text"]
        assert "deep" in text[0]["text"]
