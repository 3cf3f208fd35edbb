"""TensorBoard, started in this process with the tab "Filters" in front."""

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
_MOST_FILES = 1 << 16
_log = logging.getLogger("filtertrack")

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application."""


def serve(
    folder: PathOrAddress,
    opened: Callable[[str], object],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> None:
    """Serve TensorBoard until Ctrl-C. Only in the main thread, as it listens to signals.

    Args:
        folder: Its log folder: a run's, or one with runs below it.
        opened: Called with the address once a browser can be sent there.
        host: The address of this machine to listen on; only this machine reaches the default.
        port: 0 to 65535, 0 for any that is free; None for the first free one from 6006 on.

    Raises:
        FiltertrackError: If that port is taken, or there is no such port or host.
    """
    if port is not None and not 0 <= port <= _LAST_PORT:
        raise FiltertrackError(f"expected a port from 0 to {_LAST_PORT}, got {port}")
    # As if tensorflow were not installed: TensorBoard would import it, for seconds and hundreds of
    # megabytes, and needs it for nothing that is shown here. Its own switch, that a module
    # tensorboard.compat.notf can be imported, is not heeded by its debugger.
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
        raise FiltertrackError(_cannot_start(error)) from error

    class Quiet(TensorBoard):  # type: ignore[misc] # TensorBoard has no types
        def _make_data_ingester(self) -> Any:
            with redirect_stderr(StringIO()):  # where to report issues of fast loading, each time
                return super()._make_data_ingester()

    class Server(WerkzeugServer):  # type: ignore[misc]
        def print_serving_message(self) -> None:
            opened(f"{self.get_url()}#{_TAB}")

    def listen(app: Any, flags: Any) -> Any:
        said = StringIO()
        try:
            with redirect_stderr(said):
                return with_port_scanning(Server)(only_for(host, app), flags)
        except TensorBoardServerException as error:
            reason = error.msg
        except (OSError, UnicodeError, SystemExit) as error:
            reason = said.getvalue() or str(error)  # werkzeug prints it, and would end Python
        raise FiltertrackError(
            f"cannot listen on {host}: {reason.strip()}; choose another host or port"
        )

    _allow_files()
    tensorboard = Quiet(plugins=_plugins(default.get_static_plugins()), server_class=listen)
    place = str(path_of(folder).absolute())
    # TensorBoard does not know a bucket without the slash behind it.
    logdir = f"{place}/" if re.fullmatch(r"[^/]+://[^/]+", place) else place
    tensorboard.configure(logdir=logdir, host=host, port=port)
    tensorboard.main()


def only_for(host: str, app: Application) -> Application:
    """Answer only to the names of the host that is listened on.

    A page elsewhere may point a name of its own at this machine ("DNS rebinding"): the user's
    browser would then let it read the log folder. It cannot do so with an address, or with a name
    of this machine.

    Args:
        host: What is listened on: a name or an address.
        app: What answers.

    Returns:
        The same, with status 403 and a sentence for another ``Host``.
    """
    listened = _address(host)
    every = listened is not None and listened.is_unspecified
    names = {"localhost", host.lower(), *_addresses(host)}
    if every:
        own = socket.gethostname().lower()
        names |= {own, f"{own}.local", socket.getfqdn().lower()}

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        given = _host_of(environ.get("HTTP_HOST", ""))
        address = _address(given)
        if given in names or (address and (address.is_loopback or every)):
            return app(environ, start)
        text = (
            f"filtertrack view does not answer to {given!r}: it listens on {host}. Open "
            f"http://localhost:{environ.get('SERVER_PORT')}/ instead, or start it with --host and "
            f"the name that it is to be reached by.\n"
        ).encode()
        head = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
        start("403 Forbidden", head)
        return [text]

    return answer


def _host_of(header: str) -> str:
    """Return the name or address in a ``Host`` header; nothing where there is none."""
    try:
        parts = urlsplit(f"//{header}")
    except ValueError:
        return ""
    return "" if "@" in parts.netloc else (parts.hostname or "").removesuffix(".")


def _addresses(host: str) -> list[str]:
    """Return the addresses of a name; none where it has none, which is said when it is bound."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _allow_files() -> None:
    """Let a file be open for each run, as TensorBoard keeps them: the usual limit is 1,024."""
    with suppress(ImportError, ValueError, OSError):  # no such thing on Windows
        import resource  # noqa: PLC0415 - see above

        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
        if allowed != resource.RLIM_INFINITY and allowed < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _cannot_start(error: Exception) -> str:
    """Say why TensorBoard cannot be imported, and what mends it."""
    needs_old = isinstance(error, ImportError) and error.name == "pkg_resources"
    advice = (
        "it needs what setuptools no longer holds: pip install -U tensorboard, or pip install "
        "'setuptools<82'"
        if needs_old
        else "see whether 'tensorboard --version' works, or pip install -U tensorboard"
    )
    return f"TensorBoard cannot start ({type(error).__name__}: {error}); {advice}"


def _plugins(own: list[Any]) -> list[Any]:
    """Return TensorBoard's own plugins and those installed, without what cannot be imported."""
    plugins = list(own)
    for found in entry_points(group="tensorboard_plugins"):
        try:
            plugins.append(found.load())
        except Exception as error:  # noqa: BLE001 - another's fault should not cost the tab
            _log.warning("the plugin %s is left out: %s", found.name, error)
    return plugins
