"""From a model to snapshots: finds the kernels, copies them, and writes the run.

The only package that imports Keras, jax or torch.
"""
