"""`ballast balance`, `restore`: the commands that work on machines."""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from harness import policies
from harness.balancer import Tick
from harness.cli import serve
from harness.cli.serve import keep_nothing, remembered, say, tell
from harness.cli.show import AllowSwapOption, SetOption, parameters
from harness.cli.trials import MachinesOption, located
from harness.experiment import site
from harness.experiment.config import Experiment
from harness.experiment.connection import KIB_PER_MIB, initial_kib
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from harness.governor import Limits
from harness.lab.lab import Lab
from harness.service import arbiter
from harness.service.fallback import Hold
from harness.xen.events import Reporter
from harness.xen.host import HostError
from harness.xen.ssh import ConnectionFailed

app = typer.Typer()

ExperimentArgument = Annotated[str, typer.Argument(help="name or path of the experiment")]
InventoryOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--inventory",
        "-i",
        help="Ansible inventory of the Xen host and its guests; default: the lab that is up; repeatable",
    ),
]


@app.command()
def balance(
    experiment: Annotated[str | None, typer.Argument(help="name or path of the experiment; or give --config")] = None,
    policy: Annotated[str | None, typer.Option(help="who decides; `ballast policies` lists them")] = None,
    config: Annotated[
        Path | None, typer.Option(help="the service's own file (docs/service.md), in which all else stands")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="only say whether --config can be used")] = False,
    inventory: InventoryOption = None,
    on: Annotated[
        str | None, typer.Option("--host", help="of an experiment on several hosts, the one whose guests are balanced")
    ] = None,
    settings: SetOption = None,
    shadow: Annotated[
        list[str] | None, typer.Option(help="a policy that decides beside it without acting; repeatable")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="decide, but send nothing to any guest")] = False,
    allow_swap: AllowSwapOption = False,
    fallback: Annotated[
        str, typer.Option(help="the policy that decides while the other one fails; hold: everybody keeps what he has")
    ] = Hold.name,
    take_mib_s: Annotated[
        float, typer.Option(min=0.1, help="the most that is taken from a guest, in MiB a second; inf: no limit")
    ] = arbiter.TAKE_MIB_S,
    margin_percent: Annotated[
        float, typer.Option(min=0, max=90, help="of a guest: stays available in it")
    ] = arbiter.MARGIN_PERCENT,
    margin_mib: Annotated[
        float, typer.Option(min=0, help="what stays available in a guest, where that is more")
    ] = arbiter.MARGIN_MIB,
    out: Annotated[
        Path | None, typer.Option(help="append a JSON line a tick; default: stdout, unless that is a terminal")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="file that keeps, for the next start, which guests did not follow their targets")
    ] = None,
) -> None:
    """Balance the guests of a live host until Ctrl-C or SIGTERM; then they keep what they have.

    Whoever starts next takes over from there. If the arbiter dies instead, dom0 leaves them with what they have too,
    and gives none less than it used when it was last seen. `ballast restore` gives them the initial split.
    With --config all of it is the service's: guests that come and go, metrics, `ballast room` and `ballast top`.
    Else guests, bounds, pool and period are the experiment's; its workloads and policies are not used. A line is what
    decisions.jsonl has, with what the shadows want under "shadow".
    """
    if config is not None:
        serve.stand(config, check=check, dry_run=dry_run)
        return
    if experiment is None or policy is None:
        raise typer.BadParameter("give EXPERIMENT and --policy, or the service's own file with --config")
    wanted = _part(load_experiment(experiment).at(), on)
    chosen = policies.make(policy, parameters(settings))
    shadows = {name: policies.make(name) for name in shadow or ()}
    instead = None if fallback == Hold.name else policies.make(fallback)
    limits = Limits(
        period_s=wanted.period_s, allow_swap=allow_swap, take_kib_s=take_mib_s * KIB_PER_MIB,
        margin_share=margin_percent / 100, margin_kib=margin_mib * KIB_PER_MIB,
    )  # fmt: skip
    where = _site(wanted, inventory)
    given = f"{', '.join(settings)}, else " if settings else ""
    say(f"{policy} with {given}its defaults; --set KEY=VALUE changes them")
    clock = where.clock()
    known, keep = ({}, keep_nothing) if trust is None or dry_run else remembered(trust)
    stop: list[bool] = []
    report, watched = Reporter(tell), sys.stderr is not None and sys.stderr.isatty()
    with ExitStack() as stack:
        journal = _journal(stack, out)

        def record(line: Mapping[str, Any], tick: Tick) -> None:
            journal(json.dumps(line, ensure_ascii=False, allow_nan=False))
            if watched:
                say(status(line, tick, dry_run=dry_run))

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            host, source = stack.enter_context(arbiter.connected(wanted, where, report, clock))
            # From here on whatever comes first ends the tick, and nothing disturbs the setting of the safe targets.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.append(True))
            acting = arbiter.DryHost() if dry_run else host
            arbiter.serve(
                source, acting, chosen, shadows=shadows, limits=limits, clock=clock, record=record,
                stopped=lambda: bool(stop), events=report, trust=known, keep=keep,
                fallback=instead, initial_kib=initial_kib(wanted),
            )  # fmt: skip
        except KeyboardInterrupt:
            return  # while it connected: nothing was set
    say("stopped" if dry_run else "stopped; the guests keep what they have (ballast restore: the initial split)")


