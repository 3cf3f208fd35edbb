import ast
import os
import re
import shutil
import subprocess
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest

import filtertrack

PACKAGE = Path(filtertrack.__file__).parent
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}
LINT = Path(sys.executable).with_name("lint-imports")


def imports_of(file):
    """Every module a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def public_names_of(file):
    """The functions, classes and constants that a module defines for others."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


@pytest.mark.skipif(not LINT.exists(), reason="import-linter is not installed")
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("render/grid.py", "from filtertrack.storage import npz", "Data goes one way"),
        ("storage/npz.py", "from filtertrack.render import grid", "Data goes one way"),
        ("outputs/curves.py", "from filtertrack import cli", "Data goes one way"),
        ("errors.py", "from filtertrack import snapshot", "No two modules"),
        ("measures/labels.py", "from filtertrack import errors", "Measures import no other"),
        ("web/payload.py", "import keras", "Only capture"),
        ("outputs/frames.py", "import tensorboard", "Only tensorboard_plugin"),
    ],
)
def test_the_import_contract_fails_on_a_wrong_import(tmp_path, module, line, contract):
    """``lint-imports`` names the contract that a deliberate wrong import breaks."""
    shutil.copytree(PACKAGE, tmp_path / "filtertrack", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)
    changed = tmp_path / "filtertrack" / module
    changed.write_text(f"{changed.read_text()}\n{line}\n")
    result = subprocess.run(
        [LINT, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), result.stdout


def test_each_public_name_is_defined_in_one_module_only():
    """No two public functions, classes or constants have the same name."""
    files_of = defaultdict(list)
    for file in PACKAGE.rglob("*.py"):
        for name in set(public_names_of(file)):
            files_of[name].append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in files_of.items() if len(files) > 1} == {}


def test_module_names_are_unique_and_differ_from_public_names():
    """So that ``filtertrack.animate`` is never a module."""
    files = [file for file in PACKAGE.rglob("*.py") if not file.stem.startswith("_")]
    assert len({file.stem for file in files}) == len(files)
    functions = {name for file in files for name in public_names_of(file)}
    packages = {file.parent.name for file in PACKAGE.rglob("__init__.py")} - {"filtertrack"}
    assert not ({file.stem for file in files} | packages) & functions


def test_at_most_8_modules_are_outside_the_sub_packages():
    """New modules belong to a sub-package."""
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_measures_import_numpy_only():
    """And the standard library."""
    files = (PACKAGE / "measures").glob("*.py")
    outside = {module.partition(".")[0] for file in files for module in imports_of(file)}
    assert outside - set(sys.stdlib_module_names) == {"numpy", "filtertrack"}


def test_the_plugin_loader_imports_no_other_module():
    """An import error in the loader would prevent TensorBoard from starting."""
    code = "import filtertrack.tensorboard_plugin.loader, sys; "
    heavy = "('numpy', 'PIL', 'filtertrack.storage.run')"
    check = f"assert not [m for m in sys.modules if m in {heavy}]"
    subprocess.run([sys.executable, "-c", code + check], check=True)


def modules_loaded_by(code):
    """Run code in a new interpreter and return the modules it loaded."""
    report = "; import sys; print('LOADED', *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code + report], check=True, capture_output=True, text=True
    )
    return set(result.stdout.splitlines()[-1].split()[1:])


def loaded_by(code):
    """Run code in a new interpreter and return the top-level modules it loaded."""
    return {name.partition(".")[0] for name in modules_loaded_by(code)}


@pytest.mark.parametrize(
    "code",
    [
        "import filtertrack",
        "from filtertrack import Run, Snapshot, LayerInfo, Moment, FiltertrackError, animate",
        "from filtertrack import ArrayTracker, TorchTracker",
        "import filtertrack.measures, filtertrack.tensorboard_plugin.summaries",
        "from filtertrack.cli import main; main(['animate', '{run}'])",
        "from filtertrack.cli import main; main(['info', '{run}'])",
    ],
)
def test_no_framework_is_loaded(run, code):
    """Importing the package and its modules, and running commands, loads no framework."""
    loaded = loaded_by(code.format(run=run.path))
    assert "filtertrack" in loaded
    assert not loaded & FRAMEWORKS


def test_array_tracker_loads_no_framework(tmp_path):
    """A whole run, with its pictures for TensorBoard."""
    code = (
        "import numpy as np; from filtertrack import ArrayTracker; "
        f"tracker = ArrayTracker({str(tmp_path)!r}); "
        "tracker.snapshot(0, {'conv': np.zeros((3, 3, 1, 2))}, axes='HWIO'); "
        "tracker.close()"
    )
    loaded = loaded_by(code)
    assert "filtertrack" in loaded
    assert not loaded & FRAMEWORKS


def test_xarray_and_dask_are_loaded_on_use():
    """Importing the module that needs them does not load them."""
    assert not loaded_by("from filtertrack import Run, to_xarray") & {"xarray", "dask", "pandas"}


