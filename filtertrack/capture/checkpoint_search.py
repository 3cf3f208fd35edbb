"""Finds checkpoint files by patterns, and their steps by their names."""

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from filtertrack.capture.checkpoint_names import (
    NameReading,
    Template,
    given_moment,
    missing_epochs,
    natural_order,
    read_by_template,
    read_names,
)
from filtertrack.capture.checkpoints.checkpoint_paths import (
    ARRAY_ENDINGS,
    INDEX_SUFFIXES,
    is_checkpoint,
)
from filtertrack.errors import FiltertrackError, counted, listed
from filtertrack.snapshot import Moment, start_text

_PART = re.compile(
    r"(?P<keras>.+)_[0-9]{5}\.weights\.h5"
    r"|(?P<face>.+)-[0-9]{5}-of-[0-9]{5}\.(?P<ending>safetensors|bin)"
    r"|.+\.data-[0-9]{5}-of-[0-9]{5}"
)
"""The name of a part of a checkpoint in several files: of Keras, Hugging Face or TensorFlow."""
_KERAS_REMNANT = "model.weights.h5"
"""The file that Keras 3.4 writes beside a ``.keras`` file while it saves one; 3.4.0 leaves it."""
_INDEX = (".weights.json", *INDEX_SUFFIXES)
"""Endings of the JSON files that are checkpoints."""


