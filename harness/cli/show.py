"""`ballast decide`, `policies`, `workloads`, `experiments`: what there is and what would be decided; no host needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness import policies
from harness.cli import catalog
from harness.cli.decide import decide, read_views
from harness.cli.effort import length
from harness.experiment.document import ConfigError
from harness.governor import Limits
from harness.policies.base import mib
from harness.view import HostView, ViewError

LARGEST_VIEW_BYTES = 256 * 2**20
"""More than a day of ticks of a host with many guests; a larger file is no view."""

app = typer.Typer()


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="for people, or for programs")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a parameter of the policy; repeatable")
]
AllowSwapOption = Annotated[
    bool, typer.Option("--allow-swap", help="let guests be squeezed into swap, as experiments do")
]
RepetitionsOption = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="how often, in place of what the experiment says")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="in place of the experiment's: other blocks, to be reported with its own")
]


@app.command("decide")
def decide_once(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="file with a view as JSON, or one a line; -: stdin")],
    policy: Annotated[str, typer.Option(help="who decides; `ballast policies` lists them")],
    settings: SetOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="what the policy wants, before the governor")] = False,
    allow_swap: AllowSwapOption = False,
    written: FormatOption = Format.TABLE,
) -> None:
    """Decide once from a view written down, with reasons. JSON Lines: one decision a line, each as if the first."""
    chosen = policies.make(policy, parameters(settings))
    text = _read(view)
    try:
        views = list(read_views(text))
    except ViewError as error:
        raise ViewError(f"{view}: {error}") from error
    limits = Limits(allow_swap=allow_swap)
    for number, seen in enumerate(views, start=1):
        decision = decide(chosen, seen, raw=raw, limits=limits)
        if written is Format.JSON:
            print(json.dumps(decision, ensure_ascii=False, allow_nan=False))
        else:
            _show_decision(decision, seen, f"view {number} of {len(views)}: " if len(views) > 1 else "")


@app.command("policies")
def list_policies(
    name: Annotated[str | None, typer.Argument(help="only this one")] = None, written: FormatOption = Format.TABLE
) -> None:
    """Show every policy: what it does, by whose idea, and its parameters."""
    _list(catalog.all_policies(), name, "policy", written)


@app.command("workloads")
def list_workloads(
    name: Annotated[str | None, typer.Argument(help="only this one")] = None, written: FormatOption = Format.TABLE
) -> None:
    """Show every workload: what it does, what it measures, and its parameters."""
    _list(catalog.all_workloads(), name, "workload", written)


@app.command("experiments")
def list_experiments(written: FormatOption = Format.TABLE) -> None:
    """Show every experiment: what it is to show, who takes part, what it takes in the lab and in the simulator."""
    wrong: list[str] = []
    entries = list(catalog.all_experiments(say=wrong.append))
    if written is Format.JSON:
        print(json.dumps(entries, ensure_ascii=False, indent=2))
    else:
        _show_experiments(entries)
    if wrong:
        raise ConfigError("\n".join(wrong))


def _show_experiments(entries: Iterable[Mapping[str, Any]]) -> None:
    heads = ("trials", "in the lab", "of its time", "at most", "simulated, about")
    table = Table("experiment", "claim", "guests", "policies", *heads)
    for entry in entries:
        guests = ", ".join(f"{guest}: {work}" for guest, work in entry["guests"].items())
        cells = [entry["name"], entry["claim"], guests, ", ".join(entry["policies"]), str(entry["trials"])]
        if entry["only_simulated"]:
            cells += ["none", "", entry["only_simulated"]]
        else:
            cells += [str(entry["trials_in_lab"]), f"{entry['longest_min']:g} min", _length(entry["lab_most_min"])]
        cells.append(_length(entry["simulator_min"]))
        table.add_row(*map(Text, cells))
    console().print(table)


def _length(minutes: float | None) -> str:
    return "cannot be" if minutes is None else length(60 * minutes)


def say(said: str) -> None:
    """Tell a person how far the work is and what is doubtful; what programs read is on stdout."""
    print(f"ballast: {said}", file=sys.stderr)


def console() -> Console:
    """Where tables go: as wide as the terminal, and off a terminal as wide as it takes to be read by other programs."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=160)


