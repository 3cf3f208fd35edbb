import os
from pathlib import Path

import pytest

from filtertrack import FiltertrackError
from filtertrack.storage.local_files import (
    check_target,
    is_temporary,
    open_regular,
    open_to_change,
    write_whole,
)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    """Writes are atomic, and no temporary file is left."""
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_replaces_a_link(tmp_path):
    """Its target stays unchanged."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    target = tmp_path / "evolution.gif"
    target.symlink_to(victim)
    write_whole(target, lambda file: file.write(b"ours"))
    assert victim.read_bytes() == b"mine"
    assert not target.is_symlink()
    assert target.read_bytes() == b"ours"


def test_the_name_of_a_temporary_file_is_random(tmp_path):
    """So that no link can be placed there before."""
    seen = []
    for _ in range(2):
        write_whole(
            tmp_path / "a.gif", lambda file: seen.extend(p.name for p in tmp_path.glob(".*"))
        )
    assert len(set(seen)) == 2
    assert all(is_temporary(name) and len(name) > 20 for name in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_file_with_a_long_name_can_be_written(tmp_path):
    """The temporary name is not longer than file systems allow."""
    path = tmp_path / ("x" * 240 + ".gif")
    write_whole(path, lambda file: file.write(b"a"))
    assert path.read_bytes() == b"a"


def test_a_written_file_has_the_default_permissions(tmp_path):
    """Although it was a temporary file."""
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_bytes(b"")
    write_whole(ours, lambda file: None)
    assert ours.stat().st_mode == plain.stat().st_mode


def test_a_write_error_names_the_target(tmp_path):
    """Not the temporary file."""
    with pytest.raises(FileNotFoundError) as error:
        write_whole(tmp_path / "nowhere" / "a.gif", lambda file: None)
    assert error.value.filename == str(tmp_path / "nowhere" / "a.gif")


def test_open_to_change_does_not_follow_links(tmp_path):
    """Such as one in place of an event file."""
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"mine")
    link.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        open_to_change(link)
    with open_to_change(victim) as file:
        file.write(b"M")
    assert victim.read_bytes() == b"Mine"


def test_open_regular_refuses_other_files(tmp_path):
    """Pipes, devices and folders, also behind a link."""
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, tmp_path, Path(os.devnull)):
        with pytest.raises(FiltertrackError, match="not a regular file"):
            open_regular(path)
    with pytest.raises(FiltertrackError, match="6 bytes, expected at most 5"):
        open_regular(target, 5)
    with open_regular(str(target), 6) as file:
        assert (file.read(), file.size) == (b"secret", 6)


def test_a_pipe_that_replaces_the_file_does_not_block(tmp_path, monkeypatch):
    """Between the check and the opening."""
    path = tmp_path / "file"
    path.write_bytes(b"a")
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda path: regular)
    with pytest.raises(FiltertrackError, match="not a regular file"):
        open_regular(path)


def test_links_must_not_lead_out_of_within(tmp_path):
    """Without ``within`` they may, as DVC, git-annex and others create them."""
    inner, outer = tmp_path / "logs" / "inner", tmp_path / "outer"
    inner.parent.mkdir()
    for file in (inner, outer):
        file.write_bytes(file.name.encode())
    within = str(tmp_path / "logs")
    for target in (inner, outer):
        link = tmp_path / "logs" / f"to {target.name}"
        link.symlink_to(target)
        with open_regular(link) as file:
            assert file.read() == target.name.encode()
    with open_regular(tmp_path / "logs" / "to inner", within=within) as file:
        assert file.read() == b"inner"
    with pytest.raises(FiltertrackError, match="leads out of"):
        open_regular(tmp_path / "logs" / "to outer", within=within)


@pytest.mark.parametrize("name", ["a.avi", "a", ".gif", "a.gif.txt", "gif", "a."])
def test_check_target_refuses_other_endings(tmp_path, name):
    """The error names the file, and the allowed endings."""
    check_target(tmp_path / "a.gif", [".gif", ".webp"])
    check_target(tmp_path / "A.GIF", [".gif", ".webp"])
    with pytest.raises(FiltertrackError, match=r"expected a name that ends in \.gif, \.webp") as e:
        check_target(tmp_path / name, [".gif", ".webp"])
    assert repr(str(tmp_path / name)) in str(e.value)


def test_check_target_refuses_a_missing_folder(tmp_path):
    """Before anything is drawn."""
    with pytest.raises(FiltertrackError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "a.gif", [".gif"])
