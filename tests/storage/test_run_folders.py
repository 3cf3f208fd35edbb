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
def test_the_highest_number_is_continued(held, names, expected):
    """Gaps and other names are ignored."""
    assert held(*names) == expected


def test_a_folder_with_snapshots_but_no_manifest_is_in_use(held, make_run, tmp_path):
    """No run can be created there."""
    held("exp")
    left = make_run(folder="exp-2")
    (left.folder / "manifest.json").unlink()
    assert held() == ("exp", "exp-3")
    left.truncate(0)
    assert held() == ("exp", "exp-2")


def test_regex_characters_in_a_name_are_literal(make_run, tmp_path):
    """A name may contain any characters."""
    make_run(folder="a.+")
    make_run(folder="aaa-7")
    assert next(next_numbered(tmp_path / "a.+")).name == "a.+-2"


def test_folders_on_object_storage_are_numbered(make_run):
    """As on disk."""
    for name in ("exp", "exp-3"):
        Run.create(f"memory://numbered/{name}", list(make_run(folder=name).layers.values()))
    folder = path_of("memory://numbered/exp")
    assert str(last_numbered(folder)) == "memory://numbered/exp-3"
    assert str(next(next_numbered(folder))) == "memory://numbered/exp-4"


def test_training_continues_in_the_newest_folder(tiny_model, data, tmp_path):
    """Also if an older folder was deleted; a new training uses the next number."""

    def fit(**options):
        tracker = FilterTracker(tmp_path / "exp", existing="new")
        tiny_model.fit(*data, verbose=0, callbacks=[tracker], **options)
        return tracker.run_dir.name

    assert [fit(epochs=1) for _ in range(3)] == ["exp", "exp-2", "exp-3"]
    (tmp_path / "exp-2").rename(tmp_path / "elsewhere")
    assert fit(initial_epoch=1, epochs=2) == "exp-3"
    assert fit(epochs=1) == "exp-4"
    assert not (tmp_path / "exp-2").exists()
