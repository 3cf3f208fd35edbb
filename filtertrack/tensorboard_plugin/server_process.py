"""Runs the server of ``filtertrack view`` in a process of its own, which ends with this one.

The process reads its task as one line of JSON from stdin, and prints the server's address; what it
prints later is discarded. If the server cannot start, it prints an error message to stderr.

It ends when its parent ends, even if that is killed. Its stdin is closed then, unless processes
that the parent has forked hold the pipe; so it also checks whether its parent has changed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from threading import Thread
from urllib.parse import urlsplit

from filtertrack.errors import FiltertrackError, message_of
from filtertrack.storage.paths import StoragePath
from filtertrack.tensorboard_plugin.server import serve

_CHECK_INTERVAL = 1.0
"""Seconds between two checks of the parent."""


class ServerProcess:
    """A server of a log folder, on a free port of this machine.

    Args:
        folder: The folder; it may be created later.
        secret: The first part of all its paths, for a server behind a proxy: see ``serve``.

    Attributes:
        address: The server's URL, with the tab.

    Raises:
        FiltertrackError: If the server cannot start.
    """

    def __init__(self, folder: StoragePath, *, secret: str = "") -> None:
        # The modules that this process imports, not those in the current folder.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(  # noqa: S603 - this module
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"OPENBLAS_NUM_THREADS": "1", **environment},  # as on the command line
                text=True,
                start_new_session=True,  # a notebook interrupts a cell with all its processes
            )
            try:
                self.address = self._start({"folder": str(folder), "secret": secret})
            except BaseException:
                self.close()
                raise
            if not self.address:
                self.close()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").split("\n")
                reason = next((line for line in reversed(lines) if line), "it ended at once")
                raise FiltertrackError(f"the server cannot start: {message_of(reason)}")

    def _start(self, task: dict[str, object]) -> str:
        """Give the process its task, and wait for the server's address; empty if there is none."""
        assert self._process.stdin  # noqa: S101 - they are pipes
        assert self._process.stdout  # noqa: S101
        try:
            self._process.stdin.write(f"{json.dumps(task)}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline().strip()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.address).port or 0

    @property
    def path(self) -> str:
        """The path of the address, with the tab: it begins with ``/``."""
        parts = urlsplit(self.address)
        return f"{parts.path}#{parts.fragment}"

    @property
    def runs(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _main() -> int:
    parent = os.getppid()
    task = json.loads(sys.stdin.readline())
    Thread(target=_end_with_stdin, daemon=True).start()
    Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    try:
        serve(task["folder"], _announce, port=0, secret=task["secret"])
    except (FiltertrackError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _announce(address: str) -> None:
    """Print the address for the parent, which reads no more: later output is discarded."""
    with open(os.devnull, "wb") as discarded:  # noqa: PTH123 - a device
        os.dup2(discarded.fileno(), sys.stderr.fileno())
        print(address, flush=True)  # noqa: T201 - see above
        os.dup2(discarded.fileno(), sys.stdout.fileno())


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended; on Windows only ``_end_with_stdin`` does so."""
    while os.getppid() == parent:
        time.sleep(_CHECK_INTERVAL)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(_main())
