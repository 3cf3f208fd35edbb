"""Encoders of pictures and animations, one module per file format."""
