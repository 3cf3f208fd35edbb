"""Write the frames of an animation as numbered PNG files, such as ``frames/0000.png``."""

import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from filtertrack.errors import FiltertrackError, counted
from filtertrack.render.encoders.frame_compression import Compression
from filtertrack.render.encoders.png import FRAMES_LEVEL, encode

_NUMBER = re.compile(r"%(0?)(\d*)d(?![A-Za-z])")
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class FrameSequence:
    """The names of numbered files; the first number is 0.

    Attributes:
        folder: Their folder.
        before: The part of their names before the number.
        after: The part after it, with the ending.
        digits: Digits of a number, at least; zeros are added in front.
    """

    folder: Path
    before: str
    after: str
    digits: int

    @classmethod
    def of(cls, output: Path) -> Self | None:
        """Return the names that a file name with one ``%04d``, ``%d`` or the like stands for.

        Args:
            output: The path; only the file name is searched.

        Returns:
            The names; None if the file name has no such part.

        Raises:
            FiltertrackError: If it has two, or the ending is not ``.png``.

        Example:
            >>> FrameSequence.of(Path("frames/%04d.png")).file(7).as_posix()
            'frames/0007.png'
            >>> FrameSequence.of(Path("evolution.gif"))
        """
        found = list(_NUMBER.finditer(output.name))
        if not found:
            return None
        if len(found) > 1:
            raise FiltertrackError(
                f"output {str(output)!r}: expected one number such as %04d, got {len(found)}"
            )
        if output.suffix.lower() != ".png":
            raise FiltertrackError(
                f"output {str(output)!r}: expected a name that ends in .png, as a %04d in it makes "
                f"a picture for each frame"
            )
        (number,) = found
        zeros, digits = number.groups()
        if (digits and not zeros) or int(digits or 0) > _MOST_DIGITS:
            raise FiltertrackError(
                f"output {str(output)!r}: expected a number such as %d or %04d, got {number[0]}"
            )
        name = output.name
        return cls(output.parent, name[: number.start()], name[number.end() :], int(digits or 0))

    def file(self, number: int) -> Path:
        """Return the file of a frame; a number with more digits makes a longer name."""
        return self.folder / f"{self.before}{number:0{self.digits}d}{self.after}"

    def check_replaceable(self, count: int) -> None:
        """Check that new frames can replace the existing files of these names.

        A file that follows the new frames would be taken for one of them. It may be a picture that
        cannot be drawn again, so it is not removed.

        Args:
            count: Number of the new frames.

        Raises:
            FiltertrackError: If a file has a number from ``count`` on, or a folder has such a name.
        """
        names = re.compile(f"{re.escape(self.before)}([0-9]+){re.escape(self.after)}")
        found = [
            (int(match[1]), path)
            for path in (self.folder.iterdir() if self.folder.is_dir() else ())
            if (match := names.fullmatch(path.name)) and path == self.file(int(match[1]))
        ]
        further = [path for number, path in sorted(found) if number >= count]
        if further:
            raise FiltertrackError(
                f"output {str(self.folder)!r}: {further[0].name!r} would follow the "
                f"{counted(count, 'new pictures')} and be taken for one of them; remove "
                f"{counted(len(further), 'such files')} or choose another folder"
            )
        for _, path in sorted(found):
            if path.is_dir():
                raise FiltertrackError(f"output {str(path)!r}: expected a file, got a folder")


class FrameSequenceWriter:
    """Writes numbered PNG files, in a ``with`` statement: all of them, or none.

    They are written into a temporary folder, and moved only when all are complete. After an
    exception the files are those of before.

    Args:
        sequence: The names; the folder is created.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None if the
            frames hold colours.
    """

    def __init__(self, sequence: FrameSequence, colours: np.ndarray | None) -> None:
        self._sequence = sequence
        self._count = 0
        folder = sequence.folder
        self._created = [path for path in (folder, *folder.parents) if not path.exists()]
        self._new = folder / f".filtertrack.{secrets.token_hex(8)}.tmp"
        self._old = self._new / "old"
        encode_frame = partial(encode, colours=colours, level=FRAMES_LEVEL)
        self._compression = Compression(encode_frame, self._write)

    def __enter__(self) -> Self:
        """Create the folders; return the writer itself."""
        self._old.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Move the files to their names; remove them after an exception."""
        complete = False
        try:
            self._compression.__exit__(kind, error, traceback)
            if error is None:
                self._move()
                complete = True
        finally:
            shutil.rmtree(self._new, ignore_errors=True)
            for path in () if complete else self._created:
                with suppress(OSError):  # it is not empty
                    path.rmdir()

    def add(self, frame: np.ndarray, _seconds: float) -> None:
        """Add a frame; a file has no duration.

        Args:
            frame: ``uint8`` array: entries of the palette, or with a last axis of 3 colours.
        """
        self._compression.put(frame, self._sequence.file(self._count).name.encode())
        self._count += 1

    def _write(self, data: bytes, name: bytes) -> None:
        with (self._new / name.decode()).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _move(self) -> None:
        """Move the new files to their names, or after an exception the old ones back."""
        targets = [self._sequence.file(number) for number in range(self._count)]
        try:
            for target in targets:
                with suppress(FileNotFoundError):
                    target.replace(self._old / target.name)
                (self._new / target.name).replace(target)
        except BaseException:
            for target in targets:
                if not (self._new / target.name).exists():
                    target.unlink(missing_ok=True)
                with suppress(FileNotFoundError):
                    (self._old / target.name).replace(target)
            raise
