"""The tab's routes: read-only, checked, bounded."""

import logging
import math
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, TypeAlias

from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from filtertrack.errors import FiltertrackError, printable
from filtertrack.render.encoders.formats import ANIMATION_FORMATS
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.run import Run
from filtertrack.tensorboard_plugin import animation_process as drawing
from filtertrack.tensorboard_plugin.logdir import LogDirectory
from filtertrack.tensorboard_plugin.query import Query
from filtertrack.tensorboard_plugin.request_memory import BusyError, MemoryBudget
from filtertrack.web import page_api as answers
from filtertrack.web import payload as parts

NAME = "filtertrack"

_KEPT = 86_400
"""Seconds for which a browser keeps what does not change while its address is the same."""
_MEMORY = 512 << 20
"""Bytes that the answers being worked out take together, at most, or one of them alone."""
_PATIENCE = 20.0
"""Seconds that a request waits for memory, at most."""
_RETRY = 2
"""Seconds after which one that has waited in vain is worth asking again."""
_EACH_WEIGHT, _TEMPLATES, _LAYERS = 32, 128 << 20, 96 << 20
"""Bytes that an answer takes: four copies of a layer in ``float64``; and of a label besides."""
_STATIC = {".js": "application/javascript", ".css": "text/css"}
_UNAVAILABLE = 503
_BINARY = "application/octet-stream"

_log = logging.getLogger("filtertrack")

Response: TypeAlias = wrappers.Response
Answer: TypeAlias = Callable[[wrappers.Request], Response]


