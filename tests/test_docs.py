"""The pages of ``docs`` name tests and programs that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {file.name: file for file in (ROOT / "tests").rglob("*.py")}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@cache
def functions_of(file):
    """Return the names of all functions in a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@cache
def all_functions():
    """Return the names of all functions in all files of tests."""
    return {name for file in TESTS.values() for name in functions_of(file)}


def named_in(page):
    """Yield each ``file: test`` that a page names, the file empty where it names the test only."""
    for code in re.findall(r"`([^`\n]*)`", page.read_text(encoding="utf-8")):
        found = re.fullmatch(r"(?:(?:\w+/)*(\w+\.py)(?:: )?)?(test_\w+)?(?:\[.*\])?(…)?", code)
        if found and (found[1] or found[2]):
            yield found[1], found[2], bool(found[3])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page):
    """In the named file; the beginning of a name ends with an ellipsis."""
    if page.name == "CHANGELOG.md":
        pytest.skip("it names files of earlier versions")
    wrong = []
    for file, test, is_prefix in named_in(page):
        if file and file.startswith("test_") and file not in TESTS:
            wrong.append(file)
        elif test:
            names = functions_of(TESTS[file]) if file in TESTS else all_functions()
            exists = any(name.startswith(test) for name in names) if is_prefix else test in names
            if not exists:
                wrong.append(f"{file or ''}: {test}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_make_target_that_a_page_names_exists(page):
    """Paths below ``scripts``, ``tests``, ``docs`` and the package, and targets of ``make``."""
    if page.name == "CHANGELOG.md":
        pytest.skip("it names files of earlier versions")
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:scripts|tests|docs|filtertrack)/[\w./-]+)`", text))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets.split())
