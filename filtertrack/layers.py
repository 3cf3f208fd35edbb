"""Find the convolutions of a Keras model and copy their weights: the only room that reads models.

Keras orders a kernel's axes in three ways. Each is written down here once, so that nothing after
this room needs to know Keras.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce, wraps
from math import prod
from typing import Any, Literal

import keras
import numpy as np

from filtertrack.errors import printable
from filtertrack.selection import Candidate, Selection, choose, is_function
from filtertrack.snapshot import LayerInfo, safe_names

Order = Literal["convolution", "transposed", "depthwise"]

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Where a class of layers keeps a kernel, and how its axes are ordered.

    Attributes:
        attribute: Such as ``"kernel"`` or ``"cell.kernel"``.
        order: What follows the spatial axes: ``(channels, filters)`` for a convolution,
            ``(filters, channels)`` for a transposed one, ``(channels, multiplier)`` for a depthwise
            one, whose filters see one channel each.
        bias: The attribute of the bias that belongs to its filters, or None.
    """

    attribute: str
    order: Order
    bias: str | None


_K = keras.layers
_KERNELS: tuple[tuple[tuple[type, ...], tuple[_Kernel, ...]], ...] = (
    (
        (_K.Conv1DTranspose, _K.Conv2DTranspose, _K.Conv3DTranspose),
        (_Kernel("kernel", "transposed", "bias"),),
    ),
    ((_K.DepthwiseConv1D, _K.DepthwiseConv2D), (_Kernel("kernel", "depthwise", "bias"),)),
    (
        (_K.SeparableConv1D, _K.SeparableConv2D),
        (
            _Kernel("depthwise_kernel", "depthwise", None),
            _Kernel("pointwise_kernel", "convolution", "bias"),
        ),
    ),
    (
        (_K.ConvLSTM1D, _K.ConvLSTM2D, _K.ConvLSTM3D),
        (
            _Kernel("cell.kernel", "convolution", "cell.bias"),
            _Kernel("cell.recurrent_kernel", "convolution", None),
        ),
    ),
    ((_K.Conv1D, _K.Conv2D, _K.Conv3D), (_Kernel("kernel", "convolution", "bias"),)),
)


_OWN = (_Kernel("kernel", "convolution", "bias"),)
"""How a layer that is none of these keeps its kernel, where it has one: as a convolution does."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One tracked kernel of a built layer."""

    info: LayerInfo
    layer: Any
    kernel: _Kernel


