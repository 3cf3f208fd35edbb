"""The server of ``view``: the requests it answers, its end, its errors."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from filtertrack import FiltertrackError
from filtertrack.storage.paths import path_of
from filtertrack.tensorboard_plugin.server_process import ServerProcess

RUNS = "data/plugin/filtertrack/runs"
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


def answer(address, path="", host=None):
    """Return the status and the content with which a server answers a request."""
    url = f"{address.partition('#')[0]}{path}"
    request = urllib.request.Request(url, headers={"Host": host} if host else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def serve(run):
    """Start a server of the run; it is closed after the test."""
    servers = []

    def start(**options):
        servers.append(ServerProcess(run.path, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
        assert not server.runs


def test_without_a_secret_only_this_machine_is_answered(serve):
    server = serve()
    assert server.path == "/#filtertrack"
    assert answer(server.address)[0] == 200
    assert answer(server.address, RUNS, "hub.example.com")[0] == 403


def test_with_a_secret_any_host_is_answered_below_it(serve):
    """A proxy forwards the name of the browser; a page that rebinds a name knows no path."""
    server = serve(secret="s3cret")  # noqa: S106 - of this test
    root = f"http://127.0.0.1:{server.port}/"
    assert server.address == f"{root}s3cret/#filtertrack"
    for host in (None, "hub.example.com"):
        assert answer(server.address, host=host)[0] == 200
        assert answer(server.address, RUNS, host)[0] == 200
        assert answer(server.address, "data/plugin_entry.html?name=filtertrack", host)[0] == 200
        for path in ("", RUNS, "data/logdir", "data/environment", "s3cre/", "s3crets/"):
            code, text = answer(root, path, host)
            assert code == 404, path
            assert b"s3cret" not in text


@needs_proc
def test_the_server_ends_with_a_killed_parent_while_a_fork_of_it_lives(run, until):
    """The fork, as a worker that loads data, holds the pipe to the server's stdin."""
    code = f"""if True:
        import os, time
        from filtertrack.tensorboard_plugin.server_process import ServerProcess
        server = ServerProcess({str(run.path)!r})
        if worker := os.fork():
            print(server._process.pid, worker, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        process, worker = map(int, parent.stdout.readline().split())
        assert is_running(process)
        parent.kill()
    try:
        until(lambda: not is_running(process), "the end of the server")
        assert is_running(worker)
    finally:
        os.kill(worker, 9)


def is_running(process):
    """Return whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@needs_proc
def test_output_after_the_start_is_discarded(serve, until):
    """The parent reads only the address: a full pipe would block the server."""
    streams = Path(f"/proc/{serve()._process.pid}/fd")
    stdout, stderr = streams / "1", streams / "2"
    until(lambda: str(stdout.readlink()) == os.devnull, "the end of the output")
    assert str(stderr.readlink()) == os.devnull


def test_an_error_of_the_server_is_that_of_the_call(tmp_path, monkeypatch):
    """Its last line is the message."""
    broken = tmp_path / "tensorboard"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FiltertrackError, match=r"the server cannot start: .*broken"):
        ServerProcess(path_of(tmp_path))
