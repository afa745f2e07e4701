"""`ballast room` and `ballast top`: what the running service is asked at its door."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli.show import console
from harness.policies.base import mib
from harness.progress.plain import one_line
from harness.service import door
from harness.service.room import State

REFUSED, STOPPED = 1, 130
LOOK_S = 0.5
"""Between two looks whether room has come."""
REFRESH_S = 1.0
UNITS_KIB = {"KiB": 1, "MiB": 1024, "GiB": 1024**2, "TiB": 1024**3}
UNITS_S = {"s": 1, "min": 60, "h": 3600}

app = typer.Typer()

SocketOption = Annotated[
    Path | None, typer.Option(help="where the service runs; default: where it is unless told otherwise")
]


def _size(text: str) -> float:
    return _measured(text, UNITS_KIB, "2GiB")


def _time(text: str) -> float:
    return _measured(text, UNITS_S, "60s")


def _measured(text: str, units: Mapping[str, int], example: str) -> float:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)", text.strip())
    if found is None or found[2] not in units or not float(found[1]):
        raise typer.BadParameter(f"{text} is no number with a unit; give it as {example} ({', '.join(units)})")
    return float(found[1]) * units[found[2]]


@app.command()
def room(
    size: Annotated[str, typer.Argument(metavar="SIZE", help="how much, such as 2GiB")],
    for_time: Annotated[
        str, typer.Option("--for", metavar="TIME", help="how long it is kept once it is there")
    ] = "60s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say whether it could be had, and who would pay")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Have the running service make room for a guest that is about to start, and keep it until that has it.

    Ends when the room is there. Exit 1: it cannot be had; how much could is said. Ctrl-C gives it back.
    """
    where, size_kib, for_s = socket or door.default_path(), _size(size), _time(for_time)
    answer = door.ask(where, {"op": "room", "size_kib": size_kib, "for_s": for_s, "dry_run": dry_run})
    if not answer["granted"]:
        print(f"ballast: {mib(size_kib)} cannot be had now; {mib(answer['could_kib'])} could", file=sys.stderr)
        raise typer.Exit(REFUSED)
    payers, takes_s = answer["payers_kib"], answer["takes_s"]
    pay = "whoever the policy chooses"
    if payers is not None:
        pay = ", ".join(f"{name} {mib(kib)}" for name, kib in payers.items()) or "nobody"
    print(f"to pay: {pay}; it takes {'a time not known yet' if takes_s is None else f'about {takes_s:.0f} s'}")
    if dry_run:
        return
    end = _wait(where, answer["room"])
    if end["state"] != State.READY:
        print(f"ballast: the room did not come ({end['state']}); ask again, or ask for less", file=sys.stderr)
        raise typer.Exit(REFUSED)
    paid = ", ".join(f"{name} {mib(kib)}" for name, kib in end["paid_kib"].items()) or "nobody"
    print(f"{mib(size_kib)} are free for {for_s:.0f} s; paid: {paid}")


def _wait(where: Path, number: int) -> dict[str, Any]:
    """Wait until room has come, or will not come any more."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while (look := door.ask(where, {"op": "look", "room": number}))["state"] == State.COMING:
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        door.ask(where, {"op": "give-back", "room": number})
        print("ballast: stopped; the room is given back", file=sys.stderr)
        raise typer.Exit(STOPPED) from None
    return look


@app.command()
def top(
    once: Annotated[
        bool, typer.Option("--once", help="one table, and the end; what happens without a terminal")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Show live who has what, who pays, who waits, and why, as the running service sees it. Ctrl-C ends it."""
    where = socket or door.default_path()
    screen = console()
    if once or not screen.is_terminal:
        screen.print(table(door.ask(where, {"op": "show"})))
        return
    try:
        with Live(table(door.ask(where, {"op": "show"})), console=screen, screen=True) as live:
            while True:
                time.sleep(REFRESH_S)
                live.update(table(door.ask(where, {"op": "show"})))
    except KeyboardInterrupt:
        return


def table(shown: Mapping[str, Any]) -> Table:
    """What the service shows; sizes in MiB."""
    host = shown["host"]
    parts = [f"{what} {_mib(host[f'{what}_kib'])} MiB" for what in ("pool", "free", "reserve")]
    parts += [f"{_mib(host['kept_kib'])} MiB kept for newcomers"] * bool(host["kept_kib"])
    title = "; ".join(filter(None, (", ".join(parts), shown["state"])))
    made = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("guest", "MiB", "to", "least", "most", "available", "committed", "swap", "stall"):
        made.add_column(name, justify="left" if name == "guest" else "right")
    made.add_column("why", overflow="fold")
    for guest in shown["guests"]:
        sizes = [
            guest[key]
            for key in ("current_kib", "target_kib", "min_kib", "max_kib", "mem_available_kib", "committed_kib")
        ]
        stall = "" if guest["stall_some"] is None else f"{guest['stall_some']:.0%}"
        why = guest["failed"] or guest["reason"]
        cells = [guest["name"], *map(_mib, sizes), _mib(guest["swap_used_kib"]), stall, why]
        made.add_row(*(Text(one_line(cell)) for cell in cells), style="" if guest["balanced"] else "dim")
    return made


def _mib(kib: float | None) -> str:
    return "" if kib is None else f"{kib / 1024:,.0f}"
