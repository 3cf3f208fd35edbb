"""The program of each process in ``test_distributed``.

``python distributed_training.py PART FOLDER RANK PORT`` writes its results into FOLDER as JSON.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

PART, FOLDER, RANK, PORT = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
STEPS, BATCH = 6, 8
X = np.random.default_rng(0).normal(size=(STEPS * BATCH, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(STEPS * BATCH, 4)).astype("float32")
PROBES = X[:3]
LOGGED = []


def main():
    """Run the given part, and write its return value."""
    parts = {
        "alone": alone,
        "devices": devices,
        "together": together,
        "interrupted": interrupted,
        "stopped": stopped,
        "mirrored": mirrored,
        "torch": by_hand_on_torch,
    }
    results = parts[PART]()
    (FOLDER / f"{PART}-{RANK}.json").write_text(json.dumps(results))


def built(keras):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, activation="relu", name="first"),
            keras.layers.Conv2D(4, 3, name="second"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit(keras, folder, x, y, model=None, *, callbacks=(), epochs=2, **options):
    """Train with a tracker that writes into a folder."""
    from filtertrack import FilterTracker

    initial = options.pop("initial_epoch", 0)
    tracker = FilterTracker(folder, **{"schedule": "log", **options})
    model = model or built(keras)
    model.fit(
        x,
        y,
        batch_size=len(x) // STEPS,
        epochs=epochs,
        initial_epoch=initial,
        shuffle=False,
        verbose=0,
        callbacks=[tracker, *callbacks],
    )


def own(array):
    """Return the rows that this process trains with: half of each batch."""
    halves = array.reshape(STEPS, 2, BATCH // 2, *array.shape[1:])
    return halves[:, RANK].reshape(-1, *array.shape[1:])


def listen():
    """Keep every message that the package logs."""
    import logging

    class Kept(logging.Handler):
        def emit(self, record):
            LOGGED.append(record.getMessage())

    logger = logging.getLogger("filtertrack")
    logger.addHandler(Kept())
    logger.setLevel(logging.INFO)


def joined():
    """Connect with the other process, with timeouts that are short enough for a test."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(
        f"127.0.0.1:{PORT}", 2, RANK, shutdown_timeout_seconds=5, heartbeat_timeout_seconds=10
    )
    import keras

    from filtertrack.capture import distributed as processes

    processes._BARRIER_TIMEOUT = 3.0
    processes._SHORT_BARRIER_TIMEOUT = 2.0
    processes._BEGIN_TIMEOUT = 5.0
    processes._GROUP_BYTES = 1000  # bytes: each kernel is a group
    listen()
    return keras, keras.distribution


def sharded(distribution, shape=(1, 4)):
    """Distribute kernels over a mesh of two processes with two devices each."""
    mesh = distribution.DeviceMesh(shape, ["batch", "model"], distribution.list_devices())
    layout = distribution.LayoutMap(mesh)
    layout[".*kernel"] = (None, None, None, "model")
    distribution.set_distribution(
        distribution.ModelParallel(
            layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False
        )
    )


def alone():
    """Train in one process."""
    import keras

    fit(keras, FOLDER / "alone", X, Y, probes=PROBES)


def devices():
    """Train in one process on several devices, with complete and with sharded kernels."""
    import jax

    jax.config.update("jax_num_cpu_devices", 4)
    import keras

    listen()
    distribution = keras.distribution
    distribution.set_distribution(distribution.DataParallel(auto_shard_dataset=False))
    fit(keras, FOLDER / "data", X, Y, probes=PROBES, strict=True)
    sharded(distribution)
    fit(keras, FOLDER / "model", X, Y, probes=PROBES, strict=True)


def failure(function):
    """Return the error that a call raises."""
    try:
        function()
    except Exception as error:  # noqa: BLE001 - the test checks it
        return f"{type(error).__name__}: {error}"
    return None


def together():
    """Run every part after which both processes can continue."""
    keras, distribution = joined()
    mine = FOLDER if RANK == 0 else FOLDER / "not there"
    results = {}
    distribution.set_distribution(distribution.DataParallel(auto_shard_dataset=False))
    fit(keras, mine / "data", own(X), own(Y), probes=PROBES, strict=True)
    sharded(distribution, (2, 2))
    fit(keras, mine / "within", own(X), own(Y), probes=PROBES, strict=True)
    sharded(distribution)
    model = built(keras)
    LOGGED.clear()
    fit(keras, mine / "model", X, Y, model, probes=PROBES)
    results["probes"] = [line for line in LOGGED if "probes" in line]
    results["shards"] = {
        f"{name}/kernel": [
            [[[s.start, s.stop] for s in shard.index], np.asarray(shard.data).tolist()]
            for shard in model.get_layer(name).kernel.value.addressable_shards
        ]
        for name in ("first", "second")
    }
    results["batches"] = fits_batches(keras, mine)
    results["held"] = failure(lambda: fit(keras, mine / "model", X, Y))
    model = built(keras)
    fit(keras, mine / "resumed", X, Y, model, epochs=1)
    results["other layers"] = failure(lambda: other_layers(keras, mine))
    fit(keras, mine / "resumed", X, Y, model, epochs=3, initial_epoch=1)
    LOGGED.clear()
    fit(keras, mine / "lost", X, Y, callbacks=[breaks(keras)], epochs=3, schedule="epoch")
    results["lost"] = list(LOGGED)
    results["unopened"] = unopened(keras, mine)
    results["lonely"] = lonely(keras, mine)
    return results


