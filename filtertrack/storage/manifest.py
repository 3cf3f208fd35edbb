"""What every snapshot of a run holds: written once, in its manifest, and checked when read."""

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.files import damaged_file, missing_file, open_regular, write_whole
from filtertrack.storage.paths import Place

MANIFEST = "manifest.json"

FORMAT = 1
"""The version of a run's layout. A reader refuses a newer one and reads every older one."""

_MOST = 8 << 20


def write_manifest(folder: Place, layers: Sequence[LayerInfo], software: Mapping[str, str]) -> None:
    """Write a run's manifest.

    Args:
        folder: The run's own folder; it is there.
        layers: What each snapshot will hold.
        software: Library name to version, for the record.

    Raises:
        FiltertrackError: If it would be larger than one that is read.
        OSError: If it cannot be written.
    """
    manifest = {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": dict(software),
        "layers": [info.to_dict() for info in layers],
    }
    text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1).encode()
    if len(text) > _MOST:
        raise FiltertrackError(
            f"{len(layers)} layers take a manifest of {len(text)} bytes, expected at most {_MOST}; "
            f"track fewer layers (layers=)"
        )
    write_whole(folder / MANIFEST, lambda file: file.write(text))


def read_manifest(
    folder: Place, within: str | None = None
) -> tuple[dict[str, LayerInfo], dict[str, str]]:
    """Read a run's manifest.

    Args:
        folder: The run's own folder.
        within: A folder that no link may lead out of; None where links may lead anywhere.

    Returns:
        Layers by their names, and library name to version.

    Raises:
        FiltertrackError: If there is none, or it is damaged or of a newer format; the message names
            the file.
        OSError: If it is on object storage and cannot be reached.
    """
    path, run = folder / MANIFEST, str(folder.parent)
    try:
        file, _ = open_regular(path, _MOST, within)
        with file:
            manifest = json.loads(file.read())
        checksum = _checksum(manifest) if isinstance(manifest, dict) else None
    except (FileNotFoundError, NotADirectoryError):
        raise missing_file(path) or FiltertrackError(
            f"no run in {run!r}: expected {folder.name}/{MANIFEST} in that folder; "
            f"give the folder that FilterTracker was given"
        ) from None
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, error) from error
    except OSError as error:
        if not isinstance(path, Path):  # of the file itself nothing is known
            raise
        raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise damaged_file(path, "it names no format version")
    if manifest["format"] > FORMAT:
        raise FiltertrackError(
            f"{run!r} has format {manifest['format']!r:.20}, newer than the {FORMAT} this version "
            f"of filtertrack reads; update filtertrack"
        )
    if manifest.get("checksum") != checksum:
        raise damaged_file(path, "its checksum does not fit its content")
    software = manifest.get("software")
    if not isinstance(software, dict) or not all(isinstance(v, str) for v in software.values()):
        raise damaged_file(path, "it names no library versions")
    try:
        return _layers(manifest), software
    except FiltertrackError as error:
        raise damaged_file(path, error) from error


def _checksum(manifest: Mapping[str, Any]) -> int:
    """Return the CRC-32 of a manifest without its own checksum, however it is laid out."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _layers(manifest: Mapping[str, Any]) -> dict[str, LayerInfo]:
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise FiltertrackError("it holds no list of layers")
    if not entries:
        raise FiltertrackError("it names no layers")
    layers = {info.name: info for info in map(LayerInfo.from_dict, entries)}
    if len(layers) != len(entries):
        raise FiltertrackError("it names two layers alike")
    arrays = [name for info in layers.values() for name in (info.kernel, info.bias) if name]
    if len(set(arrays)) != len(arrays):
        raise FiltertrackError("it names two arrays alike")
    return layers
