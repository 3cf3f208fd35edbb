"""The comparisons of ``make bench``, a group a module."""
