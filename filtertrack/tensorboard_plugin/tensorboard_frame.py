"""Show TensorBoard with the tab Filters in a notebook: the public function ``view``."""

import os
import secrets
import subprocess
import sys
from contextlib import suppress
from html import escape
from importlib import import_module

from filtertrack.errors import FiltertrackError, in_notebook, whole
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run import FOLDER, Run
from filtertrack.tensorboard_plugin.server_process import ServerProcess

_MOST_SERVERS = 3
"""Servers of one program that run at the same time, at most: each takes about 95 MB."""

_servers: dict[tuple[str, bool], ServerProcess] = {}
"""The servers of this program, by their folder and whether they are behind a proxy; the one that
was shown last is the last one."""


def view(runs: Run | PathOrAddress, *, height: int = 800) -> None:
    """Show TensorBoard, with the tab Filters in front, below the cell of a notebook.

    The cell returns at once. The server runs until the kernel ends, or until three other folders
    have been shown since. A second call for the same folder uses the same server. Called before the
    cell that trains, it shows the run while it grows. In a script or a terminal it is
    ``filtertrack view``: it opens a browser, and returns after Ctrl-C.

    The browser must reach the server, which listens on the machine of the kernel:

    - Jupyter on the same machine: directly.
    - JupyterHub: through jupyter-server-proxy, at ``/user/NAME/proxy/PORT/``; install it beside
      Jupyter. For another proxy set the environment variable ``TENSORBOARD_PROXY_URL`` to its URL,
      with ``%PORT%`` in it, as for TensorBoard's own ``%tensorboard``.
    - Colab: through Colab's own proxy. This follows its source and was not tried there.

    Behind a proxy all paths of the server begin with a text that cannot be guessed.

    Args:
        runs: A run, its folder, or a folder of runs, which may be created later; or an address.
        height: Height of the frame, in pixels.

    Raises:
        FiltertrackError: If the path is a file, or the server cannot start.

    Example:
        >>> view("runs")  # doctest: +SKIP
    """
    path = runs.path if isinstance(runs, Run) else path_of(runs)
    folder = path.parent if path.name == FOLDER else path
    existing = folder.blocking_file()
    if existing is not None:
        raise FiltertrackError(
            f"{str(folder)!r}: expected a folder of runs, but {str(existing)!r} is a file"
        )
    if (whole(height) or 0) < 1:
        raise FiltertrackError(f"height: expected pixels from 1 on, got {height!r}")
    if not in_notebook():
        with suppress(KeyboardInterrupt):
            command = [sys.executable, "-m", "filtertrack", "view", str(folder)]
            subprocess.run(command, check=False)  # noqa: S603 - this package
        return
    is_colab = "google.colab" in sys.modules
    server = _server_of(folder, behind_proxy=is_colab or _proxy(0) is not None)
    if is_colab:
        output = import_module("google.colab.output")
        output.serve_kernel_port_as_iframe(server.port, path=server.path, height=str(height))
        return
    proxy = _proxy(server.port)
    address = server.address if proxy is None else f"{proxy.rstrip('/')}{server.path}"
    link = f'<a href="{escape(address)}" target="_blank">TensorBoard of {escape(str(folder))}</a>'
    frame = f'<iframe src="{escape(address)}" width="100%" height="{height}" style="border:0">'
    display = import_module("IPython.display").display
    display({"text/html": f"{link}<br>{frame}</iframe>", "text/plain": address}, raw=True)


def _server_of(folder: StoragePath, *, behind_proxy: bool) -> ServerProcess:
    """Return the server of a folder that runs, or start one; end the oldest of too many."""
    key = str(folder.absolute()), behind_proxy
    server = _servers.pop(key, None)
    if server is None or not server.runs:
        secret = secrets.token_urlsafe() if behind_proxy else ""
        server = ServerProcess(folder.absolute(), secret=secret)
    _servers[key] = server
    for oldest in list(_servers)[:-_MOST_SERVERS]:
        _servers.pop(oldest).close()
    return server


def _proxy(port: int) -> str | None:
    """Return the URL at which a proxy has a port of the kernel's machine; None without a proxy."""
    given = os.environ.get("TENSORBOARD_PROXY_URL")
    if given:
        return given.replace("%PORT%", str(port))
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    return f"{prefix.rstrip('/')}/proxy/{port}/" if prefix else None
