import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from filtertrack import measure, plot_trajectories
from filtertrack.cli import main
from filtertrack.outputs.tables import write_csv, write_json


def test_measure_prints_sentences_and_tables(planted_run, capsys):
    """A sentence and a row a layer; nothing on stderr, and no file is written."""
    before = sorted(planted_run.path.rglob("*"))
    assert main(["measure", str(planted_run.path)]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert printed.out.splitlines()[0].startswith("conv1: 2 edges, 1 blob, 1 colour blob and")
    assert printed.out.splitlines()[1].startswith("conv2: 3 edges and 1 blob of 4 filters")
    assert "What the filters are: step 20" in printed.out
    assert "How they changed: step 20" in printed.out
    assert "The layers as a whole: step 20" in printed.out
    lines = printed.out.splitlines()[2:]
    rows = [line.split() for line in lines if line.startswith("conv")]
    assert rows[0] == ["conv1", "2", "1", "1", "1", "3"]
    assert rows[1] == ["conv2", "3", "1", "–", "–", "–"]
    assert rows[2][:5] == ["conv1", "8", "5", "–", "10"]
    assert rows[3][:5] == ["conv2", "4", "1", "5", "5"]
    assert [row[0] for row in rows] == ["conv1", "conv2"] * 3
    assert printed.out.endswith("Each filter of a layer: --layers NAME\n")
    assert sorted(planted_run.path.rglob("*")) == before


def test_measure_of_one_layer_prints_its_filters(planted_run, capsys):
    """A third table with a row a filter, at the given step."""
    for step, label in (("20", "edge"), ("1", "unstructured")):
        assert main(["measure", str(planted_run.path), "--layers", "conv1", "--at", step]) == 0
        printed = capsys.readouterr().out
        rows = printed.partition("The filters of conv1: step " + step)[2].splitlines()
        rows = [line.split() for line in rows if line.strip()[:1].isdigit()]
        assert [row[0] for row in rows] == list("01234567")
        assert rows[0][1] == label
        assert "--layers NAME" not in printed


def test_measure_of_a_run_with_probes_prints_its_responses(probed_run, capsys):
    """A sentence and a table of all layers; of one layer also a table of its filters."""
    assert main(["measure", str(probed_run.path)]) == 0
    printed = capsys.readouterr().out
    assert "1 filter silent (number 1), with no response to any of 5 probes (read: the" in printed
    assert "What the filters respond to: step 2, epoch 2 · batch 20; 5 probes" in printed
    assert "What the filters of conv1 respond to" not in printed
    assert main(["measure", str(probed_run.path), "--layers", "conv1"]) == 0
    printed = capsys.readouterr().out
    rows = printed.partition("What the filters of conv1 respond to: step 2")[2].splitlines()
    rows = [line.split() for line in rows if line.strip()[:1].isdigit()]
    assert rows[1] == ["1", "yes", "–", "–", "–", "–"]
    assert main(["measure", str(probed_run.path), "--layers", "conv2"]) == 0
    assert "What the filters of conv2 respond to" not in capsys.readouterr().out


def test_measure_writes_files(planted_run, tmp_path, capsys):
    """They equal those that Python writes; only their paths are printed."""
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


def test_at_layers_and_steps_select_rows(planted_run, tmp_path):
    """One step of one layer; drift is still from the start of the run."""
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
def test_measure_checks_its_options_first(make_run, tmp_path, capsys, options, message):
    """One line, exit code 2 and no file."""
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
def test_invalid_options_read_no_snapshot(make_run, tmp_path, monkeypatch, caplog, options):
    """Measuring a damaged snapshot would log its name."""
    run = make_run(steps=range(4))
    run.file(0).write_bytes(b"damaged")
    monkeypatch.chdir(tmp_path)
    assert main(["measure", str(run.path), *options]) == 2
    assert not caplog.text


@pytest.mark.parametrize("path", ["{tmp}/nothing", "{tmp}", "{tmp}/file"])
def test_measure_without_a_run(tmp_path, capsys, path):
    """A missing folder, one without a run, or a file: one line."""
    (tmp_path / "file").write_text("text")
    path = path.format(tmp=tmp_path)
    assert main(["measure", path, "--csv", str(tmp_path / "a.csv")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"filtertrack: no run in {path!r}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(("option", "ending"), [("csv", "csv"), ("json", "json"), ("plot", "pdf")])
def test_a_file_that_cannot_be_written(run, tmp_path, capsys, option, ending):
    """Its name is that of a folder, or the disk is read-only: exit code 2 and no new file."""
    (tmp_path / f"a.{ending}").mkdir()
    targets = [tmp_path / f"a.{ending}"]
    if Path("/proc/self").exists():
        targets.append(Path("/proc") / f"a.{ending}")  # not writable, even for root
    for target in targets:
        assert main(["measure", str(run.path), f"--{option}", str(target)]) == 2
        printed = capsys.readouterr()
        assert not printed.out
        assert printed.err.count("\n") == 1
        assert target.name in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", "run"]


def test_ctrl_c_while_measuring_keeps_the_old_file(make_run, conv_info, tmp_path):
    """A real SIGINT: exit code 130, one line, no new file."""
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
        printed = ""
        while "measuring" not in printed:  # until the progress bar is drawn
            printed += os.read(master, 4096).decode()
        process.send_signal(signal.SIGINT)
        with suppress(OSError):
            while part := os.read(master, 4096):
                printed += part.decode()
        assert process.wait(timeout=60) == 130
        assert not process.stdout.read()
    os.close(master)
    assert "filtertrack: interrupted" in printed
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "run"]


def test_at_measures_a_step_beside_the_chosen_ones(make_run, capsys):
    """``--at`` may name a step that ``--steps`` leaves out."""
    run = make_run(steps=range(4))
    assert main(["measure", str(run.path), "--steps", "0,2", "--at", "1"]) == 0
    assert "step 1," in capsys.readouterr().out


def test_layers_of_1x1_kernels_are_one_line(make_run, conv_info, tmp_path, capsys):
    """Unless they are selected; a CSV file has them all."""
    names = ["conv", "one", "two"]
    shapes = [(5, 5, 1, 4), (1, 1, 4, 4), (1, 1, 4, 2)]
    run = make_run(*map(conv_info, names, shapes))
    assert main(["measure", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "and 2 layers with 1x1 kernels, which have no spatial pattern: --layers NAME measures one"
    )
    assert not [line for line in lines if line.strip().startswith(("one", "two"))]
    for selected in ("one", "*"):
        assert main(["measure", str(run.path), "--layers", selected]) == 0
        printed = capsys.readouterr().out
        assert "one: 4 filters of 1x1 pixels, which have no spatial pattern." in printed
        assert "and 2 layers" not in printed
    assert main(["measure", str(run.path), "--csv", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open() as file:
        assert {row["layer"] for row in csv.DictReader(file)} == set(names)


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_titles_are_on_one_line(planted_run, capsys, monkeypatch, columns):
    """Also above a narrow table."""
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["measure", str(planted_run.path), "--layers", "conv2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "What the filters are: step 20, epoch 20 · batch 200" in [line.strip() for line in lines]
