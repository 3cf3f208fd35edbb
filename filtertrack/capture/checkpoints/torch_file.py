"""Reads files of ``torch.save`` that hold tensors: state dicts, and checkpoints with one inside.

Only this module imports torch, when a file is opened. Files are loaded with ``weights_only=True``
and never in another way: other pickles can run code.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import refused
from filtertrack.capture.checkpoints.kernel_candidates import StateArray
from filtertrack.capture.checkpoints.state_checkpoint import StateFile
from filtertrack.errors import FiltertrackError, message_of
from filtertrack.snapshot import PLAIN_TYPES, stored_type

_LARGEST_PICKLE = 1 << 26
"""Maximum bytes of the pickle in a file; the tensors' data is apart from it."""
_DEEPEST = 16
_CONTAINERS = 3
"""Levels of dicts around a state dict."""
_GLOBAL = re.compile(r"GLOBAL (\S+)")


class TorchFile(StateFile):
    """An open file of ``torch.save``: see ``StateFile``.

    Nested dicts and lists become one level, with names joined by dots.

    Args:
        path: The file.

    Raises:
        FiltertrackError: If torch is not installed, or the file holds other objects than tensors
            and plain values.
    """

    in_order = True

    def __init__(self, path: Path) -> None:
        self._path = path
        torch = _torch(path)
        sizes = _sizes_in_zip(path)
        try:
            # Tensors of a zip file are read when they are needed.
            state = torch.load(str(path), map_location="cpu", weights_only=True, mmap=bool(sizes))
        except OSError:
            raise
        except Exception as error:  # torch raises many kinds
            raise refused(path, _reason(error)) from error
        self.containers = _containers_in(state)
        self._tensors = _distinct(_tensors_in(state, torch.Tensor))
        allowed = {None, 0, *sizes}
        for name, tensor in self._tensors.items():
            # torch takes the bytes behind the data as values.
            if sizes and _size_of_storage(tensor) not in allowed:
                raise refused(path, f"{name}: its size differs from that of its data")
        self.arrays = {
            name: StateArray(tuple(map(int, tensor.shape)), _type_of(tensor))
            for name, tensor in self._tensors.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Copy a tensor: see ``StateFile``."""
        tensor = self._tensors[name].detach()
        try:
            if self.arrays[name].dtype not in PLAIN_TYPES:
                tensor = tensor.float()  # exact: see ``stored_type``
            return np.array(tensor.numpy())
        except (RuntimeError, TypeError) as error:
            raise refused(self._path, f"{name}: {error}") from error

    def close(self) -> None:
        """Release the tensors, and with them the file."""
        self._tensors = {}


def _torch(path: Path) -> Any:
    try:
        import torch  # noqa: PLC0415 - takes seconds
    except ImportError as error:
        raise FiltertrackError(
            f"{str(path)!r} can be read where torch is installed: pip install 'filtertrack[torch]'"
        ) from error
    return torch


def _sizes_in_zip(path: Path) -> set[int]:
    """Check the sizes in a zip file, which torch would take as they are.

    Returns:
        The sizes of the entries; empty if the file is no zip file: older versions of torch wrote a
        sequence of pickles.
    """
    try:
        if not zipfile.is_zipfile(path):
            return set()
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RecursionError) as error:
        raise refused(path, f"its index of entries is damaged: {error}") from error
    if any("/code/" in entry.filename for entry in entries):
        raise refused(path, "a TorchScript archive; save the module's state_dict() with torch.save")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise refused(path, "it has compressed entries, which torch.save does not write")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise refused(path, "its entries claim more bytes than the file has")
    pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
    if any(entry.file_size > _LARGEST_PICKLE for entry in pickles):
        raise refused(path, f"it holds a pickle of more than {_LARGEST_PICKLE} bytes")
    return {entry.file_size for entry in entries}


def _reason(error: Exception) -> str:
    """Return a sentence about an error of torch, without its advice to load the file unsafely."""
    text = str(error)
    found = _GLOBAL.search(text)
    if "weights" in text.lower() and found:
        return (
            f"it holds an object of Python, {found[1]:.100}, which is not loaded as "
            f"that could run code; save the model's state_dict() alone"
        )
    if "weights" in text.lower():
        return "it is damaged, or holds objects of Python; save the model's state_dict() alone"
    return f"torch cannot load it: {type(error).__name__}: {message_of(text):.300}"


def _tensors_in(state: Any, tensor: type) -> Iterator[tuple[str, Any]]:
    """Yield the tensors in nested containers with their names, in order, each container once."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), state)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, tensor):
            yield ".".join(path) or "weight", value  # a tensor alone has no name
        elif isinstance(value, (Mapping, list, tuple)) and len(path) < _DEEPEST:
            if id(value) in seen:
                continue
            seen.add(id(value))
            pairs = list(value.items() if isinstance(value, Mapping) else enumerate(value))
            waiting.extend(((*path, str(key)), each) for key, each in reversed(pairs))


def _containers_in(state: Any) -> set[str]:
    """Return the keys of the outer dicts whose values are dicts."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [(0, state)]
    while waiting:
        depth, value = waiting.pop()
        if depth == _CONTAINERS or id(value) in seen or not isinstance(value, Mapping):
            continue
        seen.add(id(value))
        found.update(str(key) for key, each in value.items() if isinstance(each, Mapping))
        waiting.extend((depth + 1, each) for each in value.values())
    return found


def _distinct(tensors: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return tensors by name, each kernel once, though several modules share it."""
    found: dict[str, Any] = {}
    seen = set()
    for name, tensor in tensors:
        place = _place_of(tensor)
        if place is None or place not in seen:
            found.setdefault(name, tensor)
        seen.add(place)
    return found


def _size_of_storage(tensor: Any) -> int | None:
    """Return the bytes of a tensor's data; None if it has none of its own, as sparse ones."""
    is_plain = "strided" in str(tensor.layout) and tensor.device.type == "cpu"
    return int(tensor.untyped_storage().nbytes()) if is_plain else None


def _place_of(tensor: Any) -> tuple[Any, ...] | None:
    """Return the place of a kernel's values in memory; None for other tensors."""
    if "strided" not in str(tensor.layout) or len(tensor.shape) < 3 or not tensor.numel():
        return None
    start = tensor.untyped_storage().data_ptr()
    return (start, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()) if start else None


def _type_of(tensor: Any) -> str:
    """Return the name of a tensor's type; one that cannot be stored if it is no plain array."""
    name = str(tensor.dtype).removeprefix("torch.")
    if stored_type(name) is None:
        return name
    if "strided" not in str(tensor.layout) or tensor.device.type != "cpu":
        return f"{name}, {tensor.layout}, {tensor.device.type}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{name}, repeated"
    return name
