"""Takes one batch of a dataset without changing what training on the dataset sees afterwards."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from filtertrack.errors import FiltertrackError

_INSTEAD = "give a batch instead, such as probes=next(iter(validation_data)), or an array of images"
_READING = ("LookupTable", "HashTable", "ReadVariableOp", "VarHandleOp")
"""Beginnings of the names of TensorFlow's stateful operations that change no state."""


def first_batch(dataset: Any) -> Any:
    """Return the first batch of a dataset.

    Args:
        dataset: A ``tf.data.Dataset``, ``keras.utils.PyDataset``, torch ``DataLoader``, or another
            iterable of batches that starts anew whenever it is iterated over.

    Returns:
        The batch, such as ``(images, labels)``. That of a ``PyDataset`` or ``DataLoader`` is not
        shuffled.

    Raises:
        FiltertrackError: If it has none, or if taking one would change the batches of training.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        return _taken(lambda: dataset[0], dataset)
    if isinstance(dataset, Iterator) or not hasattr(dataset, "__iter__"):
        came = "a generator or iterator, from which the batch taken would be missing in training"
        came = came if isinstance(dataset, Iterator) else type(dataset).__name__
        raise FiltertrackError(
            f"probes: expected an array, picture files or a dataset, got {came}; {_INSTEAD}"
        )
    _check_tensorflow(dataset)
    if _is_torch_loader(dataset):
        return _taken(lambda: _first_of_loader(dataset), dataset)
    return _taken(lambda: next(iter(dataset)), dataset)


def _taken(take: Callable[[], Any], dataset: Any) -> Any:
    try:
        with _random_states_restored():
            return take()
    except FiltertrackError:
        raise
    except (StopIteration, IndexError) as error:
        raise FiltertrackError(f"probes: {type(dataset).__name__} has no batch") from error
    except Exception as error:
        raise FiltertrackError(
            f"probes: no batch could be taken of {type(dataset).__name__}: {error}; {_INSTEAD}"
        ) from error


@contextmanager
def _random_states_restored() -> Iterator[None]:
    """Restore the global random states of Python, numpy and torch after the block."""
    own, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - users draw from it
    torch = sys.modules.get("torch")
    of_torch = torch.random.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(of_numpy)  # noqa: NPY002
        if torch is not None:
            torch.random.set_rng_state(of_torch)


def _is_torch_loader(dataset: Any) -> bool:
    return any(
        cls.__name__ == "DataLoader" and cls.__module__.startswith("torch.utils.data")
        for cls in type(dataset).__mro__
    )


def _first_of_loader(loader: Any) -> Any:
    """Return the first images of a torch ``DataLoader`` without drawing from its sampler."""
    data = loader.dataset
    if loader.batch_size is None or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise FiltertrackError(
            f"probes: this DataLoader has no dataset with an index and a batch size; {_INSTEAD}"
        )
    batch = loader.collate_fn([data[n] for n in range(min(loader.batch_size, len(data)))])
    return tuple(batch) if isinstance(batch, list) else batch


def _check_tensorflow(dataset: Any) -> None:
    """Refuse a ``tf.data.Dataset`` whose later batches depend on how often it is iterated over.

    Each iterator over a shuffled dataset draws a new seed from the dataset, and a function of the
    dataset may draw from a generator, or change a variable, as Keras's augmentation layers do.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(dataset, tensorflow.data.Dataset):
        return
    waiting = [dataset]
    while waiting:
        each = waiting.pop()
        name = type(each).__name__
        reshuffles = getattr(each, "_reshuffle_each_iteration", True) is not False
        if (("Shuffle" in name and reshuffles) or "Random" in name) or any(
            map(_changes_state, each._functions())  # noqa: SLF001 - no public name
        ):
            raise FiltertrackError(
                f"probes: this tf.data.Dataset shuffles, or has a random or stateful step "
                f"({name.strip('_')}), so that training would see other batches after one was "
                f"taken; {_INSTEAD}"
            )
        waiting += each._inputs()  # noqa: SLF001 - no public name


def _changes_state(function: Any) -> bool:
    operations = function.function.graph.get_operations()
    return any(
        operation.op_def.is_stateful
        and not operation.type.startswith(_READING)
        and not (operation.type.endswith("Dataset") and operation.type != "GeneratorDataset")
        for operation in operations
    )
