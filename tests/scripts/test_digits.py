import re

import numpy as np
import pytest

from filtertrack import Run, animate, measures


@pytest.fixture
def digits(scripts):
    pytest.importorskip("sklearn")
    import digits

    return digits


def test_training_images_are_standardised(digits, rng):
    """A fifth of the 1,797 images is held out; training images have mean 0 and deviation 1."""
    (seen, labels), (unseen, held_out) = digits.load_images(rng)
    assert seen.shape == (1437, 8, 8, 1)
    assert unseen.shape == (360, 8, 8, 1)
    assert (labels.shape, held_out.shape) == ((1437,), (360,))
    assert seen.dtype == np.float32
    assert seen.mean() == pytest.approx(0, abs=1e-5)
    assert seen.std() == pytest.approx(1, abs=1e-5)


def test_no_image_is_in_both_sets(digits, rng):
    """Training and held-out images together are the images of scikit-learn, each once."""
    from sklearn.datasets import load_digits

    (seen, _), (unseen, _) = digits.load_images(rng)
    levels = np.concatenate([unseen, seen]).reshape(-1, 64)
    levels = np.rint((levels - levels.min()) / np.ptp(levels) * 16).astype(int)
    expected = load_digits().data.astype(int)
    np.testing.assert_array_equal(sorted(levels.tolist()), sorted(expected.tolist()))


def test_a_short_training_writes_a_run_and_an_animation(digits, tmp_path, capsys):
    """32 filters of 3×3×1 from step 0 on, drawn with every default; the report is printed."""
    folder = tmp_path / "digits"
    assert digits.main(["--run", str(folder), "--epochs", "1"]) == 0
    run = Run(folder)
    assert run.steps[0] == 0
    assert run.kernels("conv1", run.steps[-1]).shape == (32, 3, 3, 1)
    usual = animate(folder, tmp_path / "usual.gif")
    assert (folder / "evolution.gif").read_bytes() == usual.path.read_bytes()
    printed = capsys.readouterr().out
    assert "held-out accuracy: " in printed
    assert "of the difference" in printed


@pytest.mark.slow
def test_the_difference_is_smooth_and_digits_are_recognised(digits, tmp_path, capsys):
    """Mean roughness of conv1's difference from the start: at most 0.5; accuracy: 97 % or more."""
    folder = tmp_path / "digits"
    assert digits.main(["--run", str(folder)]) == 0
    run = Run(folder)
    start, end = (run.kernels("conv1", run.steps[number]) for number in (0, -1))
    assert np.nanmean(measures.roughness(end - start)) <= 0.5
    accuracy = re.search(r"held-out accuracy: ([\d.]+)%", capsys.readouterr().out)
    assert float(accuracy[1]) >= 97
