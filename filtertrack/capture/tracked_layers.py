"""The tracked layers of one Keras model: described once, their kernels copied at each snapshot."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import keras
import numpy as np

from filtertrack.capture.dense_images import DenseImages, check_inputs
from filtertrack.capture.initial_weights import InitialWeights
from filtertrack.capture.keras_kernels import activation_of, axes_letters, per_axis
from filtertrack.capture.kernel_axes import CanonicalAxes, canonical_axes
from filtertrack.capture.layer_inputs import preprocessing_of
from filtertrack.capture.layer_kernels import (
    EffectiveKernel,
    Kernel,
    KernelFinder,
    changes_kernels,
    check_axes,
    copied,
    is_of_keras,
    masked_kernel,
)
from filtertrack.capture.layer_order import walk
from filtertrack.capture.layer_selection import Candidate, Selection, choose_layers, is_function
from filtertrack.capture.layer_source import select_infos
from filtertrack.capture.model_checks import averages_weights, was_trained
from filtertrack.capture.probe_pass import ProbePass
from filtertrack.capture.probes import Probes
from filtertrack.capture.training_source import TrainingSource
from filtertrack.errors import FiltertrackError, listed, printable
from filtertrack.snapshot import LayerInfo, Preprocessing, safe_names

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True)
class _Source:
    """One tracked kernel of a built layer.

    Attributes:
        info: Its description in the manifest.
        layer: Its layer.
        kernel: The attribute that holds it.
        variable: The layer's variable of that name; None if there is none.
    """

    info: LayerInfo
    layer: Any
    kernel: Kernel
    variable: Any


class TrackedLayers(TrainingSource):
    """The tracked layers of one model.

    Args:
        model: A Keras model.
        select: The layers to track: a name, glob or class, several of these, ``"first"`` for the
            first convolution, a function of the layer, or None for every convolution. Other layers
            with a kernel of three to five axes, in the order of a convolution's axes (space, input
            channels, filters), are tracked only if they are selected explicitly.
        effective: Function that returns the array a layer convolves with, if that is not its
            variable.
        dense: The Dense layers to track whatever is selected, with the shape of their images.
        probes: The images that the model is shown at each snapshot.

    Raises:
        FiltertrackError: If nothing matches, or the model has no convolution. For a model that may
            still make layers, ``finish`` raises this instead.

    Attributes:
        infos: A description of each kernel, in the order in which data flows; empty until every
            tracked layer is built.
        remarks: Sentences for the user about the choice of layers.
        others: Descriptions of the kernels that are not tracked.
    """

    advice_if_unchanged = (
        "A loop that trains a copy of the state, as with jax and model.stateless_call, must assign "
        "it back before each snapshot: for variable, value in zip(model.trainable_variables, "
        "trainable_variables): variable.assign(value)"
    )

    def __init__(
        self,
        model: Any,
        select: Selection = None,
        effective: EffectiveKernel | None = None,
        dense: DenseImages | None = None,
        probes: Probes | None = None,
    ) -> None:
        self._model = model
        self._probes = probes
        self._dense = dense or DenseImages()
        self._select = select
        self._finder = KernelFinder(effective)
        self._has_effective = effective is not None
        self._by_function = is_function(select) or self._has_effective
        self._initial = InitialWeights(model, self._layers_with_kernels)
        self._sources: tuple[_Source, ...] = ()
        self._replaced: set[str] = set()
        candidates = self._candidates()
        if self._may_grow(candidates):
            return  # layers made later are unknown
        wanted = self._wanted(candidates)
        built = [candidate for candidate in wanted if self._is_built(candidate)]
        if len(built) == len(wanted) or (model.built and built):
            self._track(candidates, wanted)

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        """A description of each kernel, in data-flow order; empty until every layer is built."""
        return tuple(source.info for source in self._sources)

    @property
    def ready(self) -> bool:
        """Whether every tracked layer is built, so that its weights can be read."""
        return bool(self._sources)

    def finish(self, *, whole: bool = False) -> None:
        """Describe the layers in their present state.

        Args:
            whole: Refuse a model if any layer to track has no weights yet; otherwise only if all of
                them have none.

        Raises:
            FiltertrackError: If nothing matches the selection, or weights are missing.
        """
        candidates = self._candidates()
        wanted = self._wanted(candidates)
        unbuilt = [each.path for each in wanted if not self._is_built(each)]
        if len(unbuilt) == len(wanted) or (whole and unbuilt):
            raise FiltertrackError(
                f"{listed(unbuilt)}: not built, so without weights yet: call the model, or each "
                f"part of it, on one batch first"
            )
        self._track(candidates, wanted)

    def rename(self, infos: Sequence[LayerInfo]) -> None:
        """Use the descriptions of the run that this training continues.

        Args:
            infos: A description of each kernel, in the order of ``infos``.
        """
        self._sources = tuple(
            replace(source, info=info) for source, info in zip(self._sources, infos, strict=True)
        )

    def watch_first_step(self) -> Callable[[], None]:
        """Start reading the initial weights of layers that are built in the first training step.

        Returns:
            A function that stops it.
        """
        self._initial.watch()
        return self._initial.stop

    def initial_weights(self) -> dict[str, np.ndarray] | None:
        """Return the untrained weights that ``watch_first_step`` read; None if some are missing."""
        wanted = {}
        for source in self._sources:
            wanted[source.info.kernel] = (source.layer, source.kernel.attribute)
            if source.info.bias:
                wanted[source.info.bias] = (source.layer, str(source.kernel.bias))
        return self._initial.arrays(wanted)

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Copy tracked kernels and biases to the host.

        Args:
            infos: Those of ``infos`` to copy; None for all.

        Returns:
            Member name (such as ``"conv1/kernel"``) to a copy: on some backends Keras returns a
            view of the variable's memory.
        """
        arrays = {}
        for source in self._sources:
            if infos is not None and source.info not in infos:
                continue
            arrays[source.info.kernel] = self._copied_kernel(source)
            if source.info.bias:
                arrays[source.info.bias] = copied(source.kernel.bias_of(source.layer))
        return arrays

    def weights(self) -> dict[str, Any]:
        """Return every tracked kernel and bias without copying.

        Returns:
            Member name (such as ``"conv1/kernel"``) to Keras's variable, or to the backend's array
            if the layer computes the kernel.
        """
        found = {}
        for source in self._sources:
            found[source.info.kernel] = source.kernel.of(source.layer)
            if source.info.bias:
                found[source.info.bias] = source.kernel.bias_of(source.layer)
        return found

    def software(self) -> dict[str, str]:
        """Return the versions of Keras and the name of its backend."""
        return {"keras": keras.__version__, "backend": keras.backend.backend()}

    def update(self) -> None:
        """Copy the trained state of ``fit`` on jax into the model's variables."""
        synchronize = getattr(self._model, "jax_state_sync", None)
        if synchronize is not None and keras.backend.backend() == "jax":
            synchronize()

    @property
    def has_probes(self) -> bool:
        """Whether the user gave probes."""
        return self._probes is not None

    def prepare_probes(self) -> ProbePass | None:
        """Plan the forward pass of the probes; return None if there are none."""
        if self._probes is None:
            return None
        self.update()
        chosen = self._probed_infos()
        # A layer's output belongs to its last kernel.
        last = {id(source.layer): (source.layer, source.info) for source in self._sources}
        return ProbePass(
            self._model, self._probes, [pair for pair in last.values() if pair[1] in chosen]
        )

    def _probed_infos(self) -> list[LayerInfo]:
        """Return the tracked kernels whose responses are recorded.

        Raises:
            FiltertrackError: If a name in ``Probes(layers=...)`` is that of no tracked layer.
        """
        layers = self._probes.layers if self._probes is not None else None
        if layers is None:
            return list(self.infos)
        found: list[LayerInfo] = []
        for name in [layers] if isinstance(layers, str) else layers:
            try:
                found.extend(select_infos(self.infos, name))
            except FiltertrackError as error:
                raise FiltertrackError(self._why_not_probed(name)) from error
        return [info for info in self.infos if info in found]

    def _why_not_probed(self, name: str) -> str:
        names = [info.name for info in self.infos]
        with suppress(FiltertrackError):
            others = listed([info.name for info in select_infos(self.others, name)])
            return (
                f"probes: layers: {others}: not tracked, so that no responses are recorded; choose "
                f"it in FilterTracker(layers=...) too, or one of: {listed(names)}"
            )
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return (
            f"probes: layers: no convolution matches {name!r}.{hint} The tracked ones are: "
            f"{listed(names)}"
        )

    @property
    def was_trained(self) -> bool:
        """Whether the model's optimizer has made steps before; False if it is unknown."""
        return was_trained(self._model)

    @property
    def averages_weights(self) -> bool:
        """Whether the optimizer replaces weights by their averages at the end of training."""
        return averages_weights(self._model.optimizer)

    def _copied_kernel(self, source: _Source) -> np.ndarray:
        """Copy a kernel, or its variable if the attribute was replaced by a symbolic tensor."""
        held = source.kernel.of(source.layer)
        try:
            return copied(held)
        except Exception:
            if source.variable is None:
                raise
        if source.info.name not in self._replaced:
            self._replaced.add(source.info.name)
            _log.warning(
                "%s: its kernel is replaced while the model runs, so its variable is kept, which "
                "may not be what convolves: name that with FilterTracker(kernel=...)",
                source.info.name,
            )
        return copied(source.variable)

    def _may_grow(self, candidates: Sequence[Candidate]) -> bool:
        """Whether layers, or weights that a function reads, may still be made."""
        model = self._model
        if not candidates and not model.built and not isinstance(model, keras.Sequential):
            return True
        unbuilt = [(path, layer) for path, layer in walk(model) if not layer.built]
        return any(_has_own_build(layer) or (self._by_function and path) for path, layer in unbuilt)

    def _kernels(self, candidate: Candidate) -> tuple[Kernel, ...]:
        return self._finder.kernels(candidate.layer, dense=candidate.image is not None)

    def _is_built(self, candidate: Candidate) -> bool:
        layer, kernels = candidate.layer, self._kernels(candidate)
        return bool(layer.built) and all(kernel.of(layer) is not None for kernel in kernels)

    def _wanted(self, candidates: list[Candidate]) -> list[Candidate]:
        self._dense.check([(c.names, c.layer) for c in self._all_layers()])
        return choose_layers(candidates, self._select)

    def _candidates(self) -> list[Candidate]:
        """Return every layer that has a kernel, in the order in which data flows."""
        found = [candidate for candidate in self._all_layers() if self._kernels(candidate)]
        own = {id(weight) for c in found if c.convolution for weight in c.layer.variables}
        return [c for c in found if c.convolution or not self._wraps(c, own)]

    def _all_layers(self) -> Iterator[Candidate]:
        """Yield every layer, in the order in which data flows."""
        for path, layer in self._walk():
            candidate = Candidate(
                layer,
                layer.name,
                path or layer.name,
                keras_path=_keras_path(self._model, layer),
                convolution=self._finder.is_convolution(layer),
            )
            yield replace(candidate, image=self._dense.image_of(candidate.names, layer))

    def _wraps(self, candidate: Candidate, own: Collection[int]) -> bool:
        """Whether a layer's kernel is a variable of a convolution inside the layer."""
        return any(id(k.of(candidate.layer)) in own for k in self._kernels(candidate))

    def _walk(self) -> Iterator[tuple[str, Any]]:
        return walk(
            self._model,
            first_builds=self._initial.first_builds,
            is_whole=self._finder.has_effective_kernel,
        )

    def _layers_with_kernels(self) -> list[tuple[Any, tuple[Kernel, ...]]]:
        return [(each.layer, self._kernels(each)) for each in self._all_layers()]

    def _track(self, candidates: list[Candidate], wanted: list[Candidate]) -> None:
        chosen = [c for c in wanted if self._is_built(c)]
        if self._has_effective and not any(
            self._finder.has_effective_kernel(c.layer) for c in chosen
        ):
            raise FiltertrackError(
                "kernel: the function named no kernel of the tracked layers: expected an array for "
                "one of them at least, got None or an AttributeError for each"
            )
        self._sources = self._sources_of(chosen)
        others = [c for c in candidates if c not in chosen and self._is_built(c)]
        self.others = [source.info for source in self._sources_of(others)]
        self.remarks = list(self._remarks(candidates, wanted, chosen))
        self._probed_infos()

    def _sources_of(self, owners: Sequence[Candidate]) -> tuple[_Source, ...]:
        """Describe the kernels of built layers, each with a unique name."""
        members = safe_names(owner.path for owner in owners)
        kernels = [
            (owner, member, path, kernel)
            for owner, member in zip(owners, members, strict=True)
            for kernel, path in self._kernel_paths(owner)
        ]
        names = safe_names(path for _, _, path, _ in kernels)
        parents = self._parents()
        return tuple(
            _source(owner, kernel, name, member, self._preprocessing(owner, kernel, parents))
            for name, (owner, member, _, kernel) in zip(names, kernels, strict=True)
        )

    def _parents(self) -> dict[int, Any]:
        """Return the layer that holds each layer, by the ``id`` of the held one."""
        layers = dict(self._walk())
        parents = {}
        for path, layer in layers.items():
            above = path
            while above and (above == path or above not in layers):
                above = above.rpartition("/")[0]
            parents[id(layer)] = layers.get(above, self._model)
        return parents

    def _preprocessing(
        self, owner: Candidate, kernel: Kernel, parents: Mapping[int, Any]
    ) -> tuple[Preprocessing, ...] | None:
        """Return the steps before a convolution; None unless they are known."""
        is_first = kernel is self._kernels(owner)[0]
        recurrent = kernel.attribute.startswith("cell.")
        own = kernel.compute is not None or self._finder.overrides_call(owner.layer)
        if not owner.convolution or not is_first or recurrent or own:
            return None
        return preprocessing_of(self._model, owner.layer, parents)

    def _kernel_paths(self, owner: Candidate) -> Iterator[tuple[Kernel, str]]:
        """Yield a layer's kernels, each with a path: the layer's own path if it has one kernel."""
        kernels = self._kernels(owner)
        for kernel in kernels:
            several = len(kernels) > 1
            yield kernel, f"{owner.path}/{_last(kernel.attribute)}" if several else owner.path

    def _remarks(
        self, candidates: list[Candidate], wanted: list[Candidate], chosen: list[Candidate]
    ) -> Iterator[str]:
        never_called = [c.path for c in wanted if c not in chosen]
        if never_called:
            yield f"not tracked: {listed(never_called)}: never called, so without weights"
        others = [c.path for c in candidates if c not in wanted and not c.convolution]
        if others:
            yield (
                f"not tracked: {listed(others)}: no convolution of Keras; if it is one, choose it "
                f"with layers=, or name its kernel with kernel="
            )
        yield from self._remarks_on_calls(chosen)

    def _remarks_on_calls(self, chosen: list[Candidate]) -> Iterator[str]:
        """Name the layers that may convolve with another array than the one that is stored."""
        changing = {f"{path}/": layer for path, layer in self._walk() if changes_kernels(layer)}
        changing.pop("/", None)  # the model itself
        uncertain: dict[str, list[Any]] = {}
        for c in chosen:
            holders = [layer for path, layer in changing.items() if c.path.startswith(path)]
            if holders or self._finder.overrides_call(c.layer):
                uncertain[c.path] = [c.layer, *holders]
        if uncertain:
            layers = [layer for each in uncertain.values() for layer in each]
            masked = next(filter(None, map(masked_kernel, layers)), None)
            example = f"=lambda layer: {masked}" if masked else "="
            yield (
                f"{listed(list(uncertain))}: a class of its own computes the output; if it "
                f"convolves with another array than the variable, name that with kernel{example}"
            )


