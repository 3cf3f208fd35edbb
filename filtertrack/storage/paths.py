"""Where a run is: a folder on disk, or an address on object storage such as ``s3://bucket/run``."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from filtertrack.errors import FiltertrackError

if TYPE_CHECKING:
    from filtertrack.storage.remote import RemotePath

StoragePath: TypeAlias = Union[Path, "RemotePath"]
PathOrAddress: TypeAlias = Union[str, os.PathLike[str], "RemotePath"]

_ON_DISK = re.compile(r"(?:file|local)://")
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]+::)*[A-Za-z][A-Za-z0-9+.\-]+://")
_FOLDED = re.compile(r"(?:s3a?|gc?s|abfss?|az|oss|memory):/[^/]")


def is_address(text: str) -> bool:
    """Whether a text is an address on object storage, not a path on disk.

    Example:
        >>> [is_address(text) for text in ("s3://bucket/run", "runs/exp1", "C://runs", "file:///a")]
        [True, False, False, False]
    """
    return bool(_ADDRESS.match(text)) and not _ON_DISK.match(text)


def path_of(given: Any) -> StoragePath:
    """Return where a run is. Nothing is loaded for a path on disk.

    Args:
        given: A path on disk, an address that fsspec knows, or a path of universal-pathlib's.

    Raises:
        FiltertrackError: If its storage cannot be used, such as without fsspec, or it is an address
            in a ``Path``.

    Example:
        >>> path_of("runs/exp1")
        PosixPath('runs/exp1')
    """
    if isinstance(given, (str, Path)) or not hasattr(given, "fs"):
        text = os.fspath(given)
        if not is_address(text):
            path = Path(_ON_DISK.sub("", text))
            if _FOLDED.match(path.as_posix()):
                raise FiltertrackError(
                    f"{text!r}: an address has '://', which a Path cannot hold; give it as text"
                )
            return path
    try:
        from filtertrack.storage.remote import RemotePath  # noqa: PLC0415 - only for those who need it
    except ModuleNotFoundError as error:
        raise FiltertrackError(
            f"runs on object storage need {error.name}: pip install 'filtertrack[s3]' (or [gcs])"
        ) from error
    return given if isinstance(given, RemotePath) else RemotePath.of(given)
