"""Messages in a notebook: in kernels that really run, with logging as programs configure it."""

import pytest

_RUN = """
import numpy as np
from filtertrack import ArrayTracker, Run, animate
with ArrayTracker("run") as tracker:
    for step in range(4):
        tracker.snapshot(step, {"conv": np.ones((3, 3, 1, 2)) * step}, axes="HWIO")
Run("run").file(1).write_bytes(b"damaged")
"""

_WARN = "animate('run', 'run.gif');"


_REFUSED = """
from pathlib import Path
from filtertrack import plot_filters
Path("files").mkdir()
Path("files/model.keras").write_bytes(b"")
plot_filters("files")
"""


@pytest.fixture(scope="module")
def executed(run_notebook, tmp_path_factory):
    return run_notebook(_RUN, _WARN, _REFUSED, cwd=tmp_path_factory.mktemp("messages"))


def test_messages_are_plain_output(executed):
    """Those of a training, and warnings of other functions: nothing is shown in red."""
    assert "filtertrack: tracking conv in run" in executed.printed(0)
    assert "filtertrack: left out step 1" in executed.printed(1)
    assert executed.printed(0, "stderr") == executed.printed(1, "stderr") == ""


def test_hints_name_python_calls(executed):
    """Where a script would be given commands."""
    text = executed.printed(0)
    assert "watch: live=True, or filtertrack.view('run') in a cell before this one" in text
    assert "Animation: filtertrack.animate('run')" in text
    assert "filtertrack view" not in text
    message = executed.notebook.cells[2].outputs[-1].evalue
    assert "plot_filters('files/model.keras') draws the filters of one" in message
    assert "Run.from_models(folder, files) makes a run of them" in message


def test_warnings_before_any_training_are_plain_output(run_notebook, tmp_path, make_run):
    """The package's first message in a kernel, which logging itself would print to stderr."""
    run = make_run(steps=range(4))
    run.file(1).write_bytes(b"damaged")
    executed = run_notebook(
        f"import filtertrack\nfiltertrack.measure({str(run.path)!r});", cwd=tmp_path
    )
    assert "filtertrack: left out step 1" in executed.printed(0)
    assert executed.printed(0, "stderr") == ""


def test_a_handler_that_prints_to_stderr_prints_no_message_again(run_notebook, tmp_path):
    """The root logger of Colab has one, before a user's program begins."""
    executed = run_notebook(
        "import logging\nlogging.getLogger().addHandler(logging.StreamHandler())",
        _RUN,
        _WARN,
        "logging.getLogger('other').warning('of the program')",
        cwd=tmp_path,
    )
    assert executed.printed(1).count("tracking conv") == 1
    assert executed.printed(2).count("left out step 1") == 1
    assert executed.printed(1, "stderr") == executed.printed(2, "stderr") == ""
    assert "of the program" in executed.printed(3, "stderr")


@pytest.mark.parametrize("first", ["logging", "filtertrack"])
def test_a_log_file_has_the_messages(run_notebook, tmp_path, first):
    """Logging that the program has configured prints them, whichever comes first."""
    configure = (
        "import logging\nlogging.basicConfig(filename='log', level=logging.INFO, force=True)"
    )
    cells = [configure, "import filtertrack"]
    executed = run_notebook(
        *(cells if first == "logging" else cells[::-1]), _RUN, _WARN, cwd=tmp_path
    )
    log = (tmp_path / "log").read_text()
    assert log.count("tracking conv") == log.count("left out step 1") == 1
    assert executed.printed(2) == executed.printed(2, "stderr") == ""


def test_messages_change_no_setting_of_logging(run_notebook, tmp_path):
    """Handlers of the program get each record once, whenever they are added or removed."""
    executed = run_notebook(
        """
        import logging, sys
        import filtertrack.errors
        log, root = logging.getLogger("filtertrack"), logging.getLogger()
        class Kept(logging.Handler):
            def emit(self, record):
                print("kept", record.levelname, record.getMessage())
        def settings():
            return log.propagate, log.level, log.disabled, list(log.handlers), root.level
        kept, before = Kept(), settings()
        """,
        _RUN,
        "print(settings() == before)",
        "root.addHandler(kept)\n" + _WARN,
        "print(settings() == before)",
        "root.removeHandler(kept)\n" + _WARN,
        "print(settings() == before)",
        "root.addHandler(kept)\nkept.setLevel(logging.ERROR)\n" + _WARN,
        "kept.setLevel(0)\nlog.propagate = True\n" + _WARN,
        cwd=tmp_path,
    )
    assert [executed.printed(cell) for cell in (2, 4, 6)] == ["True\n"] * 3
    warning = "left out step 1"
    for cell in (3, 8):
        assert executed.printed(cell).count("kept WARNING " + warning) == 1
        assert executed.printed(cell).count(warning) == 1
    assert executed.printed(5).count("filtertrack: " + warning) == 1
    assert warning not in executed.printed(7)
