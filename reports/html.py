"""The report for a browser: `report.html.j2` laid out by Jinja, timelines to hover over by Plotly, all in one file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from harness.records import write_whole
from reports import style
from reports.document import Document, Heading, Listing, Paragraph, Picture, Table

KINDS = {"heading": Heading, "paragraph": Paragraph, "table": Table, "picture": Picture, "listing": Listing}


def write(document: Document, figures: Mapping[str, str], path: Path) -> None:
    """Write the document as one self-contained HTML file; `figures` has the SVG of each picture by its name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in KINDS.items()}
    sections = [place for place, block in enumerate(document.blocks) if isinstance(block, Heading) and block.level == 1]
    charts = {
        block.name: inline(block.chart())
        for block in document.blocks
        if isinstance(block, Picture) and block.chart is not None
    }
    page = environment.get_template("report.html.j2").render(
        document=document, ids={place: f"s{number}" for number, place in enumerate(sections)}, charts=charts,
        figures={name: base64.b64encode(svg.encode()).decode() for name, svg in figures.items()},
        plotly=Markup(get_plotlyjs()) if charts else "", ink=style.INK, quiet=style.QUIET, rule=style.RULE,
    )  # fmt: skip
    write_whole(path, page)


def inline(data: object) -> Markup:
    """Return data as JSON within a script: no text in it can end that."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
