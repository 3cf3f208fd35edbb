"""The argument parser of the command line, and the functions that read its values.

The options of a look come from ``LOOK_OPTIONS``. Only the options of the command that is run are
built, and no module that loads numpy is imported, so commands start fast.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from filtertrack._version import __version__

if TYPE_CHECKING:
    from filtertrack.render.look import Channels, LookOption

_RUN = "what FilterTracker was given: a folder, or an address such as s3://bucket/run"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of the program.

    Several names may follow ``--layers``, with the run before or after it.

    Args:
        argv: The arguments; None for those of this process.

    Returns:
        The values by name; ``command`` is the name of the command.
    """
    words = _joined_values(sys.argv[1:] if argv is None else argv)
    parser = make_parser(next((word for word in words if not word.startswith("-")), None))
    arguments, further = parser.parse_known_args(words)
    if further:
        if not getattr(arguments, "layers", None) or any(word.startswith("-") for word in further):
            parser.error(f"unrecognized arguments: {' '.join(further)}")
        option = next(n for n, word in enumerate(words) if _is_layers(word))
        run = getattr(arguments, "run", None)
        if run and words.index(run) > option:  # argparse took the first name for the run
            further = [arguments.run, *further]
            arguments.run = further.pop()
        arguments.layers += [name for word in further for name in names(word)]
    return arguments


def _joined_values(words: Sequence[str]) -> list[str]:
    """Return arguments with ``--values -2,2`` as ``--values=-2,2``.

    argparse would take ``-2,2`` for an option.

    Example:
        >>> _joined_values(["--values", "-2,2", "--side", "9"])
        ['--values=-2,2', '--side', '9']
    """
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--values" and word[1:2].isdecimal():
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _is_layers(word: str) -> bool:
    """Return whether a word is the option ``--layers``, or an abbreviation argparse accepts."""
    return word.startswith("--l") and "--layers".startswith(word.partition("=")[0])


