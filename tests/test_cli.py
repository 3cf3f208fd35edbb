import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import filtertrack
from filtertrack.cli import main

ROOT = Path(__file__).parent.parent


def run_read_only(folder, *words, **options):
    """Run the real command while a folder is read-only; skip the test if that is not possible."""
    command = [sys.executable, "-m", "filtertrack", *words]
    if os.geteuid():
        folder.chmod(0o555)
    else:  # root may write everywhere except in a read-only mount
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, folder, *command]
        if subprocess.run([*command[:6], "true"], check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def test_counts_have_singular_and_plural(make_run, capsys):
    """Such as 1 snapshot and 2 snapshots."""
    for count, text in ((0, "0 snapshots"), (1, "1 snapshot"), (2, "2 snapshots")):
        run = make_run(steps=range(count), folder=f"run{count}")
        assert main(["info", str(run.path)]) == 0
        assert f"{run.path}: {text}" in capsys.readouterr().out
        assert main(["verify", str(run.path)]) == 0
        assert capsys.readouterr().out == f"{text}, none damaged\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a read-only folder")
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
def test_a_read_only_run(make_run, tmp_path, words, option):
    """One line names the folder and the option; no temporary file; another folder works."""
    run = make_run()
    words = [word.replace("RUN", str(run.path)) for word in words]
    done = run_read_only(run.path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"into the folder {str(run.path)!r}" in done.stderr
    assert f"give a file elsewhere with {option} FILE" in done.stderr
    assert ".tmp" not in done.stderr
    output = tmp_path / {"-o": "a.png", "--csv": "a.csv"}[option]
    done = run_read_only(run.path, *words, option, str(output))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{output}\n"
    assert output.exists()


@pytest.mark.parametrize("command", ["animate", "filmstrip", "measure", "info", "verify"])
def test_runs_below_a_folder_are_listed(make_run, tmp_path, capsys, command):
    """If the folder is not a run itself; at most eight of them."""
    for number in range(10):
        make_run(folder=f"runs/exp{number}", steps=[0])
    assert main([command, str(tmp_path / "runs")]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert f"below it are the runs {tmp_path}/runs/exp0, {tmp_path}/runs/exp1, " in stderr
    assert "and 2 more" in stderr
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
def test_errors_hold_hints(run, capsys, options, hint):
    """A pattern if a name does not match; more steps if too few are chosen."""
    assert main(["animate", str(run.path), *options]) == 2
    assert hint in capsys.readouterr().err


def test_info_prints_snapshots_and_layers(run, capsys):
    """Their number, the steps, and each layer with its kernel."""
    assert main(["info", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert "3 snapshots, step 0 to 2" in printed
    assert "3×3×4×6" in printed


def test_info_prints_what_is_read_of_each_layer(probed_run, capsys):
    """Of a run with probes: their number and shape, and the output that was read."""
    run = probed_run
    assert main(["info", str(run.path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "5 probes of 12×12×1 in 3 classes, maps of the first 3" in printed
    assert "the output of relu1, after conv1; maps 5×5 of 10×10; receptive field 3×3" in printed
    assert "without an activation; maps 5×5; receptive field unknown" in printed
    probes = run.probes
    run.store_probes(dataclasses.replace(probes, layers={"conv1": probes.layers["conv1"]}))
    assert main(["info", str(run.path)]) == 0
    assert "not recorded" in capsys.readouterr().out


def test_verify_names_damaged_probes_once(probed_run, capsys):
    """Not for each snapshot that refers to them."""
    file = probed_run.folder / "probes.npz"
    file.write_bytes(file.read_bytes()[:-5])
    assert main(["verify", str(probed_run.path)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("probes.npz") == 1
    assert "3 snapshots, 3 damaged" in printed


def test_info_of_damaged_probes_prints_the_layers(probed_run, capsys):
    """And names the damaged file."""
    file = probed_run.folder / "probes.npz"
    file.write_bytes(file.read_bytes()[:-5])
    assert main(["info", str(probed_run.path)]) == 0
    printed = capsys.readouterr().out
    assert "damaged file" in printed
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
def test_an_error_is_one_line_and_exit_code_2(make_run, tmp_path, capsys, arguments, message):
    """There is no traceback."""
    make_run()
    make_run(folder="one", steps=[0])
    (tmp_path / "folder.gif").mkdir()
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("filtertrack: ")
    assert message.format(tmp=tmp_path) in printed.err


def test_command_module_and_script_are_the_same(run, tmp_path):
    """``filtertrack``, ``python -m filtertrack`` and ``scripts/make_gif.py``."""
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


def test_one_blas_thread_unless_set(run, monkeypatch):
    """The environment variable of the user is kept."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert main(["info", str(run.path)]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert main(["info", str(run.path)]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