@app.command()
def restore(experiment: ExperimentArgument, inventory: InventoryOption = None, machines: MachinesOption = None) -> None:
    """Give every guest the memory that it has at first in the experiment.

    Exit 1: one did not follow in a minute, or a host could not be told; the others have been told nevertheless.
    """
    wanted = load_experiment(experiment).at()
    where = located(wanted, inventory, machines) or site.all_from_inventory(_lab_inventories(), wanted)
    parts, failed = wanted.parts(), False
    for host, part in parts.items():
        try:
            far = arbiter.restore(part, where[host], Reporter(tell))
        except (ConnectionFailed, HostError) as error:
            if len(parts) == 1:
                raise
            say(f"{host}: {error}")
            failed = True
            continue
        for guest in part.guests:
            if guest.name in far:
                say(f"{guest.name} has {far[guest.name]:.0f} MiB, and was told {guest.initial_mib}")
            else:
                print(f"{guest.name} {guest.initial_mib} MiB")
        failed = failed or bool(far)
    if failed:
        raise typer.Exit(1)


def status(line: Mapping[str, Any], tick: Tick, *, dry_run: bool) -> str:
    """One tick in a line: what every guest has and, with an arrow, where it is sent; sizes in MiB."""
    sent = {step.guest: f"→{step.target_kib / 1024:.0f}" for step in tick.plan.steps}
    guests = ", ".join(
        f"{name} {kib / 1024:.0f}{sent.get(name, '')}{'!' if name in tick.outcome.failed and not dry_run else ''}"
        for name, kib in zip(tick.view.names, tick.view.current_kib, strict=True)
    )
    state = f" {tick.allocation.state}" if tick.allocation.state else ""
    took_ms = 1000 * sum(tick.timing.values())
    dry = " (dry run)" if dry_run else ""
    return f"{line['tick']:6} {line['policy']}{state}{dry}: {guests} MiB, {took_ms:.0f} ms"


def _site(experiment: Experiment, inventories: Sequence[Path] | None) -> site.Site:
    return site.from_inventory(inventories or _lab_inventories(), experiment)


def _lab_inventories() -> list[Path]:
    labs = Lab.running()
    if not labs:
        raise ConfigError("no lab is up; give the hosts with --inventory, or start the lab: ballast lab up EXPERIMENT")
    return [lab.inventory for lab in labs]


def _part(experiment: Experiment, host: str | None) -> Experiment:
    """What of an experiment is on this host; all of it where it names none."""
    parts = experiment.parts()
    if host is None and len(parts) == 1:
        return next(iter(parts.values()))
    if host not in parts:
        has = f"{experiment.name} is on {', '.join(parts)}" if any(parts) else f"{experiment.name} names no host"
        raise ConfigError(f"--host {host or 'is missing'}: {has}; each host has an arbiter of its own")
    return parts[host]


def _journal(stack: ExitStack, out: Path | None) -> Callable[[str], None]:
    """Where the lines go; unbuffered, so that a full disk is noticed by the line that finds it full."""
    if out is None:
        return (lambda _: None) if sys.stdout.isatty() else functools.partial(print, flush=True)
    try:
        file = stack.enter_context(out.open("ab", buffering=0))
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; name a file that can be written") from None

    def append(line: str) -> None:
        try:
            file.write(f"{line}\n".encode())
        except OSError as error:
            raise ConfigError(f"--out {out}: {error.strerror}; make room or name another file") from error

    return append
