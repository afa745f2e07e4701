"""Reads what a machine costs from a run of experiments/calibration.yml: each cost from the guest in which it shows.

The run may be a real one or a simulated one; of a simulated one it must find what that was simulated with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.records import RecordsError, Run
from harness.simulator.curves import PAGE_KIB, Law
from harness.simulator.loads import PASS_TOUCH_S
from harness.simulator.machine import Machine
from harness.simulator.memory import MIB
from harness.view import FloatArray

SETTLED_S = 15.0
"""By then footprints are filled, and what goes on goes on evenly."""
SWAPPING_KIB_S = 64.0
WAITING = 0.95
"""Share of time in which a guest's work waits for memory, from which on it does nothing else."""
ENOUGH = 5
"""Samples of a trial in which a guest swaps evenly; with fewer it says nothing."""
WORKING = ("scan", "zipf")
"""Guests that work, one at a level; the other then rests."""
LOW, HIGH = 0.1, 0.98
"""Quantiles that stand for the least and the most that was seen, without the odd sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cost, in the words of `Machine`."""

    name: str
    value: float
    samples: int
    how: str


def calibrate(run: Run, machine: Machine) -> tuple[Finding, ...]:
    """Read every cost that the run shows; of `machine` only what is not shown is used.

    Raises:
        RecordsError: a guest that was to swap evenly did not, or its work got nowhere.

    """
    shown = Shown(run)
    done = shown.trials[(shown.trials["status"] == "ok") & (shown.trials["value"] > 0)]
    for guest in WORKING:
        if len(shown.pressed(guest)) < ENOUGH or guest not in set(done["guest"]):
            said = f"guest {guest} shows no costs: its work got nowhere, or it hardly swapped"
            raise RecordsError(f"{run.path}: {said}; run the calibration again on a machine that does nothing else")
    costs = tuple(_costs(shown, machine))
    return (*costs, *_curves(shown, calibrated(machine, costs)))


def calibrated(machine: Machine, found: Sequence[Finding]) -> Machine:
    """The machine with what was found."""
    return Machine.model_validate(machine.model_dump() | {one.name: float(f"{one.value:.3g}") for one in found})


class Shown:
    """The rows of a calibration run, by what can be read from them."""

    def __init__(self, run: Run) -> None:
        self.experiment: Mapping[str, Any] = run.manifest["experiment"]
        self.most_mib = {guest["name"]: float(guest["max_mib"]) for guest in self.experiment["guests"]}
        self.trials = run.trials
        samples = run.samples
        used = samples["mem_total_kib"] - samples["mem_free_kib"] - samples["buffers_kib"] - samples["cached_kib"]
        self.samples = samples.assign(used_kib=used, swapped_kib=samples["swap_total_kib"] - samples["swap_free_kib"])

    def of(self, guest: str, label: str = "static") -> pd.DataFrame:
        """All samples of a guest under a policy."""
        return self.samples[(self.samples["guest"] == guest) & (self.samples["label"] == label)]

    def pressed(self, *guests: str) -> pd.DataFrame:
        """Samples of guests whose work waits for swap evenly."""
        chosen = self.samples["guest"].isin(guests) & (self.samples["label"] == "static")
        busy = self.samples["swap_in_kib_s"] > SWAPPING_KIB_S
        return self.samples[chosen & busy & (self.samples["trial_s"] > SETTLED_S)]

    def heads(self, label: str, guest: str) -> list[dict[str, Any]]:
        """The headline rows of a guest's trials that gave a number."""
        rows = self.trials[(self.trials["guest"] == guest) & (self.trials["label"] == label)]
        rows = rows[rows["metric"] != ""].drop_duplicates("block")
        return [
            {str(key): cell for key, cell in row.items()} for row in rows[rows["status"] == "ok"].to_dict("records")
        ]

    def parameters(self, guest: str) -> Mapping[str, Any]:
        """What a guest's workload was told."""
        found: Mapping[str, Any] = next(g["with"] for g in self.experiment["guests"] if g["name"] == guest)
        return found


