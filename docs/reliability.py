"""The measured tables of docs/reliability.md, from what tests have written into docs/measured/.

    .venv/bin/python docs/reliability.py    # write the page anew

A test that measures is named on the page, beside its table.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.commands import command_line

DOCS = Path(__file__).parent
TABLES = {
    "reliability": {"fault": "fault", "whole_again_s": "all as before after (s)"},
    "hostile": {"figure": "", "without": "all behave", "beside": "beside the six"},
}
"""Name of a table and of its file → its columns, and what they are called."""


def table(columns: dict[str, str], measured: str) -> str:
    """Return a table of what a CSV text has."""
    rows = [[row[column] for column in columns] for row in csv.DictReader(measured.splitlines())]
    lines = [list(columns.values()), ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rewritten(page: str, measured: dict[str, str]) -> str:
    """Return the page with the tables that the CSV texts give."""
    for name, text in measured.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        end = f"<!-- /{name} -->"
        page = before + mark + table(TABLES[name], text) + end + rest.partition(end)[2]
    return page


def known() -> dict[str, str]:
    """What has been measured."""
    return {name: (DOCS / "measured" / f"{name}.csv").read_text() for name in TABLES}


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    page = DOCS / "reliability.md"
    page.write_text(rewritten(page.read_text(), known()))
