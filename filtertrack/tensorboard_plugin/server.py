"""Starts TensorBoard in this process, with the tab "Filters" selected, for ``filtertrack view``."""

import ipaddress
import logging
import re
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from importlib.metadata import entry_points
from io import StringIO
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from filtertrack.errors import FiltertrackError
from filtertrack.storage.paths import PathOrAddress, path_of

_TAB = "filtertrack"
_LAST_PORT = 0xFFFF
_MOST_OPEN_FILES = 1 << 16
_log = logging.getLogger("filtertrack")

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application."""


def serve(
    folder: PathOrAddress,
    announce: Callable[[str], object],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    secret: str = "",
) -> None:
    """Serve TensorBoard until Ctrl-C. Only in the main thread: it handles signals.

    Args:
        folder: Its log folder: a run's, or one with runs below it.
        announce: Called with the URL once the server accepts connections.
        host: The name or address to listen on; the default accepts only this machine.
        port: 0 to 65535, 0 for any free one; None for the first free one from 6006 on.
        secret: A text that cannot be guessed, for a server behind a proxy, which forwards the
            ``Host`` header of the browser: only paths below ``/secret/`` are answered, with any
            ``Host`` header. Without it, the header is checked: see ``check_host_header``.

    Raises:
        FiltertrackError: If TensorBoard cannot be imported, or cannot listen on that host and port.
    """
    if port is not None and not 0 <= port <= _LAST_PORT:
        raise FiltertrackError(f"expected a port from 0 to {_LAST_PORT}, got {port}")
    # Hide tensorflow: TensorBoard would import it, which takes seconds and hundreds of megabytes,
    # though no tab needs it here. Its documented switch, a module tensorboard.compat.notf, is
    # ignored by its debugger plugin.
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type] # as Python documents it
    try:
        from tensorboard import default  # noqa: PLC0415 - after the line above
        from tensorboard.program import (  # noqa: PLC0415
            TensorBoard,
            TensorBoardServerException,
            WerkzeugServer,
            with_port_scanning,
        )
    except Exception as error:
        raise FiltertrackError(_import_error_message(error)) from error

    class QuietTensorBoard(TensorBoard):  # type: ignore[misc] # TensorBoard has no types
        def _make_data_ingester(self) -> Any:
            with redirect_stderr(StringIO()):  # a hint about fast loading, at every start
                return super()._make_data_ingester()

    class AnnouncingServer(WerkzeugServer):  # type: ignore[misc]
        def print_serving_message(self) -> None:
            announce(f"{self.get_url()}#{_TAB}")

    def make_server(app: Any, flags: Any) -> Any:
        stderr = StringIO()
        try:
            with redirect_stderr(stderr):
                checked = app if secret else check_host_header(host, app)
                return with_port_scanning(AnnouncingServer)(checked, flags)
        except TensorBoardServerException as error:
            reason = error.msg
        except (OSError, UnicodeError, SystemExit) as error:
            reason = stderr.getvalue() or str(error)  # werkzeug prints the reason and exits
        raise FiltertrackError(
            f"cannot listen on {host}: {reason.strip()}; choose another host or port"
        )

    _raise_open_file_limit()
    plugins = _importable_plugins(default.get_static_plugins())
    tensorboard = QuietTensorBoard(plugins=plugins, server_class=make_server)
    path = str(path_of(folder).absolute())
    # TensorBoard recognises a bucket only with a slash behind it.
    logdir = f"{path}/" if re.fullmatch(r"[^/]+://[^/]+", path) else path
    tensorboard.configure(
        logdir=logdir, host=host, port=port, path_prefix=f"/{secret}" if secret else ""
    )
    tensorboard.main()


def check_host_header(host: str, app: Application) -> Application:
    """Wrap an application so that it answers only requests addressed to the host it listens on.

    This prevents DNS rebinding: a web page elsewhere points a name of its own at this machine, and
    the user's browser then lets the page read the log folder. It cannot do so with an IP address or
    with a name of this machine.

    Args:
        host: The name or address that the server listens on.
        app: The application.

    Returns:
        The application, which answers other values of the ``Host`` header with status 403.
    """
    bound = _ip_address(host)
    is_any = bound is not None and bound.is_unspecified
    names = {"localhost", host.lower(), *_addresses_of(host)}
    if is_any:
        own = socket.gethostname().lower()
        names |= {own, f"{own}.local", socket.getfqdn().lower()}

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        requested = _host_of(environ.get("HTTP_HOST", ""))
        address = _ip_address(requested)
        if requested in names or (address and (address.is_loopback or is_any)):
            return app(environ, start)
        text = (
            f"filtertrack view does not answer to {requested!r}: it listens on {host}. Open "
            f"http://localhost:{environ.get('SERVER_PORT')}/ instead, or start it with --host and "
            f"the name that it is to be reached by.\n"
        ).encode()
        head = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
        start("403 Forbidden", head)
        return [text]

    return answer


def _host_of(header: str) -> str:
    """Return the name or address in a ``Host`` header; an empty text if it has none."""
    try:
        parts = urlsplit(f"//{header}")
    except ValueError:
        return ""
    return "" if "@" in parts.netloc else (parts.hostname or "").removesuffix(".")


def _addresses_of(host: str) -> list[str]:
    """Return the addresses of a name; none if it has none: listening on it then fails."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _raise_open_file_limit() -> None:
    """Raise the soft limit of open files, often 1,024: TensorBoard keeps one open for each run."""
    with suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource  # noqa: PLC0415 - see above

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _import_error_message(error: Exception) -> str:
    """Return why TensorBoard cannot be imported, and what to do."""
    needs_old = isinstance(error, ImportError) and error.name == "pkg_resources"
    advice = (
        "it needs what setuptools no longer holds: pip install -U tensorboard, or pip install "
        "'setuptools<82'"
        if needs_old
        else "see whether 'tensorboard --version' works, or pip install -U tensorboard"
    )
    return f"TensorBoard cannot start ({type(error).__name__}: {error}); {advice}"


def _importable_plugins(static: list[Any]) -> list[Any]:
    """Return TensorBoard's own plugins and the installed ones that can be imported."""
    plugins = list(static)
    for entry_point in entry_points(group="tensorboard_plugins"):
        try:
            plugins.append(entry_point.load())
        except Exception as error:  # noqa: BLE001 - a broken plugin should not cost this tab
            _log.warning("the plugin %s is left out: %s", entry_point.name, error)
    return plugins
