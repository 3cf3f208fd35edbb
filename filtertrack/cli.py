"""The command line: thin, it calls the other rooms and never imports a framework."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filtertrack
from filtertrack.errors import FiltertrackError, printable

_DAMAGED = 1
_ARGUMENT_ERROR = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; None for those of the program.

    Returns:
        The exit code: 0, 1 where ``verify`` found damage, or 2 after one line on stderr that says
        what is wrong.
    """
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
    info = commands.add_parser("info", help="say what a run holds")
    info.add_argument("run", metavar="RUN", help="the folder that FilterTracker was given")
    info.set_defaults(command=_info)
    verify = commands.add_parser("verify", help="read a run whole and list what is damaged")
    verify.add_argument("run", metavar="RUN", help="the folder that FilterTracker was given")
    verify.set_defaults(command=_verify)
    return parser


def _add_animate(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``animate``."""
    parser.description = "Turn a run's snapshots into an animated GIF."
    parser.add_argument("run", metavar="RUN", help="the folder that FilterTracker was given")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="what to write (RUN/evolution.gif)", default=None
    )
    parser.add_argument("--layer", help="which layer (the first)")
    parser.add_argument("--fps", type=float, default=10.0, help="snapshots a second (%(default)g)")
    parser.add_argument(
        "--size", type=int, default=640, help="longer side of the grid in pixels (%(default)d)"
    )
    parser.add_argument(
        "--scale",
        choices=("frame", "filter", "layer"),
        default="frame",
        help="dark to light spans each filter's weights in each frame, each filter's over the "
        "whole run, or all of the layer's over the whole run (%(default)s)",
    )
    parser.set_defaults(command=_animate)


def _animate(arguments: argparse.Namespace) -> int:
    from filtertrack.animation import animate  # noqa: PLC0415 - keeps --help fast

    output = arguments.output or Path(arguments.run) / "evolution.gif"
    with _progress("drawing") as progress:
        written = animate(
            arguments.run,
            output,
            layer=arguments.layer,
            fps=arguments.fps,
            size=arguments.size,
            scale=arguments.scale,
            progress=progress,
        )
    print(written)
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
