"""Bytes as text inside an HTML file."""

import os
import re

import pytest

from filtertrack.web.file_data import element, text_size, to_text, zipped
from filtertrack.web.page_script import page_files


def script(**constants):
    """Return the page's module as a script; it may have other values of its constants."""
    source = page_files(".js")["file_data"]
    source = re.sub(r"^import .*\n", "", source, flags=re.MULTILINE).replace("export ", "")
    for name, value in constants.items():
        source, count = re.subn(rf"(const {name}) = [^;]+;", rf"\1 = {value};", source)
        assert count == 1
    return source


def test_the_page_decodes_what_was_encoded(chromium):
    """Of every length of the last group, and every value of a byte."""
    given = [b"", b"\0", b"\0\0\0\0", b"\xff" * 7, bytes(range(256)), os.urandom(1001)]
    given += [os.urandom(size) for size in range(1, 10)]
    source = script()
    page = chromium.new_page()
    decoded = page.evaluate(
        f"texts => {{ {source}; return texts.map(text => [...decode(text)]) }}",
        [to_text(data) for data in given],
    )
    page.close()
    assert [bytes(each) for each in decoded] == given


def test_the_page_keeps_the_elements_used_last(chromium):
    """As many as a limit of bytes allows; one that was removed is unpacked again."""
    given = {f"data-{n}": os.urandom(size) for n, size in enumerate([400, 400, 400, 5000, 100])}
    page = chromium.new_page()
    page.set_content("".join(element(name, zipped(data)) for name, data in given.items()))
    read = """async ids => {
      const found = [];
      for (const id of ids) found.push([...await readBytes(id)]);
      const together = await Promise.all(ids.map(readBytes));
      return [found, together.map(each => [...each]), [...kept.keys()]];
    }"""
    for ids, remaining in (
        (["data-0", "data-1"], ["data-0", "data-1"]),
        (["data-0", "data-1", "data-0", "data-2"], ["data-0", "data-2"]),
        (["data-0", "data-3"], ["data-3"]),
        (["data-3", "data-0", "data-4"], ["data-0", "data-4"]),
    ):
        found, together, kept = page.evaluate(
            f"async ids => {{ {script(MOST_KEPT=1000)}; return ({read})(ids) }}", ids
        )
        assert [bytes(each) for each in found] == [given[each] for each in ids]
        assert found == together
        assert sorted(kept) == remaining
    page.close()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 999])
def test_the_size_of_encoded_data_is_known(size):
    assert len(to_text(bytes(size))) == text_size(bytes(size))


def test_no_character_has_a_meaning_in_html_or_in_strings():
    """So the data is as long inside the text of a notebook's frame."""
    assert not set(to_text(os.urandom(100_000))) & set("&<>\"'`\\ \n")
