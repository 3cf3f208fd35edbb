"""One HTML file that holds the page and what it shows, for a browser without a server.

Every text that comes from a run is inside the compressed data, and a content security policy
allows no other script than the file's own, no other style, and no request. The page's script is
compressed as well: ``page/file_loader.js`` unpacks it, and the policy allows it by its hash.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import RunLike, RunSelection, Steps, select_from_run
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run import Run
from filtertrack.web.file_answers import cell_values, make_contents
from filtertrack.web.file_data import element, zipped
from filtertrack.web.file_run import FileRun
from filtertrack.web.file_thinning import Extent, fit
from filtertrack.web.page_script import joined_script, page_files

MAX_SIZE = 8_000_000
"""Bytes of the file above which it is thinned."""

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; \
form-action 'none'; img-src blob: data:; script-src {script_hashes}; style-src {style_hash}">
<title>Filters</title>
<style>{style}</style>
</head>
<body>
{data}
<script>{loader}</script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class HtmlFile:
    """An HTML file that was written.

    Attributes:
        path: Its path.
        size: Its bytes.
        thinned: What was left out to keep it small, in words; empty if nothing was.
    """

    path: StoragePath
    size: int
    thinned: str = ""


def to_html(
    runs: RunLike | Sequence[RunLike],
    output: PathOrAddress | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    steps: Steps | None = None,
    responses: bool = True,
    max_size: int = MAX_SIZE,
) -> HtmlFile:
    """Write the interactive page of runs as one HTML file, which needs no server.

    The page plays, scrubs, compares, opens filters and shows responses to probes as the tab in
    TensorBoard does. The values are exact unless the file would be larger than ``max_size``. Then
    there are maps of fewer probes; if that is not enough, weights are rounded to ``float16``, then
    responses are left out, then steps between the first and the last.

    Args:
        runs: A run or its folder, or several.
        output: The file; None for ``page.html`` in the first run's folder.
        layers: Layers, by names or patterns; None for all.
        steps: Numbers of snapshots and ranges; None for all.
        responses: Whether the responses of these layers to the probes are in the file, if there
            are any.
        max_size: Bytes of the file, at most.

    Returns:
        The file, and what was left out.

    Raises:
        FiltertrackError: If there is no run, no such layer or step, no snapshot, or if two steps
            alone are larger than ``max_size``.
        OSError: If the file cannot be written.

    Example:
        >>> to_html("runs/demo", "evolution.html", layers="conv1")  # doctest: +SKIP
    """
    given = list(runs) if isinstance(runs, (list, tuple)) else [cast("RunLike", runs)]
    if not given:
        raise FiltertrackError("runs: expected a run or several, got none")
    chosen = [
        select_from_run(run, layers="*" if layers is None else layers, steps=steps) for run in given
    ]
    text, thinned = fitting_text(chosen, max_size, responses=responses)
    path = path_of(output) if output is not None else _beside(chosen[0].runs[0])
    content = text.encode()
    path.write_whole(lambda file: file.write(content))
    return HtmlFile(path, len(content), thinned)


def _beside(run: Run) -> StoragePath:
    """Return the path of a file in a run's folder.

    Raises:
        FiltertrackError: If the run is in memory.
    """
    if not Run.exists(run.path):
        raise FiltertrackError(
            f"output: expected the path of a file, got None: {str(run.path)!r} is not a run on "
            f"disk, so there is no folder to write to"
        )
    return run.path / "page.html"


def fitting_text(
    selections: Sequence[RunSelection],
    max_size: int,
    *,
    responses: bool = True,
    notes: Sequence[str] = (),
) -> tuple[str, str]:
    """Return the text of a file that is small enough, and what was left out of it, in words.

    Args:
        selections: Layers and steps of each run.
        max_size: Bytes of the text, at most.
        responses: Whether responses to the probes are in the file, if there are any.
        notes: What the page says about the file beside what is left out of it.

    Raises:
        FiltertrackError: If two steps alone are larger.
    """
    runs = [FileRun(selection, responses=responses) for selection in selections]
    extent = _extent(runs)
    contents, thinned = fit(
        extent, max_size, lambda thinning: make_contents(runs, thinning, extent, max_size, notes)
    )
    thinned = "; ".join(filter(None, dict.fromkeys([thinned, *contents.thinned])))
    data = "\n".join(element(*each) for each in contents.elements.items())
    return _file_text(data), thinned


def _extent(runs: Sequence[FileRun]) -> Extent:
    """Return how much can be in a file."""
    probed = [
        (run.probes, run.probes.layers[info.name], info)
        for run in runs
        if run.probes
        for info in run.layers
        if info.name in run.probes.layers
    ]
    return Extent(
        page_size=len(_file_text("").encode()),
        layers=max(len(run.layers) for run in runs),
        steps=max(run.steps for run in runs),
        weights=sum(cell_values(info) for run in runs for info in run.layers),
        maps=max((probes.maps for probes, _, _ in probed), default=0),
        map_bytes=sum(info.filters * math.prod(layer.map_shape) for _, layer, info in probed),
        responses=bool(probed),
    )


def _file_text(data: str) -> str:
    """Return the text of a file with the page, and data inside it."""
    modules, style = page_files(".js"), page_files(".css")["style"]
    loader = joined_script("file_loader", {}, modules)
    script = joined_script("file_page", {"requests": "file_answers"}, modules)
    return _TEMPLATE.format(
        script_hashes=f"{_hash(loader)} {_hash(script)}",
        style_hash=_hash(style),
        style=style,
        data=f"{data}\n{element('page', zipped(script.encode()))}",
        loader=loader,
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
