import argparse
import csv
import json
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
from filtertrack import animate, filmstrip, measure, plot_trajectories
from filtertrack.cli import main
from filtertrack.cli_options import make_parser, numbers
from filtertrack.outputs.tables import write_csv, write_json
from filtertrack.outputs.time_spacing import TIMES
from filtertrack.render.look import GREY, ORDERS, SCALES, THEME_NAMES

ROOT = Path(__file__).parent.parent


def test_animate_writes_into_the_run_and_says_where(run, capsys):
    """Without ``-o`` the animation is beside the run's filters; its name is all that is printed."""
    assert main(["animate", str(run.path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run.path}/evolution.gif\n"
    assert not printed.err
    with Image.open(run.path / "evolution.gif") as gif:
        assert gif.n_frames == 3


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "evolution"),
        (["--fps", "10", "--scale", "filter"], "evolution-scale-filter"),
        (["--layers", "conv2"], "evolution-conv2"),
        (["--layers", "conv1", "conv2"], "evolution-conv1+conv2"),
        (["--layers", "*2", "--delta", "--fps", "2.5"], "evolution-%2A2-delta-fps-2.5"),
        (["--steps", "0-2/2", "--order", "drift"], "evolution-steps-0-2~2-order-drift"),
        (["--compare", "RUN2"], "evolution-vs-other"),
        (["--hold", "0.5,2", "--huge"], "evolution-hold-0.5,2"),
    ],
    ids=str,
)
def test_a_picture_drawn_differently_replaces_no_other(make_run, capsys, options, name):
    """The options are in its name; the same command writes the same file again."""
    run, other = make_run(), make_run(folder="other")
    command = ["animate", str(run.path), *(o.replace("RUN2", str(other.path)) for o in options)]
    for _ in range(2):
        assert main(command) == 0
        assert capsys.readouterr().out == f"{run.path}/{name}.gif\n"
    assert [path.name for path in run.path.glob("*.gif")] == [f"{name}.gif"]


def test_python_and_the_command_line_name_pictures_alike(run, capsys):
    """Also where the options come in other types."""
    assert main(["animate", str(run.path), "--layers", "conv2", "--steps", "0,2"]) == 0
    assert main(["filmstrip", str(run.path), "--layers", "conv2", "--width", "9cm"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[0] == str(animate(run, layers="conv2", steps=[0, 2]))
    assert printed[1] == f"{run.path}/filmstrip-conv2-width-9cm.pdf"
    assert str(animate(run.path)) == f"{run.path}/evolution.gif"


def test_the_name_of_many_options_is_cut(make_run, capsys):
    """So that the file system takes it; two that differ behind the cut are two."""
    run = make_run(steps=range(300))
    for steps in (range(0, 300, 2), range(1, 300, 2)):
        chosen = ",".join(map(str, steps))
        assert main(["animate", str(run.path), "--steps", chosen, "--size", "64"]) == 0
    names = capsys.readouterr().out.split()
    assert len(set(names)) == 2
    assert all(len(Path(name).name) < 150 for name in names)


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
def test_layers_are_named_in_any_way(make_run, conv_info, tmp_path, *, command, words):
    """With commas, spaces or the option twice; the run stands before or behind."""
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


def test_an_option_that_begins_alike_is_another(run, capsys):
    """``--loop`` before the run."""
    assert main(["animate", "--loop", "3", str(run.path), "--layers", "conv1", "conv2"]) == 0
    assert capsys.readouterr().out == f"{run.path}/evolution-conv1+conv2-loop-3.gif\n"


@pytest.mark.parametrize(
    "words", [["animate", "RUN", "stray"], ["info", "RUN", "b"], ["animate", "RUN", "--no"]]
)
def test_words_that_mean_nothing_are_refused(run, capsys, words):
    """As argparse does; none of them is taken for a layer."""
    with pytest.raises(SystemExit) as stop:
        main([word.replace("RUN", str(run.path)) for word in words])
    assert stop.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--zero-centred", "--zero-centered"])
def test_both_spellings_are_known(run, capsys, option):
    """And mean the same."""
    assert main(["animate", str(run.path), option]) == 0
    assert capsys.readouterr().out == f"{run.path}/evolution-zero-centred.gif\n"


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
    parser = make_parser()
    commands = parser._subparsers._group_actions[0].choices
    for command, theme in (("animate", "dark"), ("filmstrip", "light")):
        actions = {action.dest: action for action in commands[command]._actions}
        assert tuple(actions["order"].choices) == ORDERS
        assert tuple(actions["scale"].choices) == SCALES
        assert tuple(actions["theme"].choices) == THEME_NAMES
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


@pytest.mark.parametrize("command", ["info", "measure", "verify", "animate", "filmstrip"])
def test_a_terminal_that_knows_only_ascii(make_run, command):
    """What it lacks is replaced by something plainer, in tables, names and numbers alike."""
    run = make_run(folder="r\u00e9sum\u00e9")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "filtertrack", command, run.path]
    done = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    printed = done.stdout.decode("ascii")
    if command == "info":
        assert "3x3x4x6" in printed
    if command in {"info", "animate", "filmstrip"}:
        assert "r?sum?" in printed


def test_a_progress_bar_in_ascii(make_run, tmp_path):
    """Drawn on a real terminal without a fault."""
    pty = pytest.importorskip("pty")
    run = make_run(steps=range(60))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "filtertrack", "verify", run.path]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = all_of(master)
    assert process.returncode == 0
    assert b"Error" not in shown
    assert b"60 snapshots, none damaged" in shown


