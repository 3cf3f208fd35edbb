"""The comparisons of ``make bench``: one module for each group."""
