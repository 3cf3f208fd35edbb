"""Chooses the tracked layers of a model or module, according to the option ``layers``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from filtertrack.errors import FiltertrackError

if TYPE_CHECKING:  # it imports Keras, and modules of torch are chosen here as well
    from filtertrack.capture.dense_images import ImageShape

Choice: TypeAlias = str | type
Selection: TypeAlias = Choice | Sequence[Choice] | Callable[[Any], bool] | None

_FIRST = "first"
_DENSE_HINT = "A Dense layer on flattened images: dense={'its name': (height, width)}"


class NoConvolutionError(FiltertrackError):
    """A model or module has no convolution, and no other layer of it was chosen."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer that may be tracked.

    Attributes:
        layer: The layer.
        name: Its name, such as ``"conv1"``.
        path: Its position in the model, such as ``"encoder/conv1"``.
        convolution: Whether it is a convolution; otherwise it is another layer with a kernel.
        keras_path: Its path in Keras, which may omit the models that contain it; in torch its
            name in ``named_modules``.
        image: The shape of its images if it is a Dense layer that the user has given one for; it is
            tracked whatever is selected.
    """

    layer: Any
    name: str
    path: str
    convolution: bool
    keras_path: str = ""
    image: "ImageShape | None" = None

    @property
    def names(self) -> tuple[str, str, str]:
        """The names that a user may choose it by, the path first."""
        return self.path, self.name, self.keras_path


def is_function(select: Selection) -> bool:
    """Whether a selection is a function of the layer, and not a class."""
    return callable(select) and not isinstance(select, type)


def choose_layers(
    candidates: Sequence[Candidate], select: Selection, *, advice: str = _DENSE_HINT
) -> list[Candidate]:
    """Choose layers, in the order of the candidates, each once.

    Args:
        candidates: Every layer that has a kernel.
        select: A name, glob or class, several of these, ``"first"`` for the first convolution, a
            function of the layer, or None for every convolution. Layers that are not convolutions
            of Keras are chosen by a function, or by a name, glob or class that matches no
            convolution.
        advice: A sentence at the end of the message if no convolution matches.

    Returns:
        The chosen layers, and the Dense layers with an image shape: at least one.

    Raises:
        NoConvolutionError: If there is no convolution, and nothing is selected.
        FiltertrackError: If nothing matches; the message lists the layers.

    Example:
        >>> conv = Candidate(None, "conv1", "encoder/conv1", convolution=True)
        >>> [c.path for c in choose_layers([conv], "encoder/*")]
        ['encoder/conv1']
    """
    if callable(select) and not isinstance(select, type):
        chosen = [each for each in candidates if select(each.layer) or each.image]
        if not chosen:
            raise FiltertrackError(
                f"layers: the function chose none of the layers that have a kernel: "
                f"{_paths(candidates) or 'there are none'}"
            )
        return chosen
    convolutions = [candidate for candidate in candidates if candidate.convolution]
    dense = [candidate for candidate in candidates if candidate.image]
    if not convolutions and not dense and (select is None or not candidates):
        hint = f" Choose {_paths(candidates)} by name, class or function." if candidates else ""
        raise NoConvolutionError(
            f"the model has no convolution to track: none of its layers is a Conv, DepthwiseConv, "
            f"SeparableConv or ConvLSTM.{hint} {advice}"
        )
    if select is None:
        return [candidate for candidate in candidates if candidate.convolution or candidate.image]
    choices = [select] if isinstance(select, (str, type)) else list(select)
    if not choices:
        raise FiltertrackError("layers: the list is empty; leave it out for every convolution")
    chosen = [found for choice in choices for found in _matching(candidates, choice, advice)]
    return [candidate for candidate in candidates if candidate in (*chosen, *dense)]


def _matching(candidates: Sequence[Candidate], choice: Choice, advice: str) -> list[Candidate]:
    """Return the layers that match a name, a glob or a class: at least one.

    If convolutions match, only these; otherwise other layers with a kernel.
    """
    convolutions = [candidate for candidate in candidates if candidate.convolution]
    if isinstance(choice, type):
        found = [candidate for candidate in candidates if isinstance(candidate.layer, choice)]
        found = [each for each in found if each.convolution] or found
    elif isinstance(choice, str):
        found = [candidate for candidate in candidates if _has_name(candidate, choice)]
        found = [each for each in found if each.convolution] or found
        first = convolutions or [candidate for candidate in candidates if candidate.image]
        found = found or (first[:1] if choice == _FIRST else [])
    else:
        raise FiltertrackError(f"layers: expected names or classes, got {choice!r}")
    if not found:
        what = choice.__name__ if isinstance(choice, type) else choice
        near = get_close_matches(what, [c.path for c in convolutions], n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise FiltertrackError(
            f"layers: no convolution matches {what!r}.{hint} The model has: "
            f"{_paths(convolutions)}. {advice}".rstrip()
        )
    return found


def _has_name(candidate: Candidate, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in candidate.names)


def _paths(candidates: Sequence[Candidate]) -> str:
    return ", ".join(candidate.path for candidate in candidates)
