"""Names of the arrays in a state dict: the module of each, without wrappers and optimizers."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from filtertrack.capture.torch_wrappers import INSERTED_PARTS, PARALLEL_PART
from filtertrack.errors import listed

_NamedParts: TypeAlias = tuple[str, tuple[str, ...]]
"""The name of an array, and its parts."""
_INSERTED = {*INSERTED_PARTS, "~"}
"""Parts of names that wrappers of torch and Haiku insert."""
_LONGEST_NAME = 1000
_ROOT = re.compile(rf"{PARALLEL_PART}|params|variables|(\w+_)?state_dict")
"""First parts that hold a whole model: of DDP, of flax, of a checkpoint's dict."""
_OPTIMIZER = re.compile(r"(\w+_)?(optim|optimizers?)(_\w+)?|opt_states?|callbacks|lr_schedulers?")
_OPTIMIZER_ROOT = re.compile(r"opt|adam\w*|sgd|rmsprop|momentum|training", re.IGNORECASE)
_OPTIMIZER_KEY = re.compile(
    r"state|param_groups|exp_avg\w*|mu|nu|m|v|momentums?(_\w+)?|velocity|velocities|trace|variables"
    r"|_variables|adam\w*|sgd|rmsprop",
    re.IGNORECASE,
)
"""Parts of names that optimizers of torch, optax and Keras give to their arrays."""
_WEIGHTS = re.compile(r"weights?(_\w+)?|w|\w*kernel|original[0-9]*")
_OUTER = re.compile(rf"{_ROOT.pattern}|model")
_AVERAGED = re.compile(r"(\w+_)?ema(_\w+)?|swa_model|averaged_model")
_AVERAGED_SUFFIX = "ExponentialMovingAverage"
_ARRAY_SUFFIX = re.compile(r":0$|[./]value$")
"""What Keras 2 and flax's NNX append to the name of a variable."""
_PARAMETRIZATIONS = "parametrizations"


@dataclass(frozen=True, slots=True)
class ModuleArrays:
    """The arrays of one module.

    Attributes:
        parts: The parts of the module's path, such as ``("layer1", "0", "conv1")``.
        names: Attribute, such as ``"weight"``, to the array's name in the file.
    """

    parts: tuple[str, ...]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """The last part of the path; empty for the model itself."""
        return self.parts[-1] if self.parts else ""


def modules_of(names: Iterable[str]) -> tuple[dict[tuple[str, ...], ModuleArrays], list[str]]:
    """Group the arrays of a model by their modules, in the order of the names.

    Arrays with names of more than 1,000 characters are left out. Those under a name of an optimizer
    are left out if they have an optimizer's keys, or the names of the model's own arrays. Moving
    averages of the weights are left out if the weights themselves are there.

    Args:
        names: The names in a state dict, or in nested ones joined with a dot.

    Returns:
        The parts of each module's path to its arrays, and remarks for the user.

    Example:
        >>> names = ["module.conv.weight", "module.conv.bias", "optim.conv.weight"]
        >>> modules, remarks = modules_of(names)
        >>> [(module.parts, sorted(module.names)) for module in modules.values()]
        [(('module', 'conv'), ['bias', 'weight'])]
        >>> remarks
        ['left out, as of an optimizer: optim.conv.weight']
    """
    split = [(name, _parts(name)) for name in names if len(name) <= _LONGEST_NAME]
    model, slots = _without_optimizers(split)
    remarks = [f"left out, as of an optimizer: {listed(slots, 1)}"] if slots else []
    averages = [each for each in model if _is_average(each[1])]
    if averages and len(averages) < len(model):
        averaged = [name for name, _ in averages]
        model = [each for each in model if not _is_average(each[1])]
        remarks.append(
            f"left out, as moving averages of weights that are there as well: {listed(averaged, 1)}"
        )
    elif averages:
        remarks.append("the weights in the file are moving averages")
    return _grouped(model), remarks


def _without_optimizers(arrays: Sequence[_NamedParts]) -> tuple[list[_NamedParts], list[str]]:
    """Remove the arrays of optimizers.

    Returns:
        The other arrays, and the names of those removed that could be weights of a module.
    """
    groups: dict[tuple[str, ...], list[_NamedParts]] = {}
    for each in arrays:
        groups.setdefault(_optimizer_root(each[1]), []).append(each)
    own = {_without_outer(parts) for _, parts in groups.get((), [])}
    removed = {
        root
        for root, members in groups.items()
        if root and _is_of_optimizer([parts[len(root) :] for _, parts in members], own)
    }
    kept, slots = [], []
    for name, parts in arrays:
        if _optimizer_root(parts) not in removed:
            kept.append((name, parts))
        elif _WEIGHTS.fullmatch(parts[-1]):
            slots.append(name)
    return kept, slots


