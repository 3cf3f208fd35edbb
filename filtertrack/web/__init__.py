"""The interactive page: its JavaScript in ``page/``, and the answers it asks for."""
