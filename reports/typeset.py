"""The report on paper, set by Typst: `report.typ` says how it looks, this module what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typst

from harness.records import write_whole
from reports import fonts, style
from reports.document import Block, Contents, Document, Heading, Listing, Paragraph, Picture, Table

TEMPLATE = Path(__file__).with_name("report.typ")


def write(document: Document, path: Path) -> None:
    """Write the document as a PDF; its figures must be in figures/ beside it.

    The same document gives the same bytes wherever the same fonts are.
    """
    # Its stubs want the main file and its root to be of one type; a template in memory has a path for a root.
    compiled: Any = typst.compile(  # type: ignore[call-overload]
        TEMPLATE.read_bytes(), root=str(path.parent.resolve()), font_paths=fonts.folders(), ignore_system_fonts=True,
        sys_inputs={"data": json.dumps(data(document), ensure_ascii=False)}, format="pdf",
    )  # fmt: skip
    write_whole(path, compiled)


def data(document: Document) -> dict[str, Any]:
    """Return everything that the template reads."""
    return {
        "title": document.title,
        "date": _date(document.started_utc),
        "language": document.language,
        "fonts": fonts.families(),
        "mono": [fonts.MONO, *fonts.families()],
        "ink": style.INK,
        "quiet": style.QUIET,
        "blocks": [_block(block) for block in document.blocks],
    }


def texts(document: Document) -> Iterator[str]:
    """Yield every text of a document that a font must have the characters of."""
    for block in document.blocks:
        yield from texts_of(block)


def texts_of(block: Block) -> Iterator[str]:
    """Yield every text of a block."""
    match block:
        case Heading():
            yield block.text
        case Paragraph():
            yield from (block.lead, block.text)
        case Table():
            yield from (block.caption, *block.head)
            for row in block.rows:
                yield from row
        case Picture():
            yield block.caption
        case Listing():
            yield from block.lines
        case Contents():
            yield block.title


def _block(block: Block) -> Mapping[str, Any]:
    match block:
        case Heading():
            return {"kind": "heading", "level": block.level, "text": block.text}
        case Paragraph():
            return {"kind": "paragraph", "text": block.text, "lead": block.lead, "quiet": block.quiet}
        case Table():
            rows = [list(row) for row in block.rows]
            return {
                "kind": "table", "caption": block.caption, "head": list(block.head), "rows": rows,
                "aligns": block.aligns,
            }  # fmt: skip
        case Picture():
            return {"kind": "picture", "caption": block.caption, "file": f"/figures/{block.name}.pdf"}
        case Listing():
            return {"kind": "listing", "lines": list(block.lines)}
        case Contents():
            return {"kind": "contents", "title": block.title, "depth": block.depth}


def _date(started_utc: str) -> dict[str, int]:
    """The parts of a time for Typst; a day long ago where it is not known."""
    parts = re.match(r"(\d{4})-(\d\d)-(\d\d)", started_utc)
    numbers = map(int, parts.groups()) if parts else (2000, 1, 1)
    return dict(zip(("year", "month", "day"), numbers, strict=True))
