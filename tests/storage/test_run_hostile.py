import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, measure
from filtertrack.capture.run_writer import RunWriter
from filtertrack.outputs.tables import write_csv

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(path):
    """Read whatever a run says it holds; only this package's error may come out."""
    try:
        run = Run(path)
        repr(run)
        run.verify()
    except FiltertrackError:
        pass


@FUZZ
@given(data=st.data())
def test_a_manifest_with_anything_in_it(run, forge_manifest, data):
    """Its checksum right, any part of it replaced by any JSON."""
    manifest = json.loads(
        (Path(__file__).parents[1] / "golden/run-v1/filters/manifest.json").read_text()
    )
    where = data.draw(st.sampled_from(["software", "layers", "created", "a layer", "a field"]))
    value = data.draw(JSON)
    if where == "a layer":
        manifest["layers"][0] = value
    elif where == "a field":
        field = data.draw(st.sampled_from(sorted(manifest["layers"][0])))
        manifest["layers"][0][field] = value
    else:
        manifest[where] = value
    forge_manifest(run.folder / "manifest.json", manifest)
    read_all(run.path)


@FUZZ
@given(content=st.binary(max_size=300))
def test_a_snapshot_of_anything(run, content):
    """Any bytes as the file, and any bytes as each of its members."""
    run.file(0).write_bytes(content)
    read_all(run.path)
    with zipfile.ZipFile(run.file(1), "w") as archive:
        for member in ("conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias", "meta"):
            archive.writestr(f"{member}.npy", b"\x93NUMPY\x01\x00" + content)
    read_all(run.path)


def test_a_run_whose_files_are_links(run, tmp_path):
    """As DVC, git-annex and caches keep them: read like any other."""
    expected = Run(run.path).snapshot(0).arrays["conv1/kernel"]
    for number, file in enumerate([run.file(0), run.folder / "manifest.json"]):
        file.rename(tmp_path / f"object{number}")
        file.symlink_to(tmp_path / f"object{number}")
    linked = Run(run.path)
    assert not linked.verify()
    assert linked.snapshot(0).arrays["conv1/kernel"].tobytes() == expected.tobytes()


def test_a_link_whose_file_was_not_fetched(run, tmp_path):
    """As git-annex leaves them: said so, not that there is no such snapshot or run."""
    run.file(1).unlink()
    run.file(1).symlink_to(tmp_path / "nothing")
    assert list(run.stamps()) == run.steps == [0, 1, 2]
    assert "link to a file that is not there" in run.verify()[1]
    manifest = run.folder / "manifest.json"
    manifest.unlink()
    manifest.symlink_to(tmp_path / "nothing")
    with pytest.raises(FiltertrackError, match=r"manifest\.json' is a link to a file that is not"):
        Run(run.path)


def test_a_pipe_in_place_of_a_file(run):
    """Refused at once, as a snapshot and as the manifest, also behind a link."""
    for file in (run.file(0), run.file(1), run.folder / "manifest.json"):
        file.unlink()
    os.mkfifo(run.file(0))
    run.file(1).symlink_to(run.file(0))
    for step in (0, 1):
        with pytest.raises(FiltertrackError, match="not a regular file"):
            run.kernels("conv1", step)
    assert list(run.verify()) == [0, 1]
    os.mkfifo(run.folder / "manifest.json")
    with pytest.raises(FiltertrackError, match="not a regular file"):
        Run(run.path)


