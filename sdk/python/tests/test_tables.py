"""How results are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from provender import _tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1234567, "1,234,567"),
        (0.25, "0.25"),
        (datetime(2001, 6, 30, 18, tzinfo=UTC), "2001-06-30T18:00:00Z"),
        (datetime(2001, 6, 30, 18, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))), "2001-06-30T16:00:00.000001Z"),
        (timedelta(hours=6), "6h"),
        (timedelta(days=2, hours=3, minutes=4), "2d3h"),
        (timedelta(milliseconds=1250), "1.25s"),
        (timedelta(), "0s"),
        (-timedelta(minutes=90), "-1h30m"),
        (("a", 1000), "a, 1,000"),
        ([], "-"),
    ],
)
def test_cell(value: Any, text: str) -> None:
    assert _tables.cell(value) == text


def test_text_table() -> None:
    rows = [("airport", 1234, True), ("空港", None, False)]
    assert _tables.text_table(["view", "rows", "online"], rows) == (
        "VIEW      ROWS  ONLINE\nairport  1,234  yes\n空港         -  no"
    )
    assert _tables.text_table(["view"], []) == "VIEW"


def test_what_would_move_the_cursor() -> None:
    assert _tables.text_table(["a"], [("x\ny\x1b[2J\u202e",)]) == "A\nx\\ny\\x1b[2J\\u202e"
    assert len(_tables.text_table(["a"], [("x" * 1000,)]).splitlines()[1]) == 80


def test_html_is_escaped() -> None:
    out = _tables.html_table(["<h>"], [("<script>alert(1)</script>",), ('"&',)], caption="<c>")
    assert "<script>" not in out
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in out
    assert "&quot;&amp;" in out
    assert "&lt;h&gt;" in out
    assert "&lt;c&gt;</caption>" in out


def test_long_tables_are_cut() -> None:
    rows = [(i,) for i in range(1000)]
    assert _tables.text_table(["n"], rows, most=2) == "N\n0\n1\n… and 998 more"
    assert _tables.html_table(["n"], rows).count("<tr>") == 62
