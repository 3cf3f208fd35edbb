"""``TorchLayers``: the convolutions of a ``torch.nn.Module``."""

import copy
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filtertrack.capture.checkpoints.state_names import without_roots
from filtertrack.capture.kernel_axes import SPACES, canonical_axes
from filtertrack.capture.layer_selection import (
    Candidate,
    NoConvolutionError,
    Selection,
    choose_layers,
)
from filtertrack.capture.torch_wrappers import WRAPPERS
from filtertrack.capture.training_source import TrainingSource
from filtertrack.errors import FiltertrackError, listed, printable
from filtertrack.snapshot import LayerInfo, safe_names, stored_type

_CONVOLUTION = re.compile(r"Conv\w*[123]d")
_KERNEL_AXES = {3, 4, 5}


@dataclass(frozen=True, slots=True)
class _TorchSource:
    """One tracked convolution and the description of its kernel."""

    info: LayerInfo
    module: Any


class TorchLayers(TrainingSource):
    """The convolutions of a module of torch.

    ``Conv1d``, ``Conv2d``, ``Conv3d``, their transposed forms and subclasses of them, each once, in
    the order in which the module lists its submodules. The module is not run, and no mode, buffer,
    gradient or random state changes. Where ``weight_norm``, ``spectral_norm``, pruning or another
    parametrization computes the kernel, that kernel is read; a spectral norm divides it by the norm
    that the last forward pass estimated, as in evaluation mode.

    Args:
        module: The module, which may be wrapped by ``DistributedDataParallel``, ``DataParallel`` or
            ``torch.compile``. Without a wrapper, too, names have no first part ``module``.
        select: The convolutions to track: a name, glob or class, several of these, ``"first"``, a
            function of the module, or None for all. A name is that of ``named_modules``, with ``.``
            or ``/`` between the parts.

    Raises:
        FiltertrackError: If it is no module of torch or has no convolution, if nothing matches, or
            if weights are sharded or not initialized.

    Attributes:
        infos: A description of each kernel.
        remarks: Sentences for the user about modules that are left out.
        others: Descriptions of the kernels that are not selected.

    Example:
        >>> TorchLayers(resnet).infos[0].name  # doctest: +SKIP
        'conv1'
    """

    advice_if_unchanged = "Give the tracker the module that the optimizer trains, not a copy of it."

    def __init__(self, module: Any, select: Selection = None) -> None:
        torch: Any = sys.modules.get("torch")
        self._torch = torch
        if torch is None or not isinstance(module, torch.nn.Module):
            raise FiltertrackError(
                f"expected a torch.nn.Module, got {type(module).__module__}."
                f"{type(module).__qualname__}"
            )
        modules = list(_walk(module, "", set()))
        convolutions = [(path, each) for path, each in modules if self._is_convolution(each)]
        for path, each in modules:
            _check_not_flattened(path, each, [conv for _, conv in convolutions])
        for path, each in convolutions:
            _check_whole(path, each)
            _check_initialized(path, each)
        candidates = [
            Candidate(each, path.rpartition("/")[2], path, True, path.replace("/", "."))
            for path, each in convolutions
            if _letters(each) and self._has_plain_type(each)
        ]
        self.remarks = list(self._remarks(modules, convolutions, candidates))
        if not candidates:
            expected = "torch.nn.Conv1d, Conv2d, Conv3d or a transposed one, with plain numbers"
            reason = " ".join(["none of its modules is a", expected, *self.remarks])
            raise NoConvolutionError(f"the module has no convolution to track: {reason}")
        chosen = choose_layers(candidates, select, advice="")
        # As in files, where a first part "module" may be that of a wrapper.
        paths = [candidate.path for candidate in candidates]
        kept = without_roots([tuple(path.split("/")) for path in paths])
        self._names = dict(zip(paths, map("/".join, kept), strict=True))
        self._sources = self._sources_of(chosen)
        self.others = [
            source.info for source in self._sources_of([c for c in candidates if c not in chosen])
        ]

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        """A description of each kernel, in the order in which the module lists its submodules."""
        return tuple(source.info for source in self._sources)

    def rename(self, infos: Sequence[LayerInfo]) -> None:
        """Use the descriptions of the run that this training continues."""
        self._sources = [
            replace(source, info=info) for source, info in zip(self._sources, infos, strict=True)
        ]

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Copy kernels and biases to the host: see ``LayerSource``."""
        arrays = {}
        for info, module in ((source.info, source.module) for source in self._sources):
            if infos is None or info in infos:
                arrays[info.kernel] = self._copied(self._effective(module, "weight"))
                if info.bias:
                    arrays[info.bias] = self._copied(self._effective(module, "bias"))
        return arrays

    def software(self) -> dict[str, str]:
        """Return the version of torch."""
        return {"torch": str(self._torch.__version__)}

    def _is_convolution(self, module: Any) -> bool:
        nn = self._torch.nn
        classes = tuple(
            getattr(nn, f"Conv{kind}{n}d") for kind in ("", "Transpose") for n in (1, 2, 3)
        )
        return isinstance(module, classes)

    def _has_plain_type(self, module: Any) -> bool:
        weight = self._effective(module, "weight")
        return not weight.is_quantized and stored_type(_type_name(weight)) is not None

    def _remarks(
        self,
        modules: Sequence[tuple[str, Any]],
        convolutions: Sequence[tuple[str, Any]],
        candidates: Sequence[Candidate],
    ) -> Iterator[str]:
        kept = {candidate.path for candidate in candidates}
        grouped = [path for path, each in convolutions if _letters(each) is None]
        if grouped:
            yield (
                f"not tracked: {listed(grouped)}: the filters of a transposed convolution in "
                f"several groups are not slices of its weight along one axis."
            )
        others = [path for path, each in convolutions if path not in kept and path not in grouped]
        known = {path for path, _ in convolutions}
        others += [
            path for path, each in modules if path not in known and _resembles_convolution(each)
        ]
        if others:
            yield (
                f"not tracked: {listed(others)}: no convolution of torch.nn with plain numbers "
                f"(such as a quantized one, or a class of your own); ArrayTracker stores any array."
            )
        own = [each.path for each in candidates if _has_own_forward(each.layer)]
        if own:
            yield (
                f"{listed(own)}: a class of its own computes the output; its weight is stored, "
                f"and it may convolve with another array."
            )

    def _sources_of(self, candidates: Sequence[Candidate]) -> list[_TorchSource]:
        names = safe_names(self._names[candidate.path] for candidate in candidates)
        return [
            _TorchSource(self._info_of(name, candidate), candidate.layer)
            for name, candidate in zip(names, candidates, strict=True)
        ]

    def _info_of(self, name: str, candidate: Candidate) -> LayerInfo:
        module, weight = candidate.layer, self._effective(candidate.layer, "weight")
        kernel_shape = tuple(map(int, weight.shape))
        axes, shape = canonical_axes(_letters(module) or "", kernel_shape)
        biased = getattr(module, "bias", None) is not None
        return LayerInfo(
            name=name,
            path=printable(candidate.keras_path),
            class_name=_class_name(module),
            kernel=f"{name}/weight",
            bias=f"{name}/bias" if biased else None,
            kernel_shape=kernel_shape,
            axes=axes,
            shape=shape,
            dtype=_type_name(weight),
            strides=tuple(map(int, module.stride)),
            dilation=tuple(map(int, module.dilation)),
            data_format="channels_first",
            padding=_padding(module),
            groups=int(module.groups),
            trainable=any(
                value.requires_grad for key, value in module.named_parameters() if "weight" in key
            ),
        )

    def _effective(self, module: Any, name: str) -> Any:
        """Return the array that a module computes with, without running the module.

        Neither the buffers of a parametrization nor the random state changes: it is computed by a
        copy in evaluation mode that shares the parameters.
        """
        torch = self._torch
        parametrizations = getattr(module, "parametrizations", {})
        if name in parametrizations:
            original = parametrizations[name]
            shared = {id(value): value for value in original.parameters()}
            with torch.no_grad(), torch.random.fork_rng(_devices(torch, shared.values())):
                # Not module.weight: it may store its result in torch's cache of parametrizations.
                return copy.deepcopy(original, shared).eval().forward()
        with torch.no_grad():
            for hook in module._forward_pre_hooks.values():  # noqa: SLF001 - no public access
                if name in {getattr(hook, "name", None), getattr(hook, "_tensor_name", None)}:
                    return _computed_by(hook, module, getattr(module, name))
        return getattr(module, name)

    def _copied(self, tensor: Any) -> np.ndarray:
        """Copy a tensor of any device and memory layout to the host."""
        torch = self._torch
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # of a DTensor
        dtype = getattr(torch, stored_type(_type_name(tensor)) or "float32")
        contiguous = torch.contiguous_format
        copied = local.detach().to("cpu", dtype, copy=True, memory_format=contiguous)
        array: np.ndarray = copied.numpy()
        return array


def _walk(module: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield each module below a module once, without wrappers, with a path such as ``"conv/0"``."""
    module = _unwrapped(module)
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path or type(module).__name__.lower(), module
    for name, child in module.named_children():
        yield from _walk(child, f"{path}/{name}" if path else name, seen)


