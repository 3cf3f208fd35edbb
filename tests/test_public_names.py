"""The public names of the package and their parameters, compared with a frozen list."""

import inspect

import pytest

import filtertrack


def signature(value):
    """Return a function's parameters with their defaults, without annotations, as text."""
    found = inspect.signature(value)
    parameters = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=found.empty))


def described(name, value):
    """Yield a line for a public function or class, and one for each public member of a class."""
    if not inspect.isclass(value):
        yield f"{name}{signature(value)}"
        return
    yield f"{name}{'' if issubclass(value, Exception) else signature(value)}"
    for member, held in sorted(vars(value).items()):
        if member.startswith("_"):
            continue
        if isinstance(held, (staticmethod, classmethod)) or inspect.isfunction(held):
            yield f"{name}.{member}{signature(getattr(value, member))}"
        else:
            yield f"{name}.{member}"


def test_public_names_and_parameters_are_those_of_the_frozen_list(request):
    """An unintended change of what users call fails; ``--update-golden`` accepts an intended one.

    Look at the difference then, and write it into the changelog.
    """
    file = request.config.rootpath / "tests" / "golden" / "public_names.txt"
    lines = [
        line
        for name in sorted(filtertrack.__all__)
        for line in described(name, getattr(filtertrack, name))
    ]
    if request.config.getoption("--update-golden"):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == file.read_text(encoding="utf-8").splitlines()


def test_every_public_name_is_documented_and_listed():
    """``dir`` lists each name, whether it was loaded or not."""
    for name in filtertrack.__all__:
        assert getattr(filtertrack, name).__doc__
        assert name in dir(filtertrack)


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Tracker'"):
        _ = filtertrack.Tracker
