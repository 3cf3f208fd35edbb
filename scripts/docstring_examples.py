"""Examples in docstrings, for the API reference of the documentation site."""

from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Lets sections named "Example" be drawn as code, as those named "Examples" are."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in an object's docstring."""
        if obj.docstring:
            lines = obj.docstring.value.split("\n")
            renamed = ["Examples:" if line == "Example:" else line for line in lines]
            obj.docstring.value = "\n".join(renamed)
