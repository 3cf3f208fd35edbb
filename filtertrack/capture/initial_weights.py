"""Reads the initial weights of layers that Keras builds inside the first training step.

On TensorFlow a model without a declared input is built there, after all hooks before training. Its
weights are read just before an optimizer first changes weights: then all layers of the step are
built, and none has been trained.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeAlias

import keras
import numpy as np

from filtertrack.capture.layer_kernels import Kernel, copied
from filtertrack.capture.layer_order import walk

_log = logging.getLogger("filtertrack")

Owner: TypeAlias = tuple[int, str]
"""``id`` of a layer, and the attribute of one of its weights."""


class InitialWeights:
    """Reads kernels and biases during a model's first training step.

    It runs no initializer and adds no operation to the traced function: it reads variables that
    have a value, in a separate thread, where TensorFlow is not tracing.

    Args:
        model: A model that ``fit`` is about to train; its training function exists.
        kernels: Returns the present layers of the model, each with its kernels.

    Attributes:
        first_builds: ``id`` of a layer to its index in the order in which layers were built.
    """

    def __init__(
        self, model: Any, kernels: Callable[[], Iterable[tuple[Any, tuple[Kernel, ...]]]]
    ) -> None:
        self._model = model
        self._kernels = kernels
        self._arrays: dict[Owner, np.ndarray] = {}
        self._undo: list[Callable[[], None]] = []
        self.first_builds: dict[int, int] = {}

    def watch(self) -> None:
        """Wrap the functions of the first training step, until it ends or ``stop`` is called."""
        if not callable(getattr(self._model, "train_function", None)):
            return  # the end of the first step could not be detected
        self._read()
        self._wrap(self._model, "train_function", after=self.stop)
        for optimizer in _optimizers_of(self._model):
            self._wrap(optimizer, "apply", before=self._read)
        for _, layer in walk(self._model):
            if not layer.built:
                self._wrap(layer, "build", before=self._noting(layer))

    def stop(self) -> None:
        """Remove every wrapper: from now on weights may have been trained."""
        while self._undo:
            self._undo.pop()()

    def arrays(self, wanted: Mapping[str, tuple[Any, str]]) -> dict[str, np.ndarray] | None:
        """Return initial weights.

        Args:
            wanted: Any key to a layer and the attribute of one of its weights.

        Returns:
            The arrays by the same keys; None if one is missing.
        """
        found = {
            key: self._arrays.get((id(layer), attribute))
            for key, (layer, attribute) in wanted.items()
        }
        known = {key: array for key, array in found.items() if array is not None}
        return known if len(known) == len(found) else None

    def _wrap(
        self,
        owner: Any,
        name: str,
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Call functions before and after a method of one object."""
        original = getattr(owner, name)
        is_own = name in vars(owner)

        @wraps(original)  # Keras reads the signature of build to learn what to pass
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            before()
            try:
                return original(*args, **kwargs)
            finally:
                after()

        def undo() -> None:
            if vars(owner).get(name) is not wrapper:
                return  # it was replaced meanwhile
            if is_own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)

        setattr(owner, name, wrapper)
        self._undo.append(undo)

    def _noting(self, layer: Any) -> Callable[[], None]:
        def note() -> None:
            self.first_builds.setdefault(id(layer), len(self.first_builds))

        return note

    def _read(self) -> None:
        """Read every weight that has a value and was not read before."""
        thread = threading.Thread(target=self._read_here, name="filtertrack-initial-weights")
        thread.start()
        thread.join()

    def _read_here(self) -> None:
        try:
            for layer, kernels in self._kernels():
                for kernel in kernels:
                    self._keep(layer, kernel)
        except Exception as error:  # noqa: BLE001 - training comes first
            _log.warning("could not read the initial weights: %s", error)

    def _keep(self, layer: Any, kernel: Kernel) -> None:
        if kernel.compute is not None and any(_initial(each) is None for each in layer.variables):
            return  # the kernel would be computed from variables without a value
        weights = {kernel.attribute: kernel.of, kernel.bias: kernel.bias_of}
        for attribute, read in weights.items():
            if attribute is not None and (id(layer), attribute) not in self._arrays:
                array = _initial(read(layer))
                if array is not None:
                    self._arrays[id(layer), attribute] = array


def _initial(weight: Any) -> np.ndarray | None:
    """Copy a weight; return None if it has no value yet.

    Reading an uninitialized variable would run its initializer and advance its random state. A
    variable that TensorFlow initializes after tracing reads as an empty array.
    """
    held = weight._value if isinstance(weight, keras.Variable) else weight  # noqa: SLF001
    if held is None:
        return None
    array = copied(held)
    return array if array.shape == tuple(weight.shape) else None


def _optimizers_of(model: Any) -> list[Any]:
    """Return the optimizers among a model's attributes, lists and dictionaries, each once."""
    held = [getattr(model, "optimizer", None), *vars(model).values()]
    several = [each for value in held if isinstance(value, (list, tuple)) for each in value]
    several += [each for value in held if isinstance(value, dict) for each in value.values()]
    found = [each for each in (*held, *several) if isinstance(each, keras.optimizers.Optimizer)]
    return list({id(optimizer): optimizer for optimizer in found}.values())
