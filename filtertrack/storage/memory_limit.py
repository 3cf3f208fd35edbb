"""Memory limit of the process, and the check of sizes against it."""

import os
from contextlib import suppress
from pathlib import Path

from filtertrack.errors import FiltertrackError, size_text

_SMALL = 1 << 26
"""Bytes that are always allowed, without looking up the limit."""
_SHARE = 4
"""Arrays that are read at once may take a fourth of the memory: processing them takes copies."""
_UNKNOWN = 8 << 30
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def machine_memory() -> int:
    """Return the memory in bytes that this process can use.

    It is the machine's memory, or the limit of the container or the process. Memory in use by other
    processes is not subtracted. 8 GiB if it is not known.

    Example:
        >>> machine_memory() > 1 << 20
        True
    """
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such limit, or "max"
            limits.append(int(file.read_text()))
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        limits += [
            resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
        ]
    return min((limit for limit in limits if limit > 0), default=_UNKNOWN)


def check_memory(size: int, what: str, share: int = _SHARE) -> None:
    """Check that a size is less than a share of the memory.

    Args:
        size: The size in bytes.
        what: The beginning of the message's sentence: what takes the memory.
        share: The allowed share of the memory: 4 for a fourth.

    Raises:
        FiltertrackError: If it is larger.

    Example:
        >>> check_memory(1000, "the file 'a.npz' takes")
    """
    if size > _SMALL and size > (most := machine_memory() // share):
        raise FiltertrackError(
            f"{what} {size_text(size)}, expected at most {size_text(most)}: a share of this "
            f"machine's memory"
        )
