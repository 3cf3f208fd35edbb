"""Matches the kernels of a model to those of a run that training continues.

Names may differ: earlier versions named layers differently, Keras numbers layers again when a model
is made again, and a model that was saved and loaded has other paths.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from filtertrack.snapshot import LayerInfo, name_parts


def match_layers(
    layers: Sequence[LayerInfo],
    stored: Sequence[LayerInfo],
    others: Sequence[LayerInfo] = (),
) -> list[LayerInfo] | None:
    """Find the stored kernel that each tracked kernel of a model continues.

    Two kernels match only if they have the same shape, order of axes and shape of images, and both
    a bias or none.
    They are matched by name, then by path in Keras. Stored kernels whose name no layer of the model
    has are matched by the last part of the name; finally without the number that Keras appends to
    a name, in the order of these numbers.

    Args:
        layers: The tracked kernels of a model.
        stored: The kernels of a run.
        others: The kernels of the model that are not tracked.

    Returns:
        The run's descriptions in the order of ``layers``; None unless each has exactly one.
    """
    if len(layers) != len(stored):
        return None
    found: dict[int, LayerInfo] = {}
    left = list(stored)
    for key in (_by_member, _by_keras_path, _by_last_part, _by_stem):
        unmatched = [index for index in range(len(layers)) if index not in found]
        found.update(_matched(layers, unmatched, left, key))
        left = [info for info in left if all(info is not taken for taken in found.values())]
        if key is _by_keras_path and any(_is_among(info, others) for info in left):
            return None  # the run holds a layer of the model that is not tracked now
    return None if left else [found[index] for index in range(len(layers))]


def _is_among(info: LayerInfo, others: Sequence[LayerInfo]) -> bool:
    return any(info.kernel == other.kernel or info.path == other.path for other in others)


_Key = Callable[[LayerInfo], tuple[Hashable, int]]
"""The part of a description that must be equal, and a number that orders equal ones."""


def _matched(
    layers: Sequence[LayerInfo], indices: Sequence[int], stored: Sequence[LayerInfo], key: _Key
) -> list[tuple[int, LayerInfo]]:
    """Pair kernels of equal keys, in order, if both sides have the same number of them."""
    ours = _grouped([(key(layers[index]), index) for index in indices])
    theirs = _grouped([(key(info), number) for number, info in enumerate(stored)])
    return [
        (index, stored[number])
        for group, numbers in theirs.items()
        if len(numbers) == len(ours.get(group, ()))
        for index, number in zip(ours[group], numbers, strict=True)
    ]


def _grouped(keyed: Sequence[tuple[tuple[Hashable, int], int]]) -> Mapping[Hashable, list[int]]:
    """Group by key, ordered by number; omit groups in which a number occurs twice."""
    groups: dict[Hashable, dict[int, list[int]]] = {}
    for (key, number), value in keyed:
        groups.setdefault(key, {}).setdefault(number, []).append(value)
    return {
        key: [values[0] for _, values in sorted(numbers.items())]
        for key, numbers in groups.items()
        if all(len(values) == 1 for values in numbers.values())
    }


def _like(info: LayerInfo) -> tuple[Hashable, ...]:
    last = info.kernel.rpartition("/")[2]
    image = info.image and (info.image, info.data_format)
    return info.kernel_shape, info.axes, image, last, info.bias is None


def _by_member(info: LayerInfo) -> tuple[Hashable, int]:
    return (info.kernel, _like(info)), 0


def _by_keras_path(info: LayerInfo) -> tuple[Hashable, int]:
    return (info.path, _like(info)), 0


def _by_last_part(info: LayerInfo) -> tuple[Hashable, int]:
    return (_owner(info), _like(info)), 0


def _by_stem(info: LayerInfo) -> tuple[Hashable, int]:
    stem, number = name_parts(info.path.rpartition("/")[2])
    return (stem, _like(info)), number


def _owner(info: LayerInfo) -> str:
    """Return the last part of the name of the layer that a kernel belongs to."""
    return info.kernel.rpartition("/")[0].rpartition("/")[2]
