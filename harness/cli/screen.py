"""What a person sees of a playbook that runs."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

from harness.progress.playbook import Kind, Line

STYLES = {Kind.PLAY: "bold", Kind.PROGRESS: "cyan", Kind.WARNING: "yellow", Kind.FAILED: "red"}


class Screen:
    """Shows the lines of a playbook: with colours and the present task on a terminal, plain elsewhere."""

    place = ""
    """Stands before the present task: of several experiments, which one it is."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._status:
            self._status.stop()

    def show(self, line: Line) -> None:
        """Print a line now."""
        text = line.text
        match line.kind:
            case Kind.PLAY:
                text = f"\n{text}"
            case Kind.TASK | Kind.SAID | Kind.FAILED:
                mark = "FAILED " if line.kind is Kind.FAILED else ""
                indent = "    " if line.kind is Kind.SAID else "  "
                text = "\n".join(indent + mark + part for part in text.splitlines() or [""])
        if self._status and line.kind is Kind.TASK:
            self._status.update(Text(f"{self.place}{line.text}"))
        if self._console.is_terminal:
            self._console.print(Text(text, style=STYLES.get(line.kind, "")))
        else:
            print(text, flush=True)
