"""Measure the time that tracking adds to a training step of two processes on jax.

``.venv-jax/bin/python scripts/distributed_cost.py`` prints a table within a minute. Two processes
of two CPU devices train one model, alternately without a tracker and with one that takes a snapshot
of every batch; the medians of all batches are reported. The processes synchronize at each step, so
the step time is the cost for training, and the time in the tracker's hook is the cost for each
process. The background writing of process 0 uses the same processors.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
ROUNDS, STEPS, BATCH, FILTERS = 8, 20, 8, 128
Times = dict[str, list[float]]


def main() -> None:
    """Start both processes and print their results as a Markdown table."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        processes = [
            subprocess.Popen(  # noqa: S603 - runs this file
                [sys.executable, __file__, folder, str(rank), str(port)], stderr=subprocess.DEVNULL
            )
            for rank in (0, 1)
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            sys.exit("a process failed")
        print("| kernels | process | step, ms | tracked, ms | in the tracker's hook, ms |")
        print("|---|---|---|---|---|")
        for rank in (0, 1):
            seen = json.loads((Path(folder) / f"{rank}.json").read_text())
            for way, times in seen.items():
                cells = (
                    f"{1e3 * median(times[what]):.3g}" for what in ("plain", "tracked", "hook")
                )
                print(f"| {way} | {rank} | {' | '.join(cells)} |")


def measure(folder: Path, rank: int, port: str) -> None:
    """Train in one process and write the time of each batch to a file."""
    import jax  # noqa: PLC0415 - not in the process that starts the others

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    from keras import distribution  # noqa: PLC0415

    mesh = distribution.DeviceMesh((1, 4), ["batch", "model"], distribution.list_devices())
    layout = distribution.LayoutMap(mesh)
    layout[".*kernel"] = (None, None, None, "model")
    ways = {
        "whole in each": distribution.DataParallel(auto_shard_dataset=False),
        "sharded over both": distribution.ModelParallel(
            layout_map=layout, auto_shard_dataset=False
        ),
    }
    seen = {}
    for number, (way, chosen) in enumerate(ways.items()):
        distribution.set_distribution(chosen)
        seen[way] = _rounds(folder / str(number))
    (folder / f"{rank}.json").write_text(json.dumps(seen))


def _rounds(folder: Path) -> Times:
    import keras  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from filtertrack import FilterTracker  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D
    layers = [convolution(FILTERS, 3, activation="relu") for _ in range(4)]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers, keras.layers.Flatten()])
    model.compile("sgd", "mse")
    x = np.zeros((STEPS * BATCH, 12, 12, 3), "float32")
    y = np.zeros((STEPS * BATCH, *model.output_shape[1:]), "float32")
    times: Times = {"plain": [], "tracked": [], "hook": []}
    for turn in range(ROUNDS + 1):
        if turn == 1:  # the first compiles
            times = {"plain": [], "tracked": [], "hook": []}
        for what in ("plain", "tracked"):
            tracker = FilterTracker(folder / str(turn), schedule=1)
            tracker.on_train_batch_end = _timed(tracker.on_train_batch_end, times["hook"])
            callbacks = [_clock(times[what]), *([tracker] if what == "tracked" else [])]
            model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=callbacks)
    return times


def _clock(times: list[float]) -> Any:
    """Return a callback that appends the time from each batch to the next."""
    import keras  # noqa: PLC0415

    class TickClock(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        last: float | None = None

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            float(logs["loss"])  # waits for the step, so that the hook's time excludes it
            now = time.perf_counter()
            if self.last is not None:
                times.append(now - self.last)
            self.last = now

    return TickClock()


def _timed(function: Callable[..., None], times: list[float]) -> Callable[..., None]:
    def timed(*arguments: Any, **named: Any) -> None:
        began = time.perf_counter()
        function(*arguments, **named)
        times.append(time.perf_counter() - began)

    return timed


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else:
        main()
