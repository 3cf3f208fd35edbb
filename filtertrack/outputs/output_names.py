"""Default names of output files, made from the options that are not the defaults."""

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
"""Options that change nothing of the picture."""


def default_output(
    place: StoragePath, name: str, draw: Callable[..., Any], given: Mapping[str, Any]
) -> Path:
    """Return the file for a picture of a run: in its folder, or here if that is on object storage.

    Every option that is not the default is part of the name, so that a picture replaces one that
    was drawn in the same way, and no other.

    Args:
        place: The run's folder.
        name: Of the picture that is drawn with no options, such as ``"evolution.gif"``.
        draw: The function that draws it: its keywords are the options.
        given: The options that it is called with; other names are ignored.

    Example:
        >>> def draw(run, *, layers=None, delta=False, fps=10): ...
        >>> default_output(Path("runs/exp1"), "evolution.gif", draw, {"fps": 10}).as_posix()
        'runs/exp1/evolution.gif'
        >>> default_output(Path("."), "a.gif", draw, {"layers": ["b/c"], "delta": True}).name
        'a-b~c-delta.gif'
    """
    stem, ending = Path(name).stem, Path(name).suffix
    whole = "-".join([stem, *_described(place, draw, given)]).replace("/", "~")
    text = quote(whole, safe="~,+=")
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 9]}-{crc32(whole.encode(errors='replace')):08x}"
    if isinstance(place, Path):
        return place / f"{text}{ending}"
    return Path(f"{place.name}-{text}{ending}")


def _described(
    place: StoragePath, draw: Callable[..., Any], given: Mapping[str, Any]
) -> Iterator[str]:
    """Yield each option that is not the default, in a few characters."""
    for name, parameter in signature(draw).parameters.items():
        value = given.get(name, parameter.default)
        is_option = parameter.kind is Parameter.KEYWORD_ONLY and name not in _UNNAMED
        if not is_option or _is_same(value, parameter.default):
            continue
        if name == "layers":
            yield value if isinstance(value, str) else "+".join(map(str, value))
        elif name == "compare":
            yield f"vs-{_from(place, getattr(value, 'path', value))}"
        elif value is True:
            yield name.replace("_", "-")
        else:
            yield f"{name.replace('_', '-')}-{_text(value)}"


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (not is_list(value) and bool(value == default))


def _from(place: StoragePath, other: Any) -> str:
    """Name another run as it is seen from beside this one."""
    if isinstance(place, Path) and isinstance(other, (str, Path)):
        with suppress(ValueError):  # on another drive
            return Path(os.path.relpath(other, place.absolute().parent)).as_posix()
    return str(other)


def _text(value: Any) -> str:
    if isinstance(value, range):
        every = f"~{value.step}" if value.step != 1 else ""
        return f"{value.start}-{value.stop - 1}{every}"
    if is_list(value):
        parts: Iterable[Any] = value
        return ",".join(map(_text, parts))
    return f"{value:g}" if isinstance(value, float) else str(value)
