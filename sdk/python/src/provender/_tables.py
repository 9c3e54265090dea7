"""The one way that results are shown: as tables of text, and of HTML in notebooks."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

# How many rows of a table are shown, and how many characters of a cell.
_ROWS = 60
_WIDTH = 80

# What stands to the right: numbers, shares and durations.
_NUMBER = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]\d+)?[%s]?|-?(?:\d+[dhms]){1,2}")

_STYLE = "text-align: {}; white-space: nowrap"


def cell(value: Any) -> str:
    """Returns a value as tables show it: numbers with commas, times in UTC, nothing as a dash."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.6g}"
        case datetime():
            return instant(value)
        case timedelta():
            return duration(value)
        case str():
            return value
        case list() | tuple():
            return ", ".join(map(cell, value)) or "-"
        case _:
            return str(value)


def instant(value: datetime) -> str:
    """Returns a time in UTC, without a fraction where it has none."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat() + "Z"


def duration(value: timedelta) -> str:
    """Returns a duration in its two greatest units: "6h", "2d3h", "1.25s"."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds = value.total_seconds()
    if seconds < 60:
        return f"{sign}{seconds:.3g}s"
    left, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return sign + "".join(parts[:2])


def text_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, most: int = _ROWS) -> str:
    """Returns a table of text, numbers to the right, without a line's end at its end.

    Args:
        headers: The columns' names.
        rows: Their values, shown as ``cell`` shows them.
        most: How many rows are shown; the last line tells how many are not.
    """
    shown, right, more = _prepared(headers, rows, most)
    lines = [[name.upper() for name in headers], *([_clipped(_printable(c)) for c in row] for row in shown)]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(headers))]
    out = [
        "  ".join(_padded(c, w, right=r) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    ]
    if more:
        out.append(f"… and {more:,} more")
    return "\n".join(out)


def html_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "", most: int = _ROWS) -> str:
    """Returns a table of HTML, every value escaped.

    Args:
        headers: The columns' names.
        rows: Their values, shown as ``cell`` shows them.
        caption: What the table is about.
        most: How many rows are shown; the last one tells how many are not.
    """
    shown, right, more = _prepared(headers, rows, most)
    styles = [_STYLE.format("right" if r else "left") for r in right]
    out = ["<table>"]
    if caption:
        out.append(f'<caption style="text-align: left">{html.escape(caption)}</caption>')
    out.append(_html_row("th", headers, styles))
    out += [_html_row("td", map(_clipped, row), styles) for row in shown]
    if more:
        out.append(f'<tr><td colspan="{len(headers)}">… and {more:,} more</td></tr>')
    out.append("</table>")
    return "\n".join(out)


def _html_row(tag: str, cells: Iterable[str], styles: Sequence[str]) -> str:
    row = (f'<{tag} style="{s}">{html.escape(_printable(c))}</{tag}>' for c, s in zip(cells, styles, strict=True))
    return f"<tr>{''.join(row)}</tr>"


def _prepared(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], most: int
) -> tuple[list[list[str]], list[bool], int]:
    """Returns the rows that are shown, which columns are numbers, and how many rows are left out."""
    rows = list(rows)
    shown = rows[:most]
    cells = [[cell(v) for v in row] for row in shown]
    right = []
    for i in range(len(headers)):
        column = {row[i] for row in cells} - {"-"}
        right.append(bool(column) and all(_NUMBER.fullmatch(c) for c in column))
    return cells, right, len(rows) - len(shown)


def _clipped(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _printable(text: str) -> str:
    """Returns text in one line, without what moves a terminal's cursor or turns the direction of writing."""
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else c.encode("unicode_escape").decode()
        for c in text
    )


def _width(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
