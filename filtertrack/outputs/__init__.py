"""A run in; animations, figures, curves and tables out."""