def parameters(settings: Iterable[str] | None) -> dict[str, Any]:
    """What `--set key=value …` says; values are YAML scalars: `0.5`, `true`, `kernel`.

    Raises:
        ConfigError: one is not of that form.

    """
    found: dict[str, Any] = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {setting}: give it as KEY=VALUE, such as tax=0.5")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"--set {setting}: the value is no number, word, true or false; correct it") from None
        if value is None or isinstance(value, dict | list):
            raise ConfigError(f"--set {setting}: the value must be one number, word, true or false")
        if key.strip() in found:
            raise ConfigError(f"--set {setting}: {key.strip()} is set twice; remove one")
        found[key.strip()] = value
    return found


def _read(view: str) -> str:
    try:
        if view == "-":
            return sys.stdin.read()
        if Path(view).stat().st_size > LARGEST_VIEW_BYTES:
            raise ViewError(f"{view}: larger than {LARGEST_VIEW_BYTES >> 20} MiB; split it, it is one view a line")
        return Path(view).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ViewError(f"{view}: not UTF-8 at byte {error.start}; a view is JSON in UTF-8") from None
    except OSError as error:
        raise ViewError(f"{view}: {error.strerror}; give a file with a view as JSON, or - for standard input") from None


def _show_decision(decision: Mapping[str, Any], view: HostView, which: str) -> None:
    state = f", {decision['state']}" if decision["state"] else ""
    given = ", ".join(f"{key}={value}" for key, value in decision["params"].items())
    table = Table(
        "guest",
        title=f"{which}{decision['policy']}{state}",
        caption=given or None,
        title_justify="left",
        caption_justify="left",
    )
    for head in ("has", "target", "change"):
        table.add_column(head + " MiB", justify="right")
    table.add_column("reason")
    for name, current_kib in zip(view.names, view.current_kib, strict=True):
        target_kib = decision["targets_kib"][name]
        cells = ["?", "?", "?"]
        if target_kib is not None:
            cells = [
                f"{current_kib / 1024:.1f}",
                f"{target_kib / 1024:.1f}",
                f"{(target_kib - current_kib) / 1024:+.1f}",
            ]
        table.add_row(Text(name), *cells, Text(decision["reasons"][name]))
    out = console()
    out.print(table)
    out.print(f"pool {mib(view.pool_kib)}, of which free {mib(view.free_kib - view.reserve_kib)}", style="dim")


def _list(entries: Iterable[Mapping[str, Any]], name: str | None, kind: str, written: Format) -> None:
    """Print entries with their parameters, or the one that is asked for."""
    found = list(entries)
    if name is not None:
        known = [entry["name"] for entry in found]
        if name not in known:
            raise ConfigError(f"there is no {kind} {name}; there are: {', '.join(known)}")
        found = [entry for entry in found if entry["name"] == name]
    if written is Format.JSON:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    out = console()
    for entry in found:
        out.print(Text.assemble((entry["name"], "bold"), ": ", entry["what"]))
        for line in _details(entry):
            out.print(Padding(Text(line, style="dim"), (0, 0, 0, 4), expand=False))
        if entry["parameters"]:
            out.print(Padding(_parameter_table(entry["parameters"]), (0, 0, 0, 4), expand=False))
        out.print()


def _details(entry: Mapping[str, Any]) -> list[str]:
    lines = entry.get("about", "").splitlines()
    if metrics := entry.get("metrics"):
        said = ", ".join(f"{m['name']} ({m['unit']}, {m['better']} is better)" for m in metrics)
        lines.append(f"measures {said}")
    if "likes_mib" in entry:
        lines.append(f"is unhindered with {entry['likes_mib']} MiB")
    return [line for line in lines if line]


def _parameter_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("parameter", "unit", "default", "range", "description", show_edge=False)
    for row in rows:
        default = str(row["default"]).lower() if isinstance(row["default"], bool) else row["default"]
        cells = (row["name"], row["unit"], default, row["range"], row["description"])
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table
