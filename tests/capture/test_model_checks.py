import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run
from filtertrack.snapshot import describe


def test_step_0_of_a_trained_model_has_a_note(tiny_model, data, tmp_path):
    """A run that begins with a second ``fit`` does not begin before training."""
    for name in "ab":
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path / name)])
    first, second = (describe(Run(tmp_path / name).moment(0)) for name in "ab")
    assert first == "before training"
    assert second == "start (after earlier training)"


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("tf_keras.src.engine.training", "unset TF_USE_LEGACY_KERAS"),
        ("torch.nn.modules.container", "plain PyTorch .*with TorchTracker"),
        ("elsewhere", "expected a model of Keras 3, got elsewhere.Other"),
    ],
)
def test_a_model_of_another_package_is_refused(tmp_path, module, advice):
    """The error says in one sentence what to do."""
    other = type("Other", (), {"__module__": module})()
    with pytest.raises(FiltertrackError, match=advice):
        FilterTracker(tmp_path).set_model(other)


def test_an_attribute_named_module_is_accepted(tiny_model, tmp_path):
    """Only torch's wrappers hold the model in it."""
    tiny_model.module = "head"
    FilterTracker(tmp_path).set_model(tiny_model)


def test_a_model_of_keras_2_is_refused(tmp_path):
    """In a real ``fit`` of Keras 2, before its first batch."""
    keras = pytest.importorskip("tf_keras")
    model = keras.Sequential([keras.layers.Conv2D(2, 3, input_shape=(8, 8, 3))])
    model.compile("sgd", "mse")
    with pytest.raises(FiltertrackError, match="unset TF_USE_LEGACY_KERAS"):
        model.fit(np.zeros((4, 8, 8, 3)), verbose=0, callbacks=[FilterTracker(tmp_path)])
