"""From a model to snapshots: finds the kernels, copies them, and writes the run."""
