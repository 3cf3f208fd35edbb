import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import filtertrack

PACKAGE = Path(filtertrack.__file__).parent
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}

MAY_IMPORT = {
    "errors": set(),
    "snapshot": {"errors"},
    "schedule": {"errors"},
    "connection": {"errors"},
    "remote": {"connection", "errors"},
    "places": {"errors", "remote"},
    "files": {"errors", "places", "remote"},
    "memory": {"errors"},
    "zip_format": {"files"},
    "npz": {"errors", "files", "memory", "remote", "zip_format"},
    "png": set(),
    "manifest": {"errors", "files", "places", "snapshot"},
    "ahead": set(),
    "members": {"errors", "snapshot"},
    "store": {"ahead", "errors", "files", "manifest", "members", "npz", "places", "snapshot"},
    "scaling": set(),
    "cells": {"errors", "measures", "snapshot"},
    "measures": set(),
    "measurement": {"memory", "cells", "errors", "measures", "snapshot", "store", "subject"},
    "report": {"caption", "files", "measurement", "snapshot"},
    "paper": {"files", "palette"},
    "trajectories": {"errors", "files", "lettering", "measurement", "measures", "palette", "paper"},
    "legend": {"lettering", "palette"},
    "grid": {"cells", "png", "scaling"},
    "palette": {"errors", "grid", "measures"},
    "subject": {"errors", "places", "snapshot", "store"},
    "labelled": {"errors", "memory", "places", "snapshot", "store", "subject"},
    "thinning": {"errors", "snapshot", "store"},
    "order": {"errors", "measures"},
    "panel": {
        "cells",
        "errors",
        "grid",
        "measures",
        "order",
        "palette",
        "scaling",
        "snapshot",
        "store",
    },
    "timing": {"errors", "snapshot"},
    "lettering": {"palette"},
    "plot": {"palette"},
    "caption": {"errors", "lettering", "palette", "plot", "snapshot"},
    "arrangement": {"cells", "grid", "lettering"},
    "budget": {"errors", "memory"},
    "film": {
        "arrangement",
        "budget",
        "caption",
        "errors",
        "grid",
        "legend",
        "lettering",
        "palette",
        "panel",
        "places",
        "subject",
        "timing",
    },
    "changes": set(),
    "compression": {"timing"},
    "gif": {"changes", "compression", "palette", "timing"},
    "apng": {"changes", "compression", "png", "timing"},
    "webp": {"changes", "compression", "timing"},
    "video": {"errors", "timing"},
    "formats": {"apng", "errors", "gif", "video", "webp"},
    "animation": {
        "cells",
        "errors",
        "files",
        "film",
        "formats",
        "naming",
        "order",
        "palette",
        "panel",
        "store",
        "subject",
        "timing",
    },
    "strip": {"cells", "grid", "lettering", "palette", "panel", "subject"},
    "page": {"errors", "grid", "palette", "strip"},
    "figure": {
        "memory",
        "cells",
        "errors",
        "files",
        "grid",
        "lettering",
        "order",
        "page",
        "palette",
        "panel",
        "paper",
        "store",
        "strip",
        "subject",
    },
    "naming": {"errors", "places"},
    "events": {"files", "places"},
    "summaries": {
        "apng",
        "cells",
        "errors",
        "events",
        "film",
        "grid",
        "measures",
        "panel",
        "scaling",
        "snapshot",
        "store",
        "strip",
        "subject",
        "thinning",
        "timing",
    },
    "recorder": {"errors", "snapshot"},
    "seen": {"members", "snapshot"},
    "selection": {"errors"},
    "layer_order": {"snapshot"},
    "layer_kernels": {"errors"},
    "initial_weights": {"layer_kernels", "layer_order"},
    "layers": {
        "errors",
        "initial_weights",
        "layer_kernels",
        "layer_order",
        "selection",
        "snapshot",
    },
    "layer_matching": {"snapshot"},
    "position": {"errors", "places", "snapshot", "store"},
    "processes": {"errors", "layer_kernels", "layers"},
    "announcement": {"memory", "errors", "places", "snapshot", "summaries"},
    "existing_run": {"errors", "layer_matching", "members", "places", "snapshot", "store"},
    "folder_lock": {"errors", "places"},
    "snapshot_writer": {"members", "seen", "snapshot", "store", "thinning"},
    "recording": {
        "errors",
        "existing_run",
        "files",
        "folder_lock",
        "places",
        "recorder",
        "snapshot",
        "snapshot_writer",
        "store",
        "summaries",
        "thinning",
    },
    "run_folders": {"errors", "files", "places", "store"},
    "folder_choice": {
        "errors",
        "existing_run",
        "folder_lock",
        "places",
        "recording",
        "run_folders",
        "store",
        "thinning",
    },
    "after_callbacks": set(),
    "model_checks": {"errors"},
    "fault_reports": {"errors"},
    "callback": {
        "after_callbacks",
        "announcement",
        "errors",
        "fault_reports",
        "folder_choice",
        "layer_kernels",
        "layers",
        "model_checks",
        "places",
        "position",
        "processes",
        "recording",
        "schedule",
        "selection",
        "snapshot",
    },
    "viewing": {"errors", "places"},
    "tensorboard_plugin": {
        "animation",
        "cells",
        "errors",
        "files",
        "formats",
        "grid",
        "manifest",
        "measures",
        "order",
        "palette",
        "places",
        "snapshot",
        "store",
        "subject",
    },
    "arguments": {"cells"},
    "cli": {
        "animation",
        "arguments",
        "errors",
        "figure",
        "files",
        "measurement",
        "naming",
        "paper",
        "places",
        "report",
        "store",
        "subject",
        "tensorboard_plugin",
        "trajectories",
        "viewing",
    },
    "__main__": {"cli"},
    "__init__": {
        "animation",
        "callback",
        "errors",
        "figure",
        "labelled",
        "measurement",
        "snapshot",
        "store",
        "trajectories",
    },
}


