"""Animations as numbered PNG files."""

import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, animate
from filtertrack.cli import main
from filtertrack.outputs.frame_sequence import FrameSequence, FrameSequenceWriter


def names(folder):
    """Return the names of everything in a folder, in order; none may be temporary."""
    return sorted(path.name for path in folder.iterdir())


def numbered(count, digits=4):
    return [f"{number:0{digits}d}.png" for number in range(count)]


@pytest.mark.parametrize("kind", ["grey_run", "colour_run"])
def test_each_frame_is_a_picture(request, tmp_path, kind, frames_of):
    """Exact as Pillow reads it, numbered from 0; the folders are created."""
    run = request.getfixturevalue(kind)
    target = tmp_path / "deep" / "frames" / "%04d.png"
    animation = animate(run, target)
    drawing = frames_of(run, 640, indexed=False)
    drawn = [p if drawing.colours is None else drawing.colours[p] for p in drawing.pictures()]
    assert animation.frames == len(drawn)
    assert names(target.parent) == numbered(len(drawn))
    for name, expected in zip(numbered(len(drawn)), drawn, strict=True):
        with Image.open(target.parent / name) as picture:
            assert (picture.format, picture.n_frames) == ("PNG", 1)
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), expected)


def test_ffmpeg_reads_the_sequence(grey_run, tmp_path):
    """By the path of the animation, with its default options."""
    import imageio_ffmpeg

    animation = animate(grey_run, tmp_path / "frames" / "%04d.png")
    assert animation.path == tmp_path / "frames" / "%04d.png"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", animation, "-f", "null", "-"]
    shown = subprocess.run(ffmpeg, check=True, capture_output=True, text=True).stderr
    assert f"frame={animation.frames:5d}" in shown


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%d.png", ["0.png", "9.png", "10.png"]),
        ("%02d.png", ["00.png", "09.png", "10.png"]),
        ("%01d.png", ["0.png", "9.png", "10.png"]),
        ("conv1-%03d-x.PNG", ["conv1-000-x.PNG", "conv1-009-x.PNG", "conv1-010-x.PNG"]),
        ("a[1]+%d.png", ["a[1]+0.png", "a[1]+9.png", "a[1]+10.png"]),
    ],
)
def test_numbers_are_formatted(pattern, expected):
    """As printf does: a number with more digits makes a longer name."""
    sequence = FrameSequence.of(Path("%d") / pattern)
    assert [sequence.file(number) for number in (0, 9, 10)] == [Path("%d") / n for n in expected]


@pytest.mark.parametrize("name", ["a.png", "100%.png", "%s.png", "%.png", "d%.gif"])
def test_other_names_are_single_files(name):
    """Also in a folder whose name has a number."""
    assert FrameSequence.of(Path("%04d") / name) is None


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("frames/%04d.jpg", "expected a name that ends in .png"),
        ("frames/%04d.gif", "a picture for each frame"),
        ("frames/%04d", "expected a name that ends in .png"),
        ("frames/%d-%d.png", "expected one number such as %04d, got 2"),
        ("frames/%4d.png", "expected a number such as %d or %04d, got %4d"),
        ("frames/%099d.png", "expected a number such as %d or %04d, got %099d"),
    ],
)
def test_invalid_names_are_errors(grey_run, tmp_path, output, message):
    """Nothing is written, not even a folder."""
    with pytest.raises(FiltertrackError) as error:
        animate(grey_run, tmp_path / output)
    assert message in str(error.value)
    assert names(tmp_path) == ["run"]


def test_loop_is_an_error(grey_run, tmp_path):
    """Pictures do not play."""
    with pytest.raises(FiltertrackError, match="loop: a picture for each frame does not play"):
        animate(grey_run, tmp_path / "%04d.png", loop=2)


def test_existing_pictures_are_replaced(grey_run, tmp_path):
    """Those of the same numbers; other files stay."""
    folder = tmp_path / "frames"
    folder.mkdir()
    others = ["a.png", "00000.png", "0009.gif", "12.png"]
    for name in ["0000.png", "0005.png", *others]:
        (folder / name).write_bytes(b"old")
    animate(grey_run, folder / "%04d.png")
    assert names(folder) == sorted([*numbered(6), *others])
    for name in numbered(6):
        Image.open(folder / name).verify()
    assert all((folder / name).read_bytes() == b"old" for name in others)


