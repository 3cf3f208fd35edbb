"""Joins the modules of the page into one script, for a page without a server.

Modules of a file that is opened without a server cannot import each other: browsers refuse it. The
page's modules use only named imports and exports, each in a statement of its own, so each becomes a
function that returns what it exports.
"""

import re
from collections.abc import Mapping
from importlib import resources

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const|let) (\w+)", re.MULTILINE)


def page_files(ending: str) -> dict[str, str]:
    """Return the page's files of an ending, such as ``".js"``: name without it to content."""
    folder = resources.files("filtertrack.web") / "page"
    return {
        file.name.removesuffix(ending): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(ending)
    }


def joined_script(entry: str, replaced: Mapping[str, str], modules: Mapping[str, str]) -> str:
    r"""Join the modules that a module needs, and call its function ``render``.

    Args:
        entry: The name of the module.
        replaced: Module to the module that takes its place.
        modules: Name to source.

    Returns:
        A classic script.

    Example:
        >>> modules = {"a": 'import {two} from "./b.js";\nexport function render() { two(); }\n',
        ...            "b": "export const two = () => 2;\n"}
        >>> print(joined_script("a", {}, modules))
        (() => {
        "use strict";
        const $b = (() => {
        const two = () => 2;
        return {two};
        })();
        const $a = (() => {
        const {two} = $b;
        function render() { two(); }
        return {render};
        })();
        $a.render();
        })();
    """
    ordered: dict[str, str] = {}

    def add(name: str) -> None:
        source = modules[name]
        for _, needed in _IMPORT.findall(source):
            needed = replaced.get(needed, needed)  # noqa: PLW2901
            if needed not in ordered:
                add(needed)
        ordered[name] = _as_function(name, source, replaced)

    add(entry)
    return "\n".join(['(() => {\n"use strict";', *ordered.values(), f"${entry}.render();\n}})();"])


def _as_function(name: str, source: str, replaced: Mapping[str, str]) -> str:
    exported = ", ".join(each for _, each in _EXPORT.findall(source))
    body = _EXPORT.sub(r"\1 \2", source)
    body = _IMPORT.sub(lambda m: f"const {{{m[1]}}} = ${replaced.get(m[2], m[2])};\n", body)
    return f"const ${name} = (() => {{\n{body}return {{{exported}}};\n}})();"
