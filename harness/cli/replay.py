"""`ballast replay`: what another policy would have decided in the situations of a recorded run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness import policies
from harness.cli.show import Format, FormatOption, SetOption, console, parameters, say
from harness.records import REPLAY, RunFolder, doubts
from harness.replay import OPEN_LOOP, Difference, replay_run

DASH = "\N{EN DASH}"

app = typer.Typer()


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, measured or simulated")],
    policy: Annotated[str, typer.Option(help="who decides anew; `ballast policies` lists them")],
    settings: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the rows and the figure; default: RUN/replay/POLICY")
    ] = None,
    written: FormatOption = Format.TABLE,
) -> None:
    """Let a policy decide on the recorded views of a run, beside what was decided then; each trial from its beginning.

    Writes replay.csv, a row a tick and guest, and a figure of its first block. The views stay what the recorded policy
    led to: how the guests would have fared under another one, no replay can tell.
    """
    chosen = policies.make(policy, parameters(settings))
    label = " ".join([policy, *(settings or ())])
    folder = out or run / "replay" / re.sub(r"[^\w.=-]+", "-", label)
    recorded = RunFolder.open(run)
    for doubt in doubts(run, recorded.changed_files(), recorded.damage):
        say(doubt)
    found = replay_run(run, chosen, label, folder)
    from reports import replayed  # takes a second, which no other command is to wait for

    figures = replayed.draw(folder)
    if written is Format.JSON:
        answer = {
            "run": str(run), "policy": chosen.name, "params": chosen.params.model_dump(mode="json"), "label": label,
            "note": OPEN_LOOP, "rows": str(folder / REPLAY), "figures": [str(path) for path in figures],
            "differences": [asdict(difference) for difference in found],
        }  # fmt: skip
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    else:
        _show(f"{label} on the views of {run.name or run}", found, {folder / REPLAY: "", **figures})


def _show(title: str, found: Iterable[Difference], files: Mapping[Path, str]) -> None:
    table = Table("block", "order", "recorded", "guest", title=title, title_justify="left", caption_justify="left")
    table.caption = "Differences: replayed target less recorded one, before the governor. " + OPEN_LOOP
    for head in ("ticks", "median, MiB", "largest, MiB", "opposite"):
        table.add_column(head, justify="right")
    for one in found:
        sizes = (DASH if kib is None else f"{kib / 1024:+.1f}" for kib in (one.median_kib, one.largest_kib))
        names = (Text(one.label), Text(one.guest))
        table.add_row(str(one.block), str(one.order), *names, str(one.ticks), *sizes, str(one.opposite))
    out = console()
    out.print(table)
    for path in files:
        out.print(Text(str(path)))
    for caption in dict.fromkeys(filter(None, files.values())):  # the pages of a figure share theirs
        out.print(Text(caption, style="dim"))