def all_of(terminal):
    """Return what is written to a terminal until its other side is closed."""
    shown = b""
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown


def shown_by_info(run, columns):
    """Return what ``info`` prints in a real terminal of some columns."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "filtertrack", "info", run.path]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment):
        os.close(slave)
        shown = all_of(master)
    return shown.decode()


def test_info_cuts_no_name(make_run, conv_info):
    """In a pipe each is whole, on one line; in a terminal it goes on in the next one."""
    names = [f"xception/block_{n}/separable_conv2d_of_a_long_name_{n}_depthwise" for n in (1, 2)]
    run = make_run(*(conv_info(name, bias=False) for name in names), steps=[0])
    command = [sys.executable, "-m", "filtertrack", "info", run.path]
    environment = {**os.environ, "COLUMNS": "80"}
    printed = subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout
    assert all(printed.count(name) == 1 for name in names)
    assert "1 snapshot, step 0\n" in printed
    lines = [line.strip() for line in shown_by_info(run, 80).splitlines()]
    columns = [
        [part.strip() for part in line.split("\u2502")] for line in lines if "\u2502" in line
    ]
    assert "".join(row[1] for row in columns) == "".join(names)


def test_one_is_not_many(make_run, capsys):
    """One snapshot, two snapshots, none."""
    for count, text in ((0, "0 snapshots"), (1, "1 snapshot"), (2, "2 snapshots")):
        run = make_run(steps=range(count), folder=f"run{count}")
        assert main(["info", str(run.path)]) == 0
        assert f"{run.path}: {text}" in capsys.readouterr().out
        assert main(["verify", str(run.path)]) == 0
        assert capsys.readouterr().out == f"{text}, none damaged\n"


def in_read_only(folder, *words, **options):
    """Run the real command where a folder can only be read; None where that cannot be had."""
    command = [sys.executable, "-m", "filtertrack", *words]
    if os.geteuid():
        folder.chmod(0o555)
    else:  # root may write everywhere but on what is mounted read-only
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, folder, *command]
        if subprocess.run([*command[:6], "true"], check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a folder that can only be read")
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["animate", "RUN"], "-o"),
        (["filmstrip", "RUN"], "-o"),
        (["animate", "RUN", "-o", "RUN/a.png"], "-o"),
        (["measure", "RUN", "--csv", "RUN/a.csv"], "--csv"),
    ],
    ids=str,
)
def test_a_run_that_can_only_be_read(make_run, tmp_path, words, option):
    """One sentence that names its folder and the option, no temporary file; elsewhere it works."""
    run = make_run()
    words = [word.replace("RUN", str(run.path)) for word in words]
    done = in_read_only(run.path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"into the folder {str(run.path)!r}" in done.stderr
    assert f"give a file elsewhere with {option} FILE" in done.stderr
    assert ".tmp" not in done.stderr
    output = tmp_path / {"-o": "a.png", "--csv": "a.csv"}[option]
    done = in_read_only(run.path, *words, option, str(output))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{output}\n"
    assert output.exists()


@pytest.mark.parametrize("command", ["animate", "filmstrip", "measure", "info", "verify"])
def test_the_runs_below_are_named(make_run, tmp_path, capsys, command):
    """Where a folder of runs was given; not all of very many."""
    for number in range(10):
        make_run(folder=f"runs/exp{number}", steps=[0])
    assert main([command, str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"below it are the runs {tmp_path}/runs/exp0, {tmp_path}/runs/exp1, " in said
    assert "and 2 more" in said
    assert main(["animate", str(tmp_path / "runs/exp0"), "--compare", str(tmp_path / "runs")]) == 2
    assert "below it are the runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--layers", "conv"], "'conv*' matches some"),
        (["--layers", "2"], "'*2*' matches some"),
        (["--steps", "1"], "it takes at least 2: choose more steps"),
    ],
)
def test_hints_say_what_works(run, capsys, options, hint):
    """A pattern where a name misses; more steps where few were chosen."""
    assert main(["animate", str(run.path), *options]) == 2
    assert hint in capsys.readouterr().err


def test_names_that_steer_a_terminal_are_printed_without_that(make_run, capsys):
    """That of the folder, where a picture or a table went to, in every command."""
    run = make_run(folder="a\x1b[2J\u202eb")
    for words in (
        ["info"],
        ["animate"],
        ["filmstrip"],
        ["measure", "--csv", str(run.path / "a.csv")],
        ["animate", "--layers", "x\x1b"],
    ):
        main([words[0], str(run.path), *words[1:]])
        printed = "".join(capsys.readouterr())
        assert "[2J" in printed
        assert not {c for c in printed if not c.isprintable()} - {"\n"}


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


def measured_text(run, *options, columns=40):
    """Return what a process of its own prints into a pipe: no terminal, and a narrow one."""
    command = [sys.executable, "-m", "filtertrack", "measure", run, *options]
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout


def test_measure_prints_tables(planted_run, capsys):
    """A row a layer, twice, and how to see each filter; nothing on stderr, nothing written."""
    before = sorted(planted_run.path.rglob("*"))
    assert main(["measure", str(planted_run.path)]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert "What the filters are: step 20" in printed.out
    assert "The layers as a whole: step 20" in printed.out
    rows = [line.split() for line in printed.out.splitlines() if line.strip().startswith("conv")]
    assert rows[0] == ["conv1", "8", "2", "1", "1", "1", "3", "–", "5", "–", "10"]
    assert rows[1] == ["conv2", "4", "3", "1", "–", "–", "–", "–", "1", "5", "5"]
    assert [row[0] for row in rows] == ["conv1", "conv2"] * 2
    assert printed.out.endswith("Each filter of a layer: --layers NAME\n")
    assert sorted(planted_run.path.rglob("*")) == before


def test_measure_of_one_layer_prints_its_filters(planted_run, capsys):
    """A third table, of a row a filter, at the step that was asked for."""
    for step, label in (("20", "edge"), ("1", "unstructured")):
        assert main(["measure", str(planted_run.path), "--layers", "conv1", "--at", step]) == 0
        printed = capsys.readouterr().out
        rows = printed.partition("The filters of conv1: step " + step)[2].splitlines()
        rows = [line.split() for line in rows if line.strip()[:1].isdigit()]
        assert [row[0] for row in rows] == list("01234567")
        assert rows[0][1] == label
        assert "--layers NAME" not in printed


def test_nothing_is_cut_off_in_a_pipe(planted_run, make_run, conv_info):
    """Where the terminal is said to be 40 characters wide, the tables are as wide as they are."""
    narrow, wide = (
        measured_text(planted_run.path, "--layers", "conv1", columns=n) for n in (40, 300)
    )
    assert "…" not in narrow

    def lines(text):
        return [line.rstrip(" ─") for line in text.splitlines()]

    assert lines(narrow) == lines(wide)
    name = "functional_1/backbone/block_12/expand_depthwise_conv2d"
    long = make_run(conv_info(name, (5, 5, 1, 2), bias=False))
    printed = measured_text(long.path)
    assert printed.count(name) == 3, "in two tables and a title"
    title = next(line for line in printed.splitlines() if "The filters of" in line)
    assert title.rstrip() == f"The filters of {name}: step 2, epoch 2 · batch 20"


def test_names_and_paths_stay_plain_text(make_run, conv_info, capsys):
    """What looks like markup, an emoji or a link in a path changes nothing."""
    path = "[bold red]x[/] :smile: https://a.b $x$"
    run = make_run(conv_info("a.b_c-", path=path, class_name="[link=x]C[/link]"), folder="[red]r")
    assert main(["measure", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("a.b_c-") == 3
    assert "\x1b" not in printed
    output = run.path / "[b]a.csv"
    assert main(["measure", str(run.path), "--csv", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    rows = csv.DictReader(output.read_text().splitlines())
    assert {row["layer"] for row in rows} == {"a.b_c-"}


def test_measure_writes_files_and_says_where(planted_run, tmp_path, capsys):
    """Each is what Python writes; their names alone are printed, and no tables."""
    files = [tmp_path / f"cli.{ending}" for ending in ("csv", "json", "svg")]
    options = zip(("--csv", "--json", "--plot"), map(str, files), strict=True)
    options = [word for pair in options for word in pair]
    assert main(["measure", str(planted_run.path), *options]) == 0
    printed = capsys.readouterr()
    assert printed.out == "".join(f"{file}\n" for file in files)
    assert not printed.err
    measured = measure(planted_run)
    for file, write in zip(files, (write_csv, write_json, plot_trajectories), strict=True):
        other = file.with_stem("python")
        write(measured, other)
        assert file.read_bytes() == other.read_bytes()
    assert len(list(tmp_path.iterdir())) == 6


def test_at_layers_and_steps_choose_what_is_written(planted_run, tmp_path):
    """Rows of one step only, of one layer; drift still counts from the start of the run."""
    options = ["--layers", "conv2", "--steps", "1-5,20", "--at", "5"]
    for ending in ("csv", "json"):
        output = tmp_path / f"a.{ending}"
        assert main(["measure", str(planted_run.path), *options, f"--{ending}", str(output)]) == 0
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["layer"], row["step"], row["filter"]) for row in rows] == [
        ("conv2", "5", str(number)) for number in range(4)
    ]
    assert all(float(row["drift"]) > 0.5 for row in rows)
    found = json.loads((tmp_path / "a.json").read_text())["layers"]
    assert list(found) == ["conv2"]
    assert found["conv2"]["steps"] == [1, 2, 5, 20]
    assert found["conv2"]["filters_at"] == [5]
    assert len(found["conv2"]["filters"]["label"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "{tmp}/x.txt"], "x.txt': expected a name that ends in .csv"),
        (["--json", "{tmp}/x.csv"], "x.csv': expected a name that ends in .json"),
        (["--plot", "{tmp}/x.gif"], "x.gif': expected a name that ends in .png, .pdf, .svg"),
        (["--csv", "{tmp}/no/x.csv"], "there is no folder '{tmp}/no'"),
        (["--csv", "{tmp}/x.csv", "--plot", "{tmp}/no/x.svg"], "there is no folder '{tmp}/no'"),
        (["--at", "99"], "no snapshot at step 99"),
        (["--at", "-1"], "no snapshot at step -1"),
        (["--layers", "conv9"], "no layer 'conv9'"),
        (["--steps", "7"], "no snapshot at step 7"),
        (["--steps", "0", "--plot", "{tmp}/x.svg"], "at least two snapshots"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_measure_refuses_before_it_measures(make_run, tmp_path, capsys, options, message):
    """One line, exit code 2, no file; said at once, not after minutes."""
    run = make_run()
    assert main(["measure", str(run.path), *(text.format(tmp=tmp_path) for text in options)]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("filtertrack: ")
    assert message.format(tmp=tmp_path) in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "options",
    [
        ["--csv", "x.txt"],
        ["--csv", "no/x.csv"],
        ["--at", "99"],
    ],
    ids=" ".join,
)
def test_no_snapshot_is_read_for_what_is_refused(make_run, tmp_path, monkeypatch, caplog, options):
    """A damaged snapshot would be named in the log as soon as anything was measured."""
    run = make_run(steps=range(4))
    run.file(0).write_bytes(b"damaged")
    monkeypatch.chdir(tmp_path)
    assert main(["measure", str(run.path), *options]) == 2
    assert not caplog.text


@pytest.mark.parametrize("where", ["{tmp}/nothing", "{tmp}", "{tmp}/file"])
def test_measure_of_no_run(tmp_path, capsys, where):
    """A folder that is not there, one that holds no run, a file: one line."""
    (tmp_path / "file").write_text("text")
    path = where.format(tmp=tmp_path)
    assert main(["measure", path, "--csv", str(tmp_path / "a.csv")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"filtertrack: no run in {path!r}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(("option", "ending"), [("csv", "csv"), ("json", "json"), ("plot", "pdf")])
def test_what_cannot_be_written_is_one_line(run, tmp_path, capsys, option, ending):
    """The name is a folder's, or the disk is read-only: exit code 2, nothing left behind."""
    (tmp_path / f"a.{ending}").mkdir()
    targets = [tmp_path / f"a.{ending}"]
    if Path("/proc/self").exists():
        targets.append(Path("/proc") / f"a.{ending}")  # no one can write there, not even root
    for target in targets:
        assert main(["measure", str(run.path), f"--{option}", str(target)]) == 2
        printed = capsys.readouterr()
        assert not printed.out
        assert printed.err.count("\n") == 1
        assert target.name in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", "run"]