def _costs(shown: Shown, machine: Machine) -> Iterator[Finding]:
    yield from _kernel(shown)
    rest = shown.of("rest")
    early = rest[rest["trial_s"] < SETTLED_S]
    own = float(early["used_kib"].median()) / MIB - machine.cold_mib
    yield Finding(name="own_mib", value=own, samples=len(early), how="used by a guest at rest, less cold_mib")
    files = rest[rest["tick"] == 1]["cached_kib"]
    cached = float(np.median(files)) / MIB
    yield Finding(name="files_mib", value=cached, samples=len(files), how="cached when a trial begins")
    pressed = shown.pressed(*WORKING)
    for name, column in (("least_free_mib", "mem_free_kib"), ("least_files_mib", "cached_kib")):
        how = f"{column} of guests that swap, quantile {LOW}"
        least = float(np.quantile(pressed[column], LOW)) / MIB
        yield Finding(name=name, value=least, samples=len(pressed), how=how)
    yield from _speeds(shown)
    for name, guest in (("scan_fault_s", "scan"), ("fault_s", "zipf")):
        rows = shown.pressed(guest)
        pages = (rows["swap_in_kib_s"] / PAGE_KIB).sum()
        how = f"stall over pages read back, of {guest}"
        yield Finding(name=name, value=rows["stall_some"].sum() / pages, samples=len(rows), how=how)
    yield from _processor(shown)
    yield from _jitter(shown)


def _processor(shown: Shown) -> Iterator[Finding]:
    """What filling and touching memory costs where there is enough of it: under the other policy."""
    fills, touches = [], []
    for row in shown.heads("equal", "scan"):
        mine = shown.of("scan", "equal")
        mine = mine[mine["block"] == row["block"]]
        (from_s, from_kib), (to_s, to_kib) = _grown(mine, 0.25), _grown(mine, 0.75)
        fills.append((to_s - from_s) * PAGE_KIB / (to_kib - from_kib))
        touches.append(PAGE_KIB / MIB / _rate(row, mine))
    how = "time to fill the middle half of its footprint, of scan with enough memory, median over trials"
    yield Finding(name="fill_s", value=float(np.median(fills)), samples=len(fills), how=how)
    how = f"time of a touch of scan with enough memory, over {PASS_TOUCH_S:.1e} s, median over trials"
    yield Finding(name="cpu", value=float(np.median(touches)) / PASS_TOUCH_S, samples=len(touches), how=how)


def _grown(rows: pd.DataFrame, share: float) -> tuple[float, float]:
    """When a guest's work had taken this share of all that it takes, and what was committed then."""
    committed = rows["committed_kib"].to_numpy(dtype=float)
    low, high = committed.min(), committed.max()
    at = int(np.argmax(committed >= low + share * (high - low)))
    return float(rows["trial_s"].iloc[at]), float(committed[at])


def _rate(row: Mapping[str, Any], rows: pd.DataFrame) -> float:
    """What the work did per second since it had filled its footprint; before, it touches nothing again."""
    elapsed_s = float(row["duration_s"])
    return float(row["value"]) * elapsed_s / (elapsed_s - _grown(rows, 0.98)[0])


def _kernel(shown: Shown) -> Iterator[Finding]:
    """Current - MemTotal of guests of different maximum: a line."""
    rows = shown.samples[shown.samples["label"] == "static"]
    outside = (rows["current_kib"] - rows["mem_total_kib"]).groupby(rows["guest"]).median() / MIB
    share, constant = np.polyfit([shown.most_mib[str(name)] for name in outside.index], outside.to_numpy(), 1)
    how = "current - MemTotal over the maximum, a line through the guests"
    yield Finding(name="kernel_mib", value=float(constant), samples=len(outside), how=how)
    yield Finding(name="kernel_share", value=max(0.0, float(share)), samples=len(outside), how=how)


