import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.capture.distributed import _groups, current_processes

PROGRAM = Path(__file__).with_name("distributed_training.py")
LIMIT = 120  # seconds: whatever runs longer hangs
LOG_STEPS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12]


@pytest.fixture(scope="module")
def backend():
    import keras

    return keras.backend.backend()


def start(*arguments):
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def ended(programs):
    """Wait for programs, each within the limit; return how they ended and what they printed."""
    try:
        printed = [program.communicate(timeout=LIMIT)[0] for program in programs]
    finally:
        for program in programs:
            program.kill()
    return [program.returncode for program in programs], printed


def two(part, folder):
    """Start one part of the program in two processes that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(PROGRAM, part, folder, rank, port) for rank in (0, 1)]


def saw(folder, part, rank=0):
    return json.loads((folder / f"{part}-{rank}.json").read_text())


@pytest.fixture(scope="module")
def together(backend, tmp_path_factory):
    """The folder of two processes of jax that have trained together, and of one that did alone."""
    if backend != "jax":
        pytest.skip("keras.distribution trains in several processes on jax only")
    folder = tmp_path_factory.mktemp("together")
    codes, printed = ended([*two("together", folder), start(PROGRAM, "alone", folder, 0, 0)])
    assert codes == [0, 0, 0], "\n".join(printed)
    return folder


@pytest.mark.parametrize("way", ["data", "within", "model"])
def test_two_processes_store_what_one_would(together, way):
    """Kernels that lie in both, whole in each, or a part in each: as one process trains them.

    Sums are taken in another order there, so to 1e-5 of each weight, or 1e-6.
    """
    one, several = Run(together / "alone"), Run(together / way)
    assert list(several.steps) == list(one.steps) == LOG_STEPS
    for step in LOG_STEPS:
        expected, stored = one.snapshot(step).arrays, several.snapshot(step).arrays
        assert stored.keys() == expected.keys()
        for member, array in expected.items():
            np.testing.assert_allclose(stored[member], array, rtol=1e-5, atol=1e-6)


def test_what_is_stored_is_what_each_process_held(together):
    """Each shard at its place in the whole, bit for bit, and the shards are all of it."""
    arrays = Run(together / "model").snapshot(12).arrays
    covered = {member: np.zeros(array.shape, bool) for member, array in arrays.items()}
    for rank in (0, 1):
        for member, shards in saw(together, "together", rank)["shards"].items():
            for place, values in shards:
                at = tuple(slice(*ends) for ends in place)
                np.testing.assert_array_equal(arrays[member][at], np.float32(values))
                covered[member][at] = True
    assert covered["first/kernel"].all()
    assert covered["second/kernel"].all()


def test_only_process_0_touches_files(together):
    """The other was given a folder that does not exist, and it still does not."""
    assert not (together / "not there").exists()


def test_what_process_0_finds_in_the_folder_stops_both(together):
    """A run that is there already, or one of other layers: the same error, before any batch."""
    seen = [saw(together, "together", rank) for rank in (0, 1)]
    assert "already holds a run" in seen[0]["held"]
    assert "holds a run of other layers" in seen[0]["other layers"]
    for what in ("held", "other layers"):
        assert seen[1][what] == seen[0][what]


def test_a_run_that_process_0_cannot_open_keeps_nobody_waiting(together):
    """Process 0 says why, and both read their parts at each snapshot, epoch's end and the end."""
    seen = [saw(together, "together", rank)["unopened"] for rank in (0, 1)]
    assert any("snapshots' is no folder; remove it" in line for line in seen[0])
    assert not [line for lines in seen for line in lines if "not all of them came" in line]


