"""The command line: thin, it calls the other rooms and never imports a framework."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import filtertrack
from filtertrack.arguments import channels, names, numbers, two_numbers
from filtertrack.errors import FiltertrackError, printable

if TYPE_CHECKING:
    from filtertrack.measurement import Measurement
    from filtertrack.store import Run

_RUN = "what FilterTracker was given: a folder, or an address such as s3://bucket/run"
_DAMAGED = 1
_ARGUMENT_ERROR = 2
_INTERRUPTED = 130


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
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (FiltertrackError, OSError) as error:
        print(f"filtertrack: {_plain(error)}", file=sys.stderr)
        return _ARGUMENT_ERROR
    except KeyboardInterrupt:
        print("filtertrack: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="filtertrack", description="Look at the filters of a training run."
    )
    parser.add_argument("--version", action="version", version=filtertrack.__version__)
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
    what = _add_subject(parser, "evolution.gif", "dark")
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
    what = _add_subject(parser, "filmstrip.pdf", "light")
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
        "--layers", type=names, metavar="A,B", help="names, or patterns like 'block1/*' (all)"
    )
    parser.add_argument("--steps", type=numbers, metavar="0,1,5-20", help="which snapshots (all)")
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


def _add_subject(
    parser: argparse.ArgumentParser, output: str, theme: str
) -> "argparse._ArgumentGroup":
    """Give a parser what the two kinds of picture have in common; return the group."""
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("-o", "--output", metavar="FILE", help=f"what to write (RUN/{output})")
    parser.set_defaults(name=output)
    what = parser.add_argument_group("what is shown")
    what.add_argument(
        "--layers",
        type=names,
        metavar="A,B",
        help="names, or patterns like 'block1/*' (the first)",
    )
    what.add_argument("--steps", type=numbers, metavar="0,1,5-20", help="which snapshots")
    what.add_argument("--filters", type=numbers, metavar="0-15,20", help="which filters (all)")
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
    what.add_argument("--zero-centred", action="store_true", help="zero in the middle of the scale")
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
    from filtertrack.animation import animate  # noqa: PLC0415 - keeps --help fast

    pace = ("fps", "seconds", "time", "between", "hold", "loop")
    options = _named(arguments, (*pace, "compare", "columns", "size", "huge"))
    chosen = _chosen(arguments)
    output = _output(arguments, chosen["run"])
    with _progress("drawing") as progress:
        written = animate(output=output, progress=progress, **chosen, **options)
    print(written)
    return 0


def _filmstrip(arguments: argparse.Namespace) -> int:
    from filtertrack.figure import filmstrip  # noqa: PLC0415 - keeps --help fast

    chosen = _chosen(arguments)
    output = _output(arguments, chosen["run"])
    filmstrip(output=output, **chosen, **_named(arguments, ("width", "height", "dpi")))
    print(output)
    return 0


def _output(arguments: argparse.Namespace, run: "Run") -> Path:
    """Return the file to write: in the run's folder, or here if that is on object storage."""
    if arguments.output:
        return Path(arguments.output)
    path = run.path
    return (
        path / arguments.name if isinstance(path, Path) else Path(f"{path.name}-{arguments.name}")
    )


