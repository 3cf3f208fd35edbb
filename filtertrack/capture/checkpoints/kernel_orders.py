"""Decides the order of the axes of kernels whose framework does not store it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from filtertrack.capture.checkpoints.kernel_candidates import CONVENTIONS, KERAS, KernelCandidate
from filtertrack.capture.keras_kernels import AxisOrder
from filtertrack.errors import counted, listed

_TRANSPOSED_NAME = re.compile(r"transpose|deconv|convt|conv_t")
_TRANSPOSED_PATH = re.compile(
    r"(^|_)ups?(\d|_|$)|upconv|upsampl|transpose|deconv|convt|conv_t|decoder|generator"
)
"""Parts of paths under which transposed convolutions are common."""
_DEPTHWISE_NAME = re.compile(r"depthwise|(^|_)dw(_|$)|dwconv")


class OrderedKernel(NamedTuple):
    """A kernel with the order and the letters of its axes."""

    candidate: KernelCandidate
    letters: str
    order: AxisOrder


class KernelOrders:
    """Decides the order of the axes of kernels, one after another.

    Args:
        axes: The letters of the axes of every kernel that has as many; None for none.

    Attributes:
        kernels: The kernels with an order.
    """

    def __init__(self, axes: str | None) -> None:
        self.kernels: list[OrderedKernel] = []
        self._axes = axes
        self._previous: dict[tuple[str, ...], OrderedKernel] = {}
        self._by_name: list[str] = []
        self._undecided: list[KernelCandidate] = []
        self._grouped: list[str] = []

    def add(self, candidate: KernelCandidate) -> None:
        """Add a kernel, if its order can be decided.

        Args:
            candidate: The kernel; those of a ``Sequential`` in the order of their numbers.
        """
        if self._axes is not None and len(self._axes) == len(candidate.array.shape):
            self.kernels.append(OrderedKernel(candidate, self._axes, "convolution"))
            return
        sequence = candidate.module.parts[:-1]
        order = _order_of(candidate, self._previous.get(sequence))
        if order is None and _is_grouped_transposed(candidate):
            self._grouped.append(candidate.name)
            return
        order = order or candidate.array.orders[0]  # a bias of another length
        kernel = OrderedKernel(candidate, candidate.letters(order), order)
        self.kernels.append(kernel)
        self._note(candidate, order)
        if candidate.module.last.isdecimal():
            self._previous[sequence] = kernel

    def _note(self, candidate: KernelCandidate, order: AxisOrder) -> None:
        """Remember kernels that may have another order."""
        if candidate.filters(order) == candidate.outputs and not _is_square(candidate):
            return
        if order == _hint_of(candidate) == "transposed":
            self._by_name.append(candidate.name)
        elif order == "convolution" and _can_be_transposed(candidate):
            self._undecided.append(candidate)

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences for the user about kernels that may have another order."""
        remarks = []
        if self._by_name:
            remarks.append(
                f"read as transposed convolutions because of their names: {listed(self._by_name)}; "
                f"axes= reads all kernels in another order"
            )
        undecided = self._reported()
        if undecided:
            letters = undecided[0].letters("transposed")
            remarks.append(
                f"{counted(len(undecided), 'kernels')} that may be of transposed convolutions, "
                f"read as of others: {listed([each.name for each in undecided], 3)}; "
                f"axes={letters} reads all kernels with {len(letters)} axes as transposed ones"
            )
        if self._grouped:
            remarks.append(
                f"left out, as transposed convolutions with groups: {listed(self._grouped)}"
            )
        return remarks

    def _reported(self) -> list[KernelCandidate]:
        """Return the undecided kernels to report.

        Kernels that are most probably not transposed are reported only in a file with transposed
        ones, or if their path is that of a decoder or generator.
        """
        if self._grouped or any(each.order == "transposed" for each in self.kernels):
            return self._undecided
        return [
            each
            for each in self._undecided
            if not _is_probably_convolution(each)
            or any(_TRANSPOSED_PATH.search(part.lower()) for part in each.module.parts)
        ]