def imports_of(file):
    """Every module a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "filtertrack" else [node.module]


def rooms_of(file):
    parts = (name.split(".") for name in imports_of(file))
    return {room for top, room, *_ in filter(lambda p: len(p) > 1, parts) if top == "filtertrack"}


def test_imports_between_rooms_run_one_way():
    """Each room imports the rooms it may, and no others; the plan has no circle."""
    actual = {file.stem: rooms_of(file) for file in PACKAGE.glob("*.py")}
    within = (rooms_of(file) for file in (PACKAGE / "measures").glob("*.py"))
    actual["measures"] = set.union(*within) - {"measures"}
    within = (rooms_of(file) for file in (PACKAGE / "tensorboard_plugin").glob("*.py"))
    actual["tensorboard_plugin"] = set.union(*within) - {"tensorboard_plugin"}
    assert actual == MAY_IMPORT
    list(TopologicalSorter(MAY_IMPORT).static_order())


def test_measures_import_each_other_one_way():
    """Their files have no circle, and import nothing but numpy and the standard library."""
    files = {file.stem: list(imports_of(file)) for file in (PACKAGE / "measures").glob("*.py")}
    graph = {
        name: {module.rpartition(".")[2] for module in modules if "filtertrack" in module}
        for name, modules in files.items()
    }
    list(TopologicalSorter(graph).static_order())
    outside = {module.partition(".")[0] for modules in files.values() for module in modules}
    assert outside - set(sys.stdlib_module_names) == {"numpy", "filtertrack"}


def test_the_plugin_imports_itself_one_way():
    """Its files have no circle, and its loader imports nothing of ours until it is asked to."""
    files = {
        file.stem: list(imports_of(file)) for file in (PACKAGE / "tensorboard_plugin").glob("*.py")
    }
    graph = {
        name: {module.split(".")[2] for module in modules if "tensorboard_plugin." in module}
        for name, modules in files.items()
    }
    list(TopologicalSorter(graph).static_order())
    code = "import filtertrack.tensorboard_plugin.loader, sys; "
    check = (
        "assert not [m for m in sys.modules if m in ('numpy', 'PIL', 'filtertrack.storage.run')]"
    )
    subprocess.run([sys.executable, "-c", code + check], check=True)


def test_frameworks_are_imported_where_models_are_read_only():
    """What reads models, the callback, and what knows of other processes: that alone of jax."""
    found = {
        file.stem: {name.split(".")[0] for name in imports_of(file)} & FRAMEWORKS
        for file in PACKAGE.glob("*.py")
    }
    assert {room: names for room, names in found.items() if names} == {
        "initial_weights": {"keras"},
        "layer_kernels": {"keras"},
        "layer_order": {"keras"},
        "layers": {"keras"},
        "after_callbacks": {"keras"},
        "callback": {"keras"},
        "model_checks": {"keras"},
        "processes": {"jax", "keras", "torch"},
    }


def loaded_by(code):
    """Run code in a new interpreter and return the top-level modules it loaded."""
    report = "; import sys; print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code + report], check=True, capture_output=True, text=True
    )
    return set(result.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        "import filtertrack",
        "from filtertrack import Run, Snapshot, LayerInfo, Moment, FiltertrackError, animate",
        "import filtertrack.measures, filtertrack.tensorboard_plugin.summaries",
        "from filtertrack.cli import main; main(['animate', '{run}'])",
        "from filtertrack.cli import main; main(['info', '{run}'])",
    ],
)
def test_no_framework_is_loaded(run, code):
    """Importing the package, its rooms and the whole command line load no framework."""
    loaded = loaded_by(code.format(run=run.path))
    assert "filtertrack" in loaded
    assert not loaded & FRAMEWORKS


def test_xarray_and_dask_are_loaded_when_they_are_asked_for():
    """No room loads them with it, not even the one that needs them."""
    assert not loaded_by("from filtertrack import Run, to_xarray") & {"xarray", "dask", "pandas"}


def test_import_loads_nothing_heavy():
    """``import filtertrack`` alone does not even load numpy."""
    assert not loaded_by("import filtertrack") & {"numpy", "PIL", "matplotlib", "tensorboard"}


@pytest.mark.parametrize("command", ["info", "animate", "verify"])
def test_a_command_loads_no_matplotlib_for_grey(run, command):
    """It takes as long to load as numpy; only its font is needed, a file."""
    code = f"from filtertrack.cli import main; main([{command!r}, {str(run.path)!r}])"
    assert "matplotlib" not in loaded_by(code)


def test_writing_events_loads_no_framework_where_it_is_installed(run):
    """TensorBoard's own writer would import tensorflow; ours does not."""
    code = (
        "from filtertrack import Run; "
        "from filtertrack.tensorboard_plugin.summaries import Summaries; "
        f"run = Run({str(run.path)!r}); s = Summaries(run); "
        "[s.add(run.snapshot(step)) for step in run.steps]; s.add_evolution(run)"
    )
    assert not loaded_by(code) & FRAMEWORKS


