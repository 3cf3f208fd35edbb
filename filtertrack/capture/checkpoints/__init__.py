"""Readers of checkpoint files: the kernels in a file, without its model and its framework."""
