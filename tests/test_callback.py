import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run


def test_every_snapshot_is_what_keras_held(tiny_model, data, tmp_path):
    """Each stored kernel and bias equals ``get_weights`` of its epoch bit for bit."""
    import keras

    def weights():
        return {n: tiny_model.get_layer(n).get_weights() for n in ("conv1", "conv2")}

    held = {0: weights()}
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: held.update({epoch + 1: weights()})
    )
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path), watch])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    for step, layers in held.items():
        file = np.load(run.file(step))
        for name, (kernel, bias) in layers.items():
            np.testing.assert_array_equal(file[f"{name}/kernel"], kernel, strict=True)
            np.testing.assert_array_equal(file[f"{name}/bias"], bias, strict=True)


def test_a_folder_with_a_run_is_refused_before_training(tiny_model, data, tmp_path):
    """Training from epoch 0 into a folder that holds a run changes nothing and says what to do."""
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = tiny_model.get_layer("conv1").get_weights()[0]
    with pytest.raises(FiltertrackError, match="existing='replace'"):
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    np.testing.assert_array_equal(tiny_model.get_layer("conv1").get_weights()[0], before)


def test_an_unknown_layer_is_named_with_the_nearest(tiny_model, data, tmp_path):
    """A layer name that does not exist names those that do, and the nearest."""
    with pytest.raises(FiltertrackError, match="Did you mean 'conv1'"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, layers="conv_1")])
