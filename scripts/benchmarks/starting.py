"""Benchmarks of the start of each command: against ``import numpy``."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.comparison import Row, Scale, Side, at_most, children, in_turn, times_the_cost
from benchmarks.synthetic_runs import make_run

_TEXT_FIGURE = (
    "import io; from matplotlib.figure import Figure; figure = Figure((2, 1)); "
    "figure.text(0, 0, 'word'); figure.savefig(io.BytesIO(), format='{}')"
)
"""What matplotlib alone needs, of which a figure of ours is a part."""
_FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def starting(folder: Path, scale: Scale) -> Iterator[Row]:
    """Time whole processes on a run of two snapshots.

    With the bytecode of every package on disk, as after an installation.
    """
    run = str(make_run(folder / "tiny", (3, 3, 1, 8), 2).path)
    commands = {
        "--help": (2, ["--help"]),
        "info": (3, ["info", run]),
        "animate": (4, ["animate", run]),
        "measure": (5, ["measure", run]),
        "plot": (5, ["plot", run]),
        "filmstrip": (5, ["filmstrip", run]),
        "filmstrip, PNG": (5, ["filmstrip", run, "-o", str(folder / "filmstrip.png")]),
    }
    program = str(Path(sysconfig.get_path("scripts")) / "filtertrack")
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    sides = {name: _starter([program, *rest], environment) for name, (_, rest) in commands.items()}
    bare = {"numpy": "import numpy"}
    bare |= {f"matplotlib, {ending}": _TEXT_FIGURE.format(ending) for ending in ("png", "pdf")}
    for name, code in bare.items():
        sides[name] = _starter([sys.executable, "-c", code], environment)
    took = in_turn(sides, 2 * scale.rounds, children)
    for name, (goal, rest) in commands.items():
        what = f"filtertrack {name}: times python -c 'import numpy'"
        yield times_the_cost(what, took[name], took["numpy"], goal)
        loaded = _frameworks(rest)
        yield at_most(f"filtertrack {name}: frameworks imported", loaded, "", 0)
    for name in list(bare)[1:]:
        what = f"{name}, a figure of one word: times python -c 'import numpy'"
        yield times_the_cost(what, took[name], took["numpy"])


def _starter(command: Sequence[str], environment: Mapping[str, str]) -> Side:
    return lambda: subprocess.run(  # noqa: S603
        command, check=True, stdout=subprocess.DEVNULL, env=environment
    )


def _frameworks(arguments: Sequence[str]) -> int:
    """Run a command in a new interpreter and count the frameworks that it imports."""
    code = (
        "import sys, atexit, filtertrack.cli as c; "
        f"atexit.register(lambda: print('LOADED', len({_FRAMEWORKS} & set(sys.modules)))); "
        f"sys.exit(c.main({list(arguments)}))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return int(result.stdout.rpartition("LOADED")[2])
