import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.layer_source import select_infos
from filtertrack.snapshot import LayerInfo


def info_of(name, member=None, path=None):
    kernel = name if member else f"{name}/kernel"
    shape = (3, 3, 1, 2)
    return LayerInfo(
        name, path or name, "Conv2D", kernel, None, shape, (3, 0, 1, 2), (2, 3, 3, 1), "float32"
    )


INFOS = [
    info_of("stem"),
    info_of("block/sep/depthwise_kernel", "block/sep"),
    info_of("block/sep/pointwise_kernel", "block/sep"),
    info_of("block/separate"),
]


@pytest.mark.parametrize("pattern", ["block/sep", "sep", "*/sep", "b*/s?p"])
def test_the_name_of_a_layer_with_several_kernels_selects_all_of_them(pattern):
    """Other layers whose names begin alike are not selected."""
    assert select_infos(INFOS, pattern) == tuple(INFOS[1:3])


@pytest.mark.parametrize("pattern", ["depthwise_kernel", "block/sep/depthwise_kernel"])
def test_the_name_of_a_kernel_selects_it_alone(pattern):
    assert select_infos(INFOS, pattern) == (INFOS[1],)


def test_all_is_answered_with_a_star():
    with pytest.raises(FiltertrackError, match=r"matches 'all'; there are: .*; '\*' matches all"):
        select_infos(INFOS, "all")
    assert select_infos(INFOS, "*") == tuple(INFOS)
    named = [*INFOS, info_of("all")]
    assert select_infos(named, "all") == (named[-1],)


def test_another_unknown_name_lists_the_layers():
    with pytest.raises(FiltertrackError, match="no convolution matches 'head'; there are: stem, b"):
        select_infos(INFOS, ["stem", "head"])
