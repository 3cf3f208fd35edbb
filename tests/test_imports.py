import ast
import shutil
import subprocess
import sys
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
        ("measures/labels.py", "from filtertrack import errors", "Measures take arrays"),
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
    broken = [said for said in result.stdout.splitlines() if said.endswith("BROKEN")]
    assert any(said.startswith(contract) for said in broken), result.stdout


def test_no_two_modules_define_one_public_name():
    """A name has one meaning: each public function, class and constant is defined once."""
    where = defaultdict(list)
    for file in PACKAGE.rglob("*.py"):
        for name in set(public_names_of(file)):
            where[name].append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


def test_no_two_modules_have_one_name_and_none_that_of_a_function():
    """A file is known by its name, and ``filtertrack.animate`` is never a module."""
    files = [file for file in PACKAGE.rglob("*.py") if not file.stem.startswith("_")]
    assert len({file.stem for file in files}) == len(files)
    functions = {name for file in files for name in public_names_of(file)}
    packages = {file.parent.name for file in PACKAGE.rglob("__init__.py")} - {"filtertrack"}
    assert not ({file.stem for file in files} | packages) & functions


def test_few_modules_lie_outside_the_packages():
    """Everything else has its place in a package."""
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_measures_import_numpy_only():
    """Arrays in, numbers out: nothing but numpy and the standard library."""
    files = (PACKAGE / "measures").glob("*.py")
    outside = {module.partition(".")[0] for file in files for module in imports_of(file)}
    assert outside - set(sys.stdlib_module_names) == {"numpy", "filtertrack"}


def test_the_loader_imports_nothing_of_ours_until_it_is_asked_to():
    """An error while TensorBoard imports it would cost every tab."""
    code = "import filtertrack.tensorboard_plugin.loader, sys; "
    heavy = "('numpy', 'PIL', 'filtertrack.storage.run')"
    check = f"assert not [m for m in sys.modules if m in {heavy}]"
    subprocess.run([sys.executable, "-c", code + check], check=True)


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


def test_no_module_hides_a_public_name():
    """Importing any module first leaves every public name what it is."""
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
