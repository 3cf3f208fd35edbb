"""The routes of the tab "Filters": read-only, validated, limited in memory and time.

``filtertrack/web/http_api.md`` describes each route.
"""

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
from filtertrack.storage.run import Run, recorded_probes
from filtertrack.tensorboard_plugin import animation_process
from filtertrack.tensorboard_plugin.logdir import LogDirectory
from filtertrack.tensorboard_plugin.query import Query
from filtertrack.tensorboard_plugin.request_memory import BusyError, MemoryBudget
from filtertrack.web import filter_answers, metric_curves, page_api, payload, probe_answers

NAME = "filtertrack"

_MAX_AGE = 86_400
"""Seconds that a browser caches an answer that never changes for its URL."""
_MEMORY = 512 << 20
"""Bytes that all requests in progress take together, at most, or a single larger one."""
_MEMORY_TIMEOUT = 20.0
"""Seconds that a request waits for memory, at most."""
_RETRY_AFTER = 2
"""Seconds after which a client should repeat a request that was refused as busy."""
_WEIGHT_BYTES = 32
"""Memory of an answer for each weight of its layer: four copies in ``float64``."""
_TEMPLATE_BYTES = 128 << 20
"""Further memory of a label: the templates that filters are compared with."""
_LAYERS_BYTES = 96 << 20
"""Memory of the answer of ``/layers``."""
_PROBES_BYTES = 32 << 20
"""Memory of an answer about probes beside their file: its description, and a large picture."""
_RESPONSE_COPIES = 3
"""Copies of the responses of a layer at one snapshot that an answer takes."""
_METRICS_BYTES = 64 << 20
"""Memory of the answer of ``/metrics``, beside the moments that are kept."""
_METRICS_TIME = 0.25
"""Seconds that ``/metrics`` reads files for one answer, about: other routes answer meanwhile."""
_MEDIA_TYPES = {".js": "application/javascript", ".css": "text/css"}
_BINARY = "application/octet-stream"
_UNAVAILABLE = 503

_log = logging.getLogger("filtertrack")

Response: TypeAlias = wrappers.Response
Route: TypeAlias = Callable[[wrappers.Request], Response]


