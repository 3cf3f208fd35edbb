"""Runs on object storage: on a real S3 server on loopback."""

import importlib.util
import os
import subprocess
import sys
from typing import ClassVar

import boto3
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, measure
from filtertrack.cli import main
from filtertrack.errors import UnreachableError
from filtertrack.storage.paths import path_of
from filtertrack.storage.remote import RemotePath
from filtertrack.tensorboard_plugin.logdir import LogDirectory

# Clients of other libraries that are dropped with open connections are collected at any time.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.usefixtures("connection")
def test_every_command_reads_an_address(run, tmp_path, monkeypatch, capsys, copy_run):
    """``info``, ``verify``, ``animate``, ``filmstrip`` and ``measure``: with the same output."""
    monkeypatch.chdir(tmp_path)
    address = "s3://bucket/logs/mine"
    copy_run(run, address)
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


def test_a_damaged_file_is_reported(run, connection, capsys, copy_run):
    """``verify`` names it, and the other snapshots are used."""
    copy_run(run, "s3://bucket/run")
    key = "run/filters/snapshots/000000000001.npz"
    damaged = bytearray(connection.object_content(key))
    damaged[200] ^= 1
    boto3.resource("s3").Object("bucket", key).put(Body=bytes(damaged))
    assert main(["verify", "s3://bucket/run"]) == 1
    assert f"damaged file 's3://bucket/{key}'" in capsys.readouterr().out
    assert measure("s3://bucket/run").layers["conv1"].steps == (0, 2)


def test_animate_downloads_each_kernel_once(make_run, conv_info, connection, tmp_path, copy_run):
    """Selecting, the range over the run and drawing read it three times from memory."""
    info = conv_info(kernel_shape=(7, 7, 3, 64))
    copy_run(make_run(info, steps=range(8)), "s3://bucket/run")
    before = connection.received
    animate("s3://bucket/run", tmp_path / "a.gif", layers="conv1", scale="layer")
    kernels = 8 * 4 * np.prod(info.kernel_shape)
    assert kernels < connection.received - before < 1.3 * kernels


@pytest.mark.parametrize("address", ["s3://bucket/nothing", "s3://nowhere/run", "memory://nothing"])
def test_a_missing_run_is_an_error(address, connection):
    """With the same message as on disk."""
    with pytest.raises(FiltertrackError, match=f"no run in '{address}'"):
        Run(address)