def test_training_on_another_backend_loads_no_tensorflow(tmp_path):
    """On jax and torch a whole ``fit`` with the tracker never tries to import tensorflow."""
    import keras

    if keras.backend.backend() == "tensorflow":
        pytest.skip("the backend is tensorflow itself")
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import keras, numpy as np; "
        "from filtertrack import FilterTracker; "
        "model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), "
        "keras.layers.GlobalAveragePooling2D()]); model.compile('sgd', 'mse'); "
        "model.fit(np.zeros((8, 8, 8, 3), 'float32'), np.zeros((8, 2), 'float32'), verbose=0, "
        f"callbacks=[FilterTracker({str(tmp_path / 'run')!r})])"
    )
    assert "tensorflow" not in loaded_by(code)


def test_the_public_face():
    """Every public name is there, documented, and listed; an unknown one is an AttributeError."""
    for name in filtertrack.__all__:
        assert getattr(filtertrack, name).__doc__
        assert name in dir(filtertrack)
    with pytest.raises(AttributeError, match="no attribute 'Tracker'"):
        _ = filtertrack.Tracker


def test_a_room_does_not_hide_a_public_name():
    """Importing any room first leaves every public name what it is."""
    code = (
        "import importlib, pathlib, filtertrack\n"
        "for file in pathlib.Path(filtertrack.__file__).parent.glob('*.py'):\n"
        "    if file.stem not in ('__main__', '__init__', 'callback', 'layers', 'processes',\n"
        "    'layer_order', 'layer_kernels', 'initial_weights', 'after_callbacks',\n"
        "    'model_checks'):\n"
        "        importlib.import_module(f'filtertrack.{file.stem}')\n"
        "from filtertrack import animate, filmstrip\n"
        "assert callable(animate) and callable(filmstrip)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_keras_the_callback_says_what_to_install():
    """One sentence that names the extras."""
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "try:\n    from filtertrack import FilterTracker\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "filtertrack[tensorflow]" in result.stdout
