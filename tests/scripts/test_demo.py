import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run, measures
from filtertrack.render.cells import strongest_pattern

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_patches_are_normalised_and_labelled(demo, rng):
    """The requested number per photograph, a fifth as many held out, 52 classes, deviation 1."""
    pytest.importorskip("skimage")
    (seen, labels), (unseen, held_out) = demo.make_patches(40, rng)
    assert seen.shape == (520, 28, 28, 3)
    assert unseen.shape == (104, 28, 28, 3)
    assert np.bincount(labels // 4).tolist() == [40] * 13
    assert np.bincount(held_out // 4).tolist() == [8] * 13
    assert set(labels % 4) == {0, 1, 2, 3}
    assert seen.dtype == unseen.dtype == np.float32
    assert seen.std() == pytest.approx(1, abs=0.1)


def test_patches_fade_out_at_the_border(demo, rng):
    """The pixels at the border are near zero, so that the border is not an edge."""
    patches = np.abs(demo._normalised(rng.random((20, 28, 28, 3), np.float32), rng))
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert patches[:, border].max() < 0.05 * patches.max()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_quarter_turn_rotates_the_patch(demo, degrees, monkeypatch):
    """A patch that is cut at an angle is the upright patch, rotated."""
    rows, columns = np.mgrid[:50, :50].astype(np.float32)
    area = np.stack([rows, columns, rows * columns], axis=-1)

    class Centre:
        """Draw the middle of each range, and no mirror image."""

        def uniform(self, low, high, shape):
            return np.full(shape, (low + high) / 2)

        def choice(self, values, count):
            return np.ones(count)

    upright, turned = demo._rotated(area, np.radians([0.0, degrees]), Centre())
    np.testing.assert_allclose(turned, np.rot90(upright, -degrees // 90), atol=1e-3)


def test_training_and_held_out_patches_do_not_overlap(demo, rng, monkeypatch):
    """Training patches are from the left three quarters, held-out patches from the right one."""
    width = 200
    ramp = np.zeros((60, width, 3), np.float32)
    ramp[..., 0] = np.arange(width)  # the column a pixel came from
    monkeypatch.setattr(demo, "PHOTOGRAPHS", ("ramp",))
    monkeypatch.setattr(demo, "_photograph", lambda name: ramp)
    cuts = []
    cut = demo._cut
    monkeypatch.setattr(demo, "_cut", lambda areas, *rest: cuts.extend(areas) or cut(areas, *rest))
    demo.make_patches(50, rng)
    training, held_out = cuts
    assert training[..., 0].max() < held_out[..., 0].min()
    assert training.shape[1] == 150


def test_reducing_a_photograph_averages_squares_of_pixels(demo, monkeypatch):
    """Each pixel is the mean of a square; incomplete squares at the border are left out."""
    monkeypatch.setattr(demo, "HEIGHT", 2)
    image = np.arange(4 * 5, dtype=np.float32).reshape(4, 5, 1).repeat(3, axis=2)
    reduced = demo._reduced(image)
    assert reduced[..., 0].tolist() == [[3, 5], [13, 15]]


def test_a_short_training_writes_a_run_and_reports_its_filters(demo, tmp_path, capsys):
    """The run starts before training; labels, directions, roughness and accuracy are printed."""
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    folder = tmp_path / "demo"
    assert demo.main(["--run", str(folder), "--epochs", "1", "--patches", "20"]) == 0
    run = Run(folder)
    assert run.steps[0] == 0
    assert run.kernels("conv1", run.steps[-1]).shape == (48, 9, 9, 3)
    assert (folder / "evolution.gif").stat().st_size > 0
    printed = capsys.readouterr().out
    for name in ("held-out accuracy: ", "labels: ", "directions of the edges: ", "roughness"):
        assert name in printed


@pytest.mark.slow
def test_the_first_layer_learns_edges_in_many_directions_and_colour_blobs(demo, tmp_path):
    """The results that the README shows: edges, directions, colour blobs, smooth patterns.

    With three seeds there were 25 to 28 edges of 48, in 7 or 8 of 8 directions, and 7 to 9 colour
    blobs. Threads sum in another order each time, so that a run may differ by a few filters.
    """
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    assert demo.main(["--run", str(tmp_path / "demo")]) == 0
    run = Run(tmp_path / "demo")
    first, *deeper = (run.kernels(name, run.steps[-1]) for name in ("conv1", "conv2", "conv3"))
    labels = measures.label(first).names
    degrees = measures.orientation(first).degrees[labels == "edge"]
    assert np.count_nonzero(labels == "edge") >= 0.5 * len(labels)
    assert len(np.unique(degrees // 22.5)) >= 6
    assert np.count_nonzero(labels == "colour blob") >= 6
    assert np.count_nonzero(labels == "fine grating") == 0, "chequers of JPEG blocks"
    assert np.median(measures.roughness(first)) <= 0.35
    for shown in (first, *map(strongest_pattern, deeper)):
        assert measures.roughness(shown).mean() <= 0.5


def test_a_missing_package_is_an_error_that_names_the_extra(tmp_path):
    """One line on standard error, and exit code 2."""
    (tmp_path / "skimage.py").write_text("raise ModuleNotFoundError(name='skimage')")
    result = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "skimage is missing: pip install -e '.[demo]'" in result.stderr
