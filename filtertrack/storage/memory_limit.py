"""How much memory this process may take."""

import math
import os
from contextlib import suppress
from pathlib import Path

from filtertrack.errors import FiltertrackError

_SMALL = 1 << 26
_SHARE = 4
"""What is read at once may take a fourth of the memory: what is done with weights takes some copies
of them. Where it is small, nothing is looked up."""
_UNKNOWN = 8 << 30
_LIMITS_OF_A_CONTAINER = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def size_text(count: float) -> str:
    """Write a number of bytes in the unit that suits it.

    Example:
        >>> size_text(2_400_000_000), size_text(31_400_000), size_text(900)
        ('2.4 GB', '31 MB', '1 kB')
    """
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{math.ceil(count / 1e3)} kB"


def machine_memory() -> int:
    """Return the bytes that this process can have: the machine's, or less where that is limited.

    Limits of a container and of the process count; what others take now does not. Where nothing
    says it, 8 GiB.

    Example:
        >>> machine_memory() > 1 << 20
        True
    """
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _LIMITS_OF_A_CONTAINER:
        with suppress(OSError, ValueError):  # no such limit, or "max"
            limits.append(int(file.read_text()))
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        limits += [
            resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
        ]
    return min((limit for limit in limits if limit > 0), default=_UNKNOWN)


def check_memory(size: int, what: str, share: int = _SHARE) -> None:
    """Refuse what takes more than a share of the memory.

    Args:
        size: Bytes it takes.
        what: What takes them, as the beginning of a sentence.
        share: Which part of the memory it may take: 4 for a fourth.

    Raises:
        FiltertrackError: If that is too much.

    Example:
        >>> check_memory(1000, "the file 'a.npz' takes")
    """
    if size > _SMALL and size > (most := machine_memory() // share):
        raise FiltertrackError(
            f"{what} {size_text(size)}, expected at most {size_text(most)}: a share of this "
            f"machine's memory"
        )
