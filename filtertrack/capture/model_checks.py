"""Checks a model and its optimizer: Keras version, earlier training, averaged weights."""

from contextlib import suppress
from typing import Any

import keras

from filtertrack.errors import FiltertrackError


def averages_weights(optimizer: Any) -> bool:
    """Whether an optimizer, or one inside it, replaces weights by their averages at the end."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return any(getattr(each, "use_ema", False) for each in getattr(inner, "optimizers", [inner]))


def was_trained(model: Any) -> bool:
    """Whether a model's optimizer has made steps before; False if it is unknown."""
    with suppress(Exception):
        return int(model.optimizer.iterations) > 0
    return False


def check_model(model: Any) -> None:
    """Check that an object is a model of Keras 3, or None.

    Raises:
        FiltertrackError: If it is not; the message says what to do.
    """
    wrapped = getattr(model, "module", None)  # by torch's DistributedDataParallel
    if model is None or any(isinstance(each, keras.layers.Layer) for each in (model, wrapped)):
        return
    kinds = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    if "tf_keras" in kinds:
        raise FiltertrackError(
            f"expected a model of Keras 3, got one of the older Keras 2 ({name}): unset "
            f"TF_USE_LEGACY_KERAS, or make the model with the package keras"
        )
    if "torch" in kinds:
        raise FiltertrackError(
            f"expected a model of Keras, got one of plain PyTorch ({name}): track it with "
            f"TorchTracker"
        )
    raise FiltertrackError(f"expected a model of Keras 3, got {name}")