def test_nothing_is_written_through_links_of_a_run(run, tmp_path):
    """Whatever a run ships in the place of a file that is going to be written."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    names = [f".evolution.gif.{number}.tmp" for number in (1, os.getpid(), 32768)]
    for name in (*names, "evolution.gif", "a.csv"):
        (run.path / name).symlink_to(victim)
    locked = run.folder / ".lock"
    for link in (run.file(7), locked):
        link.symlink_to(victim)
    animate(run, run.path / "evolution.gif", size=50, steps=[0, 1])
    write_csv(measure(run, steps=[0, 1]), run.path / "a.csv")
    recording = RunWriter(run.path, None)
    recording.open(list(run.layers.values()), {})
    recording.begin()
    recording.put(Snapshot(Moment(7, 7), run.snapshot(0).arrays))
    recording.close()
    assert run.steps == [0, 1, 2, 7]
    assert victim.read_bytes() == b"mine"
    assert not locked.is_symlink()


def test_a_folder_of_snapshots_that_is_a_link(run, tmp_path):
    """Read; and where the run is deleted, the link goes and what it points to stays."""
    elsewhere = tmp_path / "elsewhere"
    (run.folder / "snapshots").rename(elsewhere)
    (run.folder / "snapshots").symlink_to(elsewhere)
    assert not Run(run.path).verify()
    Run.delete(run.path)
    assert not Run.exists(run.path)
    assert len(list(elsewhere.iterdir())) == 3


READER = Path(__file__).parent / "hostile_runs.py"


@pytest.fixture(
    scope="module", params=["read", pytest.param("draw", marks=pytest.mark.slow)], name="hostile"
)
def hostile_runs(request, tmp_path_factory):
    """What came out of each run of ``hostile_runs.py``, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes memory
    for what in ("make", request.param):
        command = [sys.executable, READER, what, folder]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_only_our_error_comes_out_of_hostile_runs(hostile):
    """Of 150 and more: each way of reading succeeds, or ends in one printable error of ours."""
    _, found = hostile
    assert len(found) > 150
    foreign = [
        f"{run['name']}, {act}: {error}"
        for run in found
        for act, error in run["found"].items()
        if error and not error.startswith("FiltertrackError: ")
    ]
    assert not foreign, "\n".join(foreign)


def test_hostile_runs_take_bounded_memory_and_time(hostile):
    """At most 1 GB in all, and no run more than a minute."""
    _, found = hostile
    assert max(run["peak"] for run in found) < 1e9
    assert max(run["seconds"] for run in found) < 60


def test_hostile_runs_write_nothing_outside(hostile):
    """What lies beside them is what was there."""
    folder, found = hostile
    there = {path.name for path in folder.iterdir()}
    assert there == {"victim", "elsewhere.npz", *map(str, range(len(found)))}
    assert (folder / "victim").read_bytes() == b"mine"


def test_a_member_larger_than_the_manifest_says(run):
    """Refused by its size, before its bytes are read."""
    with zipfile.ZipFile(run.file(0), "w") as archive:
        archive.writestr("conv1/kernel.npy", bytes(1 << 20))
    with pytest.raises(FiltertrackError, match="claims 1048576 bytes"):
        run.kernels("conv1", 0)


def test_every_bit_of_a_manifest(tmp_path, conv_info):
    """Flipped one at a time: the same is read, or the file is named."""
    run = Run.create(tmp_path, [conv_info()])
    file = run.folder / "manifest.json"
    whole, flips, noticed = file.read_bytes(), 0, 0
    for at in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            file.write_bytes(flipped)
            flips += 1
            try:
                again = Run(tmp_path)
            except FiltertrackError as error:
                noticed += str(file) in str(error) or "newer than" in str(error)
                continue
            assert dict(again.layers) == dict(run.layers)
            assert dict(again.software) == dict(run.software)
    assert noticed > 0.8 * flips


def test_random_bits_of_a_larger_run(make_run, conv_info):
    """500 flips anywhere in its snapshots: the same is read, or ``verify`` names the file."""
    run = make_run(conv_info("conv1", (7, 7, 3, 64)), conv_info("conv2", (3, 3, 64, 64)))
    chance = random.Random(0)
    whole = {step: run.file(step).read_bytes() for step in run.steps}
    sound = {step: run.snapshot(step).arrays for step in run.steps}
    for _ in range(500):
        step = chance.choice(run.steps)
        at = chance.randrange(8 * len(whole[step]))
        flipped = bytearray(whole[step])
        flipped[at // 8] ^= 1 << at % 8
        run.file(step).write_bytes(flipped)
        damaged = run.verify()
        if damaged:
            assert list(damaged) == [step]
            assert str(run.file(step)) in damaged[step]
        else:
            for name, array in run.snapshot(step).arrays.items():
                assert array.tobytes() == sound[step][name].tobytes()
        run.file(step).write_bytes(whole[step])
