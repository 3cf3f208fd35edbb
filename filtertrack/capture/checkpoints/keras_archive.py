"""Read ``.keras`` files: a zip archive of a model's description and its weights.

The weights are read in place: Keras stores them without compression.
"""

import io
import zipfile
import zlib
from pathlib import Path

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import FilePart, Hdf5File
from filtertrack.capture.checkpoints.keras_config import LONGEST_CONFIG, parse_config
from filtertrack.capture.checkpoints.keras_weights import read_weights
from filtertrack.errors import FiltertrackError, size_text

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""The entries of the archive that are read."""
_LOCAL_HEADER = 30
_MOST_ENTRIES = 10_000
_ENCRYPTED = 1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""What ``zipfile`` raises for a damaged archive."""


def open_archive(path: Path) -> Checkpoint:
    """Open a ``.keras`` file.

    Raises:
        FiltertrackError: If it is damaged, or h5py is missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config, weights = _entries(path, archive)
            text = _text(path, archive, config)
            start = _content(path, weights)
    except _DAMAGE as error:
        raise refused(path, f"it is damaged: {error or type(error).__name__}") from error
    try:
        model = parse_config(text)
    except FiltertrackError as error:
        raise refused(path, error) from error
    file = Hdf5File(path, FilePart(path, start, weights.file_size))
    return read_weights(path, [file], model)


def _entries(path: Path, archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, zipfile.ZipInfo]:
    """Return the entries of the description and of the weights after a check of all names."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > _MOST_ENTRIES:
        raise refused(path, f"it has {len(entries)} entries")
    if len(set(names)) < len(names):
        raise refused(path, "it has two entries of the same name")
    outside = [n for n in names if n.startswith("/") or "\\" in n or ".." in n.split("/")]
    if outside:
        raise refused(path, f"its entry {outside[0]!r:.200} leads out of the archive")
    by_name = dict(zip(names, entries, strict=True))
    missing = [name for name in (CONFIG, WEIGHTS) if name not in by_name]
    if missing:
        raise refused(path, f"it has no entry {missing[0]!r}, so it is no model of Keras")
    for name in (CONFIG, WEIGHTS):
        if by_name[name].flag_bits & _ENCRYPTED:
            raise refused(path, f"its entry {name!r} is encrypted")
    return by_name[CONFIG], by_name[WEIGHTS]


def _text(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Read the description of the model, of bounded size whatever the archive says."""
    with archive.open(entry) as stream:
        content = stream.read(LONGEST_CONFIG + 1)
    if len(content) > LONGEST_CONFIG:
        raise refused(path, f"its {CONFIG} has more than {size_text(LONGEST_CONFIG)}")
    return content.decode()


def _content(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return the position of an entry's content in the file, after a check of its sizes."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise refused(
            path,
            f"its {entry.filename} is compressed, which Keras does not do: unpack the archive and "
            f"read that file",
        )
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER)
        size = file.seek(0, io.SEEK_END)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\3\4":
        raise refused(path, f"its {entry.filename} is not where its index says")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    start = entry.header_offset + _LOCAL_HEADER + name + extra
    if entry.file_size != entry.compress_size or start + entry.file_size > size:
        raise refused(path, f"its {entry.filename} claims {size_text(entry.file_size)}")
    return start
