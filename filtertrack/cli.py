"""The commands of the command line: each calls the package and prints its result."""

import argparse
import codecs
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from filtertrack.cli_options import parse_arguments
from filtertrack.errors import FiltertrackError, counted, listed, printable, size_text

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from filtertrack.capture.checkpoint_import import Preview
    from filtertrack.capture.checkpoint_search import FoundFiles
    from filtertrack.outputs.measurement import Measurement
    from filtertrack.snapshot import Moment
    from filtertrack.storage.paths import StoragePath
    from filtertrack.storage.run import Run

_DAMAGED = 1
_ARGUMENT_ERROR = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_ASCII = {"×": "x", "–": "-", "—": "-", "·": "-", "…": "...", "°": " degrees"}
"""What replaces a character that the terminal's encoding lacks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; None for those of this process.

    Returns:
        The exit code: 0; 1 if ``verify`` found damage; 2 after an error, printed to stderr as one
        line; 130 after Ctrl-C; 141 if the program that reads the output, such as ``head``, has
        ended.
    """
    # Before numpy is loaded. The matrix products are small: several threads would wait for each
    # other, and while a training uses the cores, several times as long as they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _replace_unencodable()
    arguments = parse_arguments(argv)
    try:
        code = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (FiltertrackError, OSError) as error:
        print(f"filtertrack: {_one_line(error)}", file=sys.stderr)
        return _ARGUMENT_ERROR
    except KeyboardInterrupt:
        print("filtertrack: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return code


def _replace_unencodable() -> None:
    """Make stdout replace characters its encoding lacks, such as ``×`` in ASCII."""
    codecs.register_error("filtertrack", _replacement)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure and sys.stdout.errors in {"strict", "surrogateescape"}:
        reconfigure(errors="filtertrack")


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in missing), error.end


_MOST_NUMBERS = 1000
"""Numbers that ranges on the command line are expanded to, at most."""
_PAPER = ("width", "height", "dpi")
_PACE = ("fps", "seconds", "time", "between", "hold", "loop", "columns", "size", "huge")


