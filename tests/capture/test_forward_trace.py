import numpy as np
import pytest

from filtertrack import FiltertrackError, Probes
from filtertrack.capture.forward_trace import leaf_operations, recorded_calls
from filtertrack.capture.tracked_layers import TrackedLayers


@pytest.fixture
def model(keras):
    first = keras.Input((6, 6, 1), name="image")
    hidden = keras.ops.relu(keras.layers.Conv2D(2, 3, name="conv")(first))
    part = keras.Sequential([keras.layers.Conv2D(2, 3, name="inner")], name="part")
    return keras.Model(first, part(hidden))


def test_calls_are_recorded_in_order_with_their_tensors(model):
    """Of layers, of layers in nested models, and of operations of the graph."""
    with recorded_calls(leaf_operations(model)) as calls:
        output = model(np.ones((1, 6, 6, 1), "float32"))
    names = [call.operation.name for call in calls if call.operation.name != "image"]
    assert [names[0], names[2]] == ["conv", "inner"]
    conv, relu, inner = calls[-3:]
    assert relu.inputs[0] is conv.output
    assert inner.inputs[0] is relu.output
    assert inner.output is output


def test_no_wrapper_stays_after_a_failure(model):
    """The ``call`` of a class is found again, and an instance keeps its own one."""
    conv, inner = model.get_layer("conv"), model.get_layer("part").get_layer("inner")
    own = inner.call
    object.__setattr__(inner, "call", own)
    with pytest.raises(ValueError, match="in the block"), recorded_calls(leaf_operations(model)):
        raise ValueError("in the block")
    assert "call" not in vars(conv)
    assert vars(inner)["call"] is own


@pytest.mark.parametrize("kind", ["rematerialized", "compiled by itself"])
def test_tensors_of_an_inner_function_are_not_read(keras, kind):
    """The layer is left out, or can be read where the backend calls it directly."""
    backend = keras.backend.backend()

    class Inner(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 3, name="inner_conv")

        def build(self, shape):
            self.conv.build(shape)

        def call(self, x):
            if kind == "rematerialized":
                return keras.remat(self.conv)(x)
            if backend == "jax":
                import jax

                return jax.jit(self.conv)(x)
            if backend == "tensorflow":
                import tensorflow as tf

                return tf.function(self.conv)(x)
            return self.conv(x)

    first = keras.Input((8, 8, 1))
    model = keras.Model(first, keras.layers.Conv2D(2, 3, name="outer")(Inner()(first)))
    images = np.ones((2, 8, 8, 1), "float32")
    try:
        made = TrackedLayers(model, probes=Probes(images)).prepare_probes()
    except FiltertrackError as error:
        pytest.fail(str(error))
    read = dict(made.responses(pytest.fail))
    assert "outer" in read
    assert len(read) == 2 - len(made.remarks)
    if backend == "jax" or (backend == "tensorflow" and kind == "compiled by itself"):
        (remark,) = made.remarks
        assert "inner_conv: called in a loop or in a function of its own" in remark
