import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import filtertrack
from filtertrack.cli import main

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
            "'{tmp}/one' holds 1 readable snapshot; an animation needs at least 2",
        ),
        (["animate", "{tmp}/run", "-o", "a.bmp"], "'a.bmp': expected a name that ends in .gif"),
        (["animate", "{tmp}/run", "--layer", "conv"], "no layer 'conv' in '{tmp}/run'; it has:"),
        (["animate", "{tmp}/run", "-o", "{tmp}/no/a.gif"], "there is no folder '{tmp}/no'"),
        (["animate", "{tmp}/run", "-o", "{tmp}/folder.gif"], "folder.gif"),
        (["info", "{tmp}/nothing"], "no run in '{tmp}/nothing'"),
    ],
    ids=["no run", "one snapshot", "ending", "layer", "no folder", "is a folder", "info"],
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
