"""Runs on object storage: against a real S3 server on loopback, over a connection that can fail."""

import gc
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from typing import ClassVar

import boto3
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot, animate, measure
from filtertrack.capture.background_writer import BackgroundWriter
from filtertrack.cli import main
from filtertrack.errors import UnreachableError
from filtertrack.storage import retry as connections
from filtertrack.storage.paths import path_of
from filtertrack.storage.remote import RemotePath
from filtertrack.tensorboard_plugin.logdir import LogDirectory

# Clients that are dropped with their connections open: those of others, and collected at any time.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECRET = "7bQ+very/secret"  # noqa: S105 - of a server that lives for some seconds
BUCKET = "bucket"


class Line:
    """A connection to the server that can be cut, can hang, and counts what comes over it."""

    def __init__(self, server):
        self.server = server
        self.received = 0
        self.state = "open"
        self._ends = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Lose every connection, and refuse new ones."""
        self.state = "cut"
        self._hang_up(self._ends)

    def close(self):
        """Lose every connection for good."""
        self.cut()
        self._listening.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.state == "cut":
                near.close()
                continue
            far = socket.create_connection(self.server)
            self._ends |= {near, far}
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, target):
        try:
            while data := source.recv(1 << 16):
                while self.state == "hangs":
                    time.sleep(0.01)
                time.sleep(0.1 if self.state == "slow" else 0)
                if target.getpeername() != self.server:
                    self.received += len(data)
                target.sendall(data)
        except OSError:
            pass
        self._hang_up([source, target])
        source.close()

    def _hang_up(self, ends):
        for end in list(ends):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").disabled = True
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()
    gc.collect()


@pytest.fixture
def line(server, monkeypatch):
    """An empty bucket behind a connection of its own."""
    line = Line(server)
    settings = {
        "AWS_ENDPOINT_URL": line.address,
        "AWS_ACCESS_KEY_ID": "AKIATESTING0000000000",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # fsspec keeps what it made with the settings of the test before.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = boto3.resource("s3").Bucket(BUCKET)
    bucket.create()
    bucket.objects.all().delete()
    yield line
    line.close()


def names():
    return [each.key for each in boto3.resource("s3").Bucket(BUCKET).objects.all()]


def content(key):
    return boto3.resource("s3").Object(BUCKET, key).get()["Body"].read()


def copied(run, address):
    """Write the same run to another place."""
    other = Run.create(address, list(run.layers.values()), run.software)
    for step in run.steps:
        other.append(run.snapshot(step))
    return other


def same(run, other):
    assert run.layers == other.layers
    assert run.steps == other.steps
    for step in run.steps:
        assert run.moment(step) == other.moment(step)
        for name in run.layers:
            np.testing.assert_array_equal(run.kernels(name, step), other.kernels(name, step))
            np.testing.assert_array_equal(run.bias(name, step), other.bias(name, step))


def fit(model, data, folder, *callbacks, epochs=3, **options):
    tracker = FilterTracker(folder, **options) if folder else None
    found = [tracker] if tracker else []
    options = {"epochs": epochs, "batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(*data, **options, callbacks=[*found, *callbacks])
    return tracker


def test_a_training_writes_what_it_writes_on_disk(tiny_model, data, line, tmp_path):
    """Manifest, snapshots and events; no probe, no half file and no lock is left there."""
    both = [
        FilterTracker(folder, schedule="log")
        for folder in (tmp_path / "run", "s3://bucket/logs/run")
    ]
    tiny_model.fit(*data, epochs=3, batch_size=8, verbose=0, callbacks=both)
    run = Run("s3://bucket/logs/run")
    on_disk = Run(tmp_path / "run")
    assert run.steps == on_disk.steps
    for name in run.layers:
        for ours, theirs in zip(run.history(name), on_disk.history(name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    there = [key.removeprefix("logs/run/filters/") for key in names()]
    events = [name for name in there if name.startswith("events.out.tfevents.")]
    snapshots = [f"snapshots/{step:012d}.npz" for step in run.steps]
    assert sorted(there) == sorted(["manifest.json", *snapshots, *events])
    assert events
    assert str(run.path) == "s3://bucket/logs/run"


def test_going_on_and_starting_anew(tiny_model, data, line):
    """A second fit goes on; from the beginning it is refused, or replaces the run."""
    address = "s3://bucket/run"
    fit(tiny_model, data, address, epochs=2)
    with pytest.raises(FiltertrackError, match="already holds a run"):
        fit(tiny_model, data, address)
    tracker = FilterTracker(address)
    tiny_model.fit(*data, initial_epoch=2, epochs=4, verbose=0, callbacks=[tracker])
    assert Run(address).steps == [0, 1, 2, 3, 4]
    tracker = FilterTracker(address, existing="replace")
    tiny_model.fit(*data, initial_epoch=1, epochs=2, verbose=0, callbacks=[tracker])
    assert Run(address).steps == [0, 1, 2, 3]
    fit(tiny_model, data, address, epochs=1, existing="replace")
    assert Run(address).steps == [0, 1]
    assert not [name for name in names() if name.endswith("000000000002.npz")]


def test_two_trackers_of_a_program_are_kept_apart(tiny_model, data, line):
    """There are no locks there, but the second one in this program is refused."""
    trackers = [FilterTracker("s3://bucket/run"), FilterTracker("s3://bucket/run")]
    with pytest.raises(FiltertrackError, match="another tracker is writing"):
        tiny_model.fit(*data, verbose=0, callbacks=trackers)
    trackers[0].close()


def test_every_command_reads_from_there(run, line, tmp_path, monkeypatch, capsys):
    """``info``, ``verify``, ``animate``, ``filmstrip`` and ``measure``: as from the disk."""
    monkeypatch.chdir(tmp_path)
    address = "s3://bucket/logs/mine"
    copied(run, address)
    for command in ("info", "verify", "measure"):
        assert main([command, address]) == 0
        there = capsys.readouterr().out
        assert main([command, str(run.path)]) == 0
        assert there.replace(address, str(run.path)) == capsys.readouterr().out
    assert main(["animate", address]) == 0
    assert capsys.readouterr().out == "mine-evolution.gif\n"
    assert main(["animate", str(run.path), "-o", "local.gif"]) == 0
    assert (tmp_path / "mine-evolution.gif").read_bytes() == (tmp_path / "local.gif").read_bytes()
    assert main(["filmstrip", address]) == 0
    assert (tmp_path / "mine-filmstrip.pdf").read_bytes().startswith(b"%PDF")
    assert main(["animate", str(run.path), "--compare", address, "-o", "both.gif"]) == 0
    with Image.open(tmp_path / "both.gif") as gif:
        assert gif.n_frames == len(run.steps)


def test_damage_is_found_there(run, line, capsys):
    """``verify`` names the file; what is left is shown."""
    copied(run, "s3://bucket/run")
    key = "run/filters/snapshots/000000000001.npz"
    damaged = bytearray(content(key))
    damaged[200] ^= 1
    boto3.resource("s3").Object(BUCKET, key).put(Body=bytes(damaged))
    assert main(["verify", "s3://bucket/run"]) == 1
    assert f"damaged file 's3://bucket/{key}'" in capsys.readouterr().out
    assert measure("s3://bucket/run").layers["conv1"].steps == (0, 2)


@pytest.mark.parametrize("address", ["s3://bucket/nothing", "s3://nowhere/run", "memory://nothing"])
def test_no_run_there(address, line):
    """Said as on the disk."""
    with pytest.raises(FiltertrackError, match=f"no run in '{address}'"):
        Run(address)


def test_one_layer_does_not_download_the_others(make_run, conv_info, line):
    """A small layer's history takes about its own bytes; and it is fetched once."""
    small, large = conv_info("small", (7, 7, 3, 64)), conv_info("large", (3, 3, 64, 256))
    run = make_run(small, large, steps=range(8))
    copied(run, "s3://bucket/run")
    other, before = Run("s3://bucket/run"), line.received
    assert other.steps == run.steps
    for ours, theirs in zip(other.history("small"), run.history("small"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    each = 4 * np.prod(small.kernel_shape)
    assert line.received - before < 1.5 * len(run.steps) * each + 50_000
    before = line.received
    list(other.history("small", run.steps))
    assert line.received == before
    same(run, other)


def test_what_was_fetched_is_not_believed_when_the_file_changed(run, line):
    """After the folder is listed again, a replaced snapshot is read anew; no array is shared."""
    other = copied(run, "s3://bucket/run")
    kept = other.kernels("conv1", 1)
    assert other.steps == run.steps
    first = other.kernels("conv1", 1)
    first += 1
    np.testing.assert_array_equal(other.kernels("conv1", 1), kept)
    changed = {name: array + 1 for name, array in run.snapshot(1).arrays.items()}
    Run("s3://bucket/run").append(Snapshot(Moment(1, 1), changed))
    assert other.steps == run.steps
    np.testing.assert_array_equal(other.kernels("conv1", 1), kept + 1)


def at_batch(batch, act):
    """Return a callback that does something at a batch of a training."""
    import keras

    class Callback(keras.callbacks.Callback):
        """Counts the batches of all epochs."""

        seen = 0

        def on_train_batch_end(self, number, logs=None):
            """Act, at that batch."""
            self.seen += 1
            if self.seen == batch:
                act()

    return Callback()


@pytest.fixture
def hurried(monkeypatch):
    """What takes minutes takes a second."""
    monkeypatch.setattr(connections, "_BOUND", 1.0)
    monkeypatch.setattr(connections, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(connections, "_LONGEST_PAUSE", 0.3)
    monkeypatch.setattr(connections, "_TIMEOUT", 3.0)


def test_a_connection_that_is_lost(tiny_model, data, line, hurried, caplog):
    """Training ends with the same weights; what was lost is counted; nothing half is seen."""
    import keras

    keras.utils.set_random_seed(1)
    initial = tiny_model.get_weights()
    fit(tiny_model, data, None)
    expected = tiny_model.get_weights()
    keras.utils.set_random_seed(1)
    tiny_model.set_weights(initial)
    fit(tiny_model, data, "s3://bucket/run", at_batch(6, line.cut), schedule=1)
    for ours, theirs in zip(tiny_model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    line.state = "open"
    run = Run("s3://bucket/run")
    steps = run.steps
    assert steps == list(range(len(steps)))
    assert 1 <= len(steps) < 13
    assert run.verify() == {}
    lost = int(re.search(r"lost (\d+) snapshots; the last time:", caplog.text)[1])
    # What arrived, but whose answer did not, is there and counts as lost all the same.
    assert 13 - len(steps) <= lost <= 14 - len(steps)
    assert caplog.text.count("could not write snapshots, training goes on") == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize("way", ["cut", "hangs"])
def test_a_connection_that_comes_back(tiny_model, data, line, way, caplog):
    """What waits is written then, and nothing is lost."""

    def lose():
        line.cut() if way == "cut" else setattr(line, "state", "hangs")
        threading.Timer(2.0, lambda: setattr(line, "state", "open")).start()

    fit(tiny_model, data, "s3://bucket/run", at_batch(3, lose), schedule=1)
    assert Run("s3://bucket/run").steps == list(range(13))
    assert "lost" not in caplog.text


def test_a_slow_connection(tiny_model, data, line, caplog):
    """Training does not wait for it: what is not stored when it ends is stored then."""
    there = []

    def count():
        there.extend(name for name in names() if name.endswith(".npz"))

    slow, last = (lambda: setattr(line, "state", "slow")), 12
    callbacks = [at_batch(1, slow), at_batch(last, count)]
    fit(tiny_model, data, "s3://bucket/run", *callbacks, schedule=1)
    assert len(there) < 12
    assert Run("s3://bucket/run").steps == list(range(13))
    assert "lost" not in caplog.text
    assert "training waited" not in caplog.text


def test_no_connection_at_the_beginning(tiny_model, data, line, hurried):
    """An error before the first batch, in a moment, without credentials."""
    line.cut()
    with pytest.raises(FiltertrackError, match="cannot write in 's3://bucket/run'") as error:
        fit(tiny_model, data, "s3://bucket/run")
    assert SECRET not in str(error.value)


def test_a_lost_connection_is_not_damage(run, line, hurried, capsys):
    """A command stops with one line: nothing is left out as damaged, no run is called missing."""
    address = "s3://bucket/run"
    copied(run, address)
    other = Run(address)
    line.cut()
    for act in (lambda: other.steps, lambda: other.kernels("conv1", 0), lambda: Run(address)):
        with pytest.raises(UnreachableError):
            act()
    with pytest.raises(UnreachableError):
        animate(other, "never.gif")
    assert main(["info", address]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(UnreachableError):
        Run.exists(address)


def test_what_ends_early_is_stored(line, monkeypatch):
    """An exception in ``fit``: everything taken is there when the program has ended.

    Also over a new connection to a host that has a name: to look it up takes threads.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.address.replace("127.0.0.1", "localhost"))
    program = (
        "import keras, numpy as np; from filtertrack import FilterTracker\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        "        if batch == 7: raise SystemExit\n"
        "model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),\n"
        "    keras.layers.GlobalAveragePooling2D()])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(np.zeros((99, 8, 8, 3)), np.zeros((99, 4)), batch_size=9, verbose=0,\n"
        "    callbacks=[FilterTracker('s3://bucket/early', schedule=1), Stop()])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert Run("s3://bucket/early").steps == list(range(9))
    assert any(name.startswith("early/filters/events.out") for name in names())


def test_credentials_are_never_said(tiny_model, data, line, caplog):
    """Not those of the environment, not those in an address; not in the manifest either."""
    fit(tiny_model, data, "s3://bucket/run")
    assert all(SECRET.encode() not in content(name) for name in names())
    assert SECRET not in caplog.text
    with pytest.raises(FiltertrackError) as error:
        Run("ftp://me:my-password@127.0.0.1:9/run")
    assert "my-password" not in f"{error.value!r} {error.value.__cause__!r}"
    assert "127.0.0.1" in str(error.value)


def test_whose_key_is_wrong(tiny_model, data, line, monkeypatch):
    """Without credentials it is an error before the first batch that says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(FiltertrackError, match="credentials"):
        fit(tiny_model, data, "s3://bucket/run")


def test_the_tab_and_tensorboard_read_there(tiny_model, data, line, until):
    """``filtertrack view`` shows the runs of a bucket, TensorBoard's own tabs their events."""
    import json
    import urllib.request

    fit(tiny_model, data, "s3://bucket/logs/a", schedule="log")
    command = [sys.executable, "-m", "filtertrack", "view", "s3://bucket/logs", "--no-browser"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as program:
        try:
            address = program.stdout.readline().partition("#")[0]

            def get(path):
                with urllib.request.urlopen(f"{address}data/plugin/{path}", timeout=30) as answer:  # noqa: S310 - loopback
                    return json.loads(answer.read())

            assert get("filtertrack/runs")["runs"] == ["a"]
            steps = get("filtertrack/steps?run=a")
            assert steps["steps"] == Run("s3://bucket/logs/a").steps
            assert get(f"filtertrack/steps?run=a&known={steps['version']}").keys() == {"version"}
            tags = until(lambda: get("images/tags"))
            assert "filters/conv1" in tags["a/filters"]
            drift = get("scalars/scalars?run=a%2Ffilters&tag=filter_measures%2Fconv1%2Fdrift")
            assert [step for _, step, _ in drift] == steps["steps"]
        finally:
            program.terminate()


def test_runs_below_an_address_are_found(run, line):
    """However deep, by their path below; one that is unreachable is a note, not an error."""
    for name in ("a", "b/deep"):
        copied(run, f"s3://bucket/logs/{name}")
    catalogue = LogDirectory.of_flags("s3://bucket/logs", "")
    assert list(catalogue.find().runs) == ["a", "b/deep"]
    same(run, catalogue.open("b/deep"))
    with pytest.raises(FiltertrackError, match="there is no run"):
        catalogue.open("../other")
    spec = LogDirectory.of_flags("", f"far:s3://bucket/logs/b,{run.path}")
    assert list(spec.find().runs) == ["far/deep", "run"]
    line.cut()
    found = LogDirectory.of_flags("s3://bucket/logs", "").find()
    assert not found.runs
    assert "cannot be searched" in found.notes[0]


def test_no_such_storage():
    """The error names the address, and what to install."""
    with pytest.raises(FiltertrackError, match="cannot use 'nosuch://bucket/run'"):
        Run("nosuch://bucket/run")


class Shelf(MemoryFileSystem):
    """A storage where a file grows while it is written, as over SFTP."""

    protocol = "shelf"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    fail = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("shelf://", "memory://"))

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        """Write it in two parts; between them the line may go dead."""
        super().pipe_file(path, value[: len(value) // 2])
        if Shelf.fail:
            raise ConnectionResetError("the line is dead")
        super().pipe_file(path, value)


def test_where_files_grow_a_name_appears_whole(run, hurried):
    """There a file is written to another name first; what was left behind is removed."""
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    other = copied(run, "shelf://box/run")
    same(run, other)
    Shelf.fail = True
    with pytest.raises(UnreachableError, match="the line is dead"):
        other.append(Snapshot(Moment(9, 9), run.snapshot(0).arrays))
    Shelf.fail = False
    assert Run("shelf://box/run").steps == run.steps
    assert any(name.endswith(".tmp") for name in Shelf.store)
    other.truncate(2)
    assert other.steps == [0, 1]
    assert not any(name.endswith(".tmp") for name in Shelf.store)


def test_in_memory(tiny_model, data):
    """``memory://``: a whole training, and its deletion."""
    fit(tiny_model, data, "memory://there/run")
    run = Run("memory://there/run")
    assert run.steps == [0, 1, 2, 3]
    assert len(run.verify()) == 0
    assert f"{run!r}" == "Run('memory://there/run': 2 layers, 4 snapshots)"
    assert Run(run.folder).steps == run.steps
    Run.delete(run.path)
    assert not Run.exists("memory://there/run")


def test_a_path_of_universal_pathlib(run):
    """Its storage options come along."""
    upath = pytest.importorskip("upath")
    place = upath.UPath("memory://u/run")
    same(run, copied(run, place))
    assert isinstance(path_of(place), RemotePath)
    assert str(path_of(place)).rstrip("/").endswith("u/run")


def test_an_address_in_a_path_is_said(tmp_path):
    """``Path("s3://bucket")`` loses a slash: refused, not made as a folder here."""
    from pathlib import Path

    with pytest.raises(FiltertrackError, match="which a Path cannot hold"):
        Run(Path("s3://bucket/run"))


def test_a_folder_on_disk_loads_nothing_of_this(run):
    """No fsspec for a path, nor for ``file://``."""
    code = (
        "import sys; from filtertrack import Run; from filtertrack.cli import main; "
        f"main(['info', {str(run.path)!r}]); Run('file://{run.path}').kernels('conv1', 1); "
        "sys.exit('fsspec' in sys.modules or 'filtertrack.storage.remote' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_fsspec_the_extra_is_named(run):
    """One sentence, on the command line as well."""
    code = (
        "import sys; sys.modules['fsspec'] = None; from filtertrack.cli import main; "
        "sys.exit(main(['info', 's3://bucket/run']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "filtertrack[s3]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_lock_and_no_process_is_named(line, run):
    """What is stored does not depend on who stored it."""
    copied(run, "s3://bucket/one")
    copied(run, "s3://bucket/two")
    for name in names():
        if name.startswith("one/") and not name.endswith("manifest.json"):
            assert content(name) == content(name.replace("one/", "two/"))
    assert str(os.getpid()) not in "".join(names())


def test_a_run_is_deleted_from_its_end(line, run, hurried):
    """Should the connection be lost meanwhile, what is left is still a run."""
    copied(run, "s3://bucket/run")
    order = []
    unlink = RemotePath.unlink

    def unlink_two(path, **options):
        if len(order) == 2:
            line.cut()
        order.append(path.name)
        unlink(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemotePath, "unlink", unlink_two)
        with pytest.raises(UnreachableError):
            Run.delete("s3://bucket/run")
    line.state = "open"
    assert Run("s3://bucket/run").steps == [2]
    Run.delete("s3://bucket/run")
    assert not names()


def test_a_snapshot_that_is_replaced_while_it_is_read(run, line, monkeypatch):
    """It is read again: not called damaged, whatever its size is now."""
    copied(run, "s3://bucket/run")
    arrays = run.snapshot(1).arrays
    metrics = {letter * 150: 1.0 for letter in "abcd"}
    longer = Snapshot(Moment(1, 1, metrics=metrics), arrays)
    opened, writer = RemotePath.open, Run("s3://bucket/run")

    def replaced(path):
        file = opened(path)
        if path.name.startswith("000000000001"):
            monkeypatch.setattr(RemotePath, "open", opened)
            writer.append(longer)
        return file

    monkeypatch.setattr(RemotePath, "open", replaced)
    assert Run("s3://bucket/run").moment(1).metrics == metrics


def test_what_may_not_be_read_is_not_damaged(run, line, monkeypatch):
    """Such as with credentials that have expired meanwhile."""
    other = copied(run, "s3://bucket/run")

    def refuse(path, ranges):
        raise PermissionError(13, "expired")

    monkeypatch.setattr(RemotePath, "read_ranges", refuse)
    with pytest.raises(PermissionError):
        other.verify()


def test_a_key_that_may_not_delete(tiny_model, data, line, monkeypatch):
    """A new run needs none that may."""
    monkeypatch.setattr(RemotePath, "unlink", lambda path, **_: (_ for _ in ()).throw(refusal()))
    fit(tiny_model, data, "s3://bucket/run", epochs=1)
    assert Run("s3://bucket/run").steps == [0, 1]


def refusal():
    return PermissionError(13, "no")


def test_the_tab_keeps_what_it_found(run, line, hurried):
    """While the connection is lost its runs stay known; that they are not reached is said."""
    copied(run, "s3://bucket/logs/a")
    catalogue = LogDirectory.of_flags("s3://bucket/logs", "")
    assert list(catalogue.find().runs) == ["a"]
    assert catalogue.open("a") is catalogue.open("a")
    catalogue._last = (0.0, catalogue._last[1])
    line.cut()
    found = catalogue.find()
    assert list(found.runs) == ["a"]
    assert found.unreachable
    for name in ("a", "b"):
        with pytest.raises(UnreachableError):
            catalogue.open(name)
    assert main(["view", "s3://bucket/logs", "--no-browser"]) == 2


def test_what_was_given_up_does_not_write_into_the_next_run(tiny_model, data, monkeypatch):
    """As long as an old writer may still write, a new training is refused."""
    address, moves = "memory://given-up/run", threading.Event()
    append = Run.append

    def hang(run, snapshot):
        if snapshot.step == 2:
            moves.wait(60)
        append(run, snapshot)

    monkeypatch.setattr(Run, "append", hang)
    with monkeypatch.context() as patch:
        patch.setattr("filtertrack.capture.run_writer.BackgroundWriter", impatient)
        fit(tiny_model, data, address)
    with pytest.raises(FiltertrackError, match="another tracker is writing"):
        fit(tiny_model, data, address, existing="replace")
    moves.set()
    for thread in threading.enumerate():
        if thread.name == "filtertrack":
            thread.join(60)
    fit(tiny_model, data, address, existing="replace", epochs=1)
    assert Run(address).steps == [0, 1]


def impatient(*sinks, **options):
    return BackgroundWriter(*sinks, **options, timeout=0.05)


def test_a_run_that_cannot_be_opened_in_mid_training(data, line, hurried, caplog):
    """A model built by its first batch: it is not tried at each batch, and training goes on."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("elsewhere it is built before the first batch")
    model = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    target = np.zeros((len(data[0]), 4), "float32")

    class Cut(keras.callbacks.Callback):
        """Before the first batch."""

        def on_epoch_begin(self, epoch, logs=None):
            """Lose the connection once the tracker has begun."""
            line.cut()

    fit(model, (data[0], target), "s3://bucket/run", Cut(), schedule=1)
    assert model.built
    assert "13 times: could not take a snapshot" in caplog.text


@pytest.mark.parametrize(
    "address", ["ftp://me:p@ss-word@127.0.0.1:9/run", "ftp://me:p@ss-word@127.0.0.1:9"]
)
def test_a_password_with_a_sign_in_it(address):
    """The whole of it is hidden."""
    with pytest.raises(FiltertrackError) as error:
        Run(address)
    assert "word" not in str(error.value)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_snapshot_that_is_replaced_between_two_parts(make_run, conv_info, line, before):
    """What is read is all of one file, old or new, also where each part is one of either."""
    infos = [conv_info(name, (3, 3, 64, 128), bias=False) for name in ("a", "b")]
    copied(make_run(*infos, steps=(0, 1)), "s3://bucket/run")
    reader, writer = Run("s3://bucket/run"), Run("s3://bucket/run")
    moment, old = reader.moment(1), reader.snapshot(0).arrays  # it knows where arrays lie then
    new = {name: array + 1 for name, array in old.items()}
    read, replaced = RemotePath.read_ranges, []

    def read_in_turn(path, ranges):
        if replaced or not path.name.startswith("000000000001"):
            return read(path, ranges)
        first = read(path, ranges[:before])
        replaced.append(path)
        writer.append(Snapshot(moment, new))
        return first + read(path, ranges[before:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemotePath, "read_ranges", read_in_turn)
        found = reader.snapshot(1).arrays
    assert replaced
    assert all(np.array_equal(found[name], new[name]) for name in new)
