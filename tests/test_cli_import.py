"""``filtertrack import``, and what other commands say of a checkpoint file."""

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, animate, filmstrip, measure
from filtertrack.cli import main

NO_STEP_0 = (
    "no step 0: checkpoints do not hold the weights before training, so drift and differences "
    "are from"
)


@pytest.fixture
def folder(tmp_path, save):
    """A folder of checkpoints of three epochs, and one without a number."""
    for epoch in (1, 2, 4):
        save(f"ckpt/epoch_{epoch}-val_loss{1 / epoch:.2f}.keras", epoch)
    save("ckpt/best.keras", 4)
    return tmp_path / "ckpt"


def test_the_command_makes_a_run(folder, tmp_path, capsys):
    """It prints what the run holds, and what it lacks; every other command works on it."""
    run = str(tmp_path / "run")
    assert main(["import", f"{folder}/*.keras", "-o", run]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines() == [
        f"3 files imported into {run}, 1 layer (steps: epoch in the name)",
        f"{NO_STEP_0} epoch 1",
        "epoch 3 is missing (save_best_only?)",
        f"left out: {folder}/best.keras (no number in its name)",
    ]
    assert Run(run).steps == [1, 2, 4]
    for words in (["animate"], ["filmstrip"], ["measure"], ["info"], ["verify"]):
        assert main([*words, run]) == 0
    assert "before training" not in capsys.readouterr().out


def test_a_dry_run_prints_a_table_and_writes_nothing(folder, tmp_path, capsys):
    """Each file with its step, metrics, kernels and shapes."""
    run = tmp_path / "run"
    words = ["import", str(folder), "-o", str(run), "--dry-run"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "epoch_4-" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][1:] == [
        "4",
        "epoch 4",
        "val_loss 0.25",
        "1",
        "3×3×1×4",
    ]
    assert "3 files would be imported (steps: epoch in the name)" in printed
    assert "no step 0" in printed
    assert "best.keras (no number in its name)" in printed
    assert not run.exists()


def test_a_damaged_file_gives_exit_code_1(folder, tmp_path, capsys):
    """The run holds the others, and the output names the damaged one; so does a dry run."""
    (folder / "epoch_2-val_loss0.50.keras").write_bytes(b"damaged")
    words = ["import", str(folder), "-o", str(tmp_path / "run")]
    for more in (["--dry-run"], []):
        assert main([*words, *more]) == 1
        printed = capsys.readouterr().out
        assert f"left out: {folder}/epoch_2-val_loss0.50.keras, step 2 (" in printed
        assert "cannot read" not in printed
        assert "2 files " in printed
    assert Run(tmp_path / "run").steps == [1, 4]


def test_a_template_steps_and_layers_are_options(folder, tmp_path, capsys):
    """Several files may be given before or after the options, as a shell expands patterns."""
    files = sorted(str(file) for file in folder.glob("epoch*"))
    template = f"{folder}/epoch_{{epoch}}-{{metric:.2f}}.keras".replace("-{", "-val_loss{")
    for number, (words, steps) in enumerate(
        [
            ([template], [1, 2, 4]),
            ([*files, "--steps", "5,10-20/10"], [5, 10, 20]),
            (["--layers", "conv*", *files], [1, 2, 4]),
            ([*files, "--layers", "conv", "c*"], [1, 2, 4]),
        ]
    ):
        run = tmp_path / f"run{number}"
        assert main(["import", *words, "-o", str(run)]) == 0, capsys.readouterr().err
        assert Run(run).steps == steps
    assert Run(tmp_path / "run0").moment(4).metrics == {"metric": 0.25}


def test_an_existing_run_is_refused(folder, run, capsys):
    """Before any file is read, also by a dry run."""
    for more in ([], ["--dry-run"]):
        assert main(["import", str(folder), "-o", str(run.path), *more]) == 2
        assert "already holds a run; give another folder" in capsys.readouterr().err


def test_an_output_that_is_no_folder_is_refused(folder, tmp_path, capsys):
    """Before any file is read, also by a dry run: a file, and a path below one."""
    (tmp_path / "file").write_text("the user's own file")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "filters").write_text("the user's own file")
    for output in ("file", "file/run", "run"):
        for more in ([], ["--dry-run"]):
            assert main(["import", str(folder), "-o", str(tmp_path / output), *more]) == 2
            printed = capsys.readouterr()
            assert printed.out == ""
            assert printed.err.count("is no folder; give another folder") == 1


@pytest.fixture
def dense(tmp_path):
    """A model without a convolution, in the current folder."""
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")


def test_a_file_without_a_convolution_is_left_out(save, dense, tmp_path, capfd, monkeypatch):
    """The reason is printed once, with the step that was counted for the file."""
    save("model.keras")
    monkeypatch.chdir(tmp_path)
    for more in (["--dry-run"], []):
        assert main(["import", "model.keras", "./dense.keras", "-o", "run", *more]) == 1
        printed = capfd.readouterr()
        assert printed.err == ""
        assert printed.out.count("it holds no convolution") == 1
        assert "left out: ./dense.keras, step 1 (it holds no convolution)\n" in printed.out
        assert "cannot" not in printed.out
    assert Run("run").steps == [2]


def test_nothing_to_import_is_one_line(dense, tmp_path, capfd, monkeypatch):
    """It names each file once, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert main(["import", "dense.keras", "-o", "run"]) == 2
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "filtertrack: dense.keras: it holds no convolution\n",
    )
    assert not (tmp_path / "run").exists()


def test_the_same_step_twice_is_refused(folder, save, tmp_path, capsys):
    """One line names both files and the remedies."""
    save("ckpt/epoch_2-val_loss0.40.keras")
    assert main(["import", str(folder), "-o", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "epoch_2-val_loss0.40.keras" in printed
    assert "epoch_2-val_loss0.50.keras" in printed
    assert "--steps" in printed


@pytest.mark.parametrize(
    "command", ["animate", "filmstrip", "html", "measure", "view", "info", "verify"]
)
def test_other_commands_say_what_to_do_with_a_checkpoint(save, capsys, command):
    """The message names ``plot`` and ``import``."""
    path = save("model.keras")
    assert main([command, str(path)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{str(path)!r} is a checkpoint file and no run: `filtertrack plot`" in printed
    assert "`filtertrack import`" in printed


@pytest.mark.parametrize("function", [filmstrip, animate, measure])
def test_functions_of_runs_say_what_to_do_with_a_model(function, tiny_model):
    """The message names what draws a model, and what makes a run."""
    for value in (tiny_model, np.zeros((3, 3, 1, 4))):
        with pytest.raises(FiltertrackError, match=r"got \w+: plot_filters .* FilterTracker"):
            function(value)