class TrackedLayers:
    """The convolutions of one model that are tracked.

    Args:
        model: A Keras model.
        select: Which layers: a name, glob or class, several of these, ``"first"`` for the first
            convolution, a function of the layer, or None for every convolution. Only a function
            may choose other layers that own a ``kernel`` of three to five axes, ordered as a
            convolution's: space, input channels, filters.

    Raises:
        FiltertrackError: If nothing matches, or the model has no convolution. A model that is not
            built yet may still make layers; then this waits for ``finish``.

    Attributes:
        infos: One description a kernel, in model order; empty until everything is built.
        left_out: Why layers that have a kernel are not tracked, though nobody left them out by
            choice: reason to paths.
    """

    def __init__(self, model: Any, select: Selection = None) -> None:
        self._model = model
        self._select = select
        self._first: dict[tuple[int, str], np.ndarray] = {}
        self._sources: tuple[_Source, ...] = ()
        self.left_out: dict[str, list[str]] = {}
        # What a layer made later will be is not known; that of a Sequential model is all there,
        # but only a built layer shows whether it owns a kernel, which a function may ask for.
        if model.built or (isinstance(model, keras.Sequential) and not is_function(select)):
            candidates = self._candidates()
            wanted = choose(candidates, select)
            if all(_is_built(candidate.layer) for candidate in wanted):
                self._track(candidates, wanted)

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        """One description a kernel, in model order; empty until everything is built."""
        return tuple(source.info for source in self._sources)

    @property
    def ready(self) -> bool:
        """Whether every tracked layer is built, so that its weights can be read."""
        return bool(self._sources)

    def finish(self) -> None:
        """Describe the layers, now that they are built.

        Raises:
            FiltertrackError: If nothing matches the selection.
        """
        candidates = self._candidates()
        self._track(candidates, choose(candidates, self._select))

    def _track(self, candidates: list[Candidate], wanted: list[Candidate]) -> None:
        chosen = [c for c in wanted if _is_built(c.layer)]
        self.left_out = {
            "never called, so without weights": [c.path for c in wanted if c not in chosen],
            "no convolution of Keras (a function as layers can choose it)": [
                c.path for c in candidates if c not in wanted and not c.convolution
            ],
        }
        kernels = [
            (owner.layer, member, path, kernel)
            for owner, member in zip(chosen, safe_names(c.path for c in chosen), strict=True)
            for kernel, path in _kernel_paths(owner)
        ]
        names = safe_names(path for _, _, path, _ in kernels)
        self._sources = tuple(
            _Source(_describe(layer, kernel, name, member), layer, kernel)
            for name, (layer, member, _, kernel) in zip(names, kernels, strict=True)
        )

    def read(self) -> dict[str, np.ndarray]:
        """Copy every tracked kernel and bias to the host.

        Returns:
            Member name (such as ``"conv1/kernel"``) to an array of its own: on some backends Keras
            hands out its live memory.
        """
        return {member: copied(value) for member, value in self.weights().items()}

    def weights(self) -> dict[str, Any]:
        """Return every tracked kernel and bias as its layer holds it, nothing copied.

        Returns:
            Member name (such as ``"conv1/kernel"``) to Keras's variable, or to the backend's array
            where a layer makes that itself.
        """
        return {
            member: _value(source.layer, attribute)
            for source in self._sources
            for member, attribute in _members(source)
        }

    def watch_builds(self) -> Callable[[], None]:
        """See the weights of layers that are not built yet at the moment they are made.

        On TensorFlow a model without a declared input is built inside the first training step,
        after every hook that comes before training. Each unbuilt layer's ``build`` is wrapped until
        the returned function is called; what is built already is read at once.

        Returns:
            A function that takes the wrappers off again.
        """
        layers = [layer for layer in _all_layers(self._model) if _kernels_of(layer)]
        watched = [layer for layer in layers if not _is_built(layer)]
        for layer in layers:
            self._copy_first(layer)
        originals = [layer.build for layer in watched]
        for layer, build in zip(watched, originals, strict=True):
            layer.build = self._watching(layer, build)

        def stop() -> None:
            for layer, build in zip(watched, originals, strict=True):
                layer.build = build

        return stop

    def first_weights(self) -> dict[str, np.ndarray] | None:
        """Return what ``watch_builds`` saw, the untrained weights; None if some are missing."""
        arrays = {
            member: self._first.get((id(source.layer), attribute))
            for source in self._sources
            for member, attribute in _members(source)
        }
        found = {member: array for member, array in arrays.items() if array is not None}
        return found if len(found) == len(arrays) else None

    def _watching(self, layer: Any, build: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(build)  # Keras reads the signature to learn what to pass
        def build_and_copy(*args: Any, **kwargs: Any) -> Any:
            result = build(*args, **kwargs)
            # TensorFlow is tracing here. In another thread it is not, and variables have values.
            thread = threading.Thread(target=self._copy_first, args=(layer,))
            thread.start()
            thread.join()
            return result

        return build_and_copy

    def _copy_first(self, layer: Any) -> None:
        try:
            for kernel in _kernels_of(layer):
                for attribute in filter(None, (kernel.attribute, kernel.bias)):
                    value = _value(layer, attribute)
                    if value is not None:
                        self._first[id(layer), attribute] = copied(value)
        except Exception as error:  # noqa: BLE001 - training comes first
            _log.warning("could not read the first weights of %s: %s", layer.name, error)

    def _candidates(self) -> list[Candidate]:
        """Return every layer that has a kernel, in model order."""
        return [
            Candidate(layer, layer.name, _path(self._model, layer), _is_convolution(layer))
            for layer in _all_layers(self._model)
            if _kernels_of(layer)
        ]


def _all_layers(model: Any) -> Iterator[Any]:
    """Yield every layer below a model in its order, however deep, each once."""
    seen: set[int] = set()
    for layer in model._flatten_layers(include_self=True):  # noqa: SLF001 - Keras has no public way
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def _kernel_paths(owner: Candidate) -> Iterator[tuple[_Kernel, str]]:
    """Yield a layer's kernels and what each is called: as the layer where there is only one."""
    kernels = _kernels_of(owner.layer)
    for kernel in kernels:
        yield kernel, owner.path if len(kernels) == 1 else f"{owner.path}/{_last(kernel.attribute)}"


def _kernels_of(layer: Any) -> tuple[_Kernel, ...]:
    """Return where a layer keeps its kernels; nothing for a layer that has none to show."""
    known = (kernels for classes, kernels in _KERNELS if isinstance(layer, classes))
    return next(known, _OWN if _owns_kernel(layer) else ())


def _is_convolution(layer: Any) -> bool:
    return any(isinstance(layer, classes) for classes, _ in _KERNELS)


def _owns_kernel(layer: Any) -> bool:
    """Whether a layer that is no convolution of Keras has a kernel that looks like one's."""
    if _is_convolution(layer) or not layer.built:
        return False
    return len(getattr(_value(layer, "kernel"), "shape", ())) in {3, 4, 5}


def _is_built(layer: Any) -> bool:
    return bool(layer.built) and all(
        _value(layer, kernel.attribute) is not None for kernel in _kernels_of(layer)
    )


def _value(layer: Any, attribute: str) -> Any:
    """Return a weight, or None where the layer has none (yet)."""
    return reduce(lambda owner, name: getattr(owner, name, None), attribute.split("."), layer)


def copied(value: Any) -> np.ndarray:
    """Copy one array of the backend to the host."""
    return np.array(keras.ops.convert_to_numpy(value))


def _path(model: Any, layer: Any) -> str:
    """Return where a layer is, without the model's own name: Keras numbers that by itself."""
    path = str(layer.path or layer.name)
    return path.removeprefix(f"{model.name}/")


def _last(attribute: str) -> str:
    return attribute.rpartition(".")[2]


def _members(source: _Source) -> Iterator[tuple[str, str]]:
    """Yield each stored array's name and the attribute it comes from."""
    yield source.info.kernel, source.kernel.attribute
    if source.info.bias and source.kernel.bias:
        yield source.info.bias, source.kernel.bias


def _describe(layer: Any, kernel: _Kernel, name: str, member: str) -> LayerInfo:
    value = _value(layer, kernel.attribute)
    kernel_shape = tuple(int(n) for n in value.shape)
    axes, shape = _one_order(kernel_shape, kernel.order)
    biased = kernel.bias is not None and _value(layer, kernel.bias) is not None
    owner = getattr(layer, "cell", layer)
    return LayerInfo(
        name=name,
        path=printable(str(layer.path or layer.name)),
        class_name=type(layer).__name__,
        kernel=f"{member}/{_last(kernel.attribute)}",
        bias=f"{member}/{_last(kernel.bias)}" if biased and kernel.bias else None,
        kernel_shape=kernel_shape,
        axes=axes,
        shape=shape,
        dtype=keras.backend.standardize_dtype(value.dtype),
        strides=_numbers(getattr(owner, "strides", 1), len(kernel_shape) - 2),
        dilation=_numbers(getattr(owner, "dilation_rate", 1), len(kernel_shape) - 2),
        data_format=getattr(owner, "data_format", None) or "channels_last",
    )


def _numbers(value: Any, count: int) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value),) * count


def _one_order(
    kernel_shape: tuple[int, ...], order: Order
) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
    """Return the order of axes, and the shape, that make ``(filters, height, width, channels)``.

    A kernel along one axis is one row high; the slices of a 3-D one stand side by side.
    """
    space = len(kernel_shape) - 2
    filters, channels = {
        "convolution": ((space + 1,), (space,)),
        "transposed": ((space,), (space + 1,)),
        "depthwise": ((space, space + 1), ()),
    }[order]
    down, across = {1: ((), (0,)), 2: ((0,), (1,)), 3: ((1,), (0, 2))}[space]
    groups = (filters, down, across, channels)
    sizes = [prod(kernel_shape[axis] for axis in group) for group in groups]
    axes = tuple(axis for group in groups for axis in group)
    return axes, (sizes[0], sizes[1], sizes[2], sizes[3])
