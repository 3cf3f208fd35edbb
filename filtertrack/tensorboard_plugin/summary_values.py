"""Values of TensorBoard summaries: images, scalars, histograms and texts, with descriptions."""

from collections.abc import Iterator, Sequence

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING
from tensorboard.plugins.histogram.metadata import create_summary_metadata as histogram_metadata
from tensorboard.plugins.image.metadata import create_summary_metadata as image_metadata
from tensorboard.plugins.scalar.metadata import create_summary_metadata as scalar_metadata
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata

IMAGE_WIDTH = 320
"""Width of the images in pixels. TensorBoard's cards are about 350 pixels wide; a wider image would
be scaled down and lose its lines."""
HISTOGRAM_BYTES = 800
"""Size of a histogram's event."""

_BUCKETS = 30
"""Buckets of a histogram."""
_ROUNDING = 1e-9
"""Largest relative difference of values that are considered equal."""


def image_value(
    tag: str, files: Iterator[bytes] | Sequence[bytes], shape: tuple[int, ...], description: str
) -> Summary.Value:
    """Return an image of one or more PNG files.

    Args:
        tag: The tag.
        files: The files, all of one size.
        shape: Their height and width.
        description: In Markdown.
    """
    height, width = shape
    texts = [str(width).encode(), str(height).encode(), *files]
    metadata = image_metadata(None, description, converted_to_tensor=True)
    return _value(
        tag,
        TensorProto(dtype=DT_STRING, string_val=texts, tensor_shape=_shape(len(texts))),
        metadata,
    )


def scalar_value(tag: str, value: float, description: str) -> Summary.Value:
    """Return a number."""
    tensor = TensorProto(dtype=DT_FLOAT, float_val=[value], tensor_shape=TensorShapeProto())
    return _value(tag, tensor, scalar_metadata(None, description))


def histogram_value(tag: str, values: np.ndarray, description: str) -> Iterator[Summary.Value]:
    """Yield the distribution of the finite ones of some numbers, in buckets of one width.

    Nothing is yielded if none of them is finite.

    Args:
        tag: The tag.
        values: The numbers, in an array of any shape.
        description: In Markdown.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return
    scaled = finite / 4  # the difference of the largest numbers of a type is not finite
    low, high = float(scaled.min()), float(scaled.max())
    if high - low > _ROUNDING * max(abs(low), abs(high)):
        counts, edges = np.histogram(scaled, _BUCKETS, (low, high))
    else:  # all values are equal, like the drift at the start: a bucket of width 0
        edges = np.full(_BUCKETS + 1, low)
        counts = np.eye(_BUCKETS, dtype=np.int64)[-1] * scaled.size
    buckets = np.stack([4 * edges[:-1], 4 * edges[1:], counts], axis=1)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in buckets.shape])
    tensor = TensorProto(dtype=DT_DOUBLE, double_val=buckets.ravel().tolist(), tensor_shape=shape)
    yield _value(tag, tensor, histogram_metadata(None, description))


def text_value(tag: str, text: str, description: str) -> Summary.Value:
    """Return a text in Markdown."""
    tensor = TensorProto(
        dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto()
    )
    return _value(tag, tensor, text_metadata(None, description))


def _value(tag: str, tensor: TensorProto, metadata: SummaryMetadata) -> Summary.Value:
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)


def _shape(length: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=length)])
