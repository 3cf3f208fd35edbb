import argparse
import csv
import subprocess
import sys

import pytest
from PIL import Image

from filtertrack.cli import main
from filtertrack.cli_options import channels, make_parser, numbers, parse_arguments
from filtertrack.outputs.animation_pace import TIMES, Pace
from filtertrack.render.look import LOOK_OPTIONS


@pytest.mark.parametrize(
    "words",
    [
        "RUN --layers conv1 --layers conv2",
        "RUN --layers conv1 conv2",
        "RUN --layers conv1 conv2 --delta",
        "--layers conv1 conv2 RUN",
        "--layers conv1 conv2 --delta RUN",
        "--layers conv1,conv2 RUN",
        "--layers conv1 --layers conv2 RUN --delta",
        "RUN --layers=conv1 conv2",
        "RUN --lay conv1 conv2",
        "--steps 0-9 RUN --layers conv1 conv2",
    ],
)
@pytest.mark.parametrize("command", ["animate", "measure"])
def test_several_layers_can_be_given(make_run, conv_info, tmp_path, *, command, words):
    """With commas, spaces or the option twice; before or after the run."""
    run = make_run(*(conv_info(f"conv{n}") for n in (1, 2, 3)))
    words = [word.replace("RUN", str(run.path)) for word in words.split()]
    if command == "animate":
        assert main(["animate", *words]) == 0
        assert len(list(run.path.glob("evolution-conv1+conv2*.gif"))) == 1
    else:
        words = [word for word in words if word != "--delta"]
        assert main(["measure", *words, "--csv", str(tmp_path / "a.csv")]) == 0
        rows = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
        assert {row["layer"] for row in rows} == {"conv1", "conv2"}


def test_loop_is_not_taken_for_layers(run, capsys):
    """Both begin with ``--l``; ``--loop`` may stand before the run."""
    assert main(["animate", "--loop", "3", str(run.path), "--layers", "conv1", "conv2"]) == 0
    assert capsys.readouterr().out == f"{run.path}/evolution-conv1+conv2-loop-3.gif\n"


@pytest.mark.parametrize(
    "words", [["animate", "RUN", "stray"], ["info", "RUN", "b"], ["animate", "RUN", "--nothing"]]
)
def test_unrecognized_arguments_are_refused(run, capsys, words):
    """As argparse does; none is taken for a layer."""
    with pytest.raises(SystemExit) as stop:
        main([word.replace("RUN", str(run.path)) for word in words])
    assert stop.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--zero-centred", "--zero-centered"])
def test_both_spellings_of_centred(run, capsys, option):
    """They mean the same."""
    assert main(["animate", str(run.path), option]) == 0
    assert capsys.readouterr().out == f"{run.path}/evolution-zero-centred.gif\n"


def test_look_options_are_those_of_look():
    """Each field of ``Look`` has an argument with its choices and default; a filmstrip is light."""

    def actions_of(command):
        parser = make_parser(command)._subparsers._group_actions[0].choices[command]
        return {action.dest: action for action in parser._actions}

    for command, theme in (("animate", "dark"), ("filmstrip", "light")):
        actions = actions_of(command)
        for option in LOOK_OPTIONS:
            action = actions[option.name]
            assert action.default == (theme if option.name == "theme" else option.default)
            assert tuple(action.choices or ()) == option.choices
            assert (action.nargs == 0) == option.flag
    times = actions_of("animate")["time"]
    assert (times.choices, times.default) == (TIMES, Pace().time)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("strongest", "strongest"),
        ("all", "all"),
        ("bgr", "bgr"),
        ("3", 3),
        ("-1", -1),
        ("2,1,0", [2, 1, 0]),
        ("red,nir", ["red", "nir"]),
        ("0,nir", [0, "nir"]),
    ],
)
def test_channels_are_numbers_or_names(text, value):
    """Several with commas; what they mean is decided with the layer."""
    assert channels(text) == value


def test_the_difference_can_be_switched_off(run, capsys):
    """Without an option the layer decides; the last of both counts."""
    names = []
    for options in ([], ["--delta"], ["--no-delta"], ["--delta", "--no-delta"]):
        assert main(["animate", str(run.path), *options]) == 0
        names.append(capsys.readouterr().out)
    assert len(set(names)) == 3
    assert names[2] == names[3]
    sizes = []
    for name in names[:3]:
        with Image.open(name.strip()) as image:
            sizes.append(image.size[0])
    assert sizes[0] > sizes[1] == sizes[2]


def test_help_loads_no_heavy_module():
    """No numpy, Pillow, matplotlib or rich for ``--help``."""
    code = (
        "import sys; from filtertrack.cli import main\n"
        "try:\n    main(['animate', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'numpy', 'PIL', 'matplotlib', 'rich'} & set(sys.modules), 'heavy'"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    for option in ("--between", "--compare", "--huge", "--zero-centred"):
        assert option in printed


def test_an_invalid_number_names_the_expected_form(capsys):
    """The message does not name a function of the package."""
    for option, value, expected in (
        ("--steps", "1..5", "expected whole numbers from 0 on and ranges such as 0,1,5-20, got '1"),
        ("--probe", "-1", "expected whole numbers from 0 on and ranges such as 0,1,5-20, got '-1'"),
        ("--hold", "1", "expected two numbers such as 1,2, got '1'"),
    ):
        with pytest.raises(SystemExit):
            main(["animate", "run", option, value])
        assert expected in capsys.readouterr().err


def test_values_of_black_and_white_may_be_negative(capsys):
    """Also after a space; the message says what the two numbers are."""
    for command, option in (("responses", "--images"), ("explain", "--image")):
        for values in (["--values", "-2,2"], ["--values=-2,2"], ["--values", "-2,.5e1"]):
            arguments = parse_arguments([command, "run", option, "a.png", *values])
            assert arguments.values[0] == -2
        with pytest.raises(SystemExit):
            main([command, "run", option, "a.png", "--values", "-1"])
        message = "expected the values of black and white such as 0,255 or -1,1, got '-1'"
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["animate"], ["fly"], [], ["animate", "x", "--fps", "fast"]], ids=str
)
def test_argparse_errors_exit_with_2(arguments, capsys):
    """With the usage on stderr."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: filtertrack" in capsys.readouterr().err


def test_numbers_ranges_and_strides():
    """Both ends of a range are included."""
    assert numbers("3") == [3]
    assert numbers("0,2-4,10-30/10") == [0, range(2, 5), range(10, 31, 10)]


@pytest.mark.parametrize("text", ["", "a", "1-", "1-2/", "1-2/0", "1/2", "1-2-3"])
def test_invalid_numbers_raise_an_error(text):
    """With an example of the expected form."""
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0,1,5-20"):
        numbers(text)