def test_measuring_that_is_interrupted_leaves_no_file(make_run, conv_info, tmp_path):
    """A real SIGINT while it measures: exit code 130, one line, the old file is still there."""
    run = make_run(conv_info(kernel_shape=(11, 11, 3, 96), bias=False), steps=range(300))
    output = tmp_path / "a.csv"
    output.write_text("old")
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "filtertrack", "measure", run.path, "--csv", output]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, text=True, env=environment
    ) as process:
        os.close(slave)
        shown = ""
        while "measuring" not in shown:  # the bar: it has begun
            shown += os.read(master, 4096).decode()
        process.send_signal(signal.SIGINT)
        with suppress(OSError):
            while part := os.read(master, 4096):
                shown += part.decode()
        assert process.wait(timeout=60) == 130
        assert not process.stdout.read()
    os.close(master)
    assert "filtertrack: interrupted" in shown
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "run"]


def test_outline_and_the_order_of_labels_are_those_of_python(planted_run, tmp_path):
    """The same file, byte for byte, of an animation and a filmstrip."""
    options = ["--layers", "conv1", "--outline", "--order", "label"]
    for command, ending, make in (("animate", "png", animate), ("filmstrip", "svg", filmstrip)):
        output, other = tmp_path / f"cli.{ending}", tmp_path / f"python.{ending}"
        assert main([command, str(planted_run.path), "-o", str(output), *options]) == 0
        make(planted_run, other, layers="conv1", outline=True, order="label")
        assert output.read_bytes() == other.read_bytes()


