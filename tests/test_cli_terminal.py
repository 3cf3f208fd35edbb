import csv
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from filtertrack.cli import main


def read_all(terminal):
    """Return what is written to a pseudo-terminal until its other side is closed."""
    output = b""
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            output += part
    os.close(terminal)
    return output


def info_in_terminal(run, columns):
    """Return the output of ``info`` in a pseudo-terminal with a number of columns."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "filtertrack", "info", run.path]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment):
        os.close(slave)
        output = read_all(master)
    return output.decode()


def measure_in_pipe(run, *options, columns=40):
    """Return the output of ``measure`` into a pipe, with ``COLUMNS`` set."""
    command = [sys.executable, "-m", "filtertrack", "measure", run, *options]
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout


@pytest.mark.parametrize("command", ["info", "measure", "verify", "animate", "filmstrip"])
def test_an_ascii_terminal(make_run, command):
    """Characters that its encoding lacks are replaced, in tables, names and numbers."""
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
    """It is drawn on a pseudo-terminal without an error."""
    pty = pytest.importorskip("pty")
    run = make_run(steps=range(60))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "filtertrack", "verify", run.path]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        output = read_all(master)
    assert process.returncode == 0
    assert b"Error" not in output
    assert b"60 snapshots, none damaged" in output


def test_info_shows_whole_names(make_run, conv_info):
    """In a pipe on one line; in a terminal wrapped into the next."""
    names = [f"xception/block_{n}/separable_conv2d_of_a_long_name_{n}_depthwise" for n in (1, 2)]
    run = make_run(*(conv_info(name, bias=False) for name in names), steps=[0])
    command = [sys.executable, "-m", "filtertrack", "info", run.path]
    environment = {**os.environ, "COLUMNS": "80"}
    printed = subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout
    assert all(printed.count(name) == 1 for name in names)
    assert "1 snapshot, step 0\n" in printed
    lines = [line.strip() for line in info_in_terminal(run, 80).splitlines()]
    columns = [
        [part.strip() for part in line.split("\u2502")] for line in lines if "\u2502" in line
    ]
    assert "".join(row[1] for row in columns) == "".join(names)


def test_paths_are_printed_without_control_characters(make_run, capsys):
    """In the output and in the errors of every command."""
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


def test_a_progress_bar_on_a_terminal(make_run, tmp_path):
    """On stderr; stdout holds only the file's path."""
    pty = pytest.importorskip("pty")
    run = make_run(steps=range(60))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "filtertrack", "animate", run.path, "-o", tmp_path / "a.webp"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, text=True, env=environment
    ) as process:
        os.close(slave)
        output = b""
        with suppress(OSError):  # raised at the end of the terminal
            while part := os.read(master, 4096):
                output += part
        printed = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    assert printed == f"{tmp_path / 'a.webp'}\n"
    assert "drawing" in output.decode()
    assert "100%" in output.decode()


def test_errors_hold_no_control_characters(tmp_path, capsys):
    """Such as those in the name of a folder that is not there."""
    assert main(["info", str(tmp_path / "a\x1b[2Jb")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_tables_are_not_cut_off_in_a_pipe(planted_run, make_run, conv_info):
    """Tables keep their full width, even if ``COLUMNS`` is 40."""
    narrow, wide = (
        measure_in_pipe(planted_run.path, "--layers", "conv1", columns=n) for n in (40, 300)
    )
    assert "…" not in narrow

    def lines(text):
        return [line.rstrip(" ─") for line in text.splitlines()]

    assert lines(narrow) == lines(wide)
    name = "functional_1/backbone/block_12/expand_depthwise_conv2d"
    long = make_run(conv_info(name, (5, 5, 1, 2), bias=False))
    printed = measure_in_pipe(long.path)
    assert printed.count(name) == 5, "in a sentence, three tables and a title"
    title = next(line for line in printed.splitlines() if "The filters of" in line)
    assert title.rstrip() == f"The filters of {name}: step 2, epoch 2 · batch 20"


def test_markup_in_names_is_printed_as_text(make_run, conv_info, capsys):
    """Markup, emoji codes and links in names and paths have no effect."""
    path = "[bold red]x[/] :smile: https://a.b $x$"
    run = make_run(conv_info("a.b_c-", path=path, class_name="[link=x]C[/link]"), folder="[red]r")
    assert main(["measure", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("a.b_c-") == 5
    assert "\x1b" not in printed
    output = run.path / "[b]a.csv"
    assert main(["measure", str(run.path), "--csv", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    rows = csv.DictReader(output.read_text().splitlines())
    assert {row["layer"] for row in rows} == {"a.b_c-"}


def test_info_has_no_title_but_its_first_line(run, capsys):
    """A table without a title prints none."""
    assert main(["info", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "None" not in [line.strip() for line in lines]


@pytest.mark.parametrize("command", ["info", "measure"])
def test_a_reader_that_ends_early_causes_no_message(make_run, command):
    """As ``head`` does: with the exit code of a program that SIGPIPE has ended."""
    words = [sys.executable, "-m", "filtertrack", command, make_run().path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 141