def _has_own_build(layer: Any) -> bool:
    """Whether a user's class has its own ``build``, which may make further layers."""
    cls = type(layer)
    # Keras marks the inherited default, which makes no layers.
    return not is_of_keras(cls) and not getattr(cls.build, "_is_default", False)


def _keras_path(model: Any, layer: Any) -> str:
    """Return a layer's path in Keras, without the model's name."""
    return str(layer.path or layer.name).removeprefix(f"{model.name}/")


def _last(attribute: str) -> str:
    return attribute.rpartition(".")[2]


def _source(
    owner: Candidate,
    kernel: Kernel,
    name: str,
    member: str,
    preprocessing: tuple[Preprocessing, ...] | None,
) -> _Source:
    """Describe one kernel of a built layer."""
    layer, weight = owner.layer, kernel.of(owner.layer)
    kernel_shape = tuple(int(n) for n in weight.shape)
    axes, shape = _axes_and_shape(owner, kernel, weight)
    biased = kernel.bias is not None and kernel.bias_of(layer) is not None
    convolution = getattr(layer, "cell", layer)
    info = LayerInfo(
        name=name,
        path=printable(str(layer.path or layer.name)),
        class_name=type(layer).__name__,
        kernel=f"{member}/{_last(kernel.attribute)}",
        bias=f"{member}/{_last(kernel.bias)}" if biased and kernel.bias else None,
        kernel_shape=kernel_shape,
        axes=axes,
        shape=shape,
        dtype=keras.backend.standardize_dtype(weight.dtype),
        strides=per_axis(getattr(convolution, "strides", 1), len(kernel_shape) - 2),
        dilation=per_axis(getattr(convolution, "dilation_rate", 1), len(kernel_shape) - 2),
        data_format=getattr(owner.image or convolution, "data_format", None) or "channels_last",
        padding=_padding_of(convolution),
        groups=int(getattr(convolution, "groups", 1)),
        activation=activation_of(
            kernel.attribute, kernel.bias, _name_of(getattr(convolution, "activation", None))
        ),
        trainable=bool(layer.trainable),
        image=owner.image[:3] if owner.image else (),
        preprocessing=preprocessing,
    )
    same_name = (v for v in layer.variables if v.name == _last(kernel.attribute))
    variable = next((v for v in same_name if tuple(v.shape) == kernel_shape), None)
    return _Source(info, layer, kernel, variable)


def _padding_of(convolution: Any) -> str:
    """Return the padding of a convolution; empty if its output is padded as well."""
    if getattr(convolution, "output_padding", None) is not None:
        return ""
    return str(getattr(convolution, "padding", ""))


def _name_of(activation: Any) -> str:
    """Return the name of an activation function; empty for None."""
    if activation is None:
        return ""
    return printable(str(getattr(activation, "__name__", type(activation).__name__)))[:200]


def _axes_and_shape(owner: Candidate, kernel: Kernel, weight: Any) -> CanonicalAxes:
    """Return the axes and the shape of a layer's kernel after a check of its axes."""
    kernel_shape = tuple(int(n) for n in getattr(weight, "shape", ()))
    if owner.image is not None:
        check_inputs(owner.path, kernel_shape, owner.image)
        height, width, channels, _ = owner.image
        return CanonicalAxes((1, 0), (kernel_shape[1], height, width, channels))
    check_axes(owner.path, weight)
    return canonical_axes(axes_letters(kernel.order, len(kernel_shape)), kernel_shape)
