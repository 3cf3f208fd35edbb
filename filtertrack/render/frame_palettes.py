"""Palettes of colour cells frame by frame: the weights that are drawn again, and their colours.

In a GIF each frame may have its own palette, and pixels that are not drawn again keep the colour
they were drawn in. So only weights whose colour has changed noticeably are drawn again, and all
entries are for them: a picture has far more colours than a palette, and a weight that does not
change keeps its colour.
"""

from typing import NamedTuple

import numpy as np

from filtertrack.render.palette import (
    NOT_FINITE,
    NOT_FINITE_RGB,
    TRANSPARENT,
    chosen_levels,
    nearest,
)

_NOTICEABLE = 8.0
"""Distance of two colours in levels of red, green and blue from which on one replaces the other."""
_MOST_SAMPLES = 12_000
"""Weights that the colours of a frame are chosen from, at most."""
_WEIGHTS_AT_ONCE = 65_536
"""Weights whose error is computed at once: the differences take much memory."""


class Repaint(NamedTuple):
    """A frame that draws some pixels of the one before again, with its own palette.

    Attributes:
        pixels: Entries of the palette: ``uint8`` array of the frame's height and width;
            ``TRANSPARENT`` where a pixel keeps its colour.
        colours: The palette: ``uint8`` array of shape ``(256, 3)``.
        fresh: The entries whose colours are other ones in each frame.
    """

    pixels: np.ndarray
    colours: np.ndarray
    fresh: range

    def lasting(self, out: np.ndarray) -> np.ndarray:
        """Return the entries, but ``TRANSPARENT`` for those that mean nothing in the next frame.

        Args:
            out: Array of the same shape that the entries are written into: allocating memory would
                take longer than the operations.
        """
        np.subtract(self.pixels, np.uint8(self.fresh.start), out=out)
        np.less(out, len(self.fresh), out=out.view(bool))
        np.negative(out, out=out)  # 0 - 1 in a byte: 255, which is TRANSPARENT
        np.bitwise_or(out, self.pixels, out=out)
        return out


