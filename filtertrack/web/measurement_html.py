"""The measures of a run as the output of a notebook's cell: sentences and tables."""

from html import escape

from rich.table import Table as TextTable

from filtertrack.errors import printable
from filtertrack.outputs.measurement import Measurement
from filtertrack.outputs.tables import overview, sentences, with_pattern


def html_of(measured: Measurement) -> str:
    """Return a sentence for each layer, and tables with a row a layer, at the last step.

    As in ``filtertrack measure``, layers of 1x1 kernels are left out if there are others.
    """
    shown = with_pattern(measured)
    paragraphs = [f"<p>{_escaped(sentence)}</p>" for sentence in sentences(shown)]
    return "".join([*paragraphs, *map(_table, overview(shown))])


def _table(table: TextTable) -> str:
    heads = "".join(f"<th>{_escaped(column.header)}</th>" for column in table.columns)
    rows = zip(*(list(column.cells) for column in table.columns), strict=True)
    body = "".join(
        f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    note = f"<p>{_escaped(table.caption)}</p>" if table.caption else ""
    title = f'<caption style="text-align:left">{_escaped(table.title)}</caption>'
    return f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{note}"


def _escaped(text: object) -> str:
    return escape(printable(" ".join(str(text).split())))
