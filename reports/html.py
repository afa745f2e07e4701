"""The report for a browser: one file that needs nothing else, figures as vectors inside it."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from harness.records import write_whole
from reports import style
from reports.document import Block, Document, Heading, Listing, Paragraph, Picture, Table

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 2.5rem 0 .5rem; border-top: 1px solid #c8ccd0; padding-top: 1.5rem; }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .4rem; }
header h1 { border: 0; padding: 0; margin: 0; }
header p, figcaption, caption, .quiet { color: #5f6368; font-size: .87rem; }
nav a { margin-right: 1rem; } a { color: #0072b2; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; border-bottom: 1.5px solid; font-size: .87rem; }
td { font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th { border-top: 1.5px solid; border-bottom: 1px solid; vertical-align: bottom; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; white-space: pre-line; } .r { text-align: right; }
figure { margin: 1rem 0; } figure img { max-width: 100%; } pre { font-size: .75rem; overflow-x: auto; }
"""


def write(document: Document, path: Path) -> None:
    """Write the document as one self-contained HTML file."""
    sections = [block.text for block in document.blocks if isinstance(block, Heading) and block.level == 1]
    links = "".join(f'<a href="#s{place}">{escape(text)}</a>' for place, text in enumerate(sections))
    body, place = [], 0
    for block in document.blocks:
        if isinstance(block, Heading) and block.level == 1:
            body.append(f'<h1 id="s{place}">{escape(block.text)}</h1>')
            place += 1
        else:
            body.append(_block(block))
    write_whole(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(document.title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p></header>\n<nav>{links}</nav>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n",
    )


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Paragraph():
            quiet = ' class="quiet"' if block.quiet else ""
            lead = f"<strong>{escape(block.lead)}</strong> " if block.lead else ""
            return f"<p{quiet}>{lead}{escape(block.text)}</p>"
        case Table():
            return _table(block)
        case Picture():
            alt = escape(block.caption, quote=True)
            return (
                f'<figure><img alt="{alt}" src="data:image/svg+xml;base64,{_svg(block)}">'
                f"<figcaption>{escape(block.caption)}</figcaption></figure>"
            )
        case Listing():
            return f"<pre>{escape(chr(10).join(block.lines))}</pre>"


def _table(block: Table) -> str:
    def cells(tag: str, row: list[str]) -> str:
        kinds = [' class="r"' if align == "r" else "" for align in block.aligns]
        return "".join(f"<{tag}{kind}>{escape(text)}</{tag}>" for kind, text in zip(kinds, row, strict=True))

    rows = "\n".join(f"<tr>{cells('td', list(row))}</tr>" for row in block.rows)
    return (
        f'<div class="wide"><table><caption>{escape(block.caption)}</caption>\n'
        f"<thead><tr>{cells('th', list(block.head))}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _svg(block: Picture) -> str:
    image = io.BytesIO()
    block.figure().savefig(image, format="svg", metadata=dict(style.METADATA["svg"]))
    return base64.b64encode(image.getvalue()).decode()