def test_import_filtertrack_loads_no_other_package():
    """Not even numpy."""
    assert not loaded_by("import filtertrack") & {"numpy", "PIL", "matplotlib", "tensorboard"}


@pytest.mark.parametrize("command", ["info", "animate", "verify"])
def test_commands_without_colormaps_load_no_matplotlib(run, command):
    """It takes as long to load as numpy; only its font file is needed."""
    code = f"from filtertrack.cli import main; main([{command!r}, {str(run.path)!r}])"
    assert "matplotlib" not in loaded_by(code)


def test_measure_without_a_plot_loads_nothing_that_draws(run):
    """Neither matplotlib nor Pillow."""
    code = f"from filtertrack.cli import main; main(['measure', {str(run.path)!r}])"
    assert not loaded_by(code) & {"matplotlib", "PIL"}


@pytest.mark.parametrize("command", ["info", "measure", "animate", "filmstrip", "plot"])
def test_commands_on_runs_load_no_reader_of_checkpoints_and_no_progress_bar(run, command):
    """The readers are for files; a progress bar is for terminals."""
    code = f"from filtertrack.cli import main; main([{command!r}, {str(run.path)!r}])"
    loaded = modules_loaded_by(code)
    assert "filtertrack.capture.checkpoints.checkpoint_paths" in loaded
    assert not loaded & {
        "filtertrack.capture.checkpoints.file_formats",
        "filtertrack.capture.checkpoints.hdf5",
        "rich.progress",
    }


@pytest.mark.parametrize("command", ["filmstrip", "plot"])
def test_a_figure_loads_no_more_of_matplotlib_than_it_draws_with(run, tmp_path, command):
    """A PNG file needs neither pyplot, nor style sheets, nor the fonts of a PDF file."""
    arguments = [command, str(run.path), "-o", str(tmp_path / "figure.png")]
    loaded = modules_loaded_by(f"from filtertrack.cli import main; main({arguments!r})")
    assert "matplotlib.figure" in loaded
    assert not loaded & {"matplotlib.pyplot", "matplotlib.style", "fontTools.subset", "scipy"}


def test_writing_events_loads_no_framework_where_it_is_installed(run):
    """TensorBoard's own writer imports tensorflow; ours does not."""
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


def test_no_module_hides_a_public_name():
    """After the import of all modules each public name is still the function."""
    code = (
        "import importlib, pathlib, filtertrack\n"
        "package = pathlib.Path(filtertrack.__file__).parent\n"
        "for file in package.rglob('*.py'):\n"
        "    if file.stem not in ('__main__', '__init__') and file.parent.name != 'capture':\n"
        "        name = '.'.join(file.relative_to(package.parent).with_suffix('').parts)\n"
        "        importlib.import_module(name)\n"
        "from filtertrack import animate, filmstrip, measure\n"
        "assert callable(animate) and callable(filmstrip) and callable(measure)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_works_without_keras():
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "import pydoc, filtertrack\n"
        "text = pydoc.render_doc(filtertrack, renderer=pydoc.plaintext)\n"
        "assert 'class Run' in text and 'animate' in text\n"
        "assert 'FilterTracker' not in dir(filtertrack)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["keras", "tensorflow"])
@pytest.mark.parametrize("name", ["FilterTracker", "Probes"])
def test_without_keras_the_error_names_the_extra_to_install(name, missing):
    """One sentence that names the extras; also without the backend that Keras is to use."""
    code = (
        "import os, sys; os.environ['KERAS_BACKEND'] = 'tensorflow'\n"
        f"sys.modules[{missing!r}] = None\n"
        f"try:\n    from filtertrack import {name}\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout == (
        f"{name} needs Keras and one of its backends: pip install 'filtertrack[tensorflow]' (or "
        "[jax], or [torch])\n"
    )


@pytest.mark.parametrize("name", ["FilterTracker", "Probes"])
def test_an_older_keras_is_an_error_that_names_both_versions(tmp_path, name):
    """Before an attribute that it lacks is one."""
    (tmp_path / "keras.py").write_text("__version__ = '3.3.3'\n")
    code = (
        f"try:\n    from filtertrack import {name}\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
    )
    assert result.stdout == (
        "filtertrack: expected Keras 3.4 or later, got 3.3.3: pip install --upgrade keras\n"
    )


@pytest.mark.parametrize("found", ["3.10rc1", "3.12.0.dev2026", "4.0", "3.4"])
def test_a_later_version_of_keras_is_accepted(monkeypatch, found):
    """Also a preliminary one."""
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(__version__=found))
    filtertrack._check_version_of_keras()


def test_the_oldest_keras_is_that_of_pyproject():
    """Each extra with Keras asks for the version that the error names."""
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    oldest = ".".join(map(str, filtertrack._OLDEST_KERAS))
    assert set(re.findall(r'"keras>=([\d.]+)"', text)) == {oldest}
