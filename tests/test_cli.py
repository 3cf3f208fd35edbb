import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

import filtertrack
from filtertrack import animate, filmstrip
from filtertrack.cli import _parser, main
from filtertrack.order import ORDERS
from filtertrack.palette import GREY, THEMES
from filtertrack.panel import SCALES
from filtertrack.timing import TIMES

ROOT = Path(__file__).parent.parent


def test_animate_writes_into_the_run_and_says_where(run, capsys):
    """Without ``-o`` the animation is beside the run's filters; its name is all that is printed."""
    assert main(["animate", str(run.path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run.path}/evolution.gif\n"
    assert not printed.err
    with Image.open(run.path / "evolution.gif") as gif:
        assert gif.n_frames == 3


def test_animate_takes_its_options(run, tmp_path):
    """Layer, size, speed, scale and output arrive where they belong."""
    output = tmp_path / "small.gif"
    options = ["--layer", "conv2", "--size", "100", "--fps", "2", "--scale", "layer"]
    assert main(["animate", str(run.path), "-o", str(output), *options]) == 0
    with Image.open(output) as gif:
        assert max(gif.size) <= 260
        gif.seek(1)
        assert gif.info["duration"] == 500


def test_every_option_of_animate_is_the_one_of_python(make_run, tmp_path):
    """The same file, byte for byte, whichever way it was asked for."""
    run = make_run(steps=range(8))
    other = make_run(steps=range(0, 8, 2), folder="other")
    options = shlex.split(
        "--layers conv1,conv2 --steps 0,2-6 --filters 0-1,3 --scale layer --zero-centred "
        "--colormap viridis --theme light --size 500 --columns 2 --seconds 5 --time log "
        "--between 2 --hold 0.5,0.75 --loop 3 --compare"
    )
    output = tmp_path / "cli.webp"
    assert main(["animate", str(run.path), "-o", str(output), *options, str(other.path)]) == 0
    expected = animate(
        run,
        tmp_path / "python.webp",
        layers=["conv1", "conv2"],
        steps=[0, 2, 4, 6],
        filters=[0, 1, 3],
        scale="layer",
        zero_centred=True,
        colormap="viridis",
        theme="light",
        size=500,
        columns=2,
        seconds=5,
        time="log",
        between=2,
        hold=(0.5, 0.75),
        loop=3,
        compare=other,
    )
    assert output.read_bytes() == Path(expected).read_bytes()


def test_every_option_of_filmstrip_is_the_one_of_python(make_run, tmp_path, capsys):
    """The same file, byte for byte; without an output it lies in the run."""
    run = make_run(steps=range(8))
    options = shlex.split(
        "--layers conv2 --steps 0-3 --order drift --scale filter --delta --colormap RdBu_r "
        "--theme dark --width 12cm --height 3in --dpi 120"
    )
    output = tmp_path / "cli.png"
    assert main(["filmstrip", str(run.path), "-o", str(output), *options]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    filmstrip(
        run,
        tmp_path / "python.png",
        layers="conv2",
        steps=range(4),
        order="drift",
        scale="filter",
        delta=True,
        colormap="RdBu_r",
        theme="dark",
        width="12cm",
        height="3in",
        dpi=120,
    )
    assert output.read_bytes() == (tmp_path / "python.png").read_bytes()
    assert main(["filmstrip", str(run.path)]) == 0
    assert (run.path / "filmstrip.pdf").read_bytes().startswith(b"%PDF")


def test_the_choices_are_those_of_the_rooms():
    """Written out on the command line, so that ``--help`` needs no numpy; here compared."""
    parser = _parser()
    commands = parser._subparsers._group_actions[0].choices
    for command, theme in (("animate", "dark"), ("filmstrip", "light")):
        actions = {action.dest: action for action in commands[command]._actions}
        assert tuple(actions["order"].choices) == ORDERS
        assert tuple(actions["scale"].choices) == SCALES
        assert tuple(actions["theme"].choices) == tuple(THEMES)
        assert actions["theme"].default == theme
        assert actions["colormap"].default == GREY
    assert tuple({a.dest: a for a in commands["animate"]._actions}["time"].choices) == TIMES


def test_help_is_quick_to_load():
    """No numpy, no Pillow, no matplotlib for ``--help``."""
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


def test_a_progress_bar_where_there_is_a_terminal(make_run, tmp_path):
    """On a real terminal a bar is drawn on stderr; stdout still holds the file's name alone."""
    pty = pytest.importorskip("pty")
    run = make_run(steps=range(60))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "filtertrack", "animate", run.path, "-o", tmp_path / "a.webp"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, text=True, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # the terminal's end, once the program has ended
            while part := os.read(master, 4096):
                shown += part
        printed = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    assert printed == f"{tmp_path / 'a.webp'}\n"
    assert "drawing" in shown.decode()
    assert "100%" in shown.decode()


def test_ctrl_c_leaves_no_half_file(make_run, conv_info, tmp_path):
    """A real SIGINT in mid-animation: exit code 130, one line, nothing new in the folder."""
    run = make_run(conv_info(kernel_shape=(9, 9, 3, 64)), steps=range(150))
    command = [sys.executable, "-m", "filtertrack", "animate", run.path, "--size", "1400"]
    for ending in ("gif", "webp", "mp4"):
        output = tmp_path / f"a.{ending}"
        process = subprocess.Popen(
            [*command, "-o", output], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
        assert (process.returncode, printed) == (130, "")
        assert said == "filtertrack: interrupted\n"
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_info_says_what_a_run_holds(run, capsys):
    """Snapshots, steps, and each layer with its kernel."""
    assert main(["info", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert "3 snapshots, step 0 to 2" in printed
    assert "3×3×4×6" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["animate", "{tmp}/nothing"], "no run in '{tmp}/nothing'"),
        (
            ["animate", "{tmp}/one"],
            "'{tmp}/one' holds 1 readable snapshot to show; it takes at least 2",
        ),
        (["animate", "{tmp}/run", "-o", "a.bmp"], "'a.bmp': expected a name that ends in .gif,"),
        (["animate", "{tmp}/run", "--layer", "conv"], "no layer 'conv' in '{tmp}/run'; it has:"),
        (["animate", "{tmp}/run", "-o", "{tmp}/no/a.gif"], "there is no folder '{tmp}/no'"),
        (["animate", "{tmp}/run", "-o", "{tmp}/folder.gif"], "folder.gif"),
        (["animate", "{tmp}/run", "--steps", "0,7"], "has no snapshot at step 7"),
        (
            ["animate", "{tmp}/run", "--steps", "5-9"],
            "has 3 snapshots from step 0 to 2; leave it out for all",
        ),
        (["animate", "{tmp}/run", "--filters", "2-9"], "has the filters 0 to 3, got 4"),
        (["animate", "{tmp}/run", "--size", "900000"], "or allow it with huge=True (--huge)"),
        (["animate", "{tmp}/run", "--compare", "{tmp}/nothing"], "no run in '{tmp}/nothing'"),
        (["filmstrip", "{tmp}/run", "-o", "a.gif"], "'a.gif': expected a name that ends in .png,"),
        (["filmstrip", "{tmp}/run", "--width", "wide"], "width: expected a size such as '17cm'"),
        (["info", "{tmp}/nothing"], "no run in '{tmp}/nothing'"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(make_run, tmp_path, capsys, arguments, message):
    """Never a traceback."""
    make_run()
    make_run(folder="one", steps=[0])
    (tmp_path / "folder.gif").mkdir()
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("filtertrack: ")
    assert message.format(tmp=tmp_path) in printed.err


def test_a_damaged_snapshot_is_left_out_and_named(run, capsys, caplog):
    """The animation goes on with the rest; ``verify`` lists the file and exits with 1."""
    assert main(["verify", str(run.path)]) == 0
    assert capsys.readouterr().out == "3 snapshots, none damaged\n"
    file = run.file(1)
    file.write_bytes(file.read_bytes()[:-50])
    assert main(["animate", str(run.path)]) == 0
    with Image.open(run.path / "evolution.gif") as gif:
        assert gif.n_frames == 2
    assert f"left out step 1: damaged file '{file}'" in caplog.text
    capsys.readouterr()
    assert main(["verify", str(run.path)]) == 1
    printed = capsys.readouterr().out
    assert str(file) in printed
    assert printed.endswith("3 snapshots, 1 damaged\n")


def test_control_characters_do_not_reach_the_terminal(tmp_path, capsys):
    """A folder's name that would steer the terminal is printed without that."""
    assert main(["info", str(tmp_path / "a\x1b[2Jb")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_wrong_number_says_what_was_expected(capsys):
    """Not the name of a function of ours."""
    for option, value, expected in (
        ("--steps", "1..5", "expected numbers and ranges such as 0,1,5-20, got '1..5'"),
        ("--hold", "1", "expected two numbers of seconds such as 1,2, got '1'"),
    ):
        with pytest.raises(SystemExit):
            main(["animate", "run", option, value])
        assert expected in capsys.readouterr().err


def test_the_filters_folder_is_the_run_too(run):
    """What is written lies in the run, also when the folder in it was given."""
    assert main(["animate", str(run.folder)]) == 0
    assert (run.path / "evolution.gif").exists()


@pytest.mark.parametrize(
    "arguments", [["animate"], ["fly"], [], ["animate", "x", "--fps", "fast"]], ids=str
)
def test_wrong_arguments_are_exit_code_2(arguments, capsys):
    """What argparse refuses has the same exit code, and the usage."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: filtertrack" in capsys.readouterr().err


def test_the_installed_command_and_the_module(run, tmp_path):
    """``filtertrack``, ``python -m filtertrack`` and ``scripts/make_gif.py`` are the same."""
    command = Path(sys.executable).with_name("filtertrack")
    expected = tmp_path / "a.gif"
    subprocess.run([command, "animate", run.path, "-o", expected], check=True)
    module = [sys.executable, "-m", "filtertrack", "animate"]
    script = [sys.executable, ROOT / "scripts" / "make_gif.py"]
    for number, start in enumerate((module, script)):
        output = tmp_path / f"{number}.gif"
        subprocess.run([*start, run.path, "-o", output], check=True, cwd=tmp_path)
        assert output.read_bytes() == expected.read_bytes()
    version = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    assert version.stdout.strip() == filtertrack.__version__
    failed = subprocess.run(
        [command, "info", tmp_path], check=False, capture_output=True, text=True
    )
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