def _hint_of(candidate: KernelCandidate) -> AxisOrder | None:
    """Return the order that a module's name suggests."""
    keras = candidate.convention is KERAS
    # ConvTranspose is a name in flax, which does not swap the axes.
    name = candidate.module.last if keras else candidate.module.last.lower()
    if _TRANSPOSED_NAME.search(name):
        return "transposed"
    return "depthwise" if keras and _DEPTHWISE_NAME.search(name) else None


def _order_of(candidate: KernelCandidate, before: OrderedKernel | None) -> AxisOrder | None:
    """Return the first order of axes that agrees with the number of filters; None if none does.

    Args:
        candidate: The kernel.
        before: The kernel before it in the same ``Sequential``, or None.
    """
    hint, outputs = _hint_of(candidate), candidate.outputs
    possible = _possible_orders(candidate, hint)
    if not possible:
        return None
    if outputs is None:
        continues = hint is None and before is not None and _continues(candidate, before)
        return "transposed" if continues else possible[0]
    fitting = [order for order in possible if candidate.filters(order) == outputs]
    if not fitting and candidate.bias is None:
        return possible[0]  # the norm layer normalizes something else
    return fitting[0] if fitting else None


def _possible_orders(candidate: KernelCandidate, hint: AxisOrder | None) -> list[AxisOrder]:
    """Return the orders of axes that are possible for a kernel, the most probable first."""
    orders: list[AxisOrder] = ["convolution", "transposed", "depthwise"]
    if candidate.convention is KERAS and candidate.array.shape[-1] == 1:
        orders = ["convolution", "depthwise", "transposed"]
    if hint is not None:
        orders.insert(0, hint)
    allowed = set(candidate.array.orders) & set(candidate.convention.letters)
    return [order for order in orders if order in allowed]


def _continues(candidate: KernelCandidate, before: OrderedKernel) -> bool:
    """Whether a kernel takes the filters of a transposed convolution before it as its first axis.

    As the last one of a generator that is a ``Sequential``: it has no bias and no norm after it.
    """
    first, second = _ends(candidate)
    return (
        before.order == "transposed"
        and "transposed" in candidate.array.orders
        and before.candidate.filters("transposed") == first != second
    )


def _is_square(candidate: KernelCandidate) -> bool:
    """Whether a kernel has as many filters as channels."""
    first, second = _ends(candidate)
    return first == second


def _ends(candidate: KernelCandidate) -> tuple[int, int]:
    """Return the sizes of the axes of filters and channels, in the order of the file."""
    shape, keras = candidate.array.shape, candidate.convention is KERAS
    return (shape[-2], shape[-1]) if keras else (shape[0], shape[1])


def _can_be_transposed(candidate: KernelCandidate) -> bool:
    """Whether a kernel can be of a transposed convolution, with other axes than of a plain one."""
    letters = candidate.convention.letters
    possible = "transposed" in candidate.array.orders and "transposed" in letters
    return possible and letters["transposed"] != letters["convolution"]


def _is_probably_convolution(candidate: KernelCandidate) -> bool:
    """Whether an undecided kernel is more probably of a convolution than of a transposed one.

    Square kernels are common in residual networks; a norm layer beside a kernel that has as many
    elements as a convolution would have filters is probably the one after it. Keras and flax name
    transposed layers so, or do not swap the axes.
    """
    is_normed = candidate.filters("convolution") in candidate.norms
    return candidate.convention is KERAS or _is_square(candidate) or is_normed


def _is_grouped_transposed(candidate: KernelCandidate) -> bool:
    """Whether the bias is that of a transposed convolution of torch with groups."""
    if candidate.convention is not CONVENTIONS["torch"] or candidate.outputs is None:
        return False
    first, second = _ends(candidate)
    groups, rest = divmod(candidate.outputs, second)
    return rest == 0 and groups > 1 and first % groups == 0
