"""scripts/gallery.py: figures in the page, simulated heartbeats, and short trainings."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"


@pytest.fixture
def gallery(scripts):
    pytest.importorskip("skimage")
    import gallery

    return gallery


def test_figures_replace_one_line_of_the_page(gallery):
    """The line below the mark of that network; another mark is an error."""
    page = "a\n<!-- figures of ecg -->\nold\n\nb\n"
    new = gallery.with_figures(page, "ecg", "new")
    assert new == "a\n<!-- figures of ecg -->\nnew\n\nb\n"
    with pytest.raises(ValueError, match="no line <!-- figures of gan -->"):
        gallery.with_figures(page, "gan", "new")


def test_the_page_has_a_line_of_figures_for_each_network(gallery):
    """With figures of a training in it."""
    found = dict(re.findall(r"<!-- figures of (\w+) -->\n(.*)", PAGE.read_text(encoding="utf-8")))
    assert set(found) == set(gallery.NETWORKS)
    assert all(re.fullmatch(r".*, \d+ snapshots\.", line) for line in found.values()), found


def test_heartbeats_of_the_three_kinds_differ_as_described(gallery):
    """The peak of a ventricular beat is wide; after a raised ST segment the signal stays high."""
    signals, kinds = gallery.heartbeats(600, np.random.default_rng(0))
    assert signals.shape == (600, gallery.ECG_LENGTH, 1)
    assert signals.dtype == np.float32
    width, after = [], []
    for signal in signals[..., 0]:
        top = int(signal[60:260].argmax()) + 60
        width.append((signal[top - 25 : top + 26] > signal[top] / 2).sum())
        after.append(signal[top + 15 : top + 30].mean() - signal[:40].mean())
    width, after = np.array(width), np.array(after)
    normal, ventricular, elevated = (kinds == kind for kind in range(3))
    assert np.median(width[ventricular]) > 2 * np.median(width[normal])
    assert np.median(after[elevated]) > np.median(after[normal]) + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecg", "gan"])
def test_a_short_training_draws_the_pictures_of_the_page(gallery, tmp_path, name):
    """Every picture that the page shows of that network, and its line of figures."""
    (tmp_path / "gallery.md").write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    folders = ["--runs", str(tmp_path / "runs"), "--docs", str(tmp_path)]
    assert gallery.main(["--only", name, "--quick", *folders]) == 0
    page = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    shown = {file for file in re.findall(r"\((gallery/[^)]+)\)", page) if f"/{name}" in file}
    assert shown
    assert all((tmp_path / file).stat().st_size > 1000 for file in shown)
    assert f"<!-- figures of {name} -->\n" in page