class Source(NamedTuple):
    """A model or file to import.

    Attributes:
        source: The model, module, arrays or path: see ``sources.open_source``.
        name: Its name, for messages.
        moment: The moment of its snapshot; the time is set when it is read.
    """

    source: Any
    name: str
    moment: Moment

    @property
    def is_file(self) -> bool:
        """Whether it is a path."""
        return is_path(self.source)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The checkpoint files that patterns select.

    Attributes:
        sources: The files with their moments, by ascending steps.
        origin: Where the steps come from, such as ``"epoch in the name"``.
        left_out: Files that are not imported, to the reason.
        remarks: Sentences about the steps.
    """

    sources: tuple[Source, ...]
    origin: str
    left_out: Mapping[str, str]
    remarks: tuple[str, ...]


def find_files(patterns: Sequence[str], steps: Sequence[int | range] | None = None) -> FoundFiles:
    """Find checkpoint files and their steps.

    Args:
        patterns: Files, folders, patterns such as ``"checkpoints/**/*.keras"``, or a template such
            as ``"ckpt-{epoch:03d}-{val_loss:.2f}.keras"``. Of a folder the files that end like
            checkpoints.
        steps: The step of each file, in the natural order of their names, as numbers and ranges;
            None to read the names.

    Raises:
        FiltertrackError: If there is no such file, two have the same step, or the names do not tell
            which number is the step.
    """
    template = next((Template(text) for text in patterns if _is_template(text)), None)
    if template and len(patterns) > 1:
        raise FiltertrackError(
            f"a template, {template.text!r}, is used alone, got {len(patterns)} patterns"
        )
    left_out: dict[str, str] = {}
    files = _files_of([template.pattern] if template else patterns, left_out)
    reading = _read_steps(files, template, steps)
    reason = "its name does not fit the template" if template else "no number in its name"
    pairs = list(zip(files, reading.moments, strict=True))
    left_out.update({file: reason for file, moment in pairs if moment is None})
    sources = by_step(Source(file, file, moment) for file, moment in pairs if moment is not None)
    if not sources:
        raise FiltertrackError(f"no name of {counted(len(files), 'files')} fits the template")
    return FoundFiles(tuple(sources), reading.origin, left_out, reading.remarks)


def _files_of(patterns: Sequence[str], left_out: dict[str, str]) -> list[str]:
    """Return the checkpoint files that patterns select, each once, in natural order.

    Args:
        patterns: Files, folders and patterns.
        left_out: Files of patterns that are not checkpoints are added, with the reason.

    Raises:
        FiltertrackError: If there is no file.
    """
    found: dict[Path, str] = {}
    for text in patterns:
        for file in _expanded(text, left_out):
            found.setdefault(Path(file).absolute(), file)
    if not found:
        reasons = f" ({'; '.join(f'{k}: {v}' for k, v in left_out.items())})" if left_out else ""
        raise FiltertrackError(f"no checkpoint file in {listed(list(patterns))}{reasons:.300}")
    return sorted(found.values(), key=natural_order)


def _read_steps(
    files: Sequence[str], template: Template | None, steps: Sequence[int | range] | None
) -> NameReading:
    """Return the moments of files: with the given steps, by the template, or by their names."""
    if steps is not None:
        ranges = [step if isinstance(step, range) else range(step, step + 1) for step in steps]
        check_count(sum(map(len, ranges)), len(files), "steps", "files")
        return NameReading(tuple(map(given_moment, chain(*ranges))), "given")
    if template is not None:
        return read_by_template([Path(file).as_posix() for file in files], template)
    return read_names(short_names(files))


def _is_template(text: str) -> bool:
    return Template.is_one(text) and not Path(text).exists()


def _expanded(text: str, left_out: dict[str, str]) -> Iterator[str]:
    """Yield the checkpoint files of a file, folder or pattern; add others to ``left_out``."""
    path = Path(text)
    if path.is_dir() and not is_checkpoint(path):
        yield from checkpoints_in(path, left_out)
    elif path.exists() or not glob.has_magic(text):
        check_exists(path)
        yield text
    else:
        files = glob.glob(text, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        is_of_arrays = path.suffix.lower() in ARRAY_ENDINGS
        yield from sorted(files) if is_of_arrays else _kept(sorted(files), left_out)


def checkpoints_in(folder: Path, left_out: dict[str, str]) -> Iterator[str]:
    """Yield the checkpoint files of a folder in the order of their names.

    Args:
        folder: The folder.
        left_out: Files that are named like a checkpoint but are none are added, with the reason.
    """
    yield from _kept([str(each) for each in sorted(folder.iterdir()) if _is_model(each)], left_out)


def check_exists(path: Path) -> None:
    """Raise ``FiltertrackError`` if there is no such file, nor a TensorFlow checkpoint of it."""
    if not path.exists() and not path.with_name(f"{path.name}.index").exists():
        raise FiltertrackError(f"no such file: {str(path)!r}")


def _is_model(path: Path) -> bool:
    """Whether a path is a checkpoint, and not a description of one."""
    is_description = path.suffix.lower() == ".json" and not path.name.endswith(_INDEX)
    return is_checkpoint(path) and not is_description


def _kept(files: Sequence[str], left_out: dict[str, str]) -> Iterator[str]:
    """Yield the checkpoints among files, without the parts of those that are in several files."""
    present = set(files)
    saved_into = {Path(file).parent for file in files if file.lower().endswith(".keras")}
    for file in files:
        if _is_part(file, present):
            continue
        if Path(file).name == _KERAS_REMNANT and Path(file).parent in saved_into:
            left_out[file] = "Keras 3.4 leaves it when it saves a .keras file; give it alone to use"
            continue
        if _is_model(Path(file)):
            yield file
        elif not Path(file).is_dir():
            left_out[file] = "not named like a checkpoint file"


def _is_part(file: str, present: Collection[str]) -> bool:
    """Whether a file is a part of a checkpoint whose index is present."""
    part = _PART.fullmatch(file)
    if part is None:
        return False
    if part["keras"]:
        return f"{part['keras']}.weights.json" in present
    return not part["face"] or f"{part['face']}.{part['ending']}.index.json" in present


def short_names(files: Sequence[str]) -> list[str]:
    """Return the paths of files below the folder that holds all of them."""
    absolute = [Path(file).absolute() for file in files]
    folder = os.path.commonpath([file.parent for file in absolute])
    return [file.relative_to(folder).as_posix() for file in absolute]


def about_start(first: Moment) -> str:
    """Return a sentence about the first snapshot of a run that is made of checkpoints."""
    if first.step == 0:
        return (
            f"the first snapshot is {first.note}: whether it holds the weights before training is "
            f"not known"
        )
    return (
        f"no step 0: checkpoints do not hold the weights before training, so drift and "
        f"differences are from {start_text(first)}"
    )


def about_gaps(moments: Sequence[Moment]) -> str:
    """Return a sentence about missing epochs; empty if there are none, or no epochs are known.

    Args:
        moments: The moments of all files, by ascending steps.
    """
    if not all(moment.counts_epochs for moment in moments):
        return ""
    missing = missing_epochs([moment.epoch for moment in moments])
    if not missing:
        return ""
    one = missing.isdecimal()
    return f"epoch{'' if one else 's'} {missing} {'is' if one else 'are'} missing (save_best_only?)"


def check_count(came: int, expected: int, what: str, of: str) -> None:
    """Raise ``FiltertrackError`` unless as many values came as expected."""
    if came != expected:
        raise FiltertrackError(f"{what}: expected one for each of {expected} {of}, got {came}")


def by_step(sources: Iterable[Source]) -> list[Source]:
    """Sort sources by their steps.

    Raises:
        FiltertrackError: If two have the same step.
    """
    ordered = sorted(sources, key=lambda source: source.moment.step)
    for one, other in pairwise(ordered):
        if one.moment.step == other.moment.step:
            raise FiltertrackError(
                f"{one.name!r} and {other.name!r} have the same step, {one.moment.step}; each "
                f"needs its own"
            )
    return ordered


def is_path(source: Any) -> bool:
    """Whether a source is the path of a file."""
    return isinstance(source, (str, os.PathLike))