def _animate(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.animation import animate  # noqa: PLC0415 - keeps --help fast
    from filtertrack.outputs.frame_sequence import FrameSequence  # noqa: PLC0415

    run = _open_run(arguments.run)
    compare = None if arguments.compare is None else _open_run(arguments.compare)
    options = {
        **_picture_options(arguments),
        **_selected(arguments, (*_PACE, "big", "one_scale", "match")),
        "compare": compare,
        "responses": _probes(arguments),
    }
    output = _output_file(arguments.output, run, "evolution.gif", animate, options)
    with _progress_bar("drawing") as progress:
        written = animate(run, output, progress=progress, **options)
    print(printable(str(written)))
    if FrameSequence.of(written.path):
        print(f"{counted(written.frames, 'pictures')}, numbered from 0; for a video: -o FILE.mp4")
    return 0


def _responses(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.animation import animate  # noqa: PLC0415 - keeps --help fast
    from filtertrack.outputs.frame_sequence import FrameSequence  # noqa: PLC0415
    from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS  # noqa: PLC0415
    from filtertrack.render.encoders.formats import ANIMATION_FORMATS  # noqa: PLC0415
    from filtertrack.storage.local_files import check_target  # noqa: PLC0415

    path = Path(arguments.output or "responses.gif")
    if FrameSequence.of(path) is None:
        check_target(path, dict.fromkeys([*ANIMATION_FORMATS, *FIGURE_FORMATS]))
        if path.suffix.lower() in FIGURE_FORMATS:
            return _still_responses(arguments)
    _check_default(arguments, _PAPER, "figures", "a name that ends in .png, .pdf or .svg")
    run = _open_run(arguments.run)
    arguments.theme = arguments.theme or "dark"
    options = {**_picture_options(arguments), **_selected(arguments, _PACE)}
    pictures = _pictures(arguments, run)
    output = _output_file(arguments.output, run, "responses.gif", animate, options)
    with _progress_bar("drawing") as progress:
        written = animate(run, output, progress=progress, responses=pictures, **options)
    print(printable(str(written)))
    return 0


def _still_responses(arguments: argparse.Namespace) -> int:
    """Draw responses at the first and the last step, or those chosen, as a figure."""
    from filtertrack.outputs.filmstrip_figure import filmstrip  # noqa: PLC0415 - keeps --help fast

    _check_default(arguments, _PACE, "animations", "a name that ends in .gif, .apng, .webp or .mp4")
    run, output = _open_run(arguments.run), Path(arguments.output)
    _check_writable(output, "-o")
    arguments.theme = arguments.theme or "light"
    options = {**_picture_options(arguments), **_selected(arguments, _PAPER)}
    options["steps"] = arguments.steps or sorted({*run.steps[:1], *run.steps[-1:]})
    filmstrip(run, output, responses=_pictures(arguments, run), **options)
    print(printable(str(output)))
    return 0


def _check_default(
    arguments: argparse.Namespace, names: Sequence[str], drawn: str, ending: str
) -> None:
    """Raise an error for an option that is given and does not apply to the output.

    Args:
        arguments: The arguments.
        names: The options.
        drawn: What they apply to.
        ending: The name of an output to which they apply.
    """
    from inspect import signature  # noqa: PLC0415 - keeps --help fast

    from filtertrack.outputs.animation import animate  # noqa: PLC0415
    from filtertrack.outputs.filmstrip_figure import filmstrip  # noqa: PLC0415

    defaults = {**signature(filmstrip).parameters, **signature(animate).parameters}
    for name, value in _selected(arguments, names).items():
        if value != defaults[name].default:
            raise FiltertrackError(
                f"{name}: it is an option of {drawn}; leave it out, or choose {ending} with -o FILE"
            )


def _pictures(arguments: argparse.Namespace, run: "Run") -> "list[np.ndarray]":
    """Read the picture files of ``--images`` as the chosen layer takes them."""
    from filtertrack.outputs.picture_files import read_pictures  # noqa: PLC0415 - as above
    from filtertrack.outputs.response_maps import check_takes_images  # noqa: PLC0415
    from filtertrack.outputs.run_selection import select_from_run  # noqa: PLC0415

    layer = select_from_run(run, layers=arguments.layers, steps=run.steps[-1:]).layers[0]
    check_takes_images(run, layer)
    return read_pictures(
        arguments.images, run.layer(layer), side=arguments.side, values=arguments.values
    )


def _probes(arguments: argparse.Namespace) -> bool | list[int] | None:
    """Return the probes that responses are drawn for: True for the first; None for no responses."""
    if arguments.probe is None:
        return arguments.responses or None
    return _expanded(arguments.probe)


def _filmstrip(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.filmstrip_figure import filmstrip  # noqa: PLC0415 - keeps --help fast

    run = _open_run(arguments.run)
    options = {**_picture_options(arguments), **_selected(arguments, _PAPER)}
    responses = _probes(arguments)
    if arguments.images is None:
        name, options = "filmstrip.pdf", {**options, "responses": responses}
    elif responses:
        raise FiltertrackError("images: choose them or the probes of the run, not both")
    else:
        name = "responses.pdf"
    output = _output_file(arguments.output, run, name, filmstrip, options)
    if arguments.images is not None:
        options["responses"] = _pictures(arguments, run)
    filmstrip(run, output, **options)
    print(printable(str(output)))
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from filtertrack.capture.filter_plot import (  # noqa: PLC0415 - keeps --help fast
        plot_filters,
        run_of,
    )
    from filtertrack.outputs.output_names import default_output  # noqa: PLC0415
    from filtertrack.storage.paths import path_of  # noqa: PLC0415

    run = run_of(arguments.run)
    names = ("layers", "step", "axes", "columns", "width", "height", "dpi")
    options = {**_look_options(arguments), **_selected(arguments, names)}
    if arguments.output:
        output = Path(arguments.output)
    elif run is None:
        file = path_of(arguments.run)
        output = default_output(file.parent, f"{file.name}-filters.png", plot_filters, options)
    else:
        output = default_output(run.path, "filters.png", plot_filters, options)
    _check_writable(output, "-o")
    plot_filters(run or arguments.run, output, **options)
    print(printable(str(output)))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.dot_product_figure import (  # noqa: PLC0415 - keeps --help fast
        first_layer,
        plot_dot_product,
    )
    from filtertrack.outputs.picture_files import read_pictures  # noqa: PLC0415
    from filtertrack.outputs.response_maps import check_takes_images  # noqa: PLC0415

    run = _open_run(arguments.run)
    info = run.layer(arguments.layer or first_layer(run))
    image, shown = arguments.probe, f"probe-{arguments.probe}"
    if arguments.image is not None:
        check_takes_images(run, info.name)
        (image,) = read_pictures(
            [arguments.image], info, side=arguments.side, values=arguments.values
        )
        image = image.transpose(2, 0, 1) if info.data_format == "channels_first" else image
        shown = Path(arguments.image).stem
    name = f"explain-{shown}" + f"-filter-{arguments.filter_number}" * (arguments.filter_number > 0)
    names = ("layer", "step", "filter_number", "at", "theme", "width", "dpi")
    options = _selected(arguments, names)
    named = {option: value for option, value in options.items() if option != "filter_number"}
    output = _output_file(arguments.output, run, f"{name}.png", plot_dot_product, named)
    plot_dot_product(run, image, output, **options)
    print(printable(str(output)))
    return 0


def _patches(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.run_selection import select_steps  # noqa: PLC0415 - keeps --help fast
    from filtertrack.outputs.strongest_patches_figure import plot_strongest_patches  # noqa: PLC0415

    run = _open_run(arguments.run)
    options = _selected(arguments, ("theme", "width", "dpi"))
    options["steps"] = arguments.steps and select_steps(run, arguments.steps)
    options["filters"] = arguments.filters and _expanded(arguments.filters)
    layer = "" if arguments.layer is None else f"-{arguments.layer}".replace("/", "~")
    name = f"patches{layer}.png"
    output = _output_file(arguments.output, run, name, plot_strongest_patches, options)
    plot_strongest_patches(run, arguments.layer, output, **options)
    print(printable(str(output)))
    return 0


def _expanded(numbers: Sequence[int | range]) -> list[int]:
    """Return numbers with ranges expanded: the first ones, as a range may be endless."""
    parts = (part if isinstance(part, range) else [part] for part in numbers)
    return list(islice(chain.from_iterable(parts), _MOST_NUMBERS))


def _open_run(path: str) -> "Run":
    from filtertrack.capture.sources import open_run_at  # noqa: PLC0415 - keeps --help fast

    return open_run_at(path)


def _output_file(
    given: str | None, run: "Run", name: str, draw: Callable[..., Any], options: dict[str, Any]
) -> Path:
    """Return the file to write: the given one or the default; it can be written."""
    from filtertrack.outputs.output_names import default_output  # noqa: PLC0415 - keeps --help fast

    path = Path(given) if given else default_output(run.path, name, draw, options)
    _check_writable(path, "-o")
    return path


def _check_writable(path: Path, option: str) -> None:
    """Raise an error for a file that cannot be written, before anything is drawn.

    The function that writes the file checks whether its folder exists.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FiltertrackError(
            f"cannot write {path.name!r} into the folder {str(path.parent)!r}: {error.strerror}; "
            f"give a file elsewhere with {option} FILE"
        ) from error


def _picture_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that animations and filmstrips share."""
    return {**_selected(arguments, ("layers", "steps")), **_look_options(arguments)}


def _look_options(arguments: argparse.Namespace) -> dict[str, Any]:
    from filtertrack.render.look import LOOK_OPTIONS  # noqa: PLC0415 - keeps --help fast

    return _selected(arguments, [option.name for option in LOOK_OPTIONS])


def _selected(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _measure(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.measurement import measure_selection  # noqa: PLC0415
    from filtertrack.outputs.run_selection import select_from_run  # noqa: PLC0415
    from filtertrack.outputs.tables import write_csv, write_json  # noqa: PLC0415
    from filtertrack.storage.local_files import check_target  # noqa: PLC0415 - keeps --help fast

    at = arguments.at
    files: list[tuple[str, Sequence[str], Callable[[Measurement, Path], object]]] = [
        ("csv", [".csv"], lambda measured, path: write_csv(measured, path, at)),
        ("json", [".json"], lambda measured, path: write_json(measured, path, at)),
    ]
    if arguments.plot:  # matplotlib takes half a second to load
        from filtertrack.outputs.curves import (  # noqa: PLC0415
            check_trajectories,
            plot_trajectories,
        )
        from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS  # noqa: PLC0415

        files.append(("plot", list(FIGURE_FORMATS), plot_trajectories))
    wanted = []
    for option, endings, write in files:  # checked before minutes of measuring
        if name := getattr(arguments, option):
            check_target(Path(name), endings)
            _check_writable(Path(name), f"--{option}")
            wanted.append((Path(name), write))
    run = _open_run(arguments.run)
    if at is not None:
        run.moment(at)
    steps = arguments.steps if arguments.steps is None or at is None else [*arguments.steps, at]
    layers = "*" if arguments.layers is None else arguments.layers
    selection = select_from_run(run, layers=layers, steps=steps)
    if arguments.plot:
        check_trajectories(len(selection.layers), len(selection.steps))
    with _progress_bar("measuring") as progress:
        measured = measure_selection(selection, progress)
    for path, write in wanted:
        write(measured, path)
        print(printable(str(path)))
    if not wanted:
        _print_tables(measured, at, folded=arguments.layers is None)
    return 0


def _print_tables(measured: "Measurement", at: int | None, *, folded: bool) -> None:
    """Print sentences and tables of the layers, and for a single layer also that of its filters.

    Args:
        measured: The measures of the run.
        at: The step; None for the last.
        folded: Whether layers of 1x1 kernels are only counted, if there are others.
    """
    from filtertrack.outputs.tables import (  # noqa: PLC0415 - keeps --help fast
        each_filter,
        overview,
        responses_of_filters,
        sentences,
        with_pattern,
    )

    shown = with_pattern(measured) if folded else measured
    for sentence in sentences(shown, at):
        print(printable(sentence))
    if left_out := len(measured.layers) - len(shown.layers):
        print(
            f"and {counted(left_out, 'layers')} with 1x1 kernels, which have no spatial pattern: "
            f"--layers NAME measures one"
        )
    print()
    tables = overview(shown, at)
    if len(measured.layers) == 1:
        name = next(iter(measured.layers))
        tables += filter(
            None, [each_filter(measured, name, at), responses_of_filters(measured, name, at)]
        )
    _print_uncut(tables)
    if len(measured.layers) > 1:
        print("Each filter of a layer: --layers NAME")


def _print_uncut(tables: Sequence["Table"]) -> None:
    """Print tables at their full width, even if the terminal is narrower: no number is cut off."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(highlight=False, markup=False, emoji=False)
    unlimited = console.options.update(max_width=100_000)
    needed = (console.measure(table, options=unlimited).maximum for table in tables)
    console.width = max(console.width, *needed)
    for table in tables:
        if table.title:
            console.print(table.title, style="bold", soft_wrap=True)
            table.title = None  # it would be wrapped to the width of the table
        console.print(table)
        console.print()


def _html(arguments: argparse.Namespace) -> int:
    from filtertrack.web.html_file import MAX_SIZE, to_html  # noqa: PLC0415 - keeps --help fast

    runs = [_open_run(path) for path in (arguments.run, *arguments.compare)]
    output = Path(arguments.output) if arguments.output else None
    if output:
        _check_writable(output, "-o")
    size = arguments.max_size or MAX_SIZE
    chosen = _selected(arguments, ("layers", "steps", "responses"))
    written = to_html(runs, output, **chosen, max_size=size)
    print(printable(str(written.path)))
    if written.thinned:
        print(f"to stay below {size_text(size)}: {written.thinned} (--max-size, --layers, --steps)")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    import webbrowser  # noqa: PLC0415 - keeps --help fast

    from filtertrack.outputs.animation import animate  # noqa: PLC0415
    from filtertrack.outputs.recorded_run import copy_recorded_run  # noqa: PLC0415
    from filtertrack.web.html_file import to_html  # noqa: PLC0415

    folder = Path(arguments.output)
    run = copy_recorded_run(folder)
    page = to_html(run, folder / "page.html").path
    animation = animate(run, folder / "evolution.gif", order="label", outline=True)
    shown = printable(shlex.quote(str(folder)))
    for path, text in (
        (folder, f"a recorded run: 48 filters of 9×9 learn to see, {len(run.steps)} snapshots"),
        (page, "the interactive page"),
        (animation.path, "the animation"),
    ):
        print(f"{_one_line(path)}: {text}")
    for command in (f"view {shown}", f"measure {shown}", "--help"):
        print(f"next: filtertrack {command}")
    if not arguments.no_browser:
        Thread(target=webbrowser.open, args=[Path(str(page)).absolute().as_uri()]).start()
    return 0


def _view(arguments: argparse.Namespace) -> int:
    import webbrowser  # noqa: PLC0415 - keeps --help fast

    from filtertrack.storage.paths import path_of  # noqa: PLC0415
    from filtertrack.storage.run import FOLDER  # noqa: PLC0415
    from filtertrack.tensorboard_plugin.logdir import LogDirectory  # noqa: PLC0415
    from filtertrack.tensorboard_plugin.server import serve  # noqa: PLC0415

    def announce(address: str) -> None:
        print(address, flush=True)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        if not arguments.no_browser:
            # In a thread: a browser in the terminal returns only when it is closed.
            Thread(target=webbrowser.open, args=[address], daemon=True).start()

    path = path_of(arguments.run)
    folder = path.parent if path.name == FOLDER else path
    found = LogDirectory.of_flags(str(folder.absolute()), None).find()
    if found.notes and not found.runs:
        raise FiltertrackError(" ".join(found.notes))
    if not found.runs:
        _check_can_hold_run(folder)
        missing = "" if folder.is_remote or folder.exists() else ", which is not there yet"
        missing += "; Ctrl-C ends it"
        print(f"waiting for a run in {_one_line(folder)}{missing}", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):  # Ctrl-C is the way to end it
        serve(folder, announce, host=arguments.host, port=arguments.port)
    return 0


def _check_can_hold_run(folder: "StoragePath") -> None:
    """Raise an error for a path below which no run can be created."""
    from filtertrack.capture.sources import check_no_checkpoint  # noqa: PLC0415 - keeps --help fast

    existing = folder.blocking_file()
    if existing is not None:
        check_no_checkpoint(existing)
        raise FiltertrackError(
            f"{str(folder)!r} can hold no run, as {str(existing)!r} is not a folder: expected the "
            f"folder that FilterTracker was given or will be given, or one that holds such folders"
        )


def _info(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.table import Table  # noqa: PLC0415

    run = _open_run(arguments.run)
    probes, about_probes = None, ""
    try:
        probes = run.probes
        about_probes = probes.describe() if probes else ""
    except FiltertrackError as error:  # the layers are readable
        about_probes = _one_line(error)
    table = Table()
    names = ("layer", "class", "kernel", "filters", "channels", "type")
    for name in (*names, "responses") if probes else names:
        table.add_column(name, overflow="fold")
    for info in run.layers.values():
        shape = "×".join(map(str, info.kernel_shape))
        counts = (str(info.filters), str(info.shape[3]))
        row = (info.name, _one_line(info.class_name), shape, *counts, info.dtype)
        table.add_row(*row, *([probes.text_of(info.name)] if probes else []))
    steps = run.steps
    span = f", step {steps[0]}" if steps else ""
    span += f" to {steps[-1]}" if len(steps) > 1 else ""
    print(f"{_one_line(run.path)}: {counted(len(steps), 'snapshots')}{span}")
    if about_probes:
        print(about_probes)
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(table)
    else:
        _print_uncut([table])
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    run = _open_run(arguments.run)
    with _progress_bar("reading") as progress:
        damaged = run.verify(progress)
    for reason in dict.fromkeys(damaged.values()):
        print(_one_line(reason))
    print(f"{counted(len(run.steps), 'snapshots')}, {len(damaged) or 'none'} damaged")
    return _DAMAGED if damaged else 0


def _import(arguments: argparse.Namespace) -> int:
    from filtertrack.capture.checkpoint_import import (  # noqa: PLC0415 - keeps --help fast
        check_free,
        import_sources,
        preview,
    )
    from filtertrack.capture.checkpoint_search import find_files  # noqa: PLC0415
    from filtertrack.capture.summary_options import SummaryOptions  # noqa: PLC0415

    check_free(arguments.output)
    found = find_files(arguments.sources, arguments.steps)
    options = _selected(arguments, ("layers", "axes"))
    if arguments.dry_run:
        previews = list(preview(found.sources, **options))
        _print_previews(previews)
        unreadable = {each.source.name: each.problem for each in previews if each.problem}
        remarks = dict.fromkeys(remark for each in previews for remark in each.remarks)
        what = "would be imported"
    else:
        summaries = SummaryOptions(arguments.images, arguments.histograms)
        with _progress_bar("importing") as progress:
            imported = import_sources(
                arguments.output, found.sources, summaries=summaries, progress=progress, **options
            )
        unreadable, remarks = dict(imported.unreadable), dict.fromkeys(imported.remarks)
        what = f"imported into {arguments.output}, {counted(len(imported.run.layers), 'layers')}"
    read = [source.moment for source in found.sources if source.name not in unreadable]
    print(_one_line(f"{counted(len(read), 'files')} {what} (steps: {found.origin})"))
    for sentence in (*_about_import(found, read, unreadable), *remarks):
        print(_one_line(sentence))
    return _DAMAGED if unreadable else 0


def _about_import(
    found: "FoundFiles", read: Sequence["Moment"], unreadable: Mapping[str, str]
) -> Iterator[str]:
    """Yield sentences about what the run of an import holds and lacks.

    Args:
        found: The files.
        read: The moments of those that can be read.
        unreadable: The others, to the reason. Steps that count the files count these, too.
    """
    from filtertrack.capture.checkpoint_search import about_gaps, about_start  # noqa: PLC0415

    if read:
        yield about_start(read[0])
    if gaps := about_gaps([source.moment for source in found.sources]):
        yield gaps
    yield from found.remarks
    for name, reason in found.left_out.items():
        yield f"left out: {name} ({reason})"
    steps = {source.name: source.moment.step for source in found.sources}
    for name, reason in unreadable.items():
        yield f"left out: {name}, step {steps[name]} ({reason})"


def _print_previews(previews: Sequence["Preview"]) -> None:
    """Print a table of the files to import."""
    from rich.table import Table  # noqa: PLC0415 - keeps --help fast

    from filtertrack.snapshot import describe  # noqa: PLC0415

    table = Table()
    for name in ("file", "step", "snapshot", "metrics", "kernels", "shapes"):
        table.add_column(name, overflow="fold")
    for each in previews:
        moment = each.source.moment
        metrics = ", ".join(f"{name} {value:g}" for name, value in moment.metrics.items())
        shapes = listed(["×".join(map(str, info.kernel_shape)) for info in each.infos], 3)
        count = "left out" if each.problem else str(len(each.infos))
        words = (each.source.name, str(moment.step), describe(moment), metrics, count, shapes)
        table.add_row(*map(_one_line, words))
    _print_uncut([table])


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "animate": _animate,
    "filmstrip": _filmstrip,
    "plot": _plot,
    "responses": _responses,
    "measure": _measure,
    "explain": _explain,
    "patches": _patches,
    "html": _html,
    "view": _view,
    "import": _import,
    "info": _info,
    "verify": _verify,
}


def _one_line(text: object) -> str:
    """Return a text as one line without control characters."""
    return printable(" ".join(str(text).split()))


@contextmanager
def _progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr, if that is a terminal; yields what updates it."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich.progress import Progress  # noqa: PLC0415 - takes as long to load as the rest of rich

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