def _speeds(shown: Shown) -> Iterator[Finding]:
    moving = shown.of("rest", "equal")
    speeds = moving.groupby("block")[["current_kib", "mono_s"]].apply(_steps)
    fastest = speeds.groupby("block").max()
    how = "fastest change of a guest at rest that gives, median over trials: a lower bound"
    yield Finding(name="balloon_mib_s", value=float(np.median(fastest)) / MIB, samples=len(fastest), how=how)
    writing = shown.samples[shown.samples["guest"].isin(WORKING)]["swap_out_kib_s"]
    how = f"swap written by one guest, quantile {HIGH} of those that write: a lower bound"
    writing = writing[writing > SWAPPING_KIB_S]
    value = float(np.quantile(writing, HIGH)) / MIB
    yield Finding(name="swap_write_mib_s", value=value, samples=len(writing), how=how)
    yield from _reclaim(shown)


def _reclaim(shown: Shown) -> Iterator[Finding]:
    """How fast a footprint grows into the cache of programs: its work waits, and nothing is swapped yet."""
    mine = shown.of("scan")
    waits = mine[(mine["stall_some"] > WAITING) & (mine["swapped_kib"] < MIB)]
    grown = waits.groupby("block")[["committed_kib", "mono_s"]].agg(["first", "last", "size"])
    grown = grown[grown["mono_s", "size"] > 2]
    if grown.empty:
        return
    speeds = (grown["committed_kib", "last"] - grown["committed_kib", "first"]) / (
        grown["mono_s", "last"] - grown["mono_s", "first"]
    )
    how = "growth of scan while it waits and has hardly swapped, median over trials"
    yield Finding(name="reclaim_mib_s", value=float(np.median(speeds)) / MIB, samples=len(speeds), how=how)


def _steps(rows: pd.DataFrame) -> pd.Series[float]:
    """How fast a guest's memory changed from sample to sample, KiB/s."""
    return rows["current_kib"].diff().abs() / rows["mono_s"].diff()


def _curves(shown: Shown, machine: Machine) -> Iterator[Finding]:
    """From the share of touches that missed, and the share of the footprint that was there: scan and order."""
    missed, there = _misses(shown, "scan", float(shown.parameters("scan")["high_mib"]), machine)
    scans = missed / (1 - there)
    how = "share of touches missed over the share of the footprint missing, of scan; median over trials"
    yield Finding(name="scan", value=max(1.0, float(np.median(scans))), samples=len(scans), how=how)
    footprint = float(shown.parameters("zipf")["footprint_mib"])
    missed, there = _misses(shown, "zipf", footprint, machine)
    law = Law(exponent=float(shown.parameters("zipf")["exponent"]))
    hottest = law.hottest(there, footprint * MIB)
    orders = np.clip((1 - missed - there) / (hottest - there), 0.0, 1.0)
    how = "hits between chance and the most popular pages, of zipf; median over trials"
    yield Finding(name="order", value=float(np.median(orders)), samples=len(orders), how=how)


def _misses(shown: Shown, guest: str, footprint_mib: float, machine: Machine) -> tuple[FloatArray, FloatArray]:
    """Per static trial: share of touches that missed, and share of the footprint in memory."""
    missed, there = [], []
    for row in shown.heads("static", guest):
        mine, every = (rows[rows["block"] == row["block"]] for rows in (shown.pressed(guest), shown.of(guest)))
        if len(mine) < ENOUGH:
            continue
        touches_s = _rate(row, every) * (MIB / PAGE_KIB if row["metric"] == "touched_mib_per_s" else 1)
        missed.append(float(mine["swap_in_kib_s"].mean()) / PAGE_KIB / touches_s)
        resident = (mine["used_kib"] - machine.own_mib * MIB).median()  # sleeping programs are swapped out by then
        there.append(float(resident) / (footprint_mib * MIB))
    return np.clip(missed, 0.0, 1.0), np.clip(there, 0.0, 0.999)


def _jitter(shown: Shown) -> Iterator[Finding]:
    good = shown.trials[(shown.trials["status"] == "ok") & (shown.trials["label"] == "static")]
    heads = good[good["metric"].isin(["touched_mib_per_s", "touches_per_s"])]
    spread = np.log(heads["value"]).groupby([heads["guest"], heads["level"]]).std().dropna()
    how = "standard deviation of a guest's result between repetitions, median over guests and levels"
    yield Finding(name="jitter", value=min(1.0, float(spread.median())), samples=len(spread), how=how)
