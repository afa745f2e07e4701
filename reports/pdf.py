"""The report on paper: A4 pages of text, tables and figures, laid out from measured text so that nothing overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from reports import style
from reports.document import Block, Document, Heading, Listing, Paragraph, Picture, Table

WIDTH, HEIGHT = (side * 72 for side in style.PAGE_IN)
LEFT, TOP, BOTTOM = (style.PAGE_IN[0] - style.TEXT_WIDTH_IN) * 36, 54.0, 54.0
TEXT_WIDTH = style.TEXT_WIDTH_IN * 72
LEADING = 1.38
MONO = "DejaVu Sans Mono"
SIZES = {1: 16.0, 2: 11.5}
BODY, CAPTION, LISTING = 9.0, 8.0, 6.6
TABLE_SIZES = (8.0, 7.5, 7.0, 6.5, 6.0)
GAP = 10.0
"""Between the columns of a table, in points as everything here."""


def write(document: Document, path: Path) -> None:
    """Write the document as a PDF with numbered pages."""
    pages = Pages(document)
    metadata = {**style.METADATA["pdf"], "Title": document.title, "Creator": "Ballast", "Producer": None}
    with PdfPages(path, metadata=metadata) as pdf:
        for number, page in enumerate(pages.figures, start=1):
            _put(page, LEFT, HEIGHT - 30, f"{document.title}", 7.5, color=style.QUIET)
            _put(
                page,
                WIDTH - LEFT,
                HEIGHT - 30,
                f"{number} / {len(pages.figures)}",
                7.5,
                color=style.QUIET,
                align="right",
            )
            pdf.savefig(page)


class Pages:
    """Pages that fill from top to bottom; `y` is how far down the present one is filled, in points."""

    def __init__(self, document: Document) -> None:
        """Lay out a document."""
        self.figures: list[Figure] = []
        self.y = HEIGHT
        for block, following in zip_longest(document.blocks, document.blocks[1:]):
            match block:
                case Heading():
                    self._heading(block, following)
                case Paragraph():
                    self._paragraph(block)
                case Table():
                    self._table(block)
                case Picture():
                    self._picture(block)
                case Listing():
                    self._listing(block)

    @property
    def page(self) -> Figure:
        """The page that is being filled."""
        return self.figures[-1]

    def _turn(self) -> None:
        self.figures.append(Figure(figsize=style.PAGE_IN, layout="constrained"))
        self.y = TOP

    def _room(self, height: float) -> None:
        if self.y + height > HEIGHT - BOTTOM:
            self._turn()

    def _line(self, text: str, size: float, *, x: float = LEFT, color: str = style.INK, bold: bool = False) -> None:
        self._room(size * LEADING)
        _put(self.page, x, self.y, text, size, color=color, bold=bold)
        self.y += size * LEADING

    def _heading(self, block: Heading, following: Block | None) -> None:
        size = SIZES[block.level]
        if block.level == 1:
            self._turn()
        else:  # a heading alone at the foot of a page belongs to the next one
            self._room(min(3 * size + height_of(following), HEIGHT - TOP - BOTTOM))
            self.y += 10 if self.y > TOP else 0
        for line in wrapped(block.text, size, TEXT_WIDTH, bold=True):
            self._line(line, size, bold=True)
        self.y += 3

    def _paragraph(self, block: Paragraph) -> None:
        color = style.QUIET if block.quiet else style.INK
        size = CAPTION if block.quiet else BODY
        indent = width(block.lead, size, bold=True) + width("n", size) if block.lead else 0.0
        lines = wrapped(block.text, size, TEXT_WIDTH, first=indent)
        self._room(min(len(lines), 3) * size * LEADING)
        if block.lead:
            _put(self.page, LEFT, self.y, block.lead, size, bold=True)
        for place, line in enumerate(lines):
            self._line(line, size, x=LEFT + (indent if place == 0 else 0), color=color)
        self.y += 5

    def _caption(self, text: str) -> None:
        for line in wrapped(text, CAPTION, TEXT_WIDTH):
            self._line(line, CAPTION, color=style.QUIET)

    def _picture(self, block: Picture) -> None:
        whole = height_of(block)
        height = whole - _caption_height(block.caption) - 10
        self._room(whole)
        # A grid of three by three whose middle is the place of the figure.
        grid = self.page.add_gridspec(
            3, 3, width_ratios=[LEFT, TEXT_WIDTH, LEFT], height_ratios=[self.y, height, HEIGHT - self.y - height]
        )
        block.draw(self.page.add_subfigure(grid[1, 1]))
        self.y += height + 3
        self._caption(block.caption)
        self.y += 8

    def _listing(self, block: Listing) -> None:
        for line in block.lines:
            for part in wrapped(line, LISTING, TEXT_WIDTH, mono=True):
                self._room(LISTING * LEADING)
                _put(self.page, LEFT, self.y, part, LISTING, mono=True)
                self.y += LISTING * LEADING
        self.y += 5

    def _table(self, block: Table) -> None:
        size, widths, head, rows = _set(block)
        step = size * LEADING
        self._room(height_of(block))
        self._caption(block.caption)
        self.y += 2
        self._head(block, head, widths, size)
        for row in rows:
            high = max(map(len, row)) * step + 2
            if self.y + high > HEIGHT - BOTTOM:
                self._rule(sum(widths) + GAP * (len(widths) - 1), 0.8)
                self._turn()
                self._head(block, head, widths, size)
            self._cells(block, row, widths, size)
            self.y += high
        self._rule(sum(widths) + GAP * (len(widths) - 1), 0.8)
        self.y += 10

    def _head(self, block: Table, head: list[list[str]], widths: list[float], size: float) -> None:
        across = sum(widths) + GAP * (len(widths) - 1)
        tall = max(map(len, head))
        self._rule(across, 0.8)
        # Short heads stand at the foot of the line, next to what they name.
        self._cells(block, [[""] * (tall - len(lines)) + lines for lines in head], widths, size, bold=True)
        self.y += tall * size * LEADING + 2
        self._rule(across, 0.5)

    def _cells(
        self, block: Table, row: Sequence[Sequence[str]], widths: list[float], size: float, *, bold: bool = False
    ) -> None:
        x = LEFT
        for lines, room, align in zip(row, widths, block.aligns, strict=True):
            for number, line in enumerate(lines):
                right = align == "r"
                at = x + room if right else x
                y = self.y + number * size * LEADING
                _put(self.page, at, y, line, size, bold=bold, align="right" if right else "left")
            x += room + GAP

    def _rule(self, across: float, thick: float) -> None:
        y = 1 - (self.y - 0.5) / HEIGHT
        ends = [LEFT / WIDTH, (LEFT + across) / WIDTH]
        self.page.add_artist(Line2D(ends, [y, y], color=style.INK, linewidth=thick, transform=self.page.transFigure))
        self.y += 3


def height_of(block: Block | None) -> float:
    """Return the room that a block needs at once, in points: a table or figure stays whole if a page can hold it."""
    page = HEIGHT - TOP - BOTTOM
    match block:
        case Picture():
            return min(block.height_in * 72 + _caption_height(block.caption) + 10, page)
        case Table():
            size, _, head, rows = _set(block)
            start = _caption_height(block.caption) + max(map(len, head)) * size * LEADING + 20
            whole = start + sum(max(map(len, row)) * size * LEADING + 2 for row in rows)
            return whole if whole <= page else min(start + 60, page)
    return 3 * BODY * LEADING


@lru_cache(maxsize=50_000)
def width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return how wide a line of text is, in points."""
    measure: Any = text_to_path.get_text_width_height_descent  # not hinted, as in a PDF
    return float(measure(text, _font(size, bold, mono), ismath=False)[0])


