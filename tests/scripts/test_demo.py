import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_patches_have_zero_mean_colour_and_unit_deviation(demo, rng):
    """There are as many of each photograph as requested, and a fifth as many held out."""
    pytest.importorskip("skimage")
    (seen, labels), (unseen, held_out) = demo.make_patches(10, rng)
    assert seen.shape == (130, 24, 24, 3)
    assert unseen.shape == (26, 24, 24, 3)
    assert np.bincount(labels).tolist() == [10] * 13
    assert np.bincount(held_out).tolist() == [2] * 13
    for patches in (seen, unseen):
        assert patches.dtype == np.float32
        np.testing.assert_allclose(patches.mean(axis=(1, 2)), 0, atol=1e-3)
    assert seen.std() == pytest.approx(1, abs=1e-5)


def test_training_and_held_out_patches_do_not_overlap(demo, rng, monkeypatch):
    """Training patches are from the left four fifths, held-out patches from the right fifth."""
    width = 200
    ramp = np.zeros((40, width, 3), np.float32)
    ramp[..., 0] = np.arange(width)  # the column a pixel came from
    monkeypatch.setattr(demo, "PHOTOGRAPHS", ("ramp",))
    monkeypatch.setattr(demo, "_photograph", lambda name: ramp)
    cuts = []
    cut = demo._cut
    monkeypatch.setattr(demo, "_cut", lambda areas, *rest: cuts.extend(areas) or cut(areas, *rest))
    demo.make_patches(50, rng)
    training, held_out = cuts
    assert training[..., 0].max() < held_out[..., 0].min()
    assert training.shape[1] == 160


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
