"""Wrappers of modules of torch that compute the same as the module inside."""

from collections.abc import Mapping
from types import MappingProxyType

PARALLEL_PART = "module"
"""The attribute that holds the module in data-parallel training. A user's may have this name, too:
it is no part of names only if all kernels are in it."""
_FSDP = "_fsdp_wrapped_module"
_CHECKPOINTED = "_checkpoint_wrapped_module"
_COMPILED = "_orig_mod"

WRAPPERS: Mapping[str, str] = MappingProxyType(
    {
        "torch.nn.parallel.distributed.DistributedDataParallel": PARALLEL_PART,
        "torch.nn.parallel.data_parallel.DataParallel": PARALLEL_PART,
        "torch._dynamo.eval_frame.OptimizedModule": _COMPILED,
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": (
            _CHECKPOINTED
        ),
    }
)
"""Classes of wrappers, and the attribute that holds the module."""
INSERTED_PARTS = frozenset({_COMPILED, _CHECKPOINTED, _FSDP})
"""Attributes of wrappers that a user's module does not have."""
