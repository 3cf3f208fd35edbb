"""Bytes as text inside an HTML file."""

import os
import re

import pytest

from filtertrack.web.file_data import text_size, to_text
from filtertrack.web.page_script import page_files


def test_the_page_decodes_what_was_encoded(chromium):
    """Of every length of the last group, and every value of a byte."""
    given = [b"", b"\0", b"\0\0\0\0", b"\xff" * 7, bytes(range(256)), os.urandom(1001)]
    given += [os.urandom(size) for size in range(1, 10)]
    source = page_files(".js")["file_data"]
    source = re.sub(r"^import .*\n", "", source, flags=re.MULTILINE).replace("export ", "")
    page = chromium.new_page()
    decoded = page.evaluate(
        f"texts => {{ {source}; return texts.map(text => [...decode(text)]) }}",
        [to_text(data) for data in given],
    )
    page.close()
    assert [bytes(each) for each in decoded] == given


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 999])
def test_the_size_of_encoded_data_is_known(size):
    assert len(to_text(bytes(size))) == text_size(bytes(size))


def test_no_character_has_a_meaning_in_html_or_in_strings():
    """So the data is as long inside the text of a notebook's frame."""
    assert not set(to_text(os.urandom(100_000))) & set("&<>\"'`\\ \n")
