"""``view`` in kernels that really run, and in a script."""

import os
import re
import signal
import subprocess
import sys

import pytest

from filtertrack import FiltertrackError, view

ANSWER = """
import filtertrack, urllib.request, json
from filtertrack.tensorboard_plugin import tensorboard_frame

def servers():
    return {key[0]: server.port for key, server in tensorboard_frame._servers.items()}

def runs(port):
    address = f"http://127.0.0.1:{port}/data/plugin/filtertrack/runs"
    return json.loads(urllib.request.urlopen(address).read())["runs"]
"""


@pytest.fixture(scope="module")
def viewed(run_notebook, tmp_path_factory):
    """A notebook that views a folder before and after a run is in it, and once more."""
    folder = tmp_path_factory.mktemp("viewed")
    return run_notebook(
        ANSWER,
        "filtertrack.view('runs', height=500)",
        """
        import numpy as np, os, signal, time
        with filtertrack.ArrayTracker("runs/exp1") as tracker:
            tracker.snapshot(0, {"conv": np.zeros((3, 3, 1, 2))}, axes="HWIO")
        filtertrack.view("runs")
        """,
        "filtertrack.view(filtertrack.Run('runs/exp1'))",
        "print(len(set(servers().values())), *(runs(port) for port in servers().values()))",
        "open('file', 'w').close()\nfiltertrack.view('file')",
        """
        if os.getpgrp() == os.getpid():  # as Jupyter starts kernels, and interrupts them
            try:
                os.killpg(0, signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                print("interrupted")
        """,
        "filtertrack.view('runs')",
        "print(tensorboard_frame._servers.popitem()[1]._process.pid)",
        cwd=folder,
    )


def test_the_cell_shows_the_tab_in_a_frame(viewed):
    """The folder need not exist yet."""
    (shown,) = viewed.shown(1)
    frame = re.search(r'<iframe src="(http://127\.0\.0\.1:\d+/#filtertrack)"', shown["text/html"])
    assert frame[1] == shown["text/plain"]
    assert 'height="500"' in shown["text/html"]
    assert viewed.printed(1, "stderr") == ""


def test_a_second_call_uses_the_server_that_runs(viewed):
    """Another folder has a server of its own."""
    first, again, other = (viewed.shown(cell)[0]["text/plain"] for cell in (1, 2, 3))
    assert first == again != other
    assert viewed.printed(4) == "2 ['exp1'] ['exp1']\n"


def test_a_file_is_refused(viewed):
    assert viewed.error(5) == "FiltertrackError"


def test_an_interrupted_cell_leaves_the_server_running(viewed):
    """Jupyter interrupts all processes of the kernel's group."""
    assert viewed.printed(6) == "interrupted\n"
    assert viewed.shown(7)[0]["text/plain"] == viewed.shown(1)[0]["text/plain"]


def test_the_server_shown_longest_ago_is_ended_for_a_fourth(run_notebook, tmp_path):
    """Each takes about 95 MB."""
    kernel = run_notebook(
        "from filtertrack import view\n"
        "from filtertrack.tensorboard_plugin import tensorboard_frame",
        "for name in 'abcad':\n    view(name)\n    *_, last = tensorboard_frame._servers.values()\n"
        "    if name == 'b': second = last",
        "print(*(key[0][-1] for key in tensorboard_frame._servers), second.runs)",
        cwd=tmp_path,
    )
    assert kernel.printed(2) == "c a d False\n"


def test_the_server_ends_with_the_kernel(viewed, until):
    """Its process has ended shortly after the kernel."""
    process = int(viewed.printed(8))

    def has_ended():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    until(has_ended, "the end of the server")


def test_a_proxy_is_found_by_its_variables(run_notebook, tmp_path):
    """As JupyterHub sets them, and as TensorBoard's own magic takes them."""
    hub = run_notebook(
        "import filtertrack\nfiltertrack.view('runs')",
        "import os\nos.environ['TENSORBOARD_PROXY_URL'] = 'https://proxy/%PORT%/x/'",
        "filtertrack.view('runs')",
        cwd=tmp_path,
        JUPYTERHUB_SERVICE_PREFIX="/user/ann/",
    )
    path = r"/user/ann/proxy/(\d+)/([\w-]{43})/#filtertrack"
    port, secret = re.fullmatch(path, hub.shown(0)[0]["text/plain"]).groups()
    assert hub.shown(2)[0]["text/plain"] == f"https://proxy/{port}/x/{secret}/#filtertrack"


def test_colab_is_given_the_port(run_notebook, tmp_path):
    """A stand-in for its module records the call; the arguments are those of its source."""
    colab = run_notebook(
        """
        import sys, types, filtertrack
        output = types.ModuleType("google.colab.output")
        output.serve_kernel_port_as_iframe = lambda *args, **options: print(args, options)
        for name in ("google", "google.colab"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["google.colab.output"] = output
        filtertrack.view("runs", height=300)
        """,
        cwd=tmp_path,
    )
    printed = r"\(\d+,\) \{'path': '/[\w-]{43}/#filtertrack', 'height': '300'\}\n"
    assert re.fullmatch(printed, colab.printed(0))


@pytest.mark.parametrize("height", [0, -1, "800", 2.5])
def test_a_wrong_height_is_refused(tmp_path, height):
    with pytest.raises(FiltertrackError, match="height: expected pixels"):
        view(tmp_path, height=height)


def test_a_script_runs_the_command(run, until, tmp_path):
    """It prints the address, and returns after Ctrl-C."""
    code = f"import filtertrack; filtertrack.view({str(run.path)!r}); print('returned')"
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "BROWSER": "true"},
            start_new_session=True,
        ) as program,
    ):
        until(lambda: "#filtertrack" in log.read_text(), "the address")
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait(60) == 0
    assert log.read_text().endswith("returned\n")
