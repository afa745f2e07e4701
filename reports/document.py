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
    """A figure, drawn anew wherever it is shown; `name` is that of its files in figures/."""

    name: str
    caption: str
    draw: Callable[[Container], None]
    height_in: float

    def figure(self) -> Figure:
        """Return the figure on its own."""
        figure = Figure(figsize=(style.TEXT_WIDTH_IN, self.height_in), layout="constrained")
        self.draw(figure)
        return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Lines in a fixed pitch."""

    lines: Sequence[str]


Block = Heading | Paragraph | Table | Picture | Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report."""

    title: str
    subtitle: str
    blocks: Sequence[Block]


def write_figures(document: Document, folder: Path) -> None:
    """Write every figure as a vector PDF and as a PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in document.blocks:
        if isinstance(block, Picture):
            for kind in ("pdf", "png"):
                style.save(block.figure(), folder / block.name, kind)
