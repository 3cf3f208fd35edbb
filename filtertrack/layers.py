"""Find the convolutions of a Keras model and copy their weights: the only room that reads models.

Keras orders a kernel's axes in three ways. Each is written down here once, so that nothing after
this room needs to know Keras.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import reduce, wraps
from math import prod
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo, safe_names

Selection: TypeAlias = str | Sequence[str] | Callable[[Any], bool] | None
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
        select: Which layers: a name or glob, several of them, a function of the layer, or None for
            every convolution.

    Raises:
        FiltertrackError: If nothing matches, or the model has no convolution. A model that is not
            built yet may still make layers; then this waits for ``finish``.

    Attributes:
        infos: One description a kernel, in model order; empty until everything is built.
    """

    def __init__(self, model: Any, select: Selection = None) -> None:
        self._model = model
        self._select = select
        self._first: dict[tuple[int, str], np.ndarray] = {}
        self._sources: tuple[_Source, ...] = ()
        self._chosen: list[Any] = []
        if model.built or isinstance(model, keras.Sequential):
            self._chosen = self._choose()
        if self._chosen and all(map(_is_built, self._chosen)):
            self.finish()

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
        layers = [layer for layer in self._choose() if _is_built(layer)]
        paths = [_path(self._model, layer) for layer in layers]
        kernels = [
            (layer, path, kernel)
            for layer, path in zip(layers, paths, strict=True)
            for kernel in _kernels_of(layer)
        ]
        members = dict(zip(map(id, layers), safe_names(paths), strict=True))
        names = safe_names(
            path if len(_kernels_of(layer)) == 1 else f"{path}/{_last(kernel.attribute)}"
            for layer, path, kernel in kernels
        )
        self._sources = tuple(
            _Source(_describe(layer, kernel, name, members[id(layer)]), layer, kernel)
            for name, (layer, _, kernel) in zip(names, kernels, strict=True)
        )

    def read(self) -> dict[str, np.ndarray]:
        """Copy every tracked kernel and bias to the host.

        Returns:
            Member name (such as ``"conv1/kernel"``) to an array of its own: on some backends Keras
            hands out its live memory.
        """
        return {
            member: _copy(_value(source.layer, attribute))
            for source in self._sources
            for member, attribute in _members(source)
        }

    def watch_builds(self) -> Callable[[], None]:
        """See the weights of layers that are not built yet at the moment they are made.

        On TensorFlow a model without a declared input is built inside the first training step,
        after every hook that comes before training. Each unbuilt layer's ``build`` is wrapped until
        the returned function is called.

        Returns:
            A function that takes the wrappers off again.
        """
        watched = [
            layer
            for layer in _all_layers(self._model)
            if _kernels_of(layer) and not _is_built(layer)
        ]
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
                        self._first[id(layer), attribute] = _copy(value)
        except Exception as error:  # noqa: BLE001 - training comes first
            _log.warning("could not read the first weights of %s: %s", layer.name, error)

    def _choose(self) -> list[Any]:
        """Return the selected layers in model order, each once."""
        layers = [layer for layer in _all_layers(self._model) if _kernels_of(layer)]
        if not layers:
            raise FiltertrackError(
                f"model {self._model.name!r} has no convolution to track (none of its "
                f"{len(list(_all_layers(self._model)))} layers is a Conv, DepthwiseConv, "
                f"SeparableConv or ConvLSTM)"
            )
        if self._select is None:
            return layers
        if callable(self._select):
            chosen = [layer for layer in layers if self._select(layer)]
            if not chosen:
                raise FiltertrackError("layers: the function chose none of the convolutions")
            return chosen
        return self._choose_by_name(layers, self._select)

    def _choose_by_name(self, layers: list[Any], select: str | Sequence[str]) -> list[Any]:
        patterns = [select] if isinstance(select, str) else list(select)
        names = {id(layer): {layer.name, _path(self._model, layer)} for layer in layers}
        known = list(dict.fromkeys(_path(self._model, layer) for layer in layers))
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise FiltertrackError(f"layers: expected names, got {pattern!r}")
            if not any(fnmatchcase(name, pattern) for both in names.values() for name in both):
                near = get_close_matches(pattern, known, n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise FiltertrackError(
                    f"layers: no convolution matches {pattern!r}.{hint} "
                    f"The model has: {', '.join(known)}"
                )
        if not patterns:
            raise FiltertrackError("layers: the list is empty; leave it out for every convolution")
        return [
            layer
            for layer in layers
            if any(fnmatchcase(name, pattern) for name in names[id(layer)] for pattern in patterns)
        ]


def _all_layers(model: Any) -> Iterator[Any]:
    """Yield every layer below a model in its order, however deep, each once."""
    seen: set[int] = set()
    for layer in model._flatten_layers(include_self=True):  # noqa: SLF001 - Keras has no public way
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def _kernels_of(layer: Any) -> tuple[_Kernel, ...]:
    return next((kernels for classes, kernels in _KERNELS if isinstance(layer, classes)), ())


def _is_built(layer: Any) -> bool:
    return bool(layer.built) and all(
        _value(layer, kernel.attribute) is not None for kernel in _kernels_of(layer)
    )


def _value(layer: Any, attribute: str) -> Any:
    """Return a weight, or None where the layer has none (yet)."""
    return reduce(lambda owner, name: getattr(owner, name, None), attribute.split("."), layer)


def _copy(value: Any) -> np.ndarray:
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
        path=str(layer.path or layer.name),
        class_name=type(layer).__name__,
        kernel=f"{member}/{_last(kernel.attribute)}",
        bias=f"{member}/{_last(kernel.bias)}" if biased and kernel.bias else None,
        kernel_shape=kernel_shape,
        axes=axes,
        shape=shape,
        dtype=keras.backend.standardize_dtype(value.dtype),
        strides=_numbers(owner.strides, len(kernel_shape) - 2),
        dilation=_numbers(owner.dilation_rate, len(kernel_shape) - 2),
        data_format=owner.data_format,
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