def _optimizer_root(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first parts of a path up to one that is a name of an optimizer; empty if none."""
    # Modules inside a model may have such names: only the outer parts count.
    for count, part in enumerate(parts[:2], start=1):
        if _OPTIMIZER.fullmatch(part):
            return parts[:count]
    return parts[:1] if len(parts) > 2 and _OPTIMIZER_ROOT.fullmatch(parts[0]) else ()


def _is_of_optimizer(tails: Iterable[tuple[str, ...]], own: Collection[tuple[str, ...]]) -> bool:
    """Whether arrays are an optimizer's.

    Args:
        tails: Their paths after the name of the optimizer.
        own: The paths of the model's own arrays, without outer parts.
    """
    tails = list(tails)
    if any(_OPTIMIZER_KEY.fullmatch(part) for tail in tails for part in tail[:2]):
        return True
    weights = [tail for tail in tails if tail and _WEIGHTS.fullmatch(tail[-1])]
    return all(_without_outer(tail) in own or _without_outer(tail[1:]) in own for tail in weights)


def _without_outer(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path without first parts that are numbers or hold the whole model."""
    outer = 0
    while outer < len(parts) - 2 and (parts[outer].isdecimal() or _OUTER.fullmatch(parts[outer])):
        outer += 1
    return parts[outer:]


def _parts(name: str) -> tuple[str, ...]:
    plain = _ARRAY_SUFFIX.sub("", name)
    # The slash separates parts in Keras, TensorFlow and flax, whose names may have dots; the dot in
    # torch and MLX, whose names may have slashes.
    parts = plain.split("/") if plain.rfind("/") > plain.rfind(".") else re.split("[./]", plain)
    return tuple(part for part in parts if part and part not in _INSERTED)


def _is_average(parts: tuple[str, ...]) -> bool:
    return parts[-1:] == (_AVERAGED_SUFFIX,) or any(map(_AVERAGED.fullmatch, parts[:2]))


def _grouped(
    arrays: Iterable[tuple[str, tuple[str, ...]]],
) -> dict[tuple[str, ...], ModuleArrays]:
    modules: dict[tuple[str, ...], ModuleArrays] = {}
    for name, parts in arrays:
        at = parts.index(_PARAMETRIZATIONS) if _PARAMETRIZATIONS in parts else len(parts) - 1
        path, attribute = parts[: max(0, at)], ".".join(parts[max(0, at) :])
        modules.setdefault(path, ModuleArrays(path)).names.setdefault(attribute, name)
    return modules


def without_roots(
    paths: Sequence[tuple[str, ...]], containers: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """Remove the first parts of paths that hold the whole model, if all paths begin with them.

    Args:
        paths: The parts of each module's path.
        containers: The first parts that are keys of dicts around a state dict.

    Example:
        >>> without_roots([("state_dict", "model", "conv1"), ("state_dict", "model", "conv2")])
        [('model', 'conv1'), ('model', 'conv2')]
        >>> without_roots([("model", "conv1"), ("model", "conv2")], containers=["model"])
        [('conv1',), ('conv2',)]
    """
    kept = list(paths)
    removable = set(containers)
    while kept and (root := _common_root(kept)):
        if root not in removable and not _ROOT.fullmatch(root):
            break
        removable.discard(root)  # the next part of this name is in the state dict
        kept = [path[1:] for path in kept]
    return kept


def _common_root(paths: Sequence[tuple[str, ...]]) -> str | None:
    """Return the first part of all paths; None if there is none, or nothing after it."""
    roots = {path[0] if len(path) > 1 else None for path in paths}
    return roots.pop() if len(roots) == 1 else None


def numbered_successor(
    module: ModuleArrays, modules: Mapping[tuple[str, ...], ModuleArrays]
) -> ModuleArrays | None:
    """Return the module after one in a ``Sequential``, which numbers its modules; None if none."""
    if not module.last.isdecimal() or len(module.last) > 9:
        return None
    return modules.get((*module.parts[:-1], str(int(module.last) + 1)))
