import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.tensorboard_plugin import logdir as catalogue
from filtertrack.tensorboard_plugin.logdir import LogDirectory


def at(folder):
    return LogDirectory.of_flags(str(folder), "")


@pytest.fixture
def logs(tmp_path, run):
    """A log folder with two runs, one of them deep, and folders that hold none."""
    folder = tmp_path / "logs"
    shutil.copytree(run.path, folder / "a")
    shutil.copytree(run.path, folder / "b" / "deep")
    (folder / "a" / "train").mkdir()
    shutil.copytree(run.path, folder / ".hidden")
    return folder


def test_every_run_below_the_folder_is_found(logs):
    """By its path below the log folder; hidden folders are left out."""
    found = at(logs).find()
    assert found.runs == {"a": logs / "a", "b/deep": logs / "b" / "deep"}
    assert found.notes == ()


def test_the_log_folder_may_itself_be_a_run(run):
    """It is called ``.`` then, as TensorBoard does."""
    assert list(at(run.path).find().runs) == ["."]
    assert at(run.path).open(".").steps == run.steps


def test_a_relative_folder_stays_what_it_was(logs, monkeypatch):
    """Also where the process goes elsewhere later."""
    monkeypatch.chdir(logs.parent)
    runs = LogDirectory.of_flags("logs", None)
    monkeypatch.chdir("/")
    assert "a" in runs.find().runs


def test_folders_with_names_are_all_searched(logs, run):
    """``--logdir_spec``: each folder's runs are under its name, or under its own."""
    spec = f"first:{logs},{run.path}, second:{logs / 'b'}"
    names = list(LogDirectory.of_flags("", spec).find().runs)
    assert names == ["first/a", "first/b/deep", "run", "second/deep"]


def test_two_folders_of_one_name_are_told_apart(logs):
    """Nothing of the first is hidden by the second."""
    spec = f"{logs / 'a'},{logs / 'b' / '..' / 'a'}"
    assert list(LogDirectory.of_flags("", spec).find().runs) == ["a", "a_2"]


@pytest.mark.parametrize("folder", ["nosuch://bucket/logs", "nosuch://bucket"])
def test_a_storage_that_cannot_be_used_is_said(folder):
    """No folder of that name is looked for on the disk. Those that can: test_remote.py."""
    found = at(folder).find()
    assert found.runs == {}
    assert folder in found.notes[0]
    assert LogDirectory.of_flags("", f"name:{folder}").notes


def test_what_leads_out_of_the_log_folder_is_not_opened(logs, make_run):
    """A link to a run elsewhere, or to its snapshots, is counted and said."""
    elsewhere = make_run(folder="elsewhere").path
    (logs / "link").symlink_to(elsewhere)
    (logs / "half").mkdir()
    (logs / "half" / "filters").symlink_to(elsewhere / "filters")
    shutil.copytree(elsewhere, logs / "third")
    shutil.rmtree(logs / "third" / "filters" / "snapshots")
    (logs / "third" / "filters" / "snapshots").symlink_to(elsewhere / "filters" / "snapshots")
    found = at(logs).find()
    assert list(found.runs) == ["a", "b/deep"]
    assert found.notes[0].startswith("3 runs behind a link")
    for name in ("link", "half", "third"):
        with pytest.raises(FiltertrackError, match="no run"):
            at(logs).open(name)


def test_a_run_replaced_by_a_link_is_refused(logs, make_run):
    """Also between the search and the reading."""
    runs = at(logs)
    assert "a" in runs.find().runs
    shutil.rmtree(logs / "a")
    (logs / "a").symlink_to(make_run(folder="elsewhere").path)
    with pytest.raises(FiltertrackError, match="out of the log folder"):
        runs.open("a")


def test_files_of_a_run_that_are_links(logs, tmp_path):
    """Those that lead out of the log folder are not read; others are, as a cache keeps them."""
    run = at(logs).open("a")
    (logs / "cache").mkdir()
    for step, elsewhere in ((0, logs / "cache"), (1, tmp_path)):
        run.file(step).rename(elsewhere / "object")
        run.file(step).symlink_to(elsewhere / "object")
    opened = at(logs).open("a")
    assert opened.kernels("conv1", 0).shape == (4, 3, 3, 1)
    with pytest.raises(FiltertrackError, match=r"0001\.npz' is a link that leads out of"):
        opened.kernels("conv1", 1)
    assert list(opened.verify()) == [1]
    manifest = run.folder / "manifest.json"
    manifest.rename(tmp_path / "manifest.json")
    manifest.symlink_to(tmp_path / "manifest.json")
    with pytest.raises(FiltertrackError, match=r"manifest\.json' is a link that leads out of"):
        at(logs).open("a")


def test_a_link_within_the_log_folder_is_fine(logs):
    """Its target is there once more; a link back up is no endless search."""
    (logs / "c").symlink_to(logs / "b")
    (logs / "b" / "up").symlink_to(logs)
    names = set(at(logs).find().runs)
    assert {"a", "b/deep"} <= names
    assert len(names) == 2


@given(st.text(max_size=40))
def test_no_name_leads_elsewhere(name):
    """Whatever is asked for: a run that was found, or an error of ours."""
    with pytest.raises(FiltertrackError, match="no run"):
        at("tests/golden").open(name + "/../run-v1")


def test_the_search_is_bounded(logs, monkeypatch):
    """And what was left out is said."""
    monkeypatch.setattr(catalogue, "_MOST_FOLDERS", 2)
    found = at(logs).find()
    assert "first 2 folders" in found.notes[0]
    assert list(found.runs) == ["a"]


def test_a_search_is_believed_for_a_moment_only(logs, monkeypatch):
    """New runs appear by themselves."""
    runs = at(logs)
    assert len(runs.find().runs) == 2
    shutil.copytree(logs / "a", logs / "new")
    assert len(runs.find().runs) == 2
    monkeypatch.setattr(catalogue, "_FRESH", 0.0)
    assert len(runs.find().runs) == 3
    shutil.rmtree(logs)
    assert runs.find().runs == {}
