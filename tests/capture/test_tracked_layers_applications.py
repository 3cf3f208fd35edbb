import gc

import pytest

from filtertrack.capture.layer_order import walk
from filtertrack.capture.tracked_layers import TrackedLayers

SMALL = {
    "ResNet50V2": {"input_shape": (32, 32, 3)},
    "MobileNetV2": {"input_shape": (32, 32, 3), "alpha": 0.35},
}


def applications():
    from keras import applications

    return sorted(
        n for n in dir(applications) if n[0].isupper() and callable(vars(applications)[n])
    )


def conv_paths(keras, model):
    return [path for path, layer in walk(model) if isinstance(layer, keras.layers.Conv2D)]


def parents(keras, net):
    """Return the model alone, and nested in each kind of parent."""
    shape = net.input_shape[1:]
    inputs = keras.Input(shape)
    yield net, ""
    yield keras.Model(inputs, keras.layers.Dense(2)(net(inputs))), f"{net.name}/"
    yield keras.Sequential([keras.Input(shape), net, keras.layers.Dense(2)]), f"{net.name}/"

    class Parent(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = net

    yield Parent(), f"{net.name}/"


def check_order(keras, net):
    """Check that the stem comes first, and that any parent keeps the model's order."""
    layers = [layer for _, layer in walk(net) if isinstance(layer, keras.layers.Conv2D)]
    waiting, before = [layers[0]], set()
    while waiting:
        for node in waiting.pop()._inbound_nodes:
            found = {parent.operation for parent in node.parent_nodes} - before
            before |= found
            waiting += found
    assert not any(isinstance(each, keras.layers.Conv2D) for each in before)
    alone = conv_paths(keras, net)
    for parent, prefix in parents(keras, net):
        assert conv_paths(keras, parent) == [prefix + path for path in alone]


@pytest.mark.parametrize("name", SMALL)
def test_the_stem_of_an_application_comes_first(name):
    """Alone and nested in functional, sequential and subclassed parents."""
    import keras

    make = getattr(keras.applications, name)
    check_order(keras, make(weights=None, include_top=False, pooling="avg", **SMALL[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", applications())
def test_every_kernel_of_an_application_is_tracked(name):
    """They are exactly the variables of three axes or more, from the stem on, in any parent."""
    import keras

    model = getattr(keras.applications, name)(weights=None)
    shapes = [tuple(v.shape) for v in model.variables if len(v.shape) >= 3]
    infos = TrackedLayers(model).infos
    assert sorted(info.kernel_shape for info in infos) == sorted(shapes)
    assert len({info.name for info in infos}) == len(infos)
    check_order(keras, model)
    del model
    gc.collect()
    keras.backend.clear_session()
