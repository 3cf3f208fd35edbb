import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from filtertrack.cli import main
from filtertrack.tensorboard_plugin import server


@contextmanager
def view(folder, *options, **environment):
    """Start the real command; yields its process and the URL that it prints."""
    command = [sys.executable, "-m", "filtertrack", "view", folder, "--no-browser", *options]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | environment, **piped) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def answer(address, path="plugins_listing"):
    """Return the JSON of a path below ``/data/``, by default the list of tabs."""
    url = f"{address.partition('#')[0]}data/{path}"
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - loopback
        return json.load(response)


@pytest.mark.parametrize("data_server", ["", "/nowhere"], ids=["default", "python"])
def test_view_serves_the_tab_until_ctrl_c(run, tmp_path, data_server):
    """It prints only the URL, never imports tensorflow, and exits with 0."""
    from filtertrack.tensorboard_plugin.summaries import Summaries

    Summaries(run).add(run.snapshot(0))
    (tmp_path / "tensorflow").mkdir()
    imported = tmp_path / "imported"
    (tmp_path / "tensorflow" / "__init__.py").write_text(f"open({str(imported)!r}, 'w')")
    environment = {"PYTHONPATH": str(tmp_path), "TENSORBOARD_DATA_SERVER_BINARY": data_server}
    with view(tmp_path, "--port", "0", **environment) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith("/#filtertrack")
        assert answer(address)["filtertrack"]["tab_name"] == "Filters"
        end = time.monotonic() + 90
        while not answer(address)["images"]["enabled"]:  # until its events are read
            assert time.monotonic() < end
            time.sleep(0.1)
        assert answer(address, "plugin/debugger-v2/runs") == {}
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "Ctrl-C ends it\n")
        assert process.returncode == 0
    assert not imported.exists()


def test_a_free_port_is_found(run):
    """The first one from 6006 on, as in TensorBoard."""
    with view(run.path) as (_, first), view(run.path) as (_, second):
        ports = [int(address.rpartition(":")[2].partition("/")[0]) for address in (first, second)]
    assert 6006 <= ports[0] < ports[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "TAKEN"], "port TAKEN, it was already in use; choose another"),
        (["--port", "65536"], "expected a port from 0 to 65535, got 65536"),
        (["--port", "-1"], "got -1"),
        (["--host", "nowhere.invalid"], "cannot listen on nowhere.invalid: "),
    ],
)
def test_an_invalid_host_or_port_is_one_line(run, options, reason):
    """With exit code 2 and what to do; no other port is taken instead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with view(run.path, *(o.replace("TAKEN", port) for o in options)) as (process, address):
            stderr = process.communicate(timeout=60)[1]
    assert (process.returncode, address) == (2, "")
    assert stderr.count("\n") == 1
    assert reason.replace("TAKEN", port) in stderr


@pytest.mark.parametrize("name", ["file", "file/exp1"])
def test_a_path_that_can_hold_no_run_is_refused(tmp_path, capsys, name):
    """It is a file, or lies below one: one line that says what is expected."""
    (tmp_path / "file").write_text("text")
    assert main(["view", str(tmp_path / name)]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert repr(str(tmp_path / name)) in stderr
    assert "FilterTracker was given" in stderr


@pytest.mark.parametrize("name", ["empty", "new/runs/exp1"])
def test_a_missing_run_is_waited_for(tmp_path, make_run, name):
    """The folder is empty or does not exist yet: the run is listed once it is created."""
    (tmp_path / "empty").mkdir()
    with view(tmp_path / name, "--port", "0") as (process, address):
        assert process.stderr.readline().startswith(f"waiting for a run in {tmp_path / name}")
        assert answer(address, "plugin/filtertrack/runs") == {"runs": [], "notes": [], "root": ""}
        make_run(folder=f"{name}/exp1")
        wait(lambda: answer(address, "plugin/filtertrack/runs")["runs"] == ["exp1"])


def test_the_filters_folder_is_served_as_its_run(run):
    """The run's folder is served, even if the folder inside it is given."""
    with view(run.folder, "--port", "0") as (_, address):
        assert answer(address, "plugin/filtertrack/runs")["runs"] == [run.path.name]


