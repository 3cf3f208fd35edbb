"""The command line: thin, it calls the other modules and never imports a framework."""

import argparse
import codecs
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from filtertrack._version import __version__
from filtertrack.errors import FiltertrackError, counted, listed, printable

if TYPE_CHECKING:
    from rich.table import Table

    from filtertrack.outputs.measurement import Measurement
    from filtertrack.storage.paths import StoragePath
    from filtertrack.storage.run import Run
if TYPE_CHECKING:
    from filtertrack.render.cells import Channels

_RUN = "what FilterTracker was given: a folder, or an address such as s3://bucket/run"
_DAMAGED = 1
_ARGUMENT_ERROR = 2
_INTERRUPTED = 130
"""Runs that are named in a message, at most."""
_PLAINER = {"×": "x", "–": "-", "—": "-", "·": "-", "…": "...", "°": " degrees"}
"""What stands for a character where the terminal does not have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; None for those of the program.

    Returns:
        The exit code: 0, 1 where ``verify`` found damage, 2 after one line on stderr that says
        what is wrong, or 130 after Ctrl-C.
    """
    # Before numpy is loaded. Its products are small here: threads would wait for each other, and
    # where training keeps the cores busy, several times as long as they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _print_anything()
    arguments = _parsed(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (FiltertrackError, OSError) as error:
        print(f"filtertrack: {_plain(error)}", file=sys.stderr)
        return _ARGUMENT_ERROR
    except KeyboardInterrupt:
        print("filtertrack: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _print_anything() -> None:
    """Let stdout replace what its encoding lacks, such as ``×`` in ASCII, instead of failing."""
    codecs.register_error("filtertrack", _replaced)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure and sys.stdout.errors in {"strict", "surrogateescape"}:
        reconfigure(errors="filtertrack")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINER.get(character, "?") for character in lacking), error.end


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; several names may follow ``--layers``, with the run before or behind."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    arguments, further = parser.parse_known_args(words)
    if further:
        if not getattr(arguments, "layers", None) or any(each.startswith("-") for each in further):
            parser.error(f"unrecognized arguments: {' '.join(further)}")
        option = next(n for n, word in enumerate(words) if _is_layers(word))
        if words.index(arguments.run) > option:  # argparse took the first word for the run
            further = [arguments.run, *further]
            arguments.run = further.pop()
        arguments.layers += [name for word in further for name in names(word)]
    return arguments


def _is_layers(word: str) -> bool:
    """Whether a word is the option ``--layers``, or cut off as argparse allows it."""
    return word.startswith("--l") and "--layers".startswith(word.partition("=")[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="filtertrack", description="Look at the filters of a training run."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_animate(commands.add_parser("animate", help="make an animation of a run's filters"))
    _add_filmstrip(commands.add_parser("filmstrip", help="make a figure: filters by steps"))
    _add_measure(commands.add_parser("measure", help="say in numbers what the filters are"))
    _add_view(commands.add_parser("view", help="open TensorBoard with the filters in front"))
    info = commands.add_parser("info", help="say what a run holds")
    info.add_argument("run", metavar="RUN", help=_RUN)
    info.set_defaults(command=_info)
    verify = commands.add_parser("verify", help="read a run whole and list what is damaged")
    verify.add_argument("run", metavar="RUN", help=_RUN)
    verify.set_defaults(command=_verify)
    return parser


def _add_animate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Turn a run's snapshots into an animation: GIF, animated PNG, WebP, MP4 or WebM, as the "
        "output's ending says. PNG and WebP are exact; MP4 and WebM need filtertrack[video]."
    )
    what = _add_look(parser, "evolution.gif", "dark")
    what.add_argument("--compare", metavar="RUN2", help="show a second run beside the first")
    what.add_argument("--columns", type=int, metavar="N", help="filters in a row")
    what.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="longer side of all grids (640; for several up to 1280)",
    )
    pace = parser.add_argument_group("how fast it goes")
    pace.add_argument("--fps", type=float, default=10.0, help="snapshots a second (%(default)g)")
    pace.add_argument("--seconds", type=float, help="how long the whole lasts, instead of --fps")
    pace.add_argument(
        "--time",
        choices=("snapshot", "epoch", "log"),
        default="snapshot",
        help="space snapshots alike, by the training between them, or by the logarithm of that "
        "(%(default)s)",
    )
    pace.add_argument(
        "--between", type=int, default=0, metavar="N", help="interpolated pictures between two"
    )
    pace.add_argument(
        "--hold", type=two_numbers, metavar="A,B", help="seconds of rest at start and end (1,2)"
    )
    pace.add_argument("--loop", type=int, metavar="N", help="how often it plays; 0 for ever")
    parser.add_argument(
        "--huge", action="store_true", help="allow what takes gigabytes of memory or disk"
    )
    parser.set_defaults(command=_animate)


def _add_filmstrip(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw a layer's filters at some steps as a figure for papers: a row a filter, a column a "
        "step. PNG, PDF or SVG, as the output's ending says."
    )
    what = _add_look(parser, "filmstrip.pdf", "light")
    what.add_argument("--width", default="17cm", help="such as 8.5cm or 3.4in (%(default)s)")
    what.add_argument("--height", help="at most so high (a third more than wide)")
    what.add_argument("--dpi", type=int, default=300, help="pixels an inch (%(default)d)")
    parser.set_defaults(command=_filmstrip)


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say in numbers what a run's filters have become (edge, blob, colour blob, other "
        "structure, unstructured), when they formed, which hardly moved and which repeat each "
        "other; of a single layer, also what each filter is."
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument(
        "--layers",
        type=names,
        action="extend",
        metavar="A,B",
        help="names, or patterns like 'block1/*' (all)",
    )
    parser.add_argument(
        "--steps",
        type=numbers,
        action="extend",
        metavar="0,1,5-20",
        help="which snapshots (all)",
    )
    parser.add_argument(
        "--at", type=int, metavar="STEP", help="as it is at this step (the last one)"
    )
    files = parser.add_argument_group("files to write instead of printing tables")
    files.add_argument(
        "--csv", metavar="FILE", help="a row a filter and step, or with --at a row a filter"
    )
    files.add_argument("--json", metavar="FILE", help="everything")
    files.add_argument("--plot", metavar="FILE", help="a figure of the training: PDF, SVG or PNG")
    parser.set_defaults(command=_measure)


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start TensorBoard with its tab Filters in front, and open it in the browser. It also "
        "follows a training that still runs. Ctrl-C ends it."
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, or one with runs below it")
    parser.add_argument(
        "--port", type=int, metavar="N", help="0 for any (the first free one from 6006 on)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (%(default)s: this machine)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(command=_view)


def _add_look(
    parser: argparse.ArgumentParser, output: str, theme: str
) -> "argparse._ArgumentGroup":
    """Give a parser what the two kinds of picture have in common; return the group."""
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"what to write (RUN/{output}, the other options added to its name)",
    )
    what = parser.add_argument_group("what is shown")
    what.add_argument(
        "--layers",
        type=names,
        action="extend",
        metavar="A,B",
        help="names, or patterns like 'block1/*' (the first)",
    )
    what.add_argument(
        "--steps", type=numbers, action="extend", metavar="0,1,5-20", help="which snapshots"
    )
    what.add_argument(
        "--filters", type=numbers, action="extend", metavar="0-15,20", help="which filters (all)"
    )
    what.add_argument(
        "--order",
        choices=("stored", "similarity", "orientation", "drift", "label"),
        default="stored",
        help="of filters: as in the kernel, like beside like, by the direction of their edges, "
        "the farthest from its start first, or by what they are (%(default)s)",
    )
    what.add_argument(
        "--scale",
        choices=("frame", "filter", "layer"),
        help="dark to light spans each filter's weights in each frame, each filter's over all "
        "frames, or all of the layer's over all frames (frame; filter with --delta)",
    )
    what.add_argument(
        "--zero-centred",
        "--zero-centered",
        action="store_true",
        help="zero in the middle of the scale",
    )
    what.add_argument("--delta", action="store_true", help="difference from the first snapshot")
    what.add_argument(
        "--outline",
        action="store_true",
        help="a line around each filter says what it is: edge, blob, colour blob, other structure",
    )
    what.add_argument(
        "--channels",
        type=channels,
        metavar="N|strongest",
        help="draw one input channel alone, or collapse them to each filter's strongest pattern "
        "(what suits their number)",
    )
    what.add_argument(
        "--colormap", default="gray", help="of matplotlib, for one value a pixel (%(default)s)"
    )
    what.add_argument(
        "--theme", choices=("dark", "light"), default=theme, help="around the weights (%(default)s)"
    )
    return what


def _animate(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.animation import animate  # noqa: PLC0415 - keeps --help fast

    pace = ("fps", "seconds", "time", "between", "hold", "loop")
    run = _run(arguments.run)
    compare = None if arguments.compare is None else _run(arguments.compare)
    options = {
        **_options(arguments),
        **_named(arguments, (*pace, "columns", "size", "huge")),
        "compare": compare,
    }
    output = _output(arguments.output, run, "evolution.gif", animate, options)
    with _progress("drawing") as progress:
        written = animate(run, output, progress=progress, **options)
    print(printable(str(written)))
    return 0


def _filmstrip(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.filmstrip_figure import filmstrip  # noqa: PLC0415 - keeps --help fast

    run = _run(arguments.run)
    options = {**_options(arguments), **_named(arguments, ("width", "height", "dpi"))}
    output = _output(arguments.output, run, "filmstrip.pdf", filmstrip, options)
    filmstrip(run, output, **options)
    print(printable(str(output)))
    return 0


def _run(path: str) -> "Run":
    """Open a run; where there is none, name those below."""
    from filtertrack.storage.run import Run  # noqa: PLC0415 - keeps --help fast
    from filtertrack.tensorboard_plugin.logdir import LogDirectory  # noqa: PLC0415

    try:
        return Run(path)
    except FiltertrackError as error:
        below = [] if Run.exists(path) else list(LogDirectory.of_flags(path, None).find().runs)
        if not below:
            raise
        known = listed([f"{path.rstrip('/')}/{name}" for name in below])
        raise FiltertrackError(f"{error}; below it are the runs {known}") from error


def _output(
    given: str | None, run: "Run", name: str, draw: Callable[..., Any], options: dict[str, Any]
) -> Path:
    """Return the file to write, which can be written."""
    from filtertrack.outputs.output_names import default_output  # noqa: PLC0415 - keeps --help fast

    path = Path(given) if given else default_output(run.path, name, draw, options)
    _check_writable(path, "-o")
    return path


def _check_writable(path: Path, option: str) -> None:
    """Refuse a file that cannot be written before anything is drawn for it.

    Whether the folder is there is checked by what writes the file.
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


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the two kinds of picture have in common."""
    options = (
        *("layers", "steps", "filters", "order", "scale", "zero_centred", "delta", "outline"),
        *("channels", "colormap", "theme"),
    )
    return _named(arguments, options)


def _named(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _measure(arguments: argparse.Namespace) -> int:
    from filtertrack.outputs.curves import check_trajectories, plot_trajectories  # noqa: PLC0415
    from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS  # noqa: PLC0415
    from filtertrack.outputs.measurement import measure_selection  # noqa: PLC0415
    from filtertrack.outputs.run_selection import select_from_run  # noqa: PLC0415
    from filtertrack.outputs.tables import write_csv, write_json  # noqa: PLC0415
    from filtertrack.storage.files import check_target  # noqa: PLC0415 - keeps --help fast

    at = arguments.at
    files: list[tuple[str, Sequence[str], Callable[[Measurement, Path], object]]] = [
        ("csv", [".csv"], lambda measured, path: write_csv(measured, path, at)),
        ("json", [".json"], lambda measured, path: write_json(measured, path, at)),
        ("plot", list(FIGURE_FORMATS), plot_trajectories),
    ]
    wanted = []
    for option, endings, write in files:  # refused before minutes of measuring
        if name := getattr(arguments, option):
            check_target(Path(name), endings)
            _check_writable(Path(name), f"--{option}")
            wanted.append((Path(name), write))
    run = _run(arguments.run)
    if at is not None:
        run.moment(at)
    steps = arguments.steps if arguments.steps is None or at is None else [*arguments.steps, at]
    layers = "*" if arguments.layers is None else arguments.layers
    selection = select_from_run(run, layers=layers, steps=steps)
    if arguments.plot:
        check_trajectories(len(selection.layers), len(selection.steps))
    with _progress("measuring") as progress:
        measured = measure_selection(selection, progress)
    for path, write in wanted:
        write(measured, path)
        print(printable(str(path)))
    if not wanted:
        _print_tables(measured, at)
    return 0


def _print_tables(measured: "Measurement", at: int | None) -> None:
    """Print a row a layer; of a single layer, a row a filter as well."""
    from filtertrack.outputs.tables import each_filter, overview  # noqa: PLC0415 - keeps --help fast

    tables = overview(measured, at)
    if len(measured.layers) == 1:
        tables += [each_filter(measured, name, at) for name in measured.layers]
    # Also in a terminal rather wider than it than with numbers cut off.
    _print_whole(tables)
    if len(measured.layers) > 1:
        print("Each filter of a layer: --layers NAME")


def _print_whole(tables: Sequence["Table"]) -> None:
    """Print tables as wide as they are, whatever is said of the terminal."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(highlight=False, markup=False, emoji=False)
    endless = console.options.update(max_width=100_000)
    needed = (console.measure(table, options=endless).maximum for table in tables)
    console.width = max(console.width, *needed)
    for table in tables:
        console.print(table)


def _view(arguments: argparse.Namespace) -> int:
    import webbrowser  # noqa: PLC0415 - keeps --help fast

    from filtertrack.storage.paths import path_of  # noqa: PLC0415
    from filtertrack.storage.run import FOLDER  # noqa: PLC0415
    from filtertrack.tensorboard_plugin.logdir import LogDirectory  # noqa: PLC0415
    from filtertrack.tensorboard_plugin.server import serve  # noqa: PLC0415

    def opened(address: str) -> None:
        print(address, flush=True)
        if not arguments.no_browser:
            # In a thread: a browser in the terminal returns only when it is closed.
            Thread(target=webbrowser.open, args=[address], daemon=True).start()

    place = path_of(arguments.run)
    folder = place.parent if place.name == FOLDER else place
    found = LogDirectory.of_flags(str(folder.absolute()), None).find()
    if found.notes and not found.runs:
        raise FiltertrackError(" ".join(found.notes))
    if not found.runs:
        _check_may_come(folder)
        there = "" if folder.is_remote or folder.exists() else ", which is not there yet"
        print(f"waiting for a run in {_plain(folder)}{there}", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):  # the way to end it
        serve(folder, opened, host=arguments.host, port=arguments.port)
    return 0


def _check_may_come(folder: "StoragePath") -> None:
    """Refuse a path in which no run can begin."""
    there = folder.blocking_file()
    if there is not None:
        raise FiltertrackError(
            f"{str(folder)!r} can hold no run, as {str(there)!r} is not a folder: expected the "
            f"folder that FilterTracker was given or will be given, or one that holds such folders"
        )


def _info(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.table import Table  # noqa: PLC0415

    run = _run(arguments.run)
    table = Table()
    for name in ("layer", "class", "kernel", "filters", "channels", "type"):
        table.add_column(name, overflow="fold")
    for info in run.layers.values():
        shape = "×".join(map(str, info.kernel_shape))
        numbers = (str(info.filters), str(info.shape[3]))
        table.add_row(info.name, _plain(info.class_name), shape, *numbers, info.dtype)
    steps = run.steps
    span = (
        f", step {steps[0]} to {steps[-1]}"
        if len(steps) > 1
        else "".join(f", step {step}" for step in steps)
    )
    print(f"{_plain(run.path)}: {counted(len(steps), 'snapshots')}{span}")
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(table)
    else:
        _print_whole([table])
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    run = _run(arguments.run)
    with _progress("reading") as progress:
        damaged = run.verify(progress)
    for reason in damaged.values():
        print(_plain(reason))
    print(f"{counted(len(run.steps), 'snapshots')}, {len(damaged) or 'none'} damaged")
    return _DAMAGED if damaged else 0


def _plain(text: object) -> str:
    """Bring a message into one line, without what would steer a terminal."""
    return printable(" ".join(str(text).split()))


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while something is done; nothing where stderr is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def names(text: str) -> list[str]:
    """Read ``conv1,block1/*`` as names and patterns.

    Example:
        >>> names("conv1, block1/*")
        ['conv1', 'block1/*']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int | range]:
    """Read ``0,1,5-20`` as two numbers and a range; both of its ends are meant.

    A range stays one: it may hold more numbers than memory does.

    ``0-900/100`` is a range of every hundredth.

    Example:
        >>> numbers("0,1,5-20,0-900/100")
        [0, 1, range(5, 21), range(0, 901, 100)]
    """
    try:
        return [_number_or_range(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers and ranges such as 0,1,5-20, got {text!r}"
        ) from None


def _number_or_range(text: str) -> int | range:
    first, dash, rest = text.partition("-")
    if not dash:
        return int(first)
    last, slash, every = rest.partition("/")
    return range(int(first), int(last) + 1, int(every) if slash else 1)


def channels(text: str) -> "Channels":
    """Read ``3`` or ``strongest`` as how input channels are drawn: see ``cells.view_of``."""
    if text == "strongest":
        return "strongest"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a channel's number or strongest, got {text!r}"
        ) from None


def two_numbers(text: str) -> tuple[float, float]:
    """Read ``1,2`` as two numbers."""
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected two numbers of seconds such as 1,2, got {text!r}"
        ) from None
    return first, second
