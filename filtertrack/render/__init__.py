"""Arrays in, pixels and bytes out; nothing here opens a run."""
