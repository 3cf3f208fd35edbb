"""Benchmarks of the start of each command: against ``import numpy``."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.comparison import Row, Scale, Side, at_most, children, in_turn, times_the_cost
from benchmarks.synthetic_runs import make_run

_FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def starting(folder: Path, scale: Scale) -> Iterator[Row]:
    """Time whole processes on a run of two snapshots."""
    run = str(make_run(folder / "tiny", (3, 3, 1, 8), 2).path)
    commands = {
        "--help": (2, ["--help"]),
        "info": (3, ["info", run]),
        "animate": (4, ["animate", run]),
        "filmstrip": (None, ["filmstrip", run]),
        "measure": (None, ["measure", run]),
    }
    program = str(Path(sysconfig.get_path("scripts")) / "filtertrack")
    sides = {name: _starter([program, *rest]) for name, (_, rest) in commands.items()}
    sides["numpy"] = _starter([sys.executable, "-c", "import numpy"])
    took = in_turn(sides, 2 * scale.rounds, children)
    for name, (goal, rest) in commands.items():
        what = f"filtertrack {name}: times python -c 'import numpy'"
        yield times_the_cost(what, took[name], took["numpy"], goal)
        loaded = _frameworks(rest)
        yield at_most(f"filtertrack {name}: frameworks imported", loaded, "", 0)


def _starter(command: Sequence[str]) -> Side:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


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