def _unwrapped(module: Any) -> Any:
    while True:
        names = (f"{cls.__module__}.{cls.__name__}" for cls in type(module).__mro__)
        attribute = next((WRAPPERS[name] for name in names if name in WRAPPERS), None)
        if attribute is None:
            return module
        module = getattr(module, attribute)


def _check_not_flattened(path: str, module: Any, convolutions: Sequence[Any]) -> None:
    """Refuse convolutions in the first version of FSDP, which flattens weights into one array."""
    flattens = any(cls.__name__ == "FullyShardedDataParallel" for cls in type(module).__mro__)
    if flattens and any(each is conv for each in module.modules() for conv in convolutions):
        raise _sharded(path)


def _check_whole(path: str, module: Any) -> None:
    """Refuse a convolution if this process holds a part of its weights only."""
    for value in module.parameters():
        # Of DTensor, and of parameters that DeepSpeed's ZeRO 3 has distributed.
        placements = getattr(value, "placements", ())
        if any(not each.is_replicate() for each in placements) or hasattr(value, "ds_id"):
            raise _sharded(path)


def _sharded(path: str) -> FiltertrackError:
    return FiltertrackError(
        f"{path}: its weights are sharded over several processes (FSDP, DTensor or ZeRO 3), "
        f"which TorchTracker cannot read: gather them in every process, such as by full_tensor, "
        f"and give them to ArrayTracker in process 0"
    )


