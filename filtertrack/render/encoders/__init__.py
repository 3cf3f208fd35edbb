"""One module a file format: pictures in, bytes out."""