class FiltersPlugin(base_plugin.TBPlugin):  # type: ignore[misc] # TensorBoard has no types
    """The tab "Filters"."""

    plugin_name = NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        """Learn which log folders TensorBoard reads."""
        spec = getattr(context.flags, "logdir_spec", "")
        self._catalogue = LogDirectory.of_flags(context.logdir, spec)
        self._drawing = threading.Lock()
        self._memory = MemoryBudget(_MEMORY, _PATIENCE)
        folder = resources.files("filtertrack.web") / "page"
        self._files = {
            file.name: (file.read_bytes(), _STATIC[ending])
            for file in folder.iterdir()
            if (ending := file.name[file.name.rfind(".") :]) in _STATIC
        }

    def is_active(self) -> bool:
        """Whether there is a run to show."""
        return bool(self._catalogue.find().runs)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Say where the page's module is, and what the tab is called."""
        return base_plugin.FrontendMetadata(
            es_module_path="/static/index.js", tab_name="Filters", disable_reload=True
        )

    def get_plugin_apps(self) -> Mapping[str, Any]:
        """Return the routes."""
        routes: dict[str, Answer] = {
            "/static/*": self._static,
            "/settings": self._settings,
            "/palette": self._palette,
            "/runs": self._runs,
            "/layers": self._layers,
            "/steps": self._steps,
            "/cells": self._cells,
            "/order": self._order,
            "/trajectory": self._trajectory,
            "/label": self._label,
            "/animation": self._animation,
        }
        return {
            path: wrappers.Request.application(self._checked(route))
            for path, route in routes.items()
        }

    def _static(self, request: wrappers.Request) -> Response:
        name = request.path.rpartition("/")[2]
        if name not in self._files:
            raise FiltertrackError(f"the page has no file {name!r}")
        content, kind = self._files[name]
        return _respond(request, content, kind)

    def _settings(self, request: wrappers.Request) -> Response:
        return _json(request, answers.page_settings())

    def _palette(self, request: wrappers.Request) -> Response:
        colours = answers.colours(Query(request.args).text("colormap"))
        return _respond(request, colours, _BINARY, expires=_KEPT)

    def _runs(self, request: wrappers.Request) -> Response:
        found = self._catalogue.find()
        notes = list(map(self._catalogue.relative, found.notes))
        return _json(request, {"runs": list(found.runs), "notes": notes})

    def _layers(self, request: wrappers.Request) -> Response:
        run, _ = self._asked(request)
        with self._memory.taking(_LAYERS):
            found = answers.describe_run(run)
        return _json(request, found)

    def _steps(self, request: wrappers.Request) -> Response:
        run, query = self._asked(request)
        return _json(request, answers.describe_steps(run, query.text("known")))

    def _cells(self, request: wrappers.Request) -> Response:
        run, query, info = self._asked_layer(request)
        part = parts.Part(
            run, info, query.numbers("filters"), query.channels("channels"), query.flag("delta")
        )
        first, last = query.number("first"), query.number("last")
        with self._taking(info):
            packed, whole = parts.cells_at(part, first, last, self._catalogue.relative)
        return _respond(
            request,
            packed,
            _BINARY,
            content_encoding="gzip",
            expires=query.kept(_KEPT) if whole else 0,
        )

    def _order(self, request: wrappers.Request) -> Response:
        run, query, info = self._asked_layer(request)
        with self._taking(info, 3 * 8 * info.filters**2):  # similarities are each with each
            found = answers.order(run, info, query.text("order"))
        return _json(request, found, query.kept(_KEPT))

    def _trajectory(self, request: wrappers.Request) -> Response:
        run, query, info = self._asked_layer(request)
        number = query.filter_of(info)
        with self._taking(info):
            found = answers.trajectory(run, info, number)
        return _json(request, found, query.kept(_KEPT))

    def _label(self, request: wrappers.Request) -> Response:
        run, query, info = self._asked_layer(request)
        number, step = query.filter_of(info), query.number("step")
        with self._taking(info, _TEMPLATES):
            found = answers.label_of_filter(run, info, number, step)
        return _json(request, found, query.kept(_KEPT))

    def _animation(self, request: wrappers.Request) -> Response:
        run, query, info = self._asked_layer(request)
        runs = [run]
        if query.text("compare"):
            runs.append(self._catalogue.open(query.text("compare")))
        ending = query.text("ending")
        if ending not in ANIMATION_FORMATS:
            raise FiltertrackError(
                f"ending: expected one of {', '.join(ANIMATION_FORMATS)}, got {ending!r}"
            )
        look = query.look(info)
        if not self._drawing.acquire(blocking=False):
            raise BusyError("another animation is being drawn; try again in a moment")
        try:
            drawn = drawing.draw_in_process(runs, ending, look, lambda: _is_waiting(request))
        finally:
            self._drawing.release()
        name = f"{info.name.replace('/', '_')}{ending}"
        headers = [("Content-Disposition", f'attachment; filename="{name}"')]
        return _respond(request, drawn, ANIMATION_FORMATS[ending].mime, headers=headers)

    def _asked(self, request: wrappers.Request) -> tuple[Run, Query]:
        query = Query(request.args)
        return self._catalogue.open(query.text("run")), query

    def _asked_layer(self, request: wrappers.Request) -> tuple[Run, Query, LayerInfo]:
        run, query = self._asked(request)
        return run, query, run.layer(query.text("layer"))

    def _taking(self, info: LayerInfo, more: int = 0) -> AbstractContextManager[None]:
        """Wait until there is memory for an answer about a layer, and give it back at the end."""
        return self._memory.taking(_EACH_WEIGHT * math.prod(info.kernel_shape) + more)

    def _checked(self, route: Answer) -> Answer:
        """Answer what is wrong with a question in a sentence, as text; never with a trace."""

        def refuse(request: wrappers.Request, error: Exception, code: int) -> Response:
            retry = [("Retry-After", str(_RETRY))] if code == _UNAVAILABLE else []
            text = self._catalogue.relative(str(error))
            return _respond(request, text, "text/plain", code=code, headers=retry)

        def answer(request: wrappers.Request) -> Response:
            if request.method not in {"GET", "HEAD"}:
                allowed = [("Allow", "GET, HEAD")]
                return _respond(request, "only to be read", "text/plain", code=405, headers=allowed)
            try:
                return route(request)
            except FiltertrackError as error:
                return refuse(request, error, 400)
            except BusyError as error:
                return refuse(request, error, _UNAVAILABLE)
            except OSError as error:
                _log.warning("Filters: %s", printable(str(error)))
                return refuse(request, OSError(f"cannot be read: {error}"), _UNAVAILABLE)
            except Exception:  # noqa: BLE001 - a page is better told so than left with a trace
                _log.exception("Filters: %s", printable(request.path))
                told = "this cannot be answered; TensorBoard's log says why"
                return _respond(request, told, "text/plain", code=500)

        return answer


def _is_waiting(request: wrappers.Request) -> bool:
    """Whether the client's connection is still open, as far as can be known."""
    connection = request.environ.get("werkzeug.socket")
    at_once = getattr(socket, "MSG_DONTWAIT", None)  # not on Windows
    if connection is None or at_once is None:  # or another server than TensorBoard's own
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | at_once))
    except BlockingIOError:  # nothing is said: it waits
        return True
    except OSError:
        return False


def _json(request: wrappers.Request, value: Any, expires: int = 0) -> Response:
    return _respond(request, value, "application/json", expires=expires)


def _respond(request: wrappers.Request, content: Any, kind: str, **options: Any) -> Response:
    response: Response = http_util.Respond(request, content, kind, **options)
    return response
