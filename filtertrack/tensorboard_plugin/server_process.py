"""Runs the server of ``filtertrack view`` in a process of its own, which ends with this one.

The process reads its task as one line of JSON from stdin, and prints the server's address. It ends
when stdin is closed, as that of a kernel that was killed is. If the server cannot start, it prints
an error message to stderr.
"""

import json
import os
import subprocess
import sys
import tempfile
from threading import Thread
from urllib.parse import urlsplit

from filtertrack.errors import FiltertrackError, message_of
from filtertrack.storage.paths import StoragePath
from filtertrack.tensorboard_plugin.server import serve


class ServerProcess:
    """A server of a log folder, on a free port of this machine.

    Args:
        folder: The folder; it may be created later.
        any_host: Whether requests with any ``Host`` header are answered, as a proxy sends them.

    Attributes:
        address: The server's URL, with the tab.

    Raises:
        FiltertrackError: If the server cannot start.
    """

    def __init__(self, folder: StoragePath, *, any_host: bool) -> None:
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
                self.address = self._start({"folder": str(folder), "any_host": any_host})
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
    def runs(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _main() -> int:
    task = json.loads(sys.stdin.readline())
    Thread(target=_end_with_stdin, daemon=True).start()
    try:
        serve(
            task["folder"],
            lambda address: print(address, flush=True),  # noqa: T201 - the parent reads it
            port=0,
            any_host=task["any_host"],
        )
    except (FiltertrackError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(_main())
