from pathlib import Path
from types import SimpleNamespace

import pytest

from filtertrack.outputs.output_names import default_output
from filtertrack.storage.paths import path_of


def draw(run, *, layers=None, compare=None, steps=None, delta=False, fps=10.0, huge=False):
    """A function whose keywords are the options of a picture."""


def name_of(folder="runs/exp1", compare=None, **options):
    if compare is not None:
        options["compare"] = SimpleNamespace(path=path_of(compare))  # an open run, for its path
    return default_output(path_of(folder), "evolution.gif", draw, options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "evolution.gif"),
        ({"delta": True}, "evolution-delta.gif"),
        ({"layers": ["a", "b/c"]}, "evolution-a+b~c.gif"),
        ({"steps": [0, range(10, 21, 5)]}, "evolution-steps-0,10-20~5.gif"),
        ({"fps": 2.5}, "evolution-fps-2.5.gif"),
        ({"fps": 10, "huge": True, "other": 3}, "evolution.gif"),
    ],
)
def test_options_that_differ_from_their_defaults_are_in_the_name(options, name):
    """Others are not, nor those that do not change the picture."""
    assert name_of(**options) == Path("runs/exp1") / name


@pytest.mark.parametrize("other", ["runs/exp2", Path("runs/exp2"), "file://runs/exp2"])
def test_a_compared_run_is_named_relative_to_the_run(other):
    """However its path is given."""
    assert name_of(compare=other).name == "evolution-vs-exp2.gif"


def test_the_file_of_a_run_on_object_storage_is_local():
    """In the working directory, with the run's name."""
    assert name_of("memory://bucket/exp1") == Path("exp1-evolution.gif")


def test_credentials_in_an_address_are_not_in_the_name():
    """Of a compared run on object storage."""
    pytest.importorskip("fsspec")
    name = name_of(compare="memory://me:password@bucket/exp2").name
    assert "password" not in name
    assert "exp2" in name


def test_long_names_are_shortened_and_stay_different():
    """File systems bound the length of names."""
    names = {name_of(layers=["x" * 200, end]).name for end in "ab"}
    assert len(names) == 2
    assert all(len(name) < 140 for name in names)


def test_an_option_that_is_chosen_to_be_off_is_named():
    """``delta=False`` is not the default of animations, which is None."""

    def draw(run, *, delta=None):
        return run, delta

    names = [
        default_output(path_of("."), "a.gif", draw, {"delta": value}).name
        for value in (None, True, False)
    ]
    assert names == ["a.gif", "a-delta.gif", "a-no-delta.gif"]
