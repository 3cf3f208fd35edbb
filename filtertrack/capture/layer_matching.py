"""Match the kernels of a model to those that a run holds, so that training goes on with the run.

Names may differ: earlier versions named layers otherwise, Keras numbers layers anew when a model is
made again, and a model that was saved and loaded has other paths.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from filtertrack.snapshot import LayerInfo, name_parts


def match_layers(
    layers: Sequence[LayerInfo],
    stored: Sequence[LayerInfo],
    others: Sequence[LayerInfo] = (),
) -> list[LayerInfo] | None:
    """Find for each kernel of a model the one in a run that it goes on with.

    Two may be the same only if they have the same shape and order of axes, and both a bias or none.
    Of those it is the one of the same name, else of the same path in Keras. A stored kernel that no
    layer of the model is named like may be that of the same last part of the name; the numbers that
    Keras adds to names need not agree then, only their order.

    Args:
        layers: The kernels of a model that are tracked.
        stored: The kernels that a run holds.
        others: The kernels of the model that are not tracked.

    Returns:
        The run's descriptions in the order of ``layers``; None unless each has exactly one.
    """
    if len(layers) != len(stored):
        return None
    found: dict[int, LayerInfo] = {}
    left = list(stored)
    for key in (_by_member, _by_keras_path, _by_last_part, _by_stem):
        open_places = [place for place in range(len(layers)) if place not in found]
        found.update(_matched(layers, open_places, left, key))
        left = [info for info in left if all(info is not taken for taken in found.values())]
        if key is _by_keras_path and any(_is_named(info, others) for info in left):
            return None  # the run holds a layer that the model has, too, and that is not tracked
    return None if left else [found[place] for place in range(len(layers))]


def _is_named(info: LayerInfo, others: Sequence[LayerInfo]) -> bool:
    return any(info.kernel == other.kernel or info.path == other.path for other in others)


_Key = Callable[[LayerInfo], tuple[Hashable, int]]
"""What has to agree, and the number by which several that do are told apart."""


def _matched(
    layers: Sequence[LayerInfo], places: Sequence[int], stored: Sequence[LayerInfo], key: _Key
) -> list[tuple[int, LayerInfo]]:
    """Pair those of one key where both sides have as many, and their numbers tell them apart."""
    ours = _grouped([(key(layers[place]), place) for place in places])
    theirs = _grouped([(key(info), number) for number, info in enumerate(stored)])
    return [
        (place, stored[number])
        for group, numbers in theirs.items()
        if len(numbers) == len(ours.get(group, ()))
        for place, number in zip(ours[group], numbers, strict=True)
    ]


def _grouped(keyed: Sequence[tuple[tuple[Hashable, int], int]]) -> Mapping[Hashable, list[int]]:
    """Group by key, in the order of the numbers; leave out groups in which a number comes twice."""
    groups: dict[Hashable, dict[int, list[int]]] = {}
    for (key, number), value in keyed:
        groups.setdefault(key, {}).setdefault(number, []).append(value)
    return {
        key: [values[0] for _, values in sorted(numbers.items())]
        for key, numbers in groups.items()
        if all(len(values) == 1 for values in numbers.values())
    }


def _like(info: LayerInfo) -> tuple[Hashable, ...]:
    return info.kernel_shape, info.axes, info.kernel.rpartition("/")[2], info.bias is None


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
