"""The files of a run, on disk and on object storage."""
