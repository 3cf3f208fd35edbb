"""A run as it is in an HTML file: only some of its steps are seen, and it does not change."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import Member

_Result = TypeVar("_Result")


class FileRun:
    """The layers and steps of a run of which a file holds all, or fewer steps.

    Args:
        selection: Layers and steps of one run.
        responses: Whether its responses are wanted.

    Attributes:
        layers: The layers.
        steps: The number of selected steps.
        has_probes: Whether the run has probes, or had: their file may be damaged.
        probes: The probes, if responses of a layer can be in the file; else None.
    """

    def __init__(self, selection: RunSelection, *, responses: bool) -> None:
        self._run = selection.runs[0]
        self._steps = selection.steps
        self._known: dict[Hashable, Any] = {}
        self.name = self._run.path.name or "run"
        self.layers: list[LayerInfo] = [self._run.layer(name) for name in selection.layers]
        self.steps = len(selection.steps)
        self.has_probes, self.probes = True, None
        try:
            probes = self._run.probes
        except FiltertrackError:  # damaged: the filters are in the file
            return
        self.has_probes = probes is not None
        if probes and responses and not set(selection.layers).isdisjoint(probes.layers):
            self.probes = probes

    def at(self, steps: int) -> "RunAtSteps":
        """Return the run at evenly spaced steps, a number of them; at all if it has fewer."""
        chosen = spread(self._steps, min(steps, self.steps))
        return RunAtSteps(self._run, chosen, self.probes, self._known)


class RunAtSteps(Run):
    """A run of which only some steps are seen.

    Args:
        run: The run.
        steps: These steps, ascending.
        probes: The probes of the run that are seen.
        known: What was computed for this run, at these steps or at others.
    """

    def __init__(
        self,
        run: Run,
        steps: Sequence[int],
        probes: StoredProbes | None,
        known: dict[Hashable, Any],
    ) -> None:
        self.path, self.layers, self.software = run.path, run.layers, run.software
        self._run, self._chosen, self._seen, self._known = run, list(steps), probes, known

    def once(self, *key: Hashable, compute: Callable[[], _Result]) -> _Result:
        """Compute something once for all thinnings of a file; the key says for what it holds."""
        if key not in self._known:
            self._known[key] = compute()
        found: _Result = self._known[key]
        return found

    def once_for_steps(self, *key: Hashable, compute: Callable[[], _Result]) -> _Result:
        """Compute something that depends on the steps once for each choice of them."""
        return self.once(len(self._chosen), *key, compute=compute)

    def shorten(self, text: str) -> str:
        """Replace the folder's path in a message by its name: a file is sent to others."""
        name = self.path.name or "run"
        for folder in sorted({str(self.path), self.path.real_path()}, key=len, reverse=True):
            text = text.replace(folder, name)
        return text

    @property
    def steps(self) -> list[int]:
        """The chosen steps."""
        return self._chosen

    def stamps(self) -> dict[int, int]:
        """Return the chosen steps, all with the same number: the file does not change."""
        return dict.fromkeys(self._chosen, 0)

    def made(self) -> int:
        """Return 0: the file does not change."""
        return 0

    def version(self) -> str:
        """Return a constant: the file does not change."""
        return "file"

    def file(self, step: int) -> StoragePath:
        """Return the path of a snapshot's file."""
        return self._run.file(step)

    @property
    def probes(self) -> StoredProbes | None:
        """The probes that are seen."""
        return self._seen

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:
        return self._run._read(step, members)  # noqa: SLF001


def spread(steps: Sequence[int], count: int) -> list[int]:
    """Return a number of evenly spaced steps, with the first and the last.

    Example:
        >>> spread([0, 1, 2, 5, 9], 3)
        [0, 2, 9]
    """
    indices = np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))
    return [steps[index] for index in indices]
