import pytest

from filtertrack import FilterTracker, Run
from filtertrack.storage.paths import path_of
from filtertrack.storage.run_folders import last_numbered, next_numbered


@pytest.fixture
def held(make_run, tmp_path):
    """Make runs in folders of these names; return what is told of ``exp``."""

    def hold(*names):
        for name in names:
            make_run(folder=name)
        return last_numbered(tmp_path / "exp").name, next(next_numbered(tmp_path / "exp")).name

    return hold


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ("exp", "exp")),
        (("exp",), ("exp", "exp-2")),
        (("exp", "exp-3"), ("exp-3", "exp-4")),
        (("exp-2",), ("exp-2", "exp-3")),
        (("exp", *(f"exp-{number}" for number in range(2, 12))), ("exp-11", "exp-12")),
        (
            ("exp", "exp-20240101", "exp-1", "exp-02", "exp-2b", "expo-7", "other-9"),
            ("exp", "exp-2"),
        ),
    ],
)
def test_the_highest_number_counts(held, names, expected):
    """Whatever is missing below it; what is named otherwise does not count."""
    assert held(*names) == expected


def test_snapshots_without_a_manifest_are_no_run_but_in_use(held, make_run, tmp_path):
    """A run cannot be made there."""
    held("exp")
    left = make_run(folder="exp-2")
    (left.folder / "manifest.json").unlink()
    assert held() == ("exp", "exp-3")
    left.truncate(0)
    assert held() == ("exp", "exp-2")


def test_a_pattern_in_a_name_is_no_pattern(make_run, tmp_path):
    """A name may hold any characters."""
    make_run(folder="a.+")
    make_run(folder="aaa-7")
    assert next(next_numbered(tmp_path / "a.+")).name == "a.+-2"


def test_on_object_storage(make_run):
    """Folders are listed there too, and gaps do not count either."""
    for name in ("exp", "exp-3"):
        Run.create(f"memory://numbered/{name}", list(make_run(folder=name).layers.values()))
    folder = path_of("memory://numbered/exp")
    assert str(last_numbered(folder)) == "memory://numbered/exp-3"
    assert str(next(next_numbered(folder))) == "memory://numbered/exp-4"


def test_training_goes_on_in_the_newest_folder(tiny_model, data, tmp_path):
    """Also where an older folder was deleted; a new training begins after it."""

    def fit(**options):
        tracker = FilterTracker(tmp_path / "exp", existing="new")
        tiny_model.fit(*data, verbose=0, callbacks=[tracker], **options)
        return tracker.run_dir.name

    assert [fit(epochs=1) for _ in range(3)] == ["exp", "exp-2", "exp-3"]
    (tmp_path / "exp-2").rename(tmp_path / "elsewhere")
    assert fit(initial_epoch=1, epochs=2) == "exp-3"
    assert fit(epochs=1) == "exp-4"
    assert not (tmp_path / "exp-2").exists()