class FramePalettes:
    """Chooses the palette of one frame after another.

    The colours are refined from those of the frame before by k-means; where most of those are of no
    use, as in the first frame or the one after a blank frame, all are chosen anew.

    Args:
        entries: Number of entries.
        first: The first of them.

    Example:
        >>> palettes = FramePalettes(2)
        >>> red, blue, green = (250, 0, 0), (0, 0, 250), (0, 250, 0)
        >>> palettes.repaint(np.array([red, blue], np.uint8))[0]
        array([0, 1], dtype=uint8)
        >>> palettes.repaint(np.array([red, green], np.uint8))
        (array([255,   0], dtype=uint8), array([[  0, 250,   0]], dtype=uint8))
    """

    def __init__(self, entries: int, first: int = 0) -> None:
        self._centres = np.zeros((entries, 3), np.uint8)
        self._first = first
        self._packed: np.ndarray | None = None
        self._shown = np.empty((0, 3), np.uint8)

    def repaint(
        self, colours: np.ndarray, importance: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the weights that a frame draws again, and the colours of its palette.

        Args:
            colours: The exact colours of all weights: ``uint8`` array of shape ``(weights, 3)``.
            importance: Of each weight, for the choice of colours; None for the same of all.

        Returns:
            The entry of each weight, or ``TRANSPARENT`` where it keeps its colour; and the colours
            of the entries from ``first`` on: ``uint8`` array of shape ``(entries or fewer, 3)``.
        """
        packed = _packed(colours)
        numbers, error = self._noticeable(colours, packed)
        entries = np.full(len(colours), TRANSPARENT, np.uint8)
        finite = packed[numbers] != _NOT_FINITE
        if not finite.all():  # the copies would take memory
            entries[numbers[~finite]] = NOT_FINITE
            self._shown[numbers[~finite]] = NOT_FINITE_RGB
            numbers, error = numbers[finite], error[finite]
        some = _sample(len(numbers), None if importance is None else importance[numbers])
        few = np.unique(packed[numbers[some]])
        if len(few) <= len(self._centres):
            few, chosen = np.unique(packed[numbers], return_inverse=True)
        if len(few) <= len(self._centres):
            levels = few.view(np.uint8).reshape(-1, 4)[:, :3]
        else:
            wanted = colours[numbers]
            self._start(wanted[some], error[some])
            chosen = nearest(wanted, self._centres)
            chosen[some] = self._refined(wanted[some], error[some], chosen[some])
            levels = self._centres
            closer = _error(wanted, levels[chosen]) < error
            numbers, chosen = numbers[closer], chosen[closer]
        entries[numbers] = chosen + self._first
        self._shown[numbers] = levels[chosen]
        return entries, levels

    def _noticeable(self, colours: np.ndarray, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights that have noticeably changed, and the errors of their colours so far.

        A weight that has the colour it had in the frame before is not among them, so that it does
        not flicker. One that begins or ceases to be finite always is.
        """
        before, self._packed = self._packed, packed
        if before is None:
            self._shown = np.zeros_like(colours)
            return np.arange(len(colours)), np.full(len(colours), np.inf, np.float32)
        numbers = np.flatnonzero(packed != before)
        error = _error(colours[numbers], self._shown[numbers])
        error[(before[numbers] == _NOT_FINITE) | (packed[numbers] == _NOT_FINITE)] = np.inf
        noticeable = error > _NOTICEABLE**2
        numbers = numbers[noticeable]
        return numbers, error[noticeable]

    def _start(self, wanted: np.ndarray, error: np.ndarray) -> None:
        """Move the centres of the frame before towards the colours that are wanted.

        Where most of them are nearest to none, all are chosen anew: the colours farthest from all
        others would be extremes only.
        """
        chosen = nearest(wanted, self._centres)
        if np.count_nonzero(np.bincount(chosen)) < len(self._centres) / 2:
            self._centres = chosen_levels(wanted, len(self._centres))
        else:
            self._refined(wanted, error, chosen)

    def _refined(self, wanted: np.ndarray, error: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Move the centres towards the colours that are wanted: one step of k-means.

        A colour that none of the centres would improve, as its weight is shown better already, does
        not count. A centre without any colour becomes one of the colours farthest from all others.

        Args:
            wanted: ``uint8`` array of shape ``(weights, 3)``.
            error: Of the colour that each weight is shown in so far.
            chosen: The number of the nearest centre of each.

        Returns:
            The number of the centre of each colour: the nearest one before the step, or itself.
        """
        remaining = np.minimum(_error(wanted, self._centres[chosen]), error)
        closer = remaining < error
        counted, most = chosen[closer], len(self._centres)
        count = np.bincount(counted, minlength=most)
        sums = np.stack([np.bincount(counted, each, most) for each in wanted[closer].T], axis=1)
        used = count > 0
        centres = self._centres.copy()
        centres[used] = np.rint(sums[used] / count[used, np.newaxis])
        unused = np.flatnonzero(~used)
        if len(unused):
            farthest = np.argpartition(remaining, -len(unused))[-len(unused) :]
            centres[unused] = wanted[farthest]
            chosen[farthest] = unused
        self._centres = centres
        return chosen


def _sample(weights: int, importance: np.ndarray | None) -> np.ndarray:
    """Return the numbers of at most ``_MOST_SAMPLES`` weights, the same ones each time.

    Args:
        weights: Number of weights.
        importance: How often each is in the sample, in proportion; None for the same of all, and
            then no weight is in it twice.
    """
    count = min(weights, _MOST_SAMPLES)
    # One at random in each of as many equal parts.
    at = (np.arange(count) + np.random.default_rng(0).random(count)) / max(count, 1)
    if importance is None:
        return (at * weights).astype(np.intp)
    total = np.cumsum(importance)
    numbers: np.ndarray = np.searchsorted(total, at * total[-1:])
    return numbers


def _packed(colours: np.ndarray) -> np.ndarray:
    """Return each colour as one number: ``uint32`` array of shape ``(colours,)``."""
    padded = np.zeros((len(colours), 4), np.uint8)
    padded[:, :3] = colours
    return padded.view(np.uint32).ravel()


def _error(colours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distance of each colour from another: ``float32`` array."""
    distances = np.empty(len(colours), np.float32)
    for start in range(0, len(colours), _WEIGHTS_AT_ONCE):
        some = slice(start, start + _WEIGHTS_AT_ONCE)
        difference = np.subtract(colours[some], others[some], dtype=np.float32)
        np.einsum("cn,cn->c", difference, difference, out=distances[some])
    return distances


_NOT_FINITE = _packed(np.array([NOT_FINITE_RGB], np.uint8))[0]