def fits_batches(keras, mine):
    """Train with a schedule of every four batches, on a generator of unknown length."""
    asked = []

    def due(epoch, batch):
        asked.append([epoch, batch])
        return batch % 4 == 0

    fit(keras, mine / "batches", X, Y, schedule=due)
    return asked


def other_layers(keras, mine):
    """Continue a run of other layers."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="other")])
    model.add(keras.layers.GlobalAveragePooling2D())
    model.compile("sgd", "mse")
    fit(keras, mine / "resumed", X, Y, model, initial_epoch=1)


def breaks(keras):
    """Return a callback that replaces the folder by a file during training."""
    from filtertrack.capture import background_writer

    class Breaks(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if RANK == 0 and epoch == 1:
                background_writer._flush_all()  # otherwise the queue is lost as well
                shutil.rmtree(FOLDER / "lost" / "filters")
                (FOLDER / "lost" / "filters").write_text("in the way")

    return Breaks()


def unopened(keras, mine):
    """Continue a run that process 0 cannot open: its folder of snapshots is a file."""
    model = built(keras)
    fit(keras, mine / "unopened", X, Y, model, epochs=1)
    if RANK == 0:
        snapshots = FOLDER / "unopened" / "filters" / "snapshots"
        snapshots.rename(FOLDER / "unopened snapshots")
        snapshots.write_text("in the way")
    LOGGED.clear()
    fit(keras, mine / "unopened", X, Y, model, initial_epoch=1, epochs=3, schedule=4)
    return list(LOGGED)


def lonely(keras, mine):
    """Take one snapshot with both processes, one in process 0 alone, and then with both again."""
    from filtertrack import FilterTracker

    LOGGED.clear()
    tracker = FilterTracker(mine / "lonely")
    tracker.set_model(built(keras))
    tracker.snapshot(0)
    if RANK == 0:
        tracker.snapshot(1)
    tracker.snapshot(2)  # process 1 is here while process 0 still waits
    tracker.snapshot(3)
    tracker.close()
    return list(LOGGED)


def in_process_1(keras, action):
    """Return a callback that acts after the second batch of the second epoch."""

    class Callback(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if RANK == 1 and self.batches == STEPS + 2:
                action(self.model)

    return Callback()


def interrupted():
    """Raise Ctrl-C in process 1 during an epoch."""
    keras, distribution = joined()
    sharded(distribution)
    # A program started in the background may ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    press = in_process_1(keras, lambda _: signal.raise_signal(signal.SIGINT))
    fit(keras, FOLDER / "interrupted", X, Y, callbacks=[press])


def stopped():
    """Stop training in process 1 only."""
    keras, distribution = joined()
    sharded(distribution)
    stop = in_process_1(keras, lambda model: setattr(model, "stop_training", True))
    fit(keras, FOLDER / "stopped", X, Y, callbacks=[stop])
    return LOGGED


def mirrored():
    """Train on two devices of one process."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    import keras

    fit(keras, FOLDER / "alone", X, Y, probes=PROBES)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = built(keras)
    fit(keras, FOLDER / "mirrored", X, Y, model, probes=PROBES, strict=True)
    kernel = model.get_layer("first").kernel.value
    return {
        "replicas": strategy.num_replicas_in_sync,
        "kernels": [v.numpy().tolist() for v in strategy.experimental_local_results(kernel)],
    }


def by_hand_on_torch():
    """Train with a user's own loop under DistributedDataParallel."""
    import torch

    torch.distributed.init_process_group("gloo")
    import keras

    from filtertrack import FilterTracker

    rank = torch.distributed.get_rank()
    model = built(keras)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mine = FOLDER if rank == 0 else FOLDER / "not there"
    tracker = FilterTracker(mine / "torch", probes=PROBES, strict=True)
    tracker.set_model(parallel)
    halves = np.array_split(np.arange(len(X)).reshape(STEPS, BATCH), 2, axis=1)[rank]
    for step, rows in enumerate(halves):
        tracker.snapshot(step)
        optimizer.zero_grad()
        loss = torch.mean((parallel(torch.tensor(X[rows])) - torch.tensor(Y[rows])) ** 2)
        loss.backward()
        optimizer.step()
    tracker.snapshot(STEPS, metrics={"loss": loss})
    tracker.close()
    (FOLDER / f"rank-{rank}.json").write_text(
        json.dumps(model.get_layer("first").kernel.value.tolist())
    )
    torch.distributed.destroy_process_group()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
main()
