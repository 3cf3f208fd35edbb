"""Hostile and damaged files of Keras are refused in one sentence, in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("h5py")

PROGRAM = Path(__file__).with_name("hostile_files.py")
HARMLESS = {
    "an_odd_name",
    "a_weight_name_that_is_a_group",
    "legacy config: nothing",
    "config: names of other types",
}
"""Files whose kernels are read: what is odd in them does not matter."""


def run(*arguments):
    done = subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_hostile_files_are_refused_in_one_sentence(tmp_path):
    """Links, other files, bombs, other types, cycles, odd descriptions, archives and lists."""
    run("make", tmp_path)
    rows = run("read", tmp_path)
    assert len(rows) > 70
    for row in rows:
        assert row["what"] == ("read" if row["name"] in HARMLESS else "refused"), row
        assert row["took"] < 30, row
        if row["what"] == "refused":
            assert "cannot read" in row["message"], row
            assert str(tmp_path) in row["message"], row


@pytest.mark.parametrize("kind", [".weights.h5", ".keras", ".h5"])
def test_damaged_files_give_an_error_or_arrays(kind, tmp_path):
    """Changed bytes and cut files never crash or hang the reader, nor raise another error."""
    write = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "import hostile_files as h; path = Path(sys.argv[2]); "
        "{'.weights.h5': h.h5, '.keras': h.archive, '.h5': h.legacy}[sys.argv[3]](path)"
    )
    path = tmp_path / f"a{kind}"
    subprocess.run([sys.executable, "-c", write, PROGRAM.parent, path, kind], check=True)
    assert [row for row in run("fuzz", path, 1300, 400) if "what" in row] == []
