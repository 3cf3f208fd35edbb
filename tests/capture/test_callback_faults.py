import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.capture.run_writer import RunWriter
from filtertrack.tensorboard_plugin.summaries import Summaries

WRITER = """
import sys
import numpy as np
from filtertrack import LayerInfo, Moment, Run, Snapshot
from filtertrack.tensorboard_plugin.summaries import Summaries

def snapshot(step):
    rng = np.random.default_rng(step)
    arrays = {"conv1/kernel": rng.normal(size=(3, 3, 3, 16)).astype(np.float32),
              "conv1/bias": rng.normal(size=16).astype(np.float32)}
    return Snapshot(Moment(step, 0, step, {"loss": step}), arrays)

if __name__ == "__main__":
    folder = sys.argv[1]
    if Run.exists(folder):
        run = Run(folder)
        start = max(run.steps, default=-1) + 1
        run.truncate(start)
    else:
        info = LayerInfo("conv1", "conv1", "Conv2D", "conv1/kernel", "conv1/bias", (3, 3, 3, 16),
                         (3, 0, 1, 2), (16, 3, 3, 3), "float32")
        run, start = Run.create(folder, [info]), 0
    summaries = Summaries(run)
    for step in range(start, 1_000_000):
        run.append(snapshot(step))
        print(step, flush=True)
        summaries.add(snapshot(step))
"""


def survive_kills(tmp_path, read_events, kills):
    """Kill a writer repeatedly at random moments, and check the run after each kill."""
    (tmp_path / "writer.py").write_text(WRITER)
    sys.path.insert(0, str(tmp_path))
    import writer

    sys.path.pop(0)
    folder, chance, reported = tmp_path / "run", random.Random(0), set()
    for number in range(kills):
        child = subprocess.Popen(
            [sys.executable, tmp_path / "writer.py", folder], stdout=subprocess.PIPE, text=True
        )
        with child:
            if number % 4:  # else it may die before its first snapshot
                reported.add(int(child.stdout.readline()))
                time.sleep(chance.uniform(0, 0.05))
            else:
                time.sleep(chance.uniform(0, 0.6))
            child.kill()
            reported.update(int(line) for line in child.stdout if line.endswith("\n"))
        if not Run.exists(folder):
            assert not reported
            continue
        run = Run(folder)
        assert reported <= set(run.steps)
        assert not run.verify()
        for step in run.steps[-30:]:
            expected = writer.snapshot(step).arrays
            for name, array in run.snapshot(step).arrays.items():
                assert array.tobytes() == expected[name].tobytes()
    assert len(reported) > kills
    events = [step for step, value in read_events(run.folder) if value.tag == "filters/conv1"]
    assert len(set(events)) > len(reported) / 2
    assert set(events) <= set(run.steps)


def test_a_run_survives_20_kills(tmp_path, read_events):
    """Every reported snapshot is stored bit for bit, and no partial file is visible."""
    survive_kills(tmp_path, read_events, 20)


@pytest.mark.slow
def test_a_run_survives_100_kills(tmp_path, read_events):
    """The same, a hundred times."""
    survive_kills(tmp_path, read_events, 100)


def test_a_killed_training_continues_its_run_when_started_again(tmp_path, run_program):
    """After SIGKILL, with ``BackupAndRestore``: one continuous run."""
    program = """
        kill = lambda: os.environ["KILL"] and os.kill(os.getpid(), 9)
        train(keras.callbacks.BackupAndRestore("backup"), FilterTracker("run"),
              at_epoch(epoch_6=kill))
        """
    assert run_program(program, KILL="yes").returncode == -signal.SIGKILL
    early = {step: Run(tmp_path / "run").kernels("conv", step) for step in (0, 1, 2)}
    again = run_program(program, KILL="")
    assert again.returncode == 0, again.stderr
    run = Run(tmp_path / "run")
    assert run.steps == list(range(11))
    assert not run.verify()
    for step, kernel in early.items():
        np.testing.assert_array_equal(run.kernels("conv", step), kernel)


