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
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(path):
    """Read all contents of a run; only this package's errors may be raised."""
    try:
        run = Run(path)
        repr(run)
        run.verify()
    except FiltertrackError:
        pass


@FUZZ
@given(data=st.data())
def test_any_json_in_a_manifest_raises_no_other_error(run, forge_manifest, data):
    """With a correct checksum."""
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
def test_any_bytes_in_a_snapshot_raise_no_other_error(run, content):
    """As the file, and as each of its arrays."""
    run.file(0).write_bytes(content)
    read_all(run.path)
    with zipfile.ZipFile(run.file(1), "w") as archive:
        for member in ("conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias", "meta"):
            archive.writestr(f"{member}.npy", b"\x93NUMPY\x01\x00" + content)
    read_all(run.path)


def test_files_of_a_run_may_be_links(run, tmp_path):
    """As DVC, git-annex and caches store them."""
    expected = Run(run.path).snapshot(0).arrays["conv1/kernel"]
    for number, file in enumerate([run.file(0), run.folder / "manifest.json"]):
        file.rename(tmp_path / f"object{number}")
        file.symlink_to(tmp_path / f"object{number}")
    linked = Run(run.path)
    assert not linked.verify()
    assert linked.snapshot(0).arrays["conv1/kernel"].tobytes() == expected.tobytes()


def test_a_broken_link_is_an_error_that_says_so(run, tmp_path):
    """As git-annex leaves them; the snapshot or run is not reported as missing."""
    run.file(1).unlink()
    run.file(1).symlink_to(tmp_path / "nothing")
    assert list(run.stamps()) == run.steps == [0, 1, 2]
    assert "link to a file that is not there" in run.verify()[1]
    manifest = run.folder / "manifest.json"
    manifest.unlink()
    manifest.symlink_to(tmp_path / "nothing")
    with pytest.raises(FiltertrackError, match=r"manifest\.json' is a link to a file that is not"):
        Run(run.path)


def test_a_pipe_is_not_read(run):
    """As a snapshot and as the manifest, also behind a link."""
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


def test_links_in_a_run_are_not_written_through(run, tmp_path):
    """Of any file that is written."""
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
    writer = RunWriter(run.path, None)
    writer.open(list(run.layers.values()), {})
    writer.begin()
    writer.put(Snapshot(Moment(7, 7), run.snapshot(0).arrays))
    writer.close()
    assert run.steps == [0, 1, 2, 7]
    assert victim.read_bytes() == b"mine"
    assert not locked.is_symlink()


def test_the_snapshot_folder_may_be_a_link(run, tmp_path):
    """Deleting the run removes the link and keeps its target."""
    elsewhere = tmp_path / "elsewhere"
    (run.folder / "snapshots").rename(elsewhere)
    (run.folder / "snapshots").symlink_to(elsewhere)
    assert not Run(run.path).verify()
    Run.delete(run.path)
    assert not Run.exists(run.path)
    assert len(list(elsewhere.iterdir())) == 3


PROGRAM = Path(__file__).parent / "hostile_runs.py"


@pytest.fixture(
    scope="module", params=["read", pytest.param("draw", marks=pytest.mark.slow)], name="hostile"
)
def hostile_runs(request, tmp_path_factory):
    """The results of each run of ``hostile_runs.py``, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes memory
    for what in ("make", request.param):
        command = [sys.executable, PROGRAM, what, folder]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_hostile_runs_raise_no_other_error(hostile):
    """Each way of reading more than 150 runs succeeds or raises this package's error."""
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
    """At most 1 GB in all, and a minute for each run."""
    _, found = hostile
    assert max(run["peak"] for run in found) < 1e9
    assert max(run["seconds"] for run in found) < 60


def test_hostile_runs_write_nothing_outside(hostile):
    """The files beside them are unchanged."""
    folder, found = hostile
    existing = {path.name for path in folder.iterdir()}
    assert existing == {"victim", "elsewhere.npz", *map(str, range(len(found)))}
    assert (folder / "victim").read_bytes() == b"mine"


def test_an_array_larger_than_in_the_manifest_is_damage(run):
    """Its bytes are not read."""
    with zipfile.ZipFile(run.file(0), "w") as archive:
        archive.writestr("conv1/kernel.npy", bytes(1 << 20))
    with pytest.raises(FiltertrackError, match="claims 1048576 bytes"):
        run.kernels("conv1", 0)


def test_a_flipped_bit_of_a_manifest_is_reported_or_harmless(tmp_path, conv_info):
    """Every bit, one at a time."""
    run = Run.create(tmp_path, [conv_info()])
    file = run.folder / "manifest.json"
    whole, flips, reported = file.read_bytes(), 0, 0
    for at in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            file.write_bytes(flipped)
            flips += 1
            try:
                again = Run(tmp_path)
            except FiltertrackError as error:
                reported += str(file) in str(error) or "newer than" in str(error)
                continue
            assert dict(again.layers) == dict(run.layers)
            assert dict(again.software) == dict(run.software)
    assert reported > 0.8 * flips


def test_a_flipped_bit_of_a_larger_run_is_reported_or_harmless(make_run, conv_info):
    """500 random bits of its snapshots."""
    run = make_run(conv_info("conv1", (7, 7, 3, 64)), conv_info("conv2", (3, 3, 64, 64)))
    chance = random.Random(0)
    whole = {step: run.file(step).read_bytes() for step in run.steps}
    expected = {step: run.snapshot(step).arrays for step in run.steps}
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
                assert array.tobytes() == expected[step][name].tobytes()
        run.file(step).write_bytes(whole[step])