class FiltersPlugin(base_plugin.TBPlugin):  # type: ignore[misc] # TensorBoard has no types
    """The tab "Filters"."""

    plugin_name = NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        """Read TensorBoard's log folders from its flags, and the page's files."""
        spec = getattr(context.flags, "logdir_spec", "")
        self._logdir = LogDirectory.of_flags(context.logdir, spec)
        self._drawing = threading.Lock()
        self._moments = metric_curves.MomentCache()
        self._memory = MemoryBudget(_MEMORY, _MEMORY_TIMEOUT)
        folder = resources.files("filtertrack.web") / "page"
        self._files = {
            file.name: (file.read_bytes(), _MEDIA_TYPES[ending])
            for file in folder.iterdir()
            if (ending := file.name[file.name.rfind(".") :]) in _MEDIA_TYPES
        }

    def is_active(self) -> bool:
        """Return whether there is a run to show."""
        return bool(self._logdir.find().runs)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Return the path of the page's module and the name of the tab."""
        return base_plugin.FrontendMetadata(
            es_module_path="/static/index.js", tab_name="Filters", disable_reload=True
        )

    def get_plugin_apps(self) -> Mapping[str, Any]:
        """Return the WSGI application of each route."""
        routes: dict[str, Route] = {
            "/static/*": self._static,
            "/settings": self._settings,
            "/palette": self._palette,
            "/runs": self._runs,
            "/layers": self._layers,
            "/parts": self._parts,
            "/steps": self._steps,
            "/metrics": self._metrics,
            "/cells": self._cells,
            "/order": self._order,
            "/trajectory": self._trajectory,
            "/label": self._label,
            "/labels": self._labels,
            "/probes": self._probes,
            "/probe": self._probe,
            "/responses": self._responses,
            "/kernel": self._kernel,
            "/input": self._input,
            "/animation": self._animation,
        }
        return {
            path: wrappers.Request.application(self._guarded(route))
            for path, route in routes.items()
        }

    def _static(self, request: wrappers.Request) -> Response:
        name = request.path.rpartition("/")[2]
        if name not in self._files:
            raise FiltertrackError(f"the page has no file {name!r}")
        content, media_type = self._files[name]
        return _respond(request, content, media_type)

    def _settings(self, request: wrappers.Request) -> Response:
        return _json(request, page_api.page_settings())

    def _palette(self, request: wrappers.Request) -> Response:
        colours = page_api.colormap_bytes(Query(request.args).text("colormap"))
        return _respond(request, colours, _BINARY, expires=_MAX_AGE)

    def _runs(self, request: wrappers.Request) -> Response:
        found = self._logdir.find()
        notes = list(map(self._logdir.relative, found.notes))
        answer: page_api.RunList = {
            "runs": list(found.runs),
            "notes": notes,
            "root": found.root,
        }
        return _json(request, answer)

    def _layers(self, request: wrappers.Request) -> Response:
        run, _ = self._open_run(request)
        with self._memory.reserve(_LAYERS_BYTES):
            answer = page_api.describe_run(run)
        return _json(request, answer)

    def _parts(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        with self._reserve(info):
            answer = page_api.default_parts(run, info)
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _steps(self, request: wrappers.Request) -> Response:
        run, query = self._open_run(request)
        return _json(request, page_api.describe_steps(run, query.text("known")))

    def _metrics(self, request: wrappers.Request) -> Response:
        run, query = self._open_run(request)
        with self._memory.reserve(_METRICS_BYTES):
            moments, left = self._moments.read(run, _METRICS_TIME)
            answer = metric_curves.curves_of_metrics(moments, left)
            answer = metric_curves.without_known(answer, query.text("known"))
        return _json(request, answer, 0 if left else query.max_age(_MAX_AGE))

    def _cells(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        part = payload.Part(
            run, info, query.numbers("filters"), query.channels("channels"), query.flag("delta")
        )
        first, last = query.number("first"), query.number("last")
        with self._reserve(info):
            message, complete = payload.cells_at(part, first, last, self._logdir.relative)
        return _packed(request, message, query.max_age(_MAX_AGE) if complete else 0)

    def _order(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        with self._reserve(info, 3 * 8 * info.filters**2):  # similarities of all pairs
            answer = page_api.order_of_filters(run, info, query.text("order"))
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _trajectory(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        number = query.filter_of(info)
        with self._reserve(info):
            answer = page_api.trajectory_of_filter(run, info, number)
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _label(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        number, step = query.filter_of(info), query.number("step")
        with self._reserve(info, _TEMPLATE_BYTES):
            answer = page_api.label_of_filter(run, info, number, step)
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _labels(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        step = query.number("step") if query.text("step") else None
        with self._reserve(info, _TEMPLATE_BYTES):
            answer = page_api.labels_of_filters(run, info, step)
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _probes(self, request: wrappers.Request) -> Response:
        run, query = self._open_run(request)
        with self._reserve_probes(run):
            answer = probe_answers.describe_probes(run)
        return _json(request, answer, query.max_age(_MAX_AGE))

    def _probe(self, request: wrappers.Request) -> Response:
        run, query = self._open_run(request)
        number, input_name = query.number("probe"), query.text("input")
        with self._reserve_probes(run):
            message = probe_answers.picture_of_probe(recorded_probes(run), number, input_name)
        return _packed(request, message, query.max_age(_MAX_AGE))

    def _responses(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        filters = query.numbers("filters")
        probes = query.numbers("probes") if query.text("probes") else ()
        first, last = query.number("first"), query.number("last")
        with self._reserve_probes(run):
            part = probe_answers.ResponsePart(run, info, filters, probes)
        with self._reserve_probes(run, _RESPONSE_COPIES * part.size):
            message, complete = probe_answers.responses_at(part, first, last, self._logdir.relative)
        return _packed(request, message, query.max_age(_MAX_AGE) if complete else 0)

    def _kernel(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        number = query.filter_of(info)
        first, last = query.number("first"), query.number("last")
        with self._reserve(info):
            message, complete = filter_answers.kernels_of_filter(
                run, info, number, first, last, rewrite=self._logdir.relative
            )
        return _packed(request, message, query.max_age(_MAX_AGE) if complete else 0)

    def _input(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        number = query.number("probe")
        with self._reserve_probes(run):
            message = filter_answers.input_of_probe(info, recorded_probes(run), number)
        return _packed(request, message, query.max_age(_MAX_AGE))

    def _animation(self, request: wrappers.Request) -> Response:
        run, query, info = self._open_layer(request)
        runs = [run]
        if query.text("compare"):
            runs.append(self._logdir.open(query.text("compare")))
        ending = query.text("ending")
        if ending not in ANIMATION_FORMATS:
            raise FiltertrackError(
                f"ending: expected one of {', '.join(ANIMATION_FORMATS)}, got {ending!r}"
            )
        options = query.animation_options(info)
        if not self._drawing.acquire(blocking=False):
            raise BusyError("another animation is being drawn; try again in a moment")
        try:
            data = animation_process.draw_in_process(
                runs, ending, options, lambda: _is_connected(request)
            )
        finally:
            self._drawing.release()
        name = f"{info.name.replace('/', '_')}{ending}"
        headers = [("Content-Disposition", f'attachment; filename="{name}"')]
        return _respond(request, data, ANIMATION_FORMATS[ending].mime, headers=headers)

    def _open_run(self, request: wrappers.Request) -> tuple[Run, Query]:
        query = Query(request.args)
        return self._logdir.open(query.text("run")), query

    def _open_layer(self, request: wrappers.Request) -> tuple[Run, Query, LayerInfo]:
        run, query = self._open_run(request)
        return run, query, run.layer(query.text("layer"))

    def _reserve(self, info: LayerInfo, more: int = 0) -> AbstractContextManager[None]:
        """Wait for the memory that an answer about a layer takes; a context that releases it."""
        return self._memory.reserve(_WEIGHT_BYTES * math.prod(info.kernel_shape) + more)

    def _reserve_probes(self, run: Run, more: int = 0) -> AbstractContextManager[None]:
        """Wait for the memory that an answer about a run's probes takes."""
        return self._memory.reserve(_PROBES_BYTES + probe_answers.probes_size(run) + more)

    def _guarded(self, route: Route) -> Route:
        """Return a route that answers errors as one sentence of plain text, without a traceback."""

        def refuse(request: wrappers.Request, error: Exception, code: int) -> Response:
            retry = [("Retry-After", str(_RETRY_AFTER))] if code == _UNAVAILABLE else []
            text = self._logdir.relative(str(error))
            return _respond(request, text, "text/plain", code=code, headers=retry)

        def answer(request: wrappers.Request) -> Response:
            if request.method not in {"GET", "HEAD"}:
                text = f"expected GET or HEAD, got {request.method}: every route is read-only"
                allow = [("Allow", "GET, HEAD")]
                return _respond(request, printable(text), "text/plain", code=405, headers=allow)
            try:
                return route(request)
            except FiltertrackError as error:
                return refuse(request, error, 400)
            except BusyError as error:
                return refuse(request, error, _UNAVAILABLE)
            except OSError as error:
                _log.warning("Filters: %s", printable(str(error)))
                return refuse(request, OSError(f"cannot be read: {error}"), _UNAVAILABLE)
            except Exception:  # noqa: BLE001 - the page shows a sentence instead of a traceback
                _log.exception("Filters: %s", printable(request.path))
                text = "an internal error occurred; TensorBoard's log has its traceback"
                return _respond(request, text, "text/plain", code=500)

        return answer


def _is_connected(request: wrappers.Request) -> bool:
    """Return whether the client's connection is still open; True if that is unknown."""
    connection = request.environ.get("werkzeug.socket")
    non_blocking = getattr(socket, "MSG_DONTWAIT", None)  # not on Windows
    if connection is None or non_blocking is None:  # or not TensorBoard's own server
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | non_blocking))
    except BlockingIOError:  # nothing was sent, and it is not closed
        return True
    except OSError:
        return False


def _json(request: wrappers.Request, value: Mapping[str, object], max_age: int = 0) -> Response:
    return _respond(request, value, "application/json", expires=max_age)


def _packed(request: wrappers.Request, message: bytes, max_age: int) -> Response:
    """Return the response that sends a message of ``payload.pack``."""
    return _respond(request, message, _BINARY, content_encoding="gzip", expires=max_age)


def _respond(
    request: wrappers.Request, content: object, media_type: str, **options: Any
) -> Response:
    response: Response = http_util.Respond(request, content, media_type, **options)
    return response