def test_a_full_disk_at_the_start_is_an_error_before_training(tmp_path, run_program):
    """The manifest cannot be written."""
    result = run_program(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        train(FilterTracker("run"), at_epoch(epoch_0=lambda: print("trained")))
        """,
    )
    assert result.returncode == 1
    expected = "cannot start a run: writing 'run/filters/manifest.json' failed: File too large"
    assert f"FiltertrackError: {expected}" in result.stderr
    assert "trained" not in result.stdout


def test_a_full_disk_loses_snapshots_and_does_not_change_training(tmp_path, run_program):
    """No byte can be written in epochs 3 to 5; later snapshots are stored, losses are logged."""
    result = run_program(
        """
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        def limit(size):
            time.sleep(1)  # until the queue is written, or lost
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        full, free = lambda: limit(0), lambda: limit(hard)
        tracked = train(FilterTracker("run"), at_epoch(epoch_3=full, epoch_6=free))
        assert tracked == train()
        """,
    )
    assert result.returncode == 0, result.stderr
    steps = Run(tmp_path / "run").steps
    assert {0, 1, 7, 8, 9, 10} <= set(steps)
    assert not {4, 5} & set(steps)
    assert not Run(tmp_path / "run").verify()
    warnings = [line for line in result.stderr.splitlines() if "could not write snapshots" in line]
    assert len(warnings) == 1
    assert "File too large" in warnings[0]
    assert f"lost {11 - len(steps)} snapshots" in result.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise RuntimeError('mine')", 1),
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), 2)", -2),
        (
            "import signal; signal.signal(15, lambda *_: sys.exit(143)); os.kill(os.getpid(), 15)",
            143,
        ),
    ],
    ids=["exception", "sys.exit", "Ctrl-C", "SIGTERM that exits"],
)
def test_every_snapshot_is_stored_if_the_program_ends_early(tmp_path, run_program, end, code):
    """Keras calls no hook then."""
    result = run_program(
        f"""
        def end():
            {end}
        train(FilterTracker("run"), at_epoch(epoch_6=end))
        """,
    )
    assert result.returncode == code, result.stderr
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2, 3, 4, 5, 6]
    assert not run.verify()


def test_written_snapshots_are_complete_after_sigterm(tmp_path, run_program):
    """Without a handler Python runs no code then: queued snapshots are lost."""
    result = run_program(
        """
        def end():
            os.kill(os.getpid(), 15)
        train(FilterTracker("run"), at_epoch(epoch_6=end))
        """,
    )
    assert result.returncode == -15, result.stderr
    run = Run(tmp_path / "run")
    assert run.steps == [*range(len(run.steps))]
    assert not run.verify()


def test_fit_leaves_no_thread_and_no_open_file(tiny_model, data, tmp_path):
    """Of this package."""
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "run")])
    assert not [t for t in threading.enumerate() if t.name == "filtertrack"]
    if Path("/proc/self/fd").exists():
        files = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        links = [str(file.readlink()) for file in files]
        assert not [link for link in links if str(tmp_path) in link]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs another user in a child process")
def test_a_read_only_folder_is_an_error_that_names_it(tmp_path):
    """Tested as another user if the tests run as root."""
    tmp_path.chmod(0o555)
    for parent in tmp_path.parents:
        if os.access(parent, os.W_OK) and str(parent).count("/") > 1:
            parent.chmod(parent.stat().st_mode | 0o055)
    code = (
        "import os, pathlib, sys\n"
        "from filtertrack import FiltertrackError\n"
        "from filtertrack.capture.run_writer import RunWriter\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        f"try: RunWriter(pathlib.Path({str(tmp_path / 'run')!r}), None, strict=False)\n"
        "except FiltertrackError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    tmp_path.chmod(0o755)
    assert "cannot write in" in result.stdout
    assert "Permission denied" in result.stdout


def test_the_second_of_two_trackers_of_one_folder_is_refused(tiny_model, data, tmp_path):
    """Before its first batch; the first one's run is complete."""
    before = tiny_model.get_weights()
    trackers = [FilterTracker(tmp_path), FilterTracker(tmp_path)]
    with pytest.raises(FiltertrackError, match="another tracker is writing"):
        tiny_model.fit(*data, verbose=0, callbacks=trackers)
    for old, new in zip(before, tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    trackers[0].close()
    assert Run(tmp_path).steps == [0]


def test_a_folder_is_locked_until_the_writing_process_ends(tmp_path):
    """Also if that is killed."""
    code = (
        "import pathlib, sys, time\n"
        "from filtertrack.capture.run_writer import RunWriter\n"
        "held = RunWriter(pathlib.Path(sys.argv[1]), None, strict=False)\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FiltertrackError, match="another tracker is writing"):
            RunWriter(tmp_path, None, strict=False)
        other.send_signal(signal.SIGKILL)
        other.wait()
    RunWriter(tmp_path, None, strict=False).close()


def test_a_new_tracker_takes_the_folder_of_an_interrupted_fit_over(tiny_model, data, tmp_path):
    """As in a notebook: Ctrl-C, then the same cell again."""
    import keras

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    first = FilterTracker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tiny_model.fit(*data, verbose=0, callbacks=[first, stop])
    again = FilterTracker(tmp_path, existing="replace")
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[again])
    assert Run(tmp_path).steps == [0, 1, 2]
    first.close()
    assert Run(tmp_path).steps == [0, 1, 2]


def test_a_tracker_whose_folder_was_taken_over_logs_it(tiny_model, tmp_path, caplog):
    """In one program, with ``snapshot``: the second tracker has the folder."""
    caplog.set_level(logging.WARNING, "filtertrack")
    first, second = (FilterTracker(tmp_path, existing="replace") for _ in range(2))
    for tracker in (first, second):
        tracker.set_model(tiny_model)
        tracker.snapshot(0)
    first.snapshot(1)
    second.snapshot(2)
    second.close()
    first.close()
    assert Run(tmp_path).steps == [0, 2]
    assert "another training has taken over" in caplog.text


@pytest.mark.slow
def test_10_000_snapshots_cost_the_same_each(tmp_path, conv_info):
    """The last append takes as much CPU time as the first, and memory stays constant."""
    import resource

    info = conv_info(kernel_shape=(3, 3, 3, 32), bias=False)
    run = Run.create(tmp_path, [info])
    summaries = Summaries(run)
    kernel = np.random.default_rng(0).normal(size=info.kernel_shape).astype(np.float32)
    times, memory = [], {}
    for step in range(10_000):
        snapshot = Snapshot(Moment(step, step), {info.kernel: kernel + step})
        start = time.thread_time()
        run.append(snapshot)
        times.append(time.thread_time() - start)
        summaries.add(snapshot)
        if step in {1000, 9999}:
            memory[step] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first, last = np.median(times[100:1100]), np.median(times[-1000:])
    start = time.thread_time()
    Run(tmp_path).kernels("conv1", 9_999)
    opening = time.thread_time() - start
    growth = memory[9999] / memory[1000]
    figures = f"{1e3 * first:.2f} -> {1e3 * last:.2f} ms, memory x{growth:.3f}, {opening:.4f} s"
    sys.stdout.write(f"append {figures} to open and read\n")  # pytest -rP shows it
    assert last < 1.5 * first
    assert growth < 1.05
    assert opening < 0.1
