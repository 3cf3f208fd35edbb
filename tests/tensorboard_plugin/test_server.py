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
    """Start the real command; yields its process and the address it prints."""
    command = [sys.executable, "-m", "filtertrack", "view", folder, "--no-browser", *options]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | environment, **piped) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def answer(address, path="plugins_listing"):
    """Ask TensorBoard for some of its data: which tabs there are."""
    url = f"{address.partition('#')[0]}data/{path}"
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - loopback
        return json.load(response)


@pytest.mark.parametrize("data_server", ["", "/nowhere"], ids=["default", "python"])
def test_it_serves_the_tab_until_ctrl_c_without_tensorflow(run, tmp_path, data_server):
    """It prints one address and no more, never imports tensorflow, and Ctrl-C is a good end."""
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
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    assert not imported.exists()


def test_a_free_port_is_found(run):
    """From 6006 on, as TensorBoard does: a second one takes another."""
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
def test_what_cannot_be_listened_on_is_said_in_one_line(run, options, reason):
    """No other port is taken instead: exit 2, what is wrong, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with view(run.path, *(o.replace("TAKEN", port) for o in options)) as (process, address):
            said = process.communicate(timeout=60)[1]
    assert (process.returncode, address) == (2, "")
    assert said.count("\n") == 1
    assert reason.replace("TAKEN", port) in said


@pytest.mark.parametrize("name", ["file", "file/exp1"])
def test_a_folder_in_which_no_run_can_begin_is_refused(tmp_path, capsys, name):
    """A file is in its place, or above it: one line that says what is expected."""
    (tmp_path / "file").write_text("text")
    assert main(["view", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert repr(str(tmp_path / name)) in said
    assert "FilterTracker was given" in said


@pytest.mark.parametrize("name", ["empty", "new/runs/exp1"])
def test_a_run_to_come_is_waited_for(tmp_path, make_run, name):
    """The folder is empty, or not there, nor those above it: the run is shown once it begins."""
    (tmp_path / "empty").mkdir()
    with view(tmp_path / name, "--port", "0") as (process, address):
        assert process.stderr.readline().startswith(f"waiting for a run in {tmp_path / name}")
        assert answer(address, "plugin/filtertrack/runs") == {"runs": [], "notes": []}
        make_run(folder=f"{name}/exp1")
        wait(lambda: answer(address, "plugin/filtertrack/runs")["runs"] == ["exp1"])


def test_the_filters_folder_is_the_run_too(run):
    """What is shown is the run, also when the folder in it was given."""
    with view(run.folder, "--port", "0") as (_, address):
        assert answer(address, "plugin/filtertrack/runs")["runs"] == ["."]


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
def test_a_tensorboard_that_cannot_start_is_one_line(run, tmp_path, module, error, advice):
    """As version 2.20 beside setuptools 82: what is wrong, and what to do."""
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
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, address) == (2, "")
    assert said.count("\n") == 1
    assert said.startswith("filtertrack: TensorBoard cannot start (")
    assert advice in said


def test_the_browser_is_sent_there(run, monkeypatch, capsys):
    """To the address that is printed, in a thread; where there is none, nothing happens."""
    sent = threading.Event()
    where = []

    def serve(folder, opened, **options):
        opened("http://127.0.0.1:6006/#filtertrack")
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
    """Ask with a ``Host`` of one's own; return the status and the text of the answer."""
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


def test_a_page_elsewhere_cannot_read_the_log_folder(run):
    """A name that somebody points at this machine is refused, on every path; its own are not."""
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


def test_who_listens_to_all_is_reached_by_any_address_of_the_machine(run):
    """By each number, which no page can point elsewhere, and by its own name; by no other name."""
    with view(run.path, "--port", "0", "--host", "::") as (_, said):
        address = f"http://127.0.0.1:{urllib.parse.urlsplit(said).port}/"
        for host in ("127.0.0.1:PORT", "10.1.2.3:PORT", "[2001:db8::1]:PORT", socket.gethostname()):
            assert status(address, host)[0] == 200, host
        assert status(address, "rebound.example:PORT")[0] == 403


@pytest.fixture
def viewed(make_run, conv_info):
    """A run with a layer of 8 MB, served; its process and the address of its routes."""
    run = make_run(conv_info(kernel_shape=(3, 3, 472, 472), bias=False), steps=range(4))
    with view(run.path, "--port", "0") as (process, address):
        assert answer(address)["filtertrack"]["enabled"]
        yield process, f"{address.partition('#')[0]}data/plugin/filtertrack"


def memory_of(process):
    """Return the bytes that a process has taken at most."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", text)[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_many_requests_at_once_take_no_more_memory_than_a_few(viewed):
    """120 at once, each of which takes some 20 MB alone: all are answered, within the bound."""
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


def test_an_animation_is_not_drawn_on_for_nobody(viewed):
    """The client goes away in mid-drawing: its process ends, and the next one is drawn."""
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
    """Return the ids of the processes that draw for a server."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    ids = [number for file in children for number in file.read_text().split()]
    commands = {number: Path(f"/proc/{number}/cmdline") for number in ids}
    return [
        n
        for n, file in commands.items()
        if file.exists() and b"animation_process" in file.read_bytes()
    ]


def wait(look):
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("bound", "expected"), [(65536, 3000), (1000, 1000), (100, 300)])
def test_a_file_may_be_open_for_each_run(bound, expected):
    """TensorBoard keeps one open a run: what the system allows is asked for, within reason."""
    code = (
        "import resource; from filtertrack.tensorboard_plugin import server\n"
        f"limit = resource.RLIMIT_NOFILE; server._MOST_OPEN_FILES = {bound}\n"
        "resource.setrlimit(limit, (300, 3000)); server._raise_open_file_limit()\n"
        "print(*resource.getrlimit(limit))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == f"{expected} 3000\n"
