import os

import pytest

from filtertrack import FiltertrackError
from filtertrack.files import check_regular, check_target, write_whole


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


def test_what_is_no_plain_file_is_not_read(tmp_path):
    """A link out of the folder, a pipe that would never end, a folder, a file too large."""
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        with pytest.raises(FiltertrackError, match="not a regular file"):
            check_regular(path)
    with pytest.raises(FiltertrackError, match="6 bytes, expected at most 5"):
        check_regular(target, 5)
    check_regular(target, 6)


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
