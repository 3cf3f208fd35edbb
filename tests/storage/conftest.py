"""Fixtures for tests of object storage: an S3 server on loopback behind a proxy that can fail."""

import contextlib
import gc
import logging
import socket
import threading
import time

import boto3
import fsspec
import numpy as np
import pytest

from filtertrack import FilterTracker, Run
from filtertrack.storage import retry
from filtertrack.storage.npz import write_arrays

BUCKET = "bucket"


class Connection:
    """A TCP proxy in front of the server that can be cut, hang or be slow, and counts bytes.

    Attributes:
        state: ``"open"``, ``"cut"``, ``"hangs"`` or ``"slow"``.
        received: Bytes that came from the server.
        address: The URL of the proxy.
        secret: The secret key that the clients use.
    """

    def __init__(self, server):
        self.server = server
        self.received = 0
        self.state = "open"
        self.secret = "7bQ+very/secret"  # noqa: S105 - of a server that runs for some seconds
        self._sockets = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Close every connection, and refuse new ones."""
        self.state = "cut"
        self._shut_down(self._sockets)

    def close(self):
        """Close every connection, and the proxy."""
        self.cut()
        self._listening.close()

    @staticmethod
    def object_names():
        """Return the names of all objects in the bucket."""
        return [each.key for each in boto3.resource("s3").Bucket(BUCKET).objects.all()]

    @staticmethod
    def object_content(key):
        """Return the content of an object in the bucket."""
        return boto3.resource("s3").Object(BUCKET, key).get()["Body"].read()

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.state == "cut":
                client.close()
                continue
            server = socket.create_connection(self.server)
            self._sockets |= {client, server}
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self.state == "hangs":
                    time.sleep(0.01)
                time.sleep(0.03 if self.state == "slow" else 0)
                if target.getpeername() != self.server:
                    self.received += len(data)
                target.sendall(data)
        self._shut_down([source, target])
        source.close()

    def _shut_down(self, sockets):
        for each in list(sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def s3_server():
    """The address of an S3 server in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").disabled = True
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()
    gc.collect()


@pytest.fixture
def connection(s3_server, monkeypatch):
    """An empty bucket, reached over a connection of its own; retries are those of this package."""
    connection = Connection(s3_server)
    settings = {
        "AWS_ENDPOINT_URL": connection.address,
        "AWS_ACCESS_KEY_ID": "AKIATESTING0000000000",
        "AWS_SECRET_ACCESS_KEY": connection.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    file_system = fsspec.get_filesystem_class("s3")
    monkeypatch.setattr(file_system, "retries", 1)
    file_system.clear_instance_cache()  # instances keep the settings of the test before
    bucket = boto3.resource("s3").Bucket(BUCKET)
    bucket.create()
    bucket.objects.all().delete()
    yield connection
    connection.close()


@pytest.fixture
def short_retries(monkeypatch):
    """Timeouts and retries of a second instead of minutes."""
    monkeypatch.setattr(retry, "_RETRY_TIME", 1.0)
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.3)
    monkeypatch.setattr(retry, "_TIMEOUT", 3.0)


@pytest.fixture
def copy_run():
    """Write a copy of a run to an address."""

    def copy_run(run, address):
        other = Run.create(address, list(run.layers.values()), run.software)
        for step in run.steps:
            other.append(run.snapshot(step))
        return other

    return copy_run


@pytest.fixture
def assert_same_runs():
    """Compare all that two runs contain."""

    def assert_same_runs(run, other):
        assert run.layers == other.layers
        assert run.steps == other.steps
        for step in run.steps:
            assert run.moment(step) == other.moment(step)
            for name in run.layers:
                np.testing.assert_array_equal(run.kernels(name, step), other.kernels(name, step))
                np.testing.assert_array_equal(run.bias(name, step), other.bias(name, step))

    return assert_same_runs


@pytest.fixture
def fit(tiny_model, data):
    """Train the tiny model with a tracker, or without one if the folder is None.

    ``at_batch`` maps numbers of batches, counted over all epochs, to functions to call then.
    """

    def fit(folder, *callbacks, epochs=3, at_batch=None, **options):
        import keras

        class AtBatch(keras.callbacks.Callback):
            """Calls the functions."""

            seen = 0

            def on_train_batch_end(self, number, logs=None):
                """Call the function of that batch."""
                self.seen += 1
                (at_batch or {}).get(self.seen, bool)()

        tracker = FilterTracker(folder, **options) if folder else None
        callbacks = [*([tracker] if tracker else []), AtBatch(), *callbacks]
        settings = {"epochs": epochs, "batch_size": 8, "shuffle": False, "verbose": 0}
        tiny_model.fit(*data, **settings, callbacks=callbacks)
        return tracker

    return fit


def _stored_arrays(file):
    with np.load(file) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def stored_arrays():
    """Return all arrays of an ``.npz`` file, as numpy reads them."""
    return _stored_arrays


@pytest.fixture
def forge():
    """Replace arrays of an ``.npz`` file, or leave out those that are None; checksums are right."""

    def forge(file, **changes):
        arrays = {**_stored_arrays(file), **changes}
        with file.open("wb") as opened:
            write_arrays(opened, {name: a for name, a in arrays.items() if a is not None})

    return forge