def test_reading_a_layer_does_not_download_others(
    make_run, conv_info, connection, copy_run, assert_same_runs
):
    """A small layer's history takes about its own bytes, and is downloaded once."""
    small, large = conv_info("small", (7, 7, 3, 64)), conv_info("large", (3, 3, 64, 256))
    run = make_run(small, large, steps=range(8))
    copy_run(run, "s3://bucket/run")
    other, before = Run("s3://bucket/run"), connection.received
    assert other.steps == run.steps
    for ours, theirs in zip(other.history("small"), run.history("small"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    each = 4 * np.prod(small.kernel_shape)
    assert connection.received - before < 1.5 * len(run.steps) * each + 50_000
    before = connection.received
    list(other.history("small", run.steps))
    assert connection.received == before
    assert_same_runs(run, other)


def test_cached_arrays_of_a_replaced_file_are_not_used(run, connection, copy_run):
    """After the folder was listed again; and callers cannot change the cache."""
    other = copy_run(run, "s3://bucket/run")
    kept = other.kernels("conv1", 1)
    assert other.steps == run.steps
    first = other.kernels("conv1", 1)
    first += 1
    np.testing.assert_array_equal(other.kernels("conv1", 1), kept)
    changed = {name: array + 1 for name, array in run.snapshot(1).arrays.items()}
    Run("s3://bucket/run").append(Snapshot(Moment(1, 1), changed))
    assert other.steps == run.steps
    np.testing.assert_array_equal(other.kernels("conv1", 1), kept + 1)


def test_a_lost_connection_is_not_reported_as_damage(
    run, connection, short_retries, capsys, copy_run
):
    """A command stops with a one-line message; no run is reported as missing."""
    address = "s3://bucket/run"
    copy_run(run, address)
    other = Run(address)
    connection.cut()
    for act in (lambda: other.steps, lambda: other.kernels("conv1", 0), lambda: Run(address)):
        with pytest.raises(UnreachableError):
            act()
    with pytest.raises(UnreachableError):
        animate(other, "never.gif")
    assert main(["info", address]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(UnreachableError):
        Run.exists(address)


def test_runs_below_an_address_are_found(run, connection, copy_run, assert_same_runs):
    """At any depth; an unreachable address is a note, not an error."""
    for name in ("a", "b/deep"):
        copy_run(run, f"s3://bucket/logs/{name}")
    log_directory = LogDirectory.of_flags("s3://bucket/logs", "")
    assert list(log_directory.find().runs) == ["a", "b/deep"]
    assert_same_runs(run, log_directory.open("b/deep"))
    with pytest.raises(FiltertrackError, match="there is no run"):
        log_directory.open("../other")
    spec = LogDirectory.of_flags("", f"far:s3://bucket/logs/b,{run.path}")
    assert list(spec.find().runs) == ["far/deep", "run"]
    connection.cut()
    found = LogDirectory.of_flags("s3://bucket/logs", "").find()
    assert not found.runs
    assert "cannot be searched" in found.notes[0]


def test_an_unknown_protocol_is_an_error():
    """The message names the address."""
    with pytest.raises(FiltertrackError, match="cannot use 'nosuch://bucket/run'"):
        Run("nosuch://bucket/run")


class GrowingFiles(MemoryFileSystem):
    """A storage in which a file grows while it is written, as over SFTP."""

    protocol = "growing"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    fail = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("growing://", "memory://"))

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        """Write a file in two parts; the connection may be lost in between."""
        super().pipe_file(path, value[: len(value) // 2])
        if GrowingFiles.fail:
            raise ConnectionResetError("connection reset")
        super().pipe_file(path, value)


def test_writes_are_atomic_where_files_grow(run, short_retries, copy_run, assert_same_runs):
    """A file is written under a temporary name; ``truncate`` removes left ones."""
    fsspec.register_implementation("growing", GrowingFiles, clobber=True)
    other = copy_run(run, "growing://box/run")
    assert_same_runs(run, other)
    GrowingFiles.fail = True
    with pytest.raises(UnreachableError, match="connection reset"):
        other.append(Snapshot(Moment(9, 9), run.snapshot(0).arrays))
    GrowingFiles.fail = False
    assert Run("growing://box/run").steps == run.steps
    assert any(name.endswith(".tmp") for name in GrowingFiles.store)
    other.truncate(2)
    assert other.steps == [0, 1]
    assert not any(name.endswith(".tmp") for name in GrowingFiles.store)


def test_a_path_of_universal_pathlib_is_accepted(run, copy_run, assert_same_runs):
    """With its storage options."""
    upath = pytest.importorskip("upath")
    place = upath.UPath("memory://u/run")
    assert_same_runs(run, copy_run(run, place))
    assert isinstance(path_of(place), RemotePath)
    assert str(path_of(place)).rstrip("/").endswith("u/run")


@pytest.mark.parametrize(
    ("scheme", "package", "advice"),
    [
        ("s3", "s3fs", r": pip install 'filtertrack\[s3\]'$"),
        ("gs", "gcsfs", r": pip install 'filtertrack\[gcs\]'$"),
        ("dropbox", "dropboxdrivefs", r"dropboxdrivefs[^\[]*$"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_for_that_storage(scheme, package, advice):
    """Not with an extra for another storage."""
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(FiltertrackError, match=advice):
        path_of(f"{scheme}://bucket/run")


def test_an_address_in_a_pathlib_path_is_an_error(tmp_path):
    """``Path("s3://bucket")`` loses a slash; no folder is made."""
    from pathlib import Path

    with pytest.raises(FiltertrackError, match="which a Path cannot hold"):
        Run(Path("s3://bucket/run"))


def test_a_folder_on_disk_does_not_load_fsspec(run):
    """Neither as a path nor with ``file://``."""
    code = (
        "import sys; from filtertrack import Run; from filtertrack.cli import main; "
        f"main(['info', {str(run.path)!r}]); Run('file://{run.path}').kernels('conv1', 1); "
        "sys.exit('fsspec' in sys.modules or 'filtertrack.storage.remote' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_fsspec_the_message_names_the_extra(run):
    """In one sentence, on the command line as well."""
    code = (
        "import sys; sys.modules['fsspec'] = None; from filtertrack.cli import main; "
        "sys.exit(main(['info', 's3://bucket/run']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "filtertrack[s3]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_stored_files_do_not_depend_on_the_process(connection, run, copy_run):
    """Two copies of a run are the same bytes."""
    copy_run(run, "s3://bucket/one")
    copy_run(run, "s3://bucket/two")
    for name in connection.object_names():
        if name.startswith("one/") and not name.endswith("manifest.json"):
            assert connection.object_content(name) == connection.object_content(
                name.replace("one/", "two/")
            )
    assert str(os.getpid()) not in "".join(connection.object_names())


def test_an_interrupted_deletion_leaves_a_run(connection, run, short_retries, copy_run):
    """Which can be deleted again."""
    copy_run(run, "s3://bucket/run")
    order = []
    unlink = RemotePath.unlink

    def unlink_two(path, **options):
        if len(order) == 2:
            connection.cut()
        order.append(path.name)
        unlink(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemotePath, "unlink", unlink_two)
        with pytest.raises(UnreachableError):
            Run.delete("s3://bucket/run")
    connection.state = "open"
    assert Run("s3://bucket/run").steps == [2]
    Run.delete("s3://bucket/run")
    assert not connection.object_names()


def test_a_snapshot_replaced_during_a_read_is_read_again(run, connection, monkeypatch, copy_run):
    """It is not reported as damaged, whatever its new size."""
    copy_run(run, "s3://bucket/run")
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


def test_a_missing_permission_is_not_reported_as_damage(run, connection, monkeypatch, copy_run):
    """Such as of credentials that have expired."""
    other = copy_run(run, "s3://bucket/run")

    def refuse(path, ranges):
        raise PermissionError(13, "expired")

    monkeypatch.setattr(RemotePath, "read_ranges", refuse)
    with pytest.raises(PermissionError):
        other.verify()


def test_known_runs_stay_listed_without_a_connection(run, connection, short_retries, copy_run):
    """Opening one is an error that says it is unreachable."""
    copy_run(run, "s3://bucket/logs/a")
    log_directory = LogDirectory.of_flags("s3://bucket/logs", "")
    assert list(log_directory.find().runs) == ["a"]
    assert log_directory.open("a") is log_directory.open("a")
    log_directory._last = (0.0, log_directory._last[1])
    connection.cut()
    found = log_directory.find()
    assert list(found.runs) == ["a"]
    assert found.unreachable
    for name in ("a", "b"):
        with pytest.raises(UnreachableError):
            log_directory.open(name)
    assert main(["view", "s3://bucket/logs", "--no-browser"]) == 2


@pytest.mark.parametrize(
    "address", ["ftp://me:p@ss-word@127.0.0.1:9/run", "ftp://me:p@ss-word@127.0.0.1:9"]
)
def test_a_password_with_an_at_sign_is_removed(address):
    """The whole password."""
    with pytest.raises(FiltertrackError) as error:
        Run(address)
    assert "word" not in str(error.value)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_snapshot_replaced_between_two_requests_is_read_as_one(
    make_run, conv_info, connection, before, copy_run
):
    """All arrays are of the new file."""
    infos = [conv_info(name, (3, 3, 64, 128), bias=False) for name in ("a", "b")]
    copy_run(make_run(*infos, steps=(0, 1)), "s3://bucket/run")
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
