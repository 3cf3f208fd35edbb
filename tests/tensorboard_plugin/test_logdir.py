import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.tensorboard_plugin import logdir
from filtertrack.tensorboard_plugin.logdir import LogDirectory


def log_directory(folder):
    return LogDirectory.of_flags(str(folder), "")


@pytest.fixture
def logs(tmp_path, run):
    """A log folder with two runs, one below a subfolder, and folders without runs."""
    folder = tmp_path / "logs"
    shutil.copytree(run.path, folder / "a")
    shutil.copytree(run.path, folder / "b" / "deep")
    (folder / "a" / "train").mkdir()
    shutil.copytree(run.path, folder / ".hidden")
    return folder


def test_all_runs_below_the_folder_are_found(logs):
    """Named by their paths below it; hidden folders are skipped."""
    found = log_directory(logs).find()
    assert found.runs == {"a": logs / "a", "b/deep": logs / "b" / "deep"}
    assert found.notes == ()


def test_a_run_at_the_root_is_named_like_its_folder(run):
    found = log_directory(run.path).find()
    assert (list(found.runs), found.root) == (["run"], "run")
    assert log_directory(run.path).open("run").steps == run.steps


def test_dot_opens_the_run_at_the_root(run, logs):
    """Links of earlier versions name it so; without a run there, ``.`` is unknown."""
    opened = log_directory(run.path)
    assert opened.open(".").path == run.path, "before a search"
    assert opened.open(".").path == run.path, "after it"
    with pytest.raises(FiltertrackError, match="no run"):
        log_directory(logs).open(".")


@pytest.mark.parametrize("folder", [".", "..", "deep/..", "./"])
def test_the_root_has_a_name_however_it_is_given(run, monkeypatch, folder):
    (run.path / "deep").mkdir()
    monkeypatch.chdir(run.path / "deep" if folder == ".." else run.path)
    assert list(log_directory(folder).find().runs) == ["run"]


def test_runs_below_the_root_keep_their_names(run):
    """The run at the root gets the first free number then."""
    for name in ("run", "run_2"):
        shutil.copytree(run.path / "filters", run.path / name / "filters")
    runs = log_directory(run.path)
    assert runs.find().runs == {
        "run": run.path / "run",
        "run_2": run.path / "run_2",
        "run_3": run.path,
    }
    assert runs.open("run").path == run.path / "run"
    assert runs.open(".").path == runs.open("run_3").path == run.path


def test_a_relative_folder_is_resolved_at_the_start(logs, monkeypatch):
    """A later change of the working directory has no effect."""
    monkeypatch.chdir(logs.parent)
    runs = LogDirectory.of_flags("logs", None)
    monkeypatch.chdir("/")
    assert "a" in runs.find().runs


def test_all_folders_of_logdir_spec_are_searched(logs, run):
    """Their runs are prefixed with the given names, or with those of the folders."""
    spec = f"first:{logs},{run.path}, second:{logs / 'b'}"
    names = list(LogDirectory.of_flags("", spec).find().runs)
    assert names == ["first/a", "first/b/deep", "run", "second/deep"]


def test_folders_of_the_same_name_are_numbered(logs):
    """No run hides another."""
    spec = f"{logs / 'a'},{logs / 'b' / '..' / 'a'}"
    assert list(LogDirectory.of_flags("", spec).find().runs) == ["a", "a_2"]


@pytest.mark.parametrize("folder", ["nosuch://bucket/logs", "nosuch://bucket"])
def test_an_unknown_storage_is_a_note(folder):
    """And no folder on disk of that name is searched."""
    found = log_directory(folder).find()
    assert found.runs == {}
    assert folder in found.notes[0]
    assert LogDirectory.of_flags("", f"name:{folder}").notes


def test_links_out_of_the_log_folder_are_not_opened(logs, make_run):
    """To a run or to its snapshots; a note counts them."""
    elsewhere = make_run(folder="elsewhere").path
    (logs / "link").symlink_to(elsewhere)
    (logs / "half").mkdir()
    (logs / "half" / "filters").symlink_to(elsewhere / "filters")
    shutil.copytree(elsewhere, logs / "third")
    shutil.rmtree(logs / "third" / "filters" / "snapshots")
    (logs / "third" / "filters" / "snapshots").symlink_to(elsewhere / "filters" / "snapshots")
    found = log_directory(logs).find()
    assert list(found.runs) == ["a", "b/deep"]
    assert found.notes[0].startswith("3 runs behind a link")
    for name in ("link", "half", "third"):
        with pytest.raises(FiltertrackError, match="no run"):
            log_directory(logs).open(name)


def test_a_run_replaced_by_a_link_is_not_opened(logs, make_run):
    """Also after the search."""
    runs = log_directory(logs)
    assert "a" in runs.find().runs
    shutil.rmtree(logs / "a")
    (logs / "a").symlink_to(make_run(folder="elsewhere").path)
    with pytest.raises(FiltertrackError, match="out of the log folder"):
        runs.open("a")


def test_files_that_are_links_must_not_lead_out_of_the_log_folder(logs, tmp_path):
    """Other links are followed."""
    run = log_directory(logs).open("a")
    (logs / "cache").mkdir()
    for step, elsewhere in ((0, logs / "cache"), (1, tmp_path)):
        run.file(step).rename(elsewhere / "object")
        run.file(step).symlink_to(elsewhere / "object")
    opened = log_directory(logs).open("a")
    assert opened.kernels("conv1", 0).shape == (4, 3, 3, 1)
    with pytest.raises(FiltertrackError, match=r"0001\.npz' is a link that leads out of"):
        opened.kernels("conv1", 1)
    assert list(opened.verify()) == [1]
    manifest = run.folder / "manifest.json"
    manifest.rename(tmp_path / "manifest.json")
    manifest.symlink_to(tmp_path / "manifest.json")
    with pytest.raises(FiltertrackError, match=r"manifest\.json' is a link that leads out of"):
        log_directory(logs).open("a")


def test_links_within_the_log_folder_are_followed(logs):
    """Each target is listed once, and a cycle ends."""
    (logs / "c").symlink_to(logs / "b")
    (logs / "b" / "up").symlink_to(logs)
    names = set(log_directory(logs).find().runs)
    assert {"a", "b/deep"} <= names
    assert len(names) == 2


@given(st.text(max_size=40))
def test_only_found_runs_can_be_opened(name):
    """By any other name it is an error."""
    with pytest.raises(FiltertrackError, match="no run"):
        log_directory("tests/golden").open(name + "/../run-v1")


def test_the_number_of_searched_folders_is_bounded(logs, monkeypatch):
    """A note says so."""
    monkeypatch.setattr(logdir, "_MOST_FOLDERS", 2)
    found = log_directory(logs).find()
    assert "first 2 folders" in found.notes[0]
    assert list(found.runs) == ["a"]


def test_the_result_of_a_search_is_reused_for_seconds(logs, monkeypatch):
    """After that new runs appear."""
    runs = log_directory(logs)
    assert len(runs.find().runs) == 2
    shutil.copytree(logs / "a", logs / "new")
    assert len(runs.find().runs) == 2
    monkeypatch.setattr(logdir, "_FRESH", 0.0)
    assert len(runs.find().runs) == 3
    shutil.rmtree(logs)
    assert runs.find().runs == {}