@pytest.mark.parametrize(
    ("module", "error", "advice"),
    [
        (
            "tensorboard.data.server_ingester",
            "ModuleNotFoundError(\"No module named 'pkg_resources'\", name='pkg_resources')",
            "pip install 'setuptools<82'",
        ),
        ("tensorboard.default", "TypeError('Descriptors cannot be created')", "tensorboard --vers"),
    ],
)
def test_an_import_error_of_tensorboard_is_one_line(run, tmp_path, module, error, advice):
    """What is wrong and what to do; such as version 2.20 with setuptools 82."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        f"            raise {error}\n"
        "sys.meta_path.insert(0, Broken())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with view(run.path, PYTHONPATH=path) as (process, address):
        stderr = process.communicate(timeout=60)[1]
    assert (process.returncode, address) == (2, "")
    assert stderr.count("\n") == 1
    assert stderr.startswith("filtertrack: TensorBoard cannot start (")
    assert advice in stderr


def test_the_browser_opens_the_url(run, monkeypatch, capsys):
    """The URL that is printed, in a thread; nothing happens if there is no browser."""
    sent = threading.Event()
    where = []

    def serve(folder, announce, **options):
        announce("http://127.0.0.1:6006/#filtertrack")
        assert sent.wait(60)
        raise KeyboardInterrupt

    def browser(address):
        where.append(address)
        sent.set()
        return False

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(webbrowser, "open", browser)
    assert main(["view", str(run.path)]) == 0
    assert [capsys.readouterr().out] == [f"{address}\n" for address in where]


def status(address, host, path="data/plugin/filtertrack/runs"):
    """Send a request with a ``Host`` header; return the status and the text of the answer."""
    server = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=60)
    try:
        connection.putrequest("GET", f"/{path}", skip_host=True)
        if host is not None:
            connection.putheader("Host", host.replace("PORT", str(server.port)))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_other_host_names_answer_403(run):
    """On every path, to prevent DNS rebinding; names and addresses of this machine are answered."""
    with view(run.path, "--port", "0") as (_, address):
        for host in ("localhost:PORT", "LOCALHOST", "localhost.", "127.0.0.1:PORT", "[::1]:PORT"):
            assert status(address, host)[0] == 200, host
        for path in ("", "data/logdir", "data/plugin/filtertrack/runs", "data/plugins_listing"):
            code, text = status(address, "rebound.example:PORT", path)
            assert code == 403
            assert "'rebound.example'" in text
            assert "localhost" in text
            assert str(run.path) not in text
        strange = ("10.0.0.1", "0", "localhost.evil.example", "evil@localhost", "[", "", None)
        for host in strange:
            assert status(address, host)[0] in {400, 403}, host


def test_any_address_is_answered_when_listening_on_all(run):
    """And the machine's own name; no other name."""
    with view(run.path, "--port", "0", "--host", "::") as (_, url):
        address = f"http://127.0.0.1:{urllib.parse.urlsplit(url).port}/"
        for host in ("127.0.0.1:PORT", "10.1.2.3:PORT", "[2001:db8::1]:PORT", socket.gethostname()):
            assert status(address, host)[0] == 200, host
        assert status(address, "rebound.example:PORT")[0] == 403


@pytest.fixture
def viewed(make_run, conv_info):
    """Serve a run with a layer of 8 MB; yields the process and the URL of the routes."""
    run = make_run(conv_info(kernel_shape=(3, 3, 472, 472), bias=False), steps=range(4))
    with view(run.path, "--port", "0") as (process, address):
        assert answer(address)["filtertrack"]["enabled"]
        yield process, f"{address.partition('#')[0]}data/plugin/filtertrack"


def memory_of(process):
    """Return the largest resident memory of a process, in bytes."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", text)[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_concurrent_requests_stay_within_the_memory_limit(viewed):
    """120 requests of some 20 MB each are all answered."""
    process, routes = viewed
    query = "run=.&layer=conv1&filters=0-63&channels=0&delta=1&first=0&last=3"

    def ask(_):
        with urllib.request.urlopen(f"{routes}/cells?{query}", timeout=300) as response:  # noqa: S310
            return response.read()

    expected = ask(0)
    before = memory_of(process)
    with ThreadPoolExecutor(120) as pool:
        answers = set(pool.map(ask, range(120)))
    assert answers == {expected}
    assert memory_of(process) - before < 750 << 20


def test_drawing_ends_when_the_client_disconnects(viewed):
    """The process is ended, and the next animation is drawn."""
    process, routes = viewed
    server = urllib.parse.urlsplit(routes)
    path = f"{server.path}/animation?run=.&layer=conv1&ending=.png"
    with socket.create_connection((server.hostname, server.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait(lambda: drawing_of(process))
        with pytest.raises(urllib.error.HTTPError) as busy:
            urllib.request.urlopen(f"{routes}/animation?run=.&layer=conv1&ending=.gif", timeout=60)  # noqa: S310
        assert (busy.value.code, busy.value.headers["Retry-After"]) == (503, "2")
        busy.value.close()
    wait(lambda: not drawing_of(process))
    url = f"{routes}/animation?run=.&layer=conv1&ending=.gif&filters=0-3"
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310
        assert response.read().startswith(b"GIF89a")


def drawing_of(process):
    """Return the ids of the drawing processes that a server has started."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    ids = [number for file in children for number in file.read_text().split()]
    commands = {number: Path(f"/proc/{number}/cmdline") for number in ids}
    return [
        n
        for n, file in commands.items()
        if file.exists() and b"animation_process" in file.read_bytes()
    ]


def wait(check):
    """Wait until a function returns something true."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("bound", "expected"), [(65536, 3000), (1000, 1000), (100, 300)])
def test_the_limit_of_open_files_is_raised(bound, expected):
    """Up to the hard limit, and to a limit of ours: TensorBoard keeps a file open for each run."""
    code = (
        "import resource; from filtertrack.tensorboard_plugin import server\n"
        f"limit = resource.RLIMIT_NOFILE; server._MOST_OPEN_FILES = {bound}\n"
        "resource.setrlimit(limit, (300, 3000)); server._raise_open_file_limit()\n"
        "print(*resource.getrlimit(limit))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"{expected} 3000\n"