def make_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser of the program, with the options of one of its commands.

    Args:
        command: The command's name; None for none of them.
    """
    parser = argparse.ArgumentParser(
        prog="filtertrack", description="Look at the filters of a training run."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (text, add_options) in _COMMANDS.items():
        command_parser = commands.add_parser(name, help=text)
        if name == command:
            add_options(command_parser)
    return parser


def _add_responses(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Animate what a first convolution's filters answer to: beside each picture the filters, "
        "and the dot product of each with the picture at every position (blue is negative, red "
        "positive), over training. GIF, animated PNG (.apng), WebP, MP4 or WebM. An output that "
        "ends in .png, .pdf or .svg is a figure of the first and the last step (others: --steps); "
        "`filtertrack filmstrip --images` draws more steps. What deeper layers answered to the "
        "probes of a run: `filtertrack animate --responses`."
    )
    group = _add_picture_options(parser, "responses.gif", None)
    _add_images(group, required=True)
    _add_sizes(group)
    _add_pace(parser)
    paper = parser.add_argument_group("the size of a figure (.png, .pdf, .svg)")
    _add_size(paper, "at most so high (a third more than wide)")


def _add_images(group: "argparse._ActionsContainer", *, required: bool = False) -> None:
    group.add_argument(
        "--images",
        nargs="+",
        required=required,
        metavar="FILE",
        help="pictures that a first convolution answers to: PNG, JPEG and others",
    )
    group.add_argument(
        "--side",
        type=int,
        default=128,
        metavar="PIXELS",
        help="longer side of a picture, at most (%(default)d)",
    )
    group.add_argument("--values", type=black_and_white, metavar="LOW,HIGH", help=_VALUES)


def _add_probes(group: "argparse._ActionsContainer") -> None:
    group.add_argument(
        "--responses",
        action="store_true",
        help="beside the filters what they answered to a probe of the run (of "
        "FilterTracker(probes=images))",
    )
    group.add_argument(
        "--probe",
        type=numbers,
        action="extend",
        metavar="0,5",
        help="responses to these probes (the first)",
    )


def _add_animate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Turn a run's snapshots into an animation: GIF, animated PNG, WebP, MP4 or WebM, as the "
        "output's ending says. PNG and WebP are exact; MP4 and WebM need filtertrack[video]. "
        "-o 'frames/%04d.png' makes a picture for each frame, for slides and LaTeX."
    )
    group = _add_picture_options(parser, "evolution.gif", "dark")
    group.add_argument("--compare", metavar="RUN2", help="show a second run beside the first")
    group.add_argument("--one-scale", action="store_true", help="give both runs the same scale")
    group.add_argument(
        "--match",
        action="store_true",
        help="place each filter of the second run where the most similar one of the first is",
    )
    group.add_argument(
        "--big",
        action="store_true",
        help="the story of one filter (--filters 5 --big): its measures and label, over time",
    )
    _add_probes(group)
    _add_sizes(group)
    _add_pace(parser)


def _add_sizes(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--columns", type=int, metavar="N", help="filters in a row")
    group.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="longer side of all grids (640; for several up to 1280)",
    )


def _add_pace(parser: argparse.ArgumentParser) -> None:
    """Add the options of how fast an animation goes."""
    from filtertrack.outputs.animation_pace import TIMES  # noqa: PLC0415 - for this command only

    pace = parser.add_argument_group("how fast it goes")
    pace.add_argument("--fps", type=float, default=10.0, help="snapshots a second (%(default)g)")
    pace.add_argument("--seconds", type=float, help="how long the whole lasts, instead of --fps")
    pace.add_argument(
        "--time",
        choices=TIMES,
        default=TIMES[0],
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


def _add_filmstrip(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw a layer's filters at some steps as a figure for papers: a row a filter, a column a "
        "step. PNG, PDF or SVG, as the output's ending says."
    )
    group = _add_picture_options(parser, "filmstrip.pdf", "light")
    _add_probes(group)
    _add_images(group)
    _add_size(group, "at most so high (a third more than wide)")


def _add_plot(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw the filters of a trained model's file, or of a run at one step, as a grid for each "
        "layer. PNG, PDF or SVG, as the output's ending says. The file is read without its "
        "framework where that is possible, and its model is not built."
    )
    parser.add_argument(
        "run",
        metavar="SOURCE",
        help="a checkpoint (.keras, .weights.h5, .h5, .safetensors and others), a run's folder, or "
        "its address such as s3://bucket/run",
    )
    _add_output(parser, "beside the file FILE-filters.png, of a run RUN/filters.png")
    group = parser.add_argument_group("what is shown")
    _add_layers(group, "the first")
    group.add_argument("--step", type=int, metavar="N", help="of a run (the last)")
    group.add_argument(
        "--axes",
        metavar="HWIO|OIHW",
        help="what the axes of kernels are, for files that do not tell: O filters, I input "
        "channels, D, H, W space, M filters per input channel",
    )
    _add_look(group, "light")
    group.add_argument("--columns", type=int, metavar="N", help="filters in a row")
    _add_size(group, "at most so high (a third more than wide, or what very many layers take)")


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw how one value of a first convolution's feature map follows from a picture: the patch "
        "below the filter, the filter, their product, and its sum. PNG, PDF or SVG, as the "
        "output's ending says."
    )
    _add_run(parser)
    _add_output(parser, "RUN/explain-IMAGE.png")
    group = parser.add_argument_group("what is shown")
    image = group.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", metavar="FILE", help="a picture: PNG, JPEG and others")
    image.add_argument("--probe", type=int, metavar="N", help="one of the run's probes, from 0 on")
    group.add_argument("--side", type=int, default=128, metavar="PIXELS", help=_SIDE)
    group.add_argument("--values", type=black_and_white, metavar="LOW,HIGH", help=_VALUES)
    group.add_argument(
        "--layer",
        "--layers",
        metavar="NAME",
        help="a layer that takes the model's input (the first such layer)",
    )
    group.add_argument("--step", type=int, metavar="N", help="a snapshot (the last)")
    group.add_argument(
        "--filter", type=int, default=0, metavar="N", dest="filter_number", help="(%(default)d)"
    )
    group.add_argument(
        "--at", type=place, metavar="ROW,COLUMN", help="in the feature map (its highest value)"
    )
    _add_figure(group)


def _add_patches(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw filters, and beside each the nine patches of the run's probes that excite it most. "
        "PNG, PDF or SVG, as the output's ending says."
    )
    _add_run(parser)
    _add_output(parser, "RUN/patches.png")
    group = parser.add_argument_group("what is shown")
    group.add_argument("--layer", "--layers", metavar="NAME", help="(the first with responses)")
    group.add_argument(
        "--steps", type=numbers, action="extend", metavar="0,30", help="up to four (the last)"
    )
    group.add_argument(
        "--filters", type=numbers, action="extend", metavar="0-15,20", help="(the first twelve)"
    )
    _add_figure(group)


def _add_figure(group: "argparse._ActionsContainer") -> None:
    group.add_argument("--theme", choices=("dark", "light"), default="light", help="(%(default)s)")
    _add_size(group)


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure a run's filters: for each layer a sentence and numbers: the labels of its filters "
        "(edge, blob, colour blob, fine grating, other structure, unstructured), when they formed, "
        "which hardly moved and which repeat each other; of a run with probes, which filters are "
        "silent (no response to any probe), and how selective the others are; for a single layer, "
        "also a row for each filter. Layers of 1x1 kernels are only counted unless they are "
        "selected."
    )
    _add_run(parser)
    _add_layers(parser, "all")
    _add_steps(parser, "which snapshots (all)")
    parser.add_argument("--at", type=int, metavar="STEP", help="tables of this step (the last one)")
    files = parser.add_argument_group("files to write instead of printing tables")
    files.add_argument(
        "--csv", metavar="FILE", help="a row for each filter and step, or with --at for each filter"
    )
    files.add_argument("--json", metavar="FILE", help="everything")
    files.add_argument("--plot", metavar="FILE", help="a figure of the training: PDF, SVG or PNG")


def _add_html(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the interactive page of a run as one HTML file, to open, send or put on a web page: "
        "it needs no server and no network. Values are exact. Beyond the size limit there are maps "
        "of fewer probes, then values are rounded to 16 bits, then responses are left out, then "
        "steps; the command and the page say so."
    )
    _add_run(parser)
    parser.add_argument(
        "--compare", metavar="RUN", action="append", default=[], help="another run; may be repeated"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="what to write (RUN/page.html)")
    _add_layers(parser, "all")
    _add_steps(parser, "which snapshots (all)")
    parser.add_argument(
        "--no-responses",
        dest="responses",
        action="store_false",
        help="leave out the responses to the probes",
    )
    parser.add_argument(
        "--max-size", type=_megabytes, metavar="MB", help="megabytes of the file, at most (8)"
    )


def _megabytes(text: str) -> int:
    size = round(1e6 * float(text))
    if size <= 0:
        raise ValueError
    return size


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Copy a run that is part of the package to a folder, draw it as an animation and as an "
        "interactive page, and open the page in the browser."
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="filtertrack-demo", help="(filtertrack-demo)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")


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


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a run of checkpoint files: .keras, .weights.h5, .h5, .safetensors, and where torch "
        "or tensorflow is installed .pt and TensorFlow checkpoints. No framework is needed for the "
        "others. Steps and metrics come from the names of the files, as in "
        "epoch_12-val_loss0.31.keras, or by a template in the syntax of ModelCheckpoint: "
        "'ckpt-{epoch:03d}-{val_loss:.2f}.keras'. A damaged file is left out, and the exit code is "
        "1 then."
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="FILES",
        help="files, folders, or patterns such as 'checkpoints/**/*.keras'",
    )
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="the run's folder, which holds no run"
    )
    _add_layers(parser, "every convolution")
    parser.add_argument(
        "--axes",
        metavar="HWIO",
        help="the order of the kernels' axes, in files that do not tell it: O filters, I input "
        "channels, H height, W width",
    )
    _add_steps(parser, "the step of each file, in the natural order of their names")
    parser.add_argument(
        "--images",
        type=names,
        action="extend",
        metavar="A,B",
        help="layers that have images in TensorBoard: names or patterns, '*' for all, '' for none "
        "(all of up to 8 layers, else the first 8 with kernels larger than 1x1)",
    )
    parser.add_argument(
        "--histograms", action="store_true", help="also write histograms for TensorBoard"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print a table of what would be imported"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=_RUN)


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "demo": ("show a recorded run: something to see without training", _add_demo),
    "animate": ("make an animation of a run's filters", _add_animate),
    "filmstrip": ("make a figure: filters by steps", _add_filmstrip),
    "plot": ("make a figure: the filters of a model's file or of a run", _add_plot),
    "responses": ("draw what filters answer to in pictures, over training", _add_responses),
    "measure": ("measure the filters: labels, changes, duplicates", _add_measure),
    "explain": ("make a figure: one value of a feature map as a dot product", _add_explain),
    "patches": ("make a figure: what excites filters most", _add_patches),
    "html": ("write the interactive page as one file", _add_html),
    "view": ("open TensorBoard with the filters in front", _add_view),
    "import": ("make a run of checkpoint files", _add_import),
    "info": ("say what a run holds", _add_run),
    "verify": ("read a run whole and list what is damaged", _add_run),
}
"""Each command: its description in one line, and the function that adds its options."""


def _add_picture_options(
    parser: argparse.ArgumentParser, output: str, theme: str | None
) -> "argparse._ArgumentGroup":
    """Add the options that animations and filmstrips share; return the group of the last ones."""
    _add_run(parser)
    _add_output(parser, f"RUN/{output}")
    group = parser.add_argument_group("what is shown")
    _add_layers(group, "the first")
    _add_steps(group, "which snapshots")
    _add_look(group, theme)
    return group


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"what to write ({default}, the other options added to its name)"
    parser.add_argument("-o", "--output", metavar="FILE", help=text)


def _add_size(group: "argparse._ActionsContainer", height: str | None = None) -> None:
    """Add the size of a figure; the option of its height only with a description of that."""
    group.add_argument("--width", default="17cm", help="such as 8.5cm or 3.4in (%(default)s)")
    if height is not None:
        group.add_argument("--height", help=height)
    group.add_argument("--dpi", type=int, default=300, help="pixels an inch (%(default)d)")


def _add_look(group: "argparse._ActionsContainer", theme: str | None) -> None:
    """Add an argument for each option of ``Look``.

    Args:
        group: The group of options.
        theme: The default theme; None for the one that suits the output.
    """
    from filtertrack.render.look import LOOK_OPTIONS  # noqa: PLC0415 - for these commands only

    for option in LOOK_OPTIONS:
        text = _LOOK_HELP[option.name]
        if option.name == "theme":
            text = f"{text} ({theme or 'dark; light for a figure'})"
        _add_look_option(group, option, text)
    group.set_defaults(theme=theme)


def _add_layers(parser: "argparse._ActionsContainer", default: str) -> None:
    parser.add_argument(
        "--layers",
        type=names,
        action="extend",
        metavar="A,B",
        help=f"names, or patterns like 'block1/*' ({default})",
    )


def _add_steps(parser: "argparse._ActionsContainer", text: str) -> None:
    parser.add_argument("--steps", type=numbers, action="extend", metavar="0,1,5-20", help=text)


def _add_look_option(parser: "argparse._ActionsContainer", option: "LookOption", text: str) -> None:
    """Add the argument of an option of ``Look``, with its help text."""
    flags = [f"--{option.name.replace('_', '-')}"]
    flags += [flag.replace("centred", "centered") for flag in flags if "centred" in flag]
    settings: dict[str, Any] = {"help": text}
    if option.flag:
        undecided = option.default is None
        settings["action"] = argparse.BooleanOptionalAction if undecided else "store_true"
        settings["default"] = option.default
    else:
        settings["default"] = option.default
    if option.choices:
        settings["choices"] = option.choices
    parser.add_argument(*flags, **settings, **_LOOK_READERS.get(option.name, {}))


def names(text: str) -> list[str]:
    """Read ``conv1,block1/*`` as names and patterns.

    Example:
        >>> names("conv1, block1/*")
        ['conv1', 'block1/*']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int | range]:
    """Read ``0,1,5-20`` as two numbers and a range that includes both ends.

    ``0-900/100`` is a range of every hundredth. A range is not expanded: it may hold more numbers
    than fit into memory.

    Example:
        >>> numbers("0,1,5-20,0-900/100")
        [0, 1, range(5, 21), range(0, 901, 100)]
    """
    try:
        return [_number_or_range(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers from 0 on and ranges such as 0,1,5-20, got {text!r}"
        ) from None


def _number_or_range(text: str) -> int | range:
    first, dash, rest = text.partition("-")
    if not dash:
        return int(first)
    last, slash, every = rest.partition("/")
    return range(int(first), int(last) + 1, int(every) if slash else 1)


def channels(text: str) -> "Channels":
    """Read how input channels are drawn: see ``look.resolve_channels``.

    Example:
        >>> channels("strongest"), channels("3"), channels("2,1,0"), channels("red,nir")
        ('strongest', 3, [2, 1, 0], ['red', 'nir'])
    """
    parts = [int(part) if part.lstrip("-").isdecimal() else part for part in names(text)]
    return parts[0] if len(parts) == 1 else parts


def place(text: str) -> tuple[int, int]:
    """Read ``10,12`` as a row and a column.

    Example:
        >>> place("10,12")
        (10, 12)
    """
    try:
        row, column = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a row and a column such as 10,12, got {text!r}"
        ) from None
    return row, column


def two_numbers(text: str) -> tuple[float, float]:
    """Read ``1,2`` as two numbers."""
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected two numbers such as 1,2, got {text!r}"
        ) from None
    return first, second


def black_and_white(text: str) -> tuple[float, float]:
    """Read ``-1,1`` as the values of black and white."""
    try:
        return two_numbers(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected the values of black and white such as 0,255 or -1,1, got {text!r}"
        ) from None


_SIDE = "longer side of the picture, at most (%(default)d)"
_VALUES = (
    "the values of black and white in the model's input, such as -1,1 (0,255 if the model rescales "
    "them; else 0,1)"
)

_LOOK_READERS: dict[str, dict[str, Any]] = {
    "filters": {"type": numbers, "action": "extend", "metavar": "0-15,20"},
    "channels": {"type": channels, "metavar": "N|N,N,N|bgr|all|strongest"},
    "channel_names": {"type": names, "metavar": "A,C,G,T"},
}
"""How argparse reads an option that is neither a flag, one of a few choices nor a text."""

_LOOK_HELP = {
    "filters": "which filters (all)",
    "order": "of filters: as in the kernel, like beside like, by the direction of their edges, "
    "the farthest from its start first, or by what they are (%(default)s)",
    "scale": "dark to light spans each filter's weights in each frame, each filter's over all "
    "frames, or all of the layer's over all frames (frame; filter where the difference is shown)",
    "zero_centred": "zero in the middle of the scale",
    "delta": "the difference from the first snapshot, or the filters alone (both where the filters "
    "alone hardly tell what was learned)",
    "outline": "a line around each filter says what it is: edge, blob, colour blob, fine grating, "
    "other structure",
    "channels": "one input channel alone, two or three in colour, each in a cell of its own, or "
    "collapsed to each filter's strongest pattern (what suits their number)",
    "channel_names": "names of the input channels",
    "smooth": "interpolate between the weights of kernels from 5x5 on",
    "colormap": "of matplotlib, for one value a pixel (gray; RdBu_r for differences)",
    "theme": "around the weights",
}
"""The help text of each option of ``Look``."""