def test_the_step_that_is_asked_for_is_measured(make_run, capsys):
    """Also where it is none of the chosen steps."""
    run = make_run(steps=range(4))
    assert main(["measure", str(run.path), "--steps", "0,2", "--at", "1"]) == 0
    assert "step 1," in capsys.readouterr().out


def test_threads_of_blas_are_left_alone_where_they_are_set(run, monkeypatch):
    """One where nothing is said: beside a training more would wait for each other."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert main(["info", str(run.path)]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert main(["info", str(run.path)]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


@pytest.mark.parametrize("command", ["animate", "filmstrip"])
def test_channels_are_chosen(make_run, conv_info, tmp_path, command):
    """By number or by what they have in common; anything else is one line."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 4)))
    pictures = set()
    for channels in (None, "0", "2", "strongest"):
        output = tmp_path / f"{channels}.png"
        options = [] if channels is None else ["--channels", channels]
        assert main([command, str(run.path), "-o", str(output), *options]) == 0
        pictures.add(output.read_bytes())
    assert len(pictures) == 4
    assert main([command, str(run.path), "--channels", "3"]) == 2
    with pytest.raises(SystemExit):
        main([command, str(run.path), "--channels", "red"])


def test_a_huge_range_of_filters_is_refused_at_once(run):
    """It is not written out as numbers, which memory would not hold."""
    limit = 2 << 30
    code = (
        "import resource, sys; from filtertrack.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for command in ("animate", "filmstrip"):
        words = [command, run.path, "--filters", "0-9999999999"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("filtertrack: ")
        assert "filters" in done.stderr
        assert done.stderr.count("\n") == 1


def test_numbers_ranges_and_every_so_many():
    """Both ends of a range are meant."""
    assert numbers("3") == [3]
    assert numbers("0,2-4,10-30/10") == [0, range(2, 5), range(10, 31, 10)]


@pytest.mark.parametrize("text", ["", "a", "1-", "1-2/", "1-2/0", "1/2", "1-2-3"])
def test_what_is_none_is_said(text):
    """With an example of what is."""
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0,1,5-20"):
        numbers(text)
