import gc

import pytest

from filtertrack.layers import TrackedLayers


def applications():
    from keras import applications

    return sorted(
        n for n in dir(applications) if n[0].isupper() and callable(vars(applications)[n])
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", applications())
def test_every_kernel_of_an_application_is_tracked(name):
    """The tracked kernels are exactly the model's variables of three axes or more."""
    import keras

    model = getattr(keras.applications, name)(weights=None)
    there = [tuple(v.shape) for v in model.variables if len(v.shape) >= 3]
    infos = TrackedLayers(model).infos
    assert sorted(info.kernel_shape for info in infos) == sorted(there)
    assert len({info.name for info in infos}) == len(infos)
    del model
    gc.collect()
    keras.backend.clear_session()
