import os
from pathlib import Path

import pytest

from filtertrack import FiltertrackError
from filtertrack.storage.files import (
    check_target,
    is_temporary,
    open_regular,
    open_to_change,
    write_whole,
)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    """There whole or not at all, and no temporary is left."""
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link(tmp_path):
    """A link in the target's place is replaced; what it points to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    target = tmp_path / "evolution.gif"
    target.symlink_to(victim)
    write_whole(target, lambda file: file.write(b"ours"))
    assert victim.read_bytes() == b"mine"
    assert not target.is_symlink()
    assert target.read_bytes() == b"ours"


def test_a_temporary_has_a_name_that_cannot_be_known_beforehand(tmp_path):
    """Links of every name with a process's number lead nowhere; each write has another name."""
    seen = []
    for _ in range(2):
        write_whole(
            tmp_path / "a.gif", lambda file: seen.extend(p.name for p in tmp_path.glob(".*"))
        )
    assert len(set(seen)) == 2
    assert all(is_temporary(name) and len(name) > 20 for name in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_temporary_of_a_long_name_can_be_made(tmp_path):
    """The temporary's name is longer than the file's, and file systems bound names."""
    path = tmp_path / ("x" * 240 + ".gif")
    write_whole(path, lambda file: file.write(b"a"))
    assert path.read_bytes() == b"a"


def test_a_file_that_is_written_may_be_read_by_others(tmp_path):
    """It has the permissions of any new file, though its temporary has a random name."""
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_bytes(b"")
    write_whole(ours, lambda file: None)
    assert ours.stat().st_mode == plain.stat().st_mode


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    """Not its temporary."""
    with pytest.raises(FileNotFoundError) as error:
        write_whole(tmp_path / "nowhere" / "a.gif", lambda file: None)
    assert error.value.filename == str(tmp_path / "nowhere" / "a.gif")


def test_a_file_of_ours_is_not_changed_through_a_link(tmp_path):
    """An event file that was replaced by a link is an error."""
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"mine")
    link.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        open_to_change(link)
    with open_to_change(victim) as file:
        file.write(b"M")
    assert victim.read_bytes() == b"Mine"


def test_only_regular_files_are_read(tmp_path):
    """A pipe would block for ever, a device may do anything; also behind a link."""
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


def test_a_file_that_is_swapped_for_a_pipe_does_not_block(tmp_path, monkeypatch):
    """Between the first look and the opening."""
    path = tmp_path / "file"
    path.write_bytes(b"a")
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda path: regular)
    with pytest.raises(FiltertrackError, match="not a regular file"):
        open_regular(path)


def test_links_are_followed_unless_they_lead_out_of_a_folder(tmp_path):
    """DVC, git-annex and others keep a run's files as links; a server reads only its own folder."""
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
def test_another_ending_is_refused(tmp_path, name):
    """The error names the file, and every ending there is."""
    check_target(tmp_path / "a.gif", [".gif", ".webp"])
    check_target(tmp_path / "A.GIF", [".gif", ".webp"])
    with pytest.raises(FiltertrackError, match=r"expected a name that ends in \.gif, \.webp") as e:
        check_target(tmp_path / name, [".gif", ".webp"])
    assert repr(str(tmp_path / name)) in str(e.value)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    """Before anything is drawn for it."""
    with pytest.raises(FiltertrackError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "a.gif", [".gif"])
