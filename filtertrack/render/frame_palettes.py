"""Palettes of colour cells frame by frame: the weights that are drawn again, and their colours.

In a GIF each frame may have its own palette, and pixels that are not drawn again keep the colour
they were drawn in. So only weights whose colour has changed noticeably are drawn again, and all
entries are for them: a picture has far more colours than a palette, and a weight that does not
change keeps its colour.
"""

from typing import NamedTuple

import numpy as np

from filtertrack.render.palette import NOT_FINITE, NOT_FINITE_RGB, TRANSPARENT, nearest

_NOTICEABLE = 8.0
"""Distance of two colours in levels of red, green and blue from which on one replaces the other."""
_MOST_SAMPLES = 12_000
"""Colours of the first of two steps of k-means, at most, about."""


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

    Args:
        start: The colours that the first frame's are refined from, such as ``chosen_levels`` of it:
            ``uint8`` array of shape ``(entries, 3)``.
        first: Number of their first entry; the others follow.

    Example:
        >>> palettes = FramePalettes(np.zeros((2, 3), np.uint8))
        >>> red, blue, green = (250, 0, 0), (0, 0, 250), (0, 250, 0)
        >>> palettes.repaint(np.array([red, blue], np.uint8))[0]
        array([1, 0], dtype=uint8)
        >>> palettes.repaint(np.array([red, green], np.uint8))
        (array([255,   0], dtype=uint8), array([[  0, 250,   0]], dtype=uint8))
    """

    def __init__(self, start: np.ndarray, first: int = 0) -> None:
        self._centres = start
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
        numbers, error = self._noticeable(colours)
        entries = np.full(len(colours), TRANSPARENT, np.uint8)
        packed = _packed(colours[numbers])
        finite = packed != _NOT_FINITE
        entries[numbers[~finite]] = NOT_FINITE
        self._shown[numbers[~finite]] = NOT_FINITE_RGB
        numbers, error = numbers[finite], error[finite]
        wanted = colours[numbers]
        few, chosen = np.unique(packed[finite], return_inverse=True)
        if len(few) <= len(self._centres):
            levels = few.view(np.uint8).reshape(-1, 4)[:, :3]
        else:
            weights = np.ones(len(numbers)) if importance is None else importance[numbers]
            # Two steps are enough, as the colours of the frame before are a good start.
            for stride in (-(-len(numbers) // _MOST_SAMPLES), 1):
                some = slice(None, None, stride)
                chosen = self._refined(wanted[some], error[some], weights[some])
            levels = self._centres
            closer = _error(wanted, levels[chosen]) < error
            numbers, chosen = numbers[closer], chosen[closer]
        entries[numbers] = chosen + self._first
        self._shown[numbers] = levels[chosen]
        return entries, levels

    def _noticeable(self, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights that have noticeably changed, and the errors of their colours so far.

        A weight that has the colour it had in the frame before is not among them, so that it does
        not flicker. One that begins or ceases to be finite always is.
        """
        before, self._packed = self._packed, _packed(colours)
        if before is None:
            self._shown = np.zeros_like(colours)
            return np.arange(len(colours)), np.full(len(colours), np.inf)
        numbers = np.flatnonzero(self._packed != before)
        error = _error(colours[numbers], self._shown[numbers])
        was, now = before[numbers], self._packed[numbers]
        error[(was == _NOT_FINITE) | (now == _NOT_FINITE)] = np.inf
        noticeable = error > _NOTICEABLE**2
        return numbers[noticeable], error[noticeable]

    def _refined(self, wanted: np.ndarray, error: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Move the centres towards the colours that are wanted: one step of k-means.

        A colour that none of the centres would improve, as its weight is shown better already, does
        not count. A centre without any colour becomes one of the colours farthest from all others.

        Returns:
            The number of the centre of each colour: the nearest one before the step, or itself.
        """
        chosen = nearest(wanted, self._centres)
        remaining = np.minimum(_error(wanted, self._centres[chosen]), error)
        closer = remaining < error
        counted, share, colours = chosen[closer], weights[closer], wanted[closer]
        most = len(self._centres)
        count = np.bincount(counted, share, most)
        sums = np.stack([np.bincount(counted, each * share, most) for each in colours.T], axis=1)
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


def _packed(colours: np.ndarray) -> np.ndarray:
    """Return each colour as one number: ``uint32`` array of shape ``(colours,)``."""
    padded = np.zeros((len(colours), 4), np.uint8)
    padded[:, :3] = colours
    return padded.view(np.uint32).ravel()


def _error(colours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distance of each colour from another."""
    difference = np.subtract(colours, others, dtype=np.float32)
    distances: np.ndarray = np.einsum("cn,cn->c", difference, difference)
    return distances


_NOT_FINITE = _packed(np.array([NOT_FINITE_RGB], np.uint8))[0]