def test_schedules_fire_at_the_same_batches(together):
    """A function is asked for each batch in each process, and they agree."""
    seen = [saw(together, "together", rank)["batches"] for rank in (0, 1)]
    assert seen[0] == seen[1] == [[n // 7, n] for n in range(1, 13)]
    assert list(Run(together / "batches").steps) == [0, 4, 8, 12]


def test_two_processes_go_on_with_a_run(together):
    """``initial_epoch``: process 1, which cannot see the folder, goes on as process 0 does."""
    run = Run(together / "resumed")
    assert list(run.steps)[:8] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert run.steps[-1] == 18
    assert run.moment(18).epoch == 3


def test_a_writer_that_fails_stops_nobody(together):
    """The folder is gone on process 0 in mid-training: both train on, and process 0 says it."""
    seen = [saw(together, "together", rank)["lost"] for rank in (0, 1)]
    assert any("lost 2 snapshots" in line for line in seen[0])
    assert seen[1] == []


def test_a_process_alone_loses_its_snapshot_and_nothing_else(together):
    """It waits for a bounded time, says so, and the next one that all take is there."""
    assert list(Run(together / "lonely").steps) == [0, 3]
    said = saw(together, "together")["lonely"]
    assert any("step 1: its kernels are sharded over 2 processes" in line for line in said)


@pytest.mark.parametrize("part", ["interrupted", "stopped"])
def test_an_end_in_one_process_ends_both(backend, tmp_path, part):
    """Ctrl-C, or ``stop_training``, in process 1 only: the run up to there is whole.

    The other waits for the next batch of process 1 until jax gives the training up.
    """
    if backend != "jax":
        pytest.skip("keras.distribution trains in several processes on jax only")
    began = time.monotonic()
    codes, printed = ended(two(part, tmp_path))
    assert time.monotonic() - began < LIMIT / 2
    assert 0 not in codes[:1], printed[0]
    run = Run(tmp_path / part)
    assert list(run.steps) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    for step in run.steps:
        run.snapshot(step)
    if part == "interrupted":
        assert "KeyboardInterrupt" in printed[1]
    else:
        assert "not all of them came" in saw(tmp_path, part, 1)[0]


def test_two_devices_of_one_process(backend, tmp_path):
    """``MirroredStrategy``: what is stored is what both hold, and what one device would learn."""
    if backend != "tensorflow":
        pytest.skip("tf.distribute trains on tensorflow only")
    codes, printed = ended([start(PROGRAM, "mirrored", tmp_path, 0, 0)])
    assert codes == [0], printed[0]
    seen = saw(tmp_path, "mirrored")
    run, one = Run(tmp_path / "mirrored"), Run(tmp_path / "alone")
    assert seen["replicas"] == len(seen["kernels"]) == 2
    assert list(run.steps) == LOG_STEPS
    for kernel in seen["kernels"]:
        np.testing.assert_array_equal(
            run.snapshot(12).arrays["first/kernel"], np.array(kernel, "float32")
        )
    for step in LOG_STEPS:
        for member, array in one.snapshot(step).arrays.items():
            stored = run.snapshot(step).arrays[member]
            np.testing.assert_allclose(stored, array, rtol=1e-5, atol=1e-6)


def test_a_loop_under_torchrun(backend, tmp_path):
    """Rank 0 writes what both hold; the other does nothing, with the same calls."""
    if backend != "torch":
        pytest.skip("torchrun starts torch")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    codes, printed = ended([start(*torchrun, PROGRAM, "torch", tmp_path, 0, 0)])
    assert codes == [0], printed[0]
    run = Run(tmp_path / "torch")
    assert list(run.steps) == [0, 1, 2, 3, 4, 5, 6]
    assert run.moment(6).metrics["loss"] > 0
    for rank in (0, 1):
        held = np.array(json.loads((tmp_path / f"rank-{rank}.json").read_text()), "float32")
        np.testing.assert_array_equal(run.snapshot(6).arrays["first/kernel"], held)
    assert not (tmp_path / "not there").exists()


def test_a_process_alone_asks_nobody(backend):
    """It begins with what it finds, and always reads and writes."""
    alone = current_processes()
    assert alone.writes
    assert alone.takes_part
    assert alone.is_needed(None)
    assert alone.begin(None, lambda: 7) == 7


def test_kernels_are_brought_together_in_groups():
    """In order, each group within the limit but for one that is larger by itself."""
    arrays = [np.zeros(size << 20, np.uint8) for size in (100, 100, 100, 300, 1)]
    sizes = [[array.nbytes >> 20 for array in group] for group in _groups(arrays)]
    assert sizes == [[100, 100], [100], [300], [1]]
    assert list(_groups([])) == []
