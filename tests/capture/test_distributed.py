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
    """Wait for programs, each within the limit; return their exit codes and outputs."""
    try:
        printed = [program.communicate(timeout=LIMIT)[0] for program in programs]
    finally:
        for program in programs:
            program.kill()
    return [program.returncode for program in programs], printed


def two(part, folder):
    """Start one part of the program in two connected processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(PROGRAM, part, folder, rank, port) for rank in (0, 1)]


def result_of(folder, part, rank=0):
    return json.loads((folder / f"{part}-{rank}.json").read_text())


@pytest.fixture(scope="module")
def together(backend, tmp_path_factory):
    """Return the folder in which two processes of jax, and one alone, have trained."""
    if backend != "jax":
        pytest.skip("keras.distribution trains in several processes on jax only")
    folder = tmp_path_factory.mktemp("together")
    codes, printed = ended([*two("together", folder), start(PROGRAM, "alone", folder, 0, 0)])
    assert codes == [0, 0, 0], "\n".join(printed)
    return folder


@pytest.mark.parametrize("way", ["data", "within", "model"])
def test_two_processes_store_the_same_weights_as_one(together, way):
    """With kernels complete in each process, complete in process 0, or sharded over both."""
    one, several = Run(together / "alone"), Run(together / way)
    assert list(several.steps) == list(one.steps) == LOG_STEPS
    for step in LOG_STEPS:
        expected, stored = one.snapshot(step).arrays, several.snapshot(step).arrays
        assert stored.keys() == expected.keys()
        for member, array in expected.items():
            np.testing.assert_allclose(stored[member], array, rtol=1e-5, atol=1e-6)


def assert_same_responses(several, one):
    """Both runs hold the same responses at each step, as far as float32 is exact."""
    for step in one.steps:
        for layer in one.probes.layers:
            expected = one.probe_responses(layer, step).statistics
            stored = several.probe_responses(layer, step).statistics
            np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["data", "within"])
def test_process_0_alone_shows_probes_where_it_holds_every_weight(together, way):
    """Without a collective operation, for which it would wait for the others."""
    assert_same_responses(Run(together / way), Run(together / "alone"))


def test_probes_are_left_out_where_weights_are_sharded_over_processes(together):
    """Process 0 says so in one sentence; nothing hangs, and the weights are stored."""
    said = [result_of(together, "together", rank)["probes"] for rank in (0, 1)]
    (sentence,) = said[0]
    assert "its weights are sharded over several processes" in sentence
    assert said[1] == []
    run = Run(together / "model")
    assert not any(run.moment(step).probed for step in run.steps)


def test_several_devices_of_one_process_show_probes(backend, tmp_path):
    """With complete kernels, and with kernels that are sharded over the devices."""
    if backend != "jax":
        pytest.skip("keras.distribution trains on several devices on jax only")
    programs = [start(PROGRAM, part, tmp_path, 0, 0) for part in ("alone", "devices")]
    codes, printed = ended(programs)
    assert codes == [0, 0], "\n".join(printed)
    for way in ("data", "model"):
        assert_same_responses(Run(tmp_path / way), Run(tmp_path / "alone"))


def test_each_shard_is_stored_at_its_position(together):
    """Bit for bit, and together the shards are the whole kernel."""
    arrays = Run(together / "model").snapshot(12).arrays
    covered = {member: np.zeros(array.shape, bool) for member, array in arrays.items()}
    for rank in (0, 1):
        for member, shards in result_of(together, "together", rank)["shards"].items():
            for slices, values in shards:
                at = tuple(slice(*ends) for ends in slices)
                np.testing.assert_array_equal(arrays[member][at], np.float32(values))
                covered[member][at] = True
    assert covered["first/kernel"].all()
    assert covered["second/kernel"].all()


def test_only_process_0_writes_files(together):
    """The other process has a folder that does not exist, and it is not created."""
    assert not (together / "not there").exists()


def test_an_error_of_process_0_at_the_start_is_raised_in_both(together):
    """An existing run, or one of other layers: the same error, before any batch."""
    results = [result_of(together, "together", rank) for rank in (0, 1)]
    assert "already holds a run" in results[0]["held"]
    assert "holds a run of other layers" in results[0]["other layers"]
    for what in ("held", "other layers"):
        assert results[1][what] == results[0][what]


def test_a_run_that_process_0_cannot_open_delays_no_process(together):
    """Process 0 logs why, and both still read their shards at each snapshot."""
    results = [result_of(together, "together", rank)["unopened"] for rank in (0, 1)]
    assert any("snapshots' is no folder; remove it" in line for line in results[0])
    assert not [line for lines in results for line in lines if "not all of them came" in line]


def test_schedules_take_the_same_batches_in_both_processes(together):
    """A function is called for each batch in each process."""
    results = [result_of(together, "together", rank)["batches"] for rank in (0, 1)]
    assert results[0] == results[1] == [[n // 7, n] for n in range(1, 13)]
    assert list(Run(together / "batches").steps) == [0, 4, 8, 12]


def test_two_processes_continue_a_run(together):
    """With ``initial_epoch``; process 1, which has no access to the folder, counts as process 0."""
    run = Run(together / "resumed")
    assert list(run.steps)[:8] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert run.steps[-1] == 18
    assert run.moment(18).epoch == 3


def test_a_failing_writer_stops_no_process(together):
    """The folder of process 0 disappears during training; process 0 logs the losses."""
    results = [result_of(together, "together", rank)["lost"] for rank in (0, 1)]
    assert any("lost 2 snapshots" in line for line in results[0])
    assert results[1] == []


def test_a_snapshot_of_one_process_alone_times_out_and_is_lost(together):
    """It is logged, and the next snapshot of all processes is stored."""
    assert list(Run(together / "lonely").steps) == [0, 3]
    logged = result_of(together, "together")["lonely"]
    assert any("step 1: its kernels are sharded over 2 processes" in line for line in logged)


@pytest.mark.parametrize("part", ["interrupted", "stopped"])
def test_ctrl_c_or_a_stop_in_one_process_leaves_a_complete_run(backend, tmp_path, part):
    """The other one waits for the next batch of process 1 until jax ends the training."""
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
        assert "not all of them came" in result_of(tmp_path, part, 1)[0]


def test_mirrored_strategy_stores_the_weights_of_both_devices(backend, tmp_path):
    """They equal those of training on one device."""
    if backend != "tensorflow":
        pytest.skip("tf.distribute trains on tensorflow only")
    codes, printed = ended([start(PROGRAM, "mirrored", tmp_path, 0, 0)])
    assert codes == [0], printed[0]
    results = result_of(tmp_path, "mirrored")
    run, one = Run(tmp_path / "mirrored"), Run(tmp_path / "alone")
    assert results["replicas"] == len(results["kernels"]) == 2
    assert list(run.steps) == LOG_STEPS
    for kernel in results["kernels"]:
        np.testing.assert_array_equal(
            run.snapshot(12).arrays["first/kernel"], np.array(kernel, "float32")
        )
    for step in LOG_STEPS:
        for member, array in one.snapshot(step).arrays.items():
            stored = run.snapshot(step).arrays[member]
            np.testing.assert_allclose(stored, array, rtol=1e-5, atol=1e-6)
    assert_same_responses(run, one)


def test_only_rank_0_writes_under_torchrun(backend, tmp_path):
    """With the same calls in each process."""
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
    assert all(run.moment(step).probed for step in run.steps)
    assert not (tmp_path / "not there").exists()


def test_a_single_process_begins_and_reads_by_itself(backend):
    """Without communication."""
    alone = current_processes()
    assert alone.writes
    assert alone.takes_part
    assert alone.is_needed(None)
    assert alone.begin(None, lambda: 7) == 7


def test_sharded_kernels_are_gathered_in_groups_of_limited_size():
    """In order; a group may be one larger kernel."""
    arrays = [np.zeros(size << 20, np.uint8) for size in (100, 100, 100, 300, 1)]
    sizes = [[array.nbytes >> 20 for array in group] for group in _groups(arrays)]
    assert sizes == [[100, 100], [100], [300], [1]]
    assert list(_groups([])) == []