def test_pictures_of_a_longer_animation_are_an_error(grey_run, tmp_path):
    """They would be taken for frames, and may not be ours to remove; nothing is written."""
    folder = tmp_path / "frames"
    animate(grey_run, folder / "%04d.png")
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with pytest.raises(FiltertrackError) as error:
        animate(grey_run, folder / "%04d.png", steps=range(4), delta=True)
    assert "'0004.png' would follow the 4 new pictures" in str(error.value)
    assert "remove 2 such files" in str(error.value)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before
    for name in ("0004.png", "0005.png"):
        (folder / name).unlink()
    assert animate(grey_run, folder / "%04d.png", steps=range(4), delta=True).frames == 4


def test_a_folder_of_a_picture_s_name_is_an_error(grey_run, tmp_path):
    """Before anything is drawn."""
    (tmp_path / "0003.png").mkdir()
    with pytest.raises(FiltertrackError, match=r"0003\.png': expected a file, got a folder"):
        animate(grey_run, tmp_path / "%04d.png")
    assert names(tmp_path) == ["0003.png", "run"]


@pytest.mark.parametrize("existing", [[], ["0000.png", "0002.png", "mine.txt"]])
def test_all_pictures_are_written_or_none(grey_run, tmp_path, existing):
    """After an interrupt the old files are there, no temporary folder, no new folder, no thread."""
    folder = tmp_path / "deep" / "frames"
    if existing:
        folder.mkdir(parents=True)
    for name in existing:
        (folder / name).write_bytes(b"old")
    threads = threading.active_count()

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(grey_run, folder / "%04d.png", progress=interrupt)
    assert threading.active_count() == threads
    if not existing:
        assert names(tmp_path) == ["run"]
        return
    assert names(folder) == existing
    assert all((folder / name).read_bytes() == b"old" for name in existing)


def test_an_error_while_files_are_moved_restores_the_old_ones(tmp_path):
    """Such as a folder that appears under one of the names meanwhile."""
    sequence = FrameSequence.of(tmp_path / "%d.png")
    for number in (0, 1):
        sequence.file(number).write_bytes(b"old")

    def write():
        with FrameSequenceWriter(sequence, None) as writer:
            for number in range(4):
                writer.add(np.full((4, 4, 3), number, np.uint8), 0.1)
            # Not replaceable: neither it nor what is in it may be moved onto a file.
            blocker = sequence.folder / writer._old.parent.name / "old" / "3.png"
            (blocker / "full").mkdir(parents=True)
            sequence.file(3).write_bytes(b"later")

    with pytest.raises(OSError, match=r"3\.png"):
        write()
    assert names(tmp_path) == ["0.png", "1.png", "3.png"]
    assert [sequence.file(n).read_bytes() for n in (0, 1, 3)] == [b"old", b"old", b"later"]


def test_a_damaged_snapshot_is_left_out(grey_run, tmp_path, caplog):
    """The numbers have no gap."""
    file = grey_run.file(3)
    file.write_bytes(file.read_bytes()[:-50])
    assert animate(grey_run, tmp_path / "frames" / "%d.png").frames == 5
    assert names(tmp_path / "frames") == numbered(5, 1)
    assert "left out step 3" in caplog.text


def test_a_notebook_displays_the_last_picture(grey_run, tmp_path):
    """Its bytes are in the HTML."""
    shown = animate(grey_run, tmp_path / "%04d.png")._repr_html_()
    assert shown.startswith('<img src="data:image/png;base64,iVBOR')
    assert "0005.png" in shown


def test_the_command_line_writes_a_sequence(grey_run, tmp_path, capsys):
    """The same pictures as Python; it prints the name, their number and how to make a video."""
    target = tmp_path / "frames" / "%03d.png"
    assert main(["animate", str(grey_run.path), "-o", str(target)]) == 0
    name, hint = capsys.readouterr().out.splitlines()
    assert name == str(target)
    assert hint == "6 pictures, numbered from 0; for a video: -o FILE.mp4"
    animate(grey_run, tmp_path / "python" / "%03d.png")
    for name in numbered(6, 3):
        assert (target.parent / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
