"""Draws an animation in a separate process, which can be stopped and slows no other request.

The process reads its task as JSON from stdin. It exits with 0, or prints an error message to stdout
and exits with 2 if the animation cannot be drawn, with 3 if the run cannot be read.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.animation import animate
from filtertrack.storage.run import Run

_LONGEST = 120.0
"""Seconds that drawing may take."""
_POLL = 0.1
"""Seconds between checks that the client is still connected."""
_REFUSED, _UNREADABLE = 2, 3


def draw_in_process(
    runs: Sequence[Run],
    ending: str,
    options: Mapping[str, object],
    is_wanted: Callable[[], bool],
) -> bytes:
    """Draw an animation as ``filtertrack animate`` does, and return the file's bytes.

    Args:
        runs: A run, or two that are compared.
        ending: That of the file, such as ``".gif"``.
        options: Those of ``animate``, as JSON can hold them.
        is_wanted: Whether the client still waits for it; called several times a second.

    Raises:
        FiltertrackError: If it cannot be drawn, is no longer wanted or takes more than two minutes.
        OSError: If the run cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="filtertrack-") as name:
        folder = Path(name)
        target, task, message = folder / f"animation{ending}", folder / "task", folder / "message"
        folders = [(str(run.path), run.within) for run in runs]
        request = {"runs": folders, "output": str(target), "options": options}
        task.write_text(json.dumps(request))
        code = _run_process(task, message, is_wanted)
        if code == 0:
            return target.read_bytes()
        reason = message.read_text(errors="replace").strip()
    if code == _UNREADABLE:
        raise OSError(reason)
    if code == _REFUSED:
        raise FiltertrackError(reason)
    raise RuntimeError(f"drawing ended with exit code {code}: {reason}")


def _run_process(task: Path, message: Path, is_wanted: Callable[[], bool]) -> int:
    """Run the process, kill it if the client has disconnected, and return its exit code."""
    # The modules that this process imports, not those in the current folder.
    environment = {
        "OPENBLAS_NUM_THREADS": "1",  # as on the command line
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    deadline = time.monotonic() + _LONGEST
    with (
        task.open("rb") as stdin,
        message.open("wb") as stdout,
        subprocess.Popen(  # noqa: S603 - this module
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
                if time.monotonic() > deadline:
                    raise FiltertrackError(
                        f"drawing was ended after {_LONGEST:.0f} seconds; choose fewer filters, "
                        f"or use filtertrack animate"
                    )
                time.sleep(_POLL)
        finally:
            process.kill()
    return process.returncode


def _main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the server's terminal: no traceback
    request = json.load(sys.stdin)
    try:
        run, *compared = [Run(path, within=within) for path, within in request["runs"]]
        compare = compared[0] if compared else None
        animate(run, request["output"], compare=compare, **request["options"])
    except FiltertrackError as error:
        print(error)  # noqa: T201 - read by the parent process
        return _REFUSED
    except OSError as error:
        print(error)  # noqa: T201
        return _UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(_main())
