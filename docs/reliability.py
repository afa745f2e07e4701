"""The measured table of docs/reliability.md, from docs/measured/reliability.csv, which the end-to-end tests write.

.venv/bin/python docs/reliability.py
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

DOCS = Path(__file__).parent
TABLE = re.compile(r"(?<=<!-- reliability -->\n).*?(?=<!-- /reliability -->)", re.DOTALL)


def rewritten(page: str, measured: str) -> str:
    """Return the page with the table that the CSV text gives."""
    rows = [f"| {row['fault']} | {row['whole_again_s']} |" for row in csv.DictReader(measured.splitlines())]
    table = "\n".join(["| fault | all as before after (s) |", "|---|---|", *rows]) + "\n"
    return TABLE.sub(lambda _: table, page)


if __name__ == "__main__":
    page = DOCS / "reliability.md"
    page.write_text(rewritten(page.read_text(), (DOCS / "measured" / "reliability.csv").read_text()))