def wrapped(
    text: str, size: float, room: float, *, first: float = 0.0, bold: bool = False, mono: bool = False
) -> list[str]:
    """Break text into lines that fit the room, in points; the first line begins `first` further in."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _pieces(paragraph, size, room, bold, mono):
            longer = f"{line} {word}" if line else word
            if line and width(longer, size, bold=bold, mono=mono) > room - (first if not lines else 0.0):
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def _pieces(text: str, size: float, room: float, bold: bool, mono: bool) -> list[str]:
    """Split into words, and words that are wider than a line into parts."""
    words = text.split(" ")
    indent = len(words) - len(text.lstrip(" ").split(" ")) if mono else 0
    pieces = [" " * max(0, indent - 1)] if indent else []
    for word in words[indent:]:
        rest = word
        while width(rest, size, bold=bold, mono=mono) > room and len(rest) > 1:
            fits = max(1, int(len(rest) * room / width(rest, size, bold=bold, mono=mono)) - 1)
            pieces.append(rest[:fits])
            rest = rest[fits:]
        pieces.append(rest)
    return pieces


def _caption_height(text: str) -> float:
    return len(wrapped(text, CAPTION, TEXT_WIDTH)) * CAPTION * LEADING


def _set(block: Table) -> tuple[float, list[float], list[list[str]], list[list[list[str]]]]:
    """Return size, column widths, head and rows of a table, every cell as its lines."""
    size, widths = _columns(block)
    head = [wrapped(text, size, room, bold=True) for text, room in zip(block.head, widths, strict=True)]
    rows = [[wrapped(text, size, room) for text, room in zip(row, widths, strict=True)] for row in block.rows]
    return size, widths, head, rows


def _columns(block: Table) -> tuple[float, list[float]]:
    """Choose the largest size at which a table fits, and how wide each column is.

    A head may take several lines; if it still does not fit at the smallest size, the widest text columns are wrapped.
    """
    widths: list[float] = []
    for size in TABLE_SIZES:
        widths = []
        for place, head in enumerate(block.head):
            cells = [width(line, size) for row in block.rows for line in row[place].split("\n")]
            least = max(width(word, size, bold=True) for word in [*head.split(), ""])
            # Heads of two lines are easy to read, of three are not.
            widths.append(max([*cells, least, 0.6 * width(head, size, bold=True)]) + 0.5)
        if sum(widths) + GAP * (len(widths) - 1) <= TEXT_WIDTH:
            return size, widths
    over = sum(widths) + GAP * (len(widths) - 1) - TEXT_WIDTH
    while over > 0:
        widest = max(range(len(widths)), key=lambda place: widths[place] * (2 if block.aligns[place] == "l" else 1))
        cut = min(over, widths[widest] * 0.1)
        widths[widest] -= cut
        over -= cut
    return TABLE_SIZES[-1], widths


def _put(
    page: Figure,
    x: float,
    y: float,
    text: str,
    size: float,
    *,
    color: str = style.INK,
    bold: bool = False,
    mono: bool = False,
    align: str = "left",
) -> None:
    """Put one line of text with its top at `y` points from the top of the page."""
    if text:
        page.text(
            x / WIDTH, 1 - (y + size) / HEIGHT, text, color=color, ha=align, va="baseline", parse_math=False,
            fontproperties=_font(size, bold, mono),
        )  # fmt: skip


def _font(size: float, bold: bool, mono: bool) -> FontProperties:
    return FontProperties(family=MONO if mono else "DejaVu Sans", size=size, weight="bold" if bold else "normal")
