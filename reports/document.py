"""The report as a list of blocks; the PDF and the HTML are two ways to lay out the same list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure, SubFigure

from reports import style

Container = Figure | SubFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading; level 1 begins a page."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A paragraph; `lead` words stand before it in bold."""

    text: str
    lead: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of finished text; `aligns` has l or r for every column, `name` is that of its files in tables/."""

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    aligns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure; `name` is that of its files in figures/."""

    name: str
    caption: str
    draw: Callable[[Container], None]
    height_in: float
    chart: Callable[[], object] | None = None
    """Traces, layout and settings of the same as a chart to hover over, for a browser; None where there is none."""

    def figure(self) -> Figure:
        """Return the figure on its own, laid out."""
        figure = Figure(figsize=(style.TEXT_WIDTH_IN, self.height_in), layout="constrained")
        self.draw(figure)
        return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Lines in a fixed pitch."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Where what stands: headings down to a level, with links."""

    title: str
    depth: int = 1


Block = Heading | Paragraph | Table | Picture | Listing | Contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report."""

    title: str
    subtitle: str
    blocks: Sequence[Block]
    language: str = "en"
    started_utc: str = ""
    """When the last of its runs was begun, which is what the document is dated by: ISO 8601."""


def write_figures(document: Document, folder: Path) -> dict[str, str]:
    """Write every figure as a vector PDF and as a PNG; returns name → the same as SVG. Each is drawn once."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for block in document.blocks:
        if isinstance(block, Picture):
            figure = block.figure()
            for kind in ("pdf", "png"):
                style.save(figure, folder / block.name, kind)
                figure.set_layout_engine("none")  # it is laid out now
            drawn[block.name] = style.svg(figure)
    return drawn
