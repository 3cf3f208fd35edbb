"""The interactive page: its JavaScript in ``page/``, and what it asks for."""
