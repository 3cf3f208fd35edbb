import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.response import PLACES, ProbedLayer, map_shape


def layer_of(shape, side=32, rectified=False):
    block, small = map_shape(shape, side)
    return ProbedLayer("conv", "the output of conv", rectified, shape, small, block)


def reduced(outputs, layer, maps=100, parts=1):
    reduction = ResponseReduction(layer, maps)
    for part in np.array_split(outputs, parts):
        reduction.add(part)
    return reduction.result()


def blocks_of(image, block):
    """Yield row, column and values of each block of one feature map."""
    for y in range(0, image.shape[0], block):
        for x in range(0, image.shape[1], block):
            yield y // block, x // block, image[y : y + block, x : x + block]


def expected_places(outputs, number, layer):
    """Compute the strongest places of one filter with loops."""
    found = []
    for probe, image in enumerate(outputs[..., number]):
        if not np.isfinite(image).all():
            continue
        highest = {(y, x): part.max() for y, x, part in blocks_of(image, layer.block)}
        for (y, x), value in highest.items():
            around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
            known = [(each, highest[each]) for each in around if each in highest]
            if any(v > value or (v == value and each < (y, x)) for each, v in known):
                continue
            if layer.rectified and value <= 0:
                continue
            part = image[y * layer.block :, x * layer.block :][: layer.block, : layer.block]
            inner = np.unravel_index(part.argmax(), part.shape)
            found.append((-value, probe, y * layer.block + inner[0], x * layer.block + inner[1]))
    found = [(probe, y, x, -value) for value, probe, y, x in sorted(found, key=lambda f: f[0])]
    return (found + [(-1, -1, -1, np.nan)] * PLACES)[:PLACES]


def expected_map(image, layer):
    """Compute the map of one feature map with loops."""
    result = np.zeros(layer.map_shape)
    for y, x, part in blocks_of(image, layer.block):
        result[y, x] = part.max() if part.max() >= -part.min() else part.min()
    return result


outputs_of_layers = st.tuples(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 5), st.integers(1, 13), st.integers(1, 13), st.integers(1, 3)),
    st.sampled_from(["normal", "few values", "relu", "zero", "broken"]),
    st.integers(1, 7),
    st.integers(1, 3),
)


def make(seed, shape, kind):
    random = np.random.default_rng(seed)
    outputs = random.normal(size=shape).astype("float32")
    if kind == "few values":
        outputs = np.rint(outputs)
    if kind in {"relu", "zero"}:
        outputs = np.maximum(outputs - (9 if kind == "zero" else 0.5), 0)
    if kind == "broken":
        broken = random.choice([np.nan, np.inf, -np.inf], shape)
        outputs = np.where(random.random(shape) < 0.05, broken, outputs).astype("float32")
    return outputs


@given(outputs_of_layers)
def test_reduction_equals_loops_over_every_value(case):
    """Maps, statistics and places, in blocks and in parts, also with equal and broken values."""
    seed, shape, kind, side, parts = case
    outputs = make(seed, shape, kind)
    layer = layer_of(shape[1:3], side, rectified=kind in {"relu", "zero"})
    response = reduced(outputs, layer, parts=parts)
    finite = np.isfinite(outputs).all((1, 2))
    for number in range(shape[-1]):
        np.testing.assert_array_equal(
            response.places[number], np.float32(expected_places(outputs, number, layer))
        )
        for probe in range(shape[0]):
            image = outputs[probe, :, :, number]
            if not finite[probe, number]:
                assert np.isnan(response.statistics[:, probe, number]).all()
                assert np.isnan(response.values(probe)[number]).all()
                continue
            assert response.highest[probe, number] == image.max()
            assert response.lowest[probe, number] == image.min()
            np.testing.assert_allclose(
                response.mean[probe, number], image.mean(dtype=float), rtol=1e-5, atol=1e-6
            )
            np.testing.assert_allclose(
                response.values(probe)[number],
                expected_map(image, layer),
                atol=np.abs(image).max() / 127 / 2 * 1.001,
            )


@pytest.mark.parametrize("shape", [(6, 9, 9, 4), (12, 40, 33, 3)])
def test_parts_give_the_same_result_as_one_pass(shape, rng):
    """Bit for bit."""
    outputs = rng.normal(size=shape).astype("float32")
    layer = layer_of(shape[1:3], 16)
    whole, parts = (reduced(outputs, layer, maps=5, parts=n) for n in (1, 4))
    for name in ("maps", "statistics", "places"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name), strict=True)


def test_places_are_one_for_each_peak(rng):
    """Nine neighbours of one peak are one place."""
    outputs = rng.random((1, 20, 20, 1)).astype("float32") / 100
    outputs[0, 5:8, 5:8, 0] = [[5, 6, 5], [6, 7, 6], [5, 6, 5]]
    outputs[0, 15, 3, 0] = 2
    first, second, *_ = reduced(outputs, layer_of((20, 20))).places[0]
    assert first.tolist() == [0, 6, 6, 7]
    assert second[:3].tolist() == [0, 15, 3]


def test_map_of_a_filter_that_is_never_negative_is_unsigned():
    """With 255 at its peak, and zero exactly zero."""
    outputs = np.zeros((1, 2, 2, 2), "float32")
    outputs[0, 0, 0, 0] = 0.5
    response = reduced(outputs, layer_of((2, 2), rectified=True))
    assert response.maps.dtype == np.uint8
    assert response.maps[0].tolist() == [[[255, 0], [0, 0]], [[0, 0], [0, 0]]]
    assert response.values()[0, 0].tolist() == [[0.5, 0], [0, 0]]


def test_map_with_negative_values_is_signed():
    """With its largest magnitude at 127."""
    outputs = np.array([-1.0, 0, 0.5, 0.25], "float32").reshape(1, 2, 2, 1)
    response = reduced(outputs, layer_of((2, 2)))
    assert response.maps.dtype == np.int8
    assert response.maps[0, 0].tolist() == [[-127, 0], [64, 32]]


def test_float16_outputs_are_reduced_in_float32():
    """The sum of a feature map may exceed what float16 can hold."""
    outputs = np.full((1, 64, 64, 1), 100, "float16")
    response = reduced(outputs, layer_of((64, 64)))
    assert response.mean[0, 0] == 100
    assert response.statistics.dtype == np.float32