def _check_initialized(path: str, module: Any) -> None:
    if _is_lazy(module) or any(value.device.type == "meta" for value in module.parameters()):
        raise FiltertrackError(
            f"{path}: not initialized, so without weights yet: call the module on one batch "
            f"first, or load its weights"
        )


def _letters(module: Any) -> str | None:
    """Return the letters of the axes of a convolution's weight; None if there are none for it."""
    space = SPACES[len(module.kernel_size)]
    if not module.transposed:
        return f"OI{space}"
    if module.groups == 1:
        return f"IO{space}"
    return f"IM{space}" if module.groups == module.in_channels else None


def _padding(module: Any) -> str:
    """Return the padding as Keras names it, if it is the same; else an empty text."""
    if module.padding_mode != "zeros":
        return ""
    if isinstance(module.padding, str):
        return str(module.padding)
    if not any(module.padding) and not any(module.output_padding):
        return "valid"
    sizes = zip(module.padding, module.dilation, module.kernel_size, strict=True)
    is_same = all(2 * each == dilation * (size - 1) for each, dilation, size in sizes)
    return "same" if is_same and set(module.stride) == {1} and not module.transposed else ""


def _class_name(module: Any) -> str:
    """Return the name of a module's class; a parametrization puts another one before it."""
    cls = type(module)
    own = cls.__mro__[1] if hasattr(module, "parametrizations") else cls
    return str(own.__name__)


def _type_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _computed_by(hook: Any, module: Any, current: Any) -> Any:
    """Return the array that a hook of ``weight_norm``, ``spectral_norm`` or pruning will set."""
    if hasattr(hook, "n_power_iterations"):  # a spectral norm, whose buffers must stay
        return hook.compute_weight(module, do_power_iteration=False)
    if hasattr(hook, "compute_weight"):
        return hook.compute_weight(module)
    return hook.apply_mask(module) if hasattr(hook, "apply_mask") else current


def _devices(torch: Any, tensors: Collection[Any]) -> list[int]:
    """Return the CUDA devices whose random state a computation with tensors may change."""
    if not torch.cuda.is_available():
        return []
    return sorted({tensor.device.index for tensor in tensors if tensor.device.type == "cuda"})


def _resembles_convolution(module: Any) -> bool:
    """Whether a module without submodules has the name of a convolution, or a kernel of its own."""
    cls = type(module)
    if any(True for _ in module.children()):
        return False
    if _CONVOLUTION.search(cls.__name__):
        return True
    if cls.__module__.startswith("torch.nn.") or _is_lazy(module):
        return False
    named = module.named_parameters(recurse=False)
    return any("weight" in key and value.ndim in _KERNEL_AXES for key, value in named)


def _is_lazy(module: Any) -> bool:
    """Whether a lazy module has not been called yet: the shapes of its weights are unknown."""
    return hasattr(module, "has_uninitialized_params") and bool(module.has_uninitialized_params())


def _has_own_forward(module: Any) -> bool:
    """Whether a user's subclass of a convolution computes the output."""
    own = [cls for cls in type(module).__mro__ if cls.__module__.partition(".")[0] != "torch"]
    return any({"forward", "_conv_forward"} & vars(cls).keys() for cls in own)
