"""Default names of output files, made from the options that differ from their defaults."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from inspect import Parameter, signature
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

from filtertrack.errors import is_list
from filtertrack.storage.paths import StoragePath

_LONGEST = 120
_UNNAMED = {"huge", "progress"}
"""Options that do not change the picture."""


def default_output(
    folder: StoragePath, name: str, draw: Callable[..., Any], given: Mapping[str, Any]
) -> Path:
    """Return the default output file for a picture of a run.

    It lies in the run's folder, or in the working directory if the run is on object storage. Every
    option that differs from its default is part of the name, so that a picture only replaces one
    that was drawn with the same options.

    Args:
        folder: The run's folder.
        name: File name of the picture without options, such as ``"evolution.gif"``.
        draw: The function that draws it; its keyword parameters are the options.
        given: The options that it is called with; other names are ignored. A compared run is an
            opened one.

    Example:
        >>> from filtertrack.storage.paths import path_of
        >>> def draw(run, *, layers=None, delta=False, fps=10): ...
        >>> default_output(path_of("runs/exp1"), "evolution.gif", draw, {"fps": 10}).as_posix()
        'runs/exp1/evolution.gif'
        >>> default_output(path_of("."), "a.gif", draw, {"layers": ["b/c"], "delta": True}).name
        'a-b~c-delta.gif'
        >>> default_output(path_of("."), "a.gif", draw, {"delta": False, "fps": 5}).name
        'a-fps-5.gif'
    """
    stem, ending = Path(name).stem, Path(name).suffix
    whole = "-".join([stem, *_option_texts(folder, draw, given)]).replace("/", "~")
    text = quote(whole, safe="~,+=")
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 9]}-{crc32(whole.encode(errors='replace')):08x}"
    if folder.is_remote:
        return Path(f"{folder.name}-{text}{ending}")
    return Path(str(folder)) / f"{text}{ending}"


def _option_texts(
    folder: StoragePath, draw: Callable[..., Any], given: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a short text for each option that differs from its default."""
    for name, parameter in signature(draw).parameters.items():
        value = given.get(name, parameter.default)
        is_option = parameter.kind is Parameter.KEYWORD_ONLY and name not in _UNNAMED
        if not is_option or _is_same(value, parameter.default):
            continue
        if name == "layers":
            yield value if isinstance(value, str) else "+".join(map(str, value))
        elif name == "compare":
            yield f"vs-{_relative_name(folder, value.path)}"
        elif isinstance(value, bool):
            yield ("" if value else "no-") + name.replace("_", "-")
        else:
            yield f"{name.replace('_', '-')}-{_text(value)}"


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (not is_list(value) and bool(value == default))


def _relative_name(folder: StoragePath, other: StoragePath) -> str:
    """Return another run's path relative to the parent of this run's folder."""
    if not (folder.is_remote or other.is_remote):
        with suppress(ValueError):  # on another drive
            return Path(os.path.relpath(str(other), str(folder.absolute().parent))).as_posix()
    return str(other)


def _text(value: Any) -> str:
    if isinstance(value, range):
        every = f"~{value.step}" if value.step != 1 else ""
        return f"{value.start}-{value.stop - 1}{every}"
    if is_list(value):
        parts: Iterable[Any] = value
        return ",".join(map(_text, parts))
    return f"{value:g}" if isinstance(value, float) else str(value)
