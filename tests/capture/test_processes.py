import subprocess
import sys

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.capture.processes import torch_processes

torch = pytest.importorskip("torch")

PROGRAM = """
import sys
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from filtertrack import TorchTracker

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(rank)
module = nn.parallel.DistributedDataParallel(
    nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
optimizer = torch.optim.SGD(module.parameters(), 0.1)
with TorchTracker("run" if not rank else "not there", module, schedule=2) as tracker:
    for _ in range(4):
        loss = ((module(torch.randn(8, 3, 8, 8)) - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.step({"loss": loss})
    tracker.end_epoch()
np.save(f"{rank}.npy", module.module[0].weight.detach().numpy())
sharded = nn.Sequential(nn.Conv2d(4, 4, 3))
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
mesh = init_device_mesh("cpu", (2,))
fully_shard(sharded, mesh=mesh)
try:
    TorchTracker("sharded", sharded)
except Exception as error:
    print(error)
from torch.distributed.tensor import distribute_module
whole = distribute_module(nn.Sequential(nn.Conv2d(4, 4, 3)), mesh)  # replicated
with TorchTracker("whole", whole, existing="new") as tracker:
    print("0 tracked")
dist.destroy_process_group()
"""


def test_a_single_process_writes():
    """``torch.distributed`` need not be initialized."""
    processes = torch_processes(torch)
    assert processes.writes
    assert processes.takes_part


def test_only_rank_0_writes_and_sharded_weights_are_refused(tmp_path):
    """Two processes of gloo, with the same calls."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), f"file://{tmp_path}/meeting"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        printed = [program.communicate(timeout=120) for program in programs]
    finally:
        for program in programs:
            program.kill()
    assert [program.returncode for program in programs] == [0, 0], printed
    run = Run(tmp_path / "run")
    assert run.steps == [0, 2, 4]
    assert list(run.layers) == ["0"]
    for rank in (0, 1):
        stored = run.snapshot(4).arrays["0/weight"]
        np.testing.assert_array_equal(stored, np.load(tmp_path / f"{rank}.npy"))
        lines = printed[rank][0].splitlines()
        assert "0: its weights are sharded" in lines[0]
        assert lines[1] == "0 tracked"
    assert not (tmp_path / "not there").exists()
    assert not (tmp_path / "sharded").exists()
    assert Run(tmp_path / "whole").steps == [0]
