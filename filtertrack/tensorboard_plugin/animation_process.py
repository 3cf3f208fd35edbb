"""An animation drawn by a process of its own: it can be ended at any moment, and slows no request.

What is drawn is asked for as JSON on stdin. The exit code says how it went: 0, or with a sentence
on stdout 2 for what cannot be drawn and 3 for what could not be read.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.animation import animate
from filtertrack.storage.run import Run

_LONGEST = 120.0
"""Seconds that drawing may take."""
_LOOK = 0.1
"""Seconds between checks that the client is still connected."""
_REFUSED, _UNREADABLE = 2, 3


def draw_in_process(
    runs: Sequence[Run], ending: str, options: dict[str, Any], is_wanted: Callable[[], bool]
) -> bytes:
    """Draw an animation as ``filtertrack animate`` does, and return the file's bytes.

    Args:
        runs: A run, or two that are compared.
        ending: That of the file, such as ``".gif"``.
        options: Those of ``animate``, as JSON can hold them.
        is_wanted: Whether somebody still waits for it; asked several times a second.

    Raises:
        FiltertrackError: If it cannot be drawn, is no longer wanted or takes more than two minutes.
        OSError: If the run cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="filtertrack-") as folder:
        target, request, said = (
            Path(folder) / name for name in (f"animation{ending}", "request", "said")
        )
        folders = [(str(run.path), run.within) for run in runs]
        asked = {"runs": folders, "output": str(target), "options": options}
        request.write_text(json.dumps(asked))
        code = _ended(request, said, is_wanted)
        if code == 0:
            return target.read_bytes()
        reason = said.read_text(errors="replace").strip()
    if code == _UNREADABLE:
        raise OSError(reason)
    if code == _REFUSED:
        raise FiltertrackError(reason)
    raise RuntimeError(f"drawing ended with exit code {code}: {reason}")


def _ended(request: Path, said: Path, is_wanted: Callable[[], bool]) -> int:
    """Run the process, end it where the client has disconnected, and return its exit code."""
    # What this process imports, and not what happens to lie in the current folder.
    environment = {
        "OPENBLAS_NUM_THREADS": "1",  # as on the command line
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    until = time.monotonic() + _LONGEST
    with (
        request.open("rb") as stdin,
        said.open("wb") as stdout,
        subprocess.Popen(  # noqa: S603 - this very module
            [sys.executable, "-P", "-m", __name__],
            stdin=stdin,
            stdout=stdout,
            env=environment,
        ) as process,
    ):
        try:
            while process.poll() is None:
                if not is_wanted():
                    raise FiltertrackError("the client has disconnected")
                if time.monotonic() > until:
                    raise FiltertrackError(
                        f"drawing was ended after {_LONGEST:.0f} seconds; choose fewer filters, "
                        f"or use filtertrack animate"
                    )
                time.sleep(_LOOK)
        finally:
            process.kill()
    return process.returncode


def _main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the server's terminal: without a word
    asked = json.load(sys.stdin)
    try:
        run, *compared = [Run(path, within=within) for path, within in asked["runs"]]
        compare = compared[0] if compared else None
        animate(run, asked["output"], compare=compare, **asked["options"])
    except FiltertrackError as error:
        print(error)  # noqa: T201 - to the process that asked
        return _REFUSED
    except OSError as error:
        print(error)  # noqa: T201
        return _UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(_main())