def _chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the two kinds of picture have in common, the run already open."""
    from filtertrack.store import Run  # noqa: PLC0415 - keeps --help fast

    options = (
        *("layers", "steps", "order", "scale", "zero_centred", "delta", "outline", "channels"),
        *("colormap", "theme"),
    )
    return {"run": Run(arguments.run), **_named(arguments, ("filters", *options))}


def _named(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _measure(arguments: argparse.Namespace) -> int:
    from filtertrack.files import check_target  # noqa: PLC0415 - keeps --help fast
    from filtertrack.measurement import measure_subject  # noqa: PLC0415
    from filtertrack.paper import FORMATS  # noqa: PLC0415
    from filtertrack.report import write_csv, write_json  # noqa: PLC0415
    from filtertrack.store import Run  # noqa: PLC0415
    from filtertrack.subject import choose  # noqa: PLC0415
    from filtertrack.trajectories import check_trajectories, plot_trajectories  # noqa: PLC0415

    at = arguments.at
    files: list[tuple[str | None, Sequence[str], Callable[[Measurement, Path], object]]] = [
        (arguments.csv, [".csv"], lambda measured, path: write_csv(measured, path, at)),
        (arguments.json, [".json"], lambda measured, path: write_json(measured, path, at)),
        (arguments.plot, list(FORMATS), plot_trajectories),
    ]
    wanted = [(Path(name), endings, write) for name, endings, write in files if name]
    for path, endings, _ in wanted:  # refused before minutes of measuring
        check_target(path, endings)
    run = Run(arguments.run)
    if at is not None:
        run.moment(at)
    steps = arguments.steps if arguments.steps is None or at is None else [*arguments.steps, at]
    layers = "*" if arguments.layers is None else arguments.layers
    subject = choose(run, layers=layers, steps=steps)
    if arguments.plot:
        check_trajectories(len(subject.layers), len(subject.steps))
    with _progress("measuring") as progress:
        measured = measure_subject(subject, progress)
    for path, _, write in wanted:
        write(measured, path)
        print(path)
    if not wanted:
        _print_tables(measured, at)
    return 0


def _print_tables(measured: "Measurement", at: int | None) -> None:
    """Print a row a layer; of a single layer, a row a filter as well."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    from filtertrack.report import each_filter, overview  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    tables = overview(measured, at)
    if len(measured.layers) == 1:
        tables += [each_filter(measured, name, at) for name in measured.layers]
    # Rather wider than the terminal than with numbers cut off.
    endless = console.options.update(max_width=1000)
    console.width = max(
        console.width, *(console.measure(t, options=endless).maximum for t in tables)
    )
    for table in tables:
        console.print(table)
    if len(measured.layers) > 1:
        console.print("Each filter of a layer: --layers NAME")


def _view(arguments: argparse.Namespace) -> int:
    import webbrowser  # noqa: PLC0415 - keeps --help fast

    from filtertrack.places import place_of  # noqa: PLC0415
    from filtertrack.tensorboard_plugin.catalogue import Catalogue  # noqa: PLC0415
    from filtertrack.viewing import serve  # noqa: PLC0415

    def opened(address: str) -> None:
        print(address, flush=True)
        if not arguments.no_browser:
            # In a thread: a browser in the terminal returns only when it is closed.
            Thread(target=webbrowser.open, args=[address], daemon=True).start()

    folder = arguments.run
    found = Catalogue.of_flags(str(place_of(folder).absolute()), None).find()
    if found.unreachable and not found.runs:
        raise FiltertrackError(" ".join(found.notes))
    if not found.runs:
        raise FiltertrackError(
            f"no run in {folder!r} or below: expected the folder that FilterTracker was given, "
            f"or one that holds such folders. {' '.join(found.notes)}"
        )
    with suppress(KeyboardInterrupt):  # the way to end it
        serve(folder, opened, host=arguments.host, port=arguments.port)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.table import Table  # noqa: PLC0415

    from filtertrack.store import Run  # noqa: PLC0415

    run = Run(arguments.run)
    table = Table("layer", "class", "kernel", "filters", "channels", "type")
    for info in run.layers.values():
        shape = "×".join(map(str, info.kernel_shape))
        numbers = (str(info.filters), str(info.shape[3]))
        table.add_row(info.name, info.class_name, shape, *numbers, info.dtype)
    steps = run.steps
    span = f", step {steps[0]} to {steps[-1]}" if steps else ""
    console = Console(highlight=False, markup=False)
    console.print(f"{run.path}: {len(steps)} snapshots{span}", soft_wrap=True)
    console.print(table)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from filtertrack.store import Run  # noqa: PLC0415 - keeps --help fast

    run = Run(arguments.run)
    with _progress("reading") as progress:
        damaged = run.verify(progress)
    for reason in damaged.values():
        print(_plain(reason))
    print(f"{len(run.steps)} snapshots, {len(damaged) or 'none'} damaged")
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
