"""A recorded run through another policy: the same views at the same times, decided anew and put side by side.

The records stand behind the ports of the arbiter as the real host does, so the very same loop runs. The loop is open:
nothing that is decided here changes what is seen next.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from statistics import median
from typing import Any

from harness.balancer import Tick, balance
from harness.governor import Governor, Limits, Plan
from harness.governor.rules import dead_band_kib
from harness.policies import Policy
from harness.policies.base import MIB
from harness.ports import Outcome
from harness.records import RecordsError, RunFolder, decision_record, read_decisions, replay_rows, tick_record
from harness.view import HostView, ViewError

OPEN_LOOP = (
    "A replay is an open loop: every view followed from what the recorded policy had done, and would have been another "
    "one under the replayed policy. It tells what each would decide in the same situation; it cannot tell which "
    "situations the replayed policy would have led to, nor how the guests would have fared."
)
NOT_SENT = "replay: not sent"
ROUNDED_KIB = 2
"""Views are recorded in whole KiB; a target that follows from several of their figures can be off by so much."""

Line = Mapping[str, Any]
"""A line of decisions.jsonl."""


class Recording:
    """One recorded trial: the source of its views, a host on which nothing is done, and the clock that it went by."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self.line: Line | None = next(self._lines, None)

    def goes_on(self) -> bool:
        """Whether there is a tick that has not been replayed."""
        return self.line is not None

    def view(self) -> HostView:
        """What the arbiter saw in this tick.

        Raises:
            RecordsError: it cannot be read.

        """
        line = self._present()
        try:
            return HostView.from_json(line["view"], sized=False)
        except ViewError as error:
            where = f"decisions.jsonl, block {line['block']}, order {line['order']}, tick {line['tick']}"
            raise RecordsError(f"{where}: the view cannot be read: {error} Restore the file from a copy.") from error

    def apply(self, plan: Plan) -> Outcome:
        """Set no target. What was sent then too has its recorded outcome; of all else the arbiter is told the truth.

        So no guest is blamed for standing still when nobody sent it anywhere.
        """
        line = self._present()
        sent, failed = line["plan"].get("targets_kib") or {}, line["outcome"].get("failed") or {}
        outcomes = {
            step.guest: failed.get(step.guest)
            if step.guest in sent and abs(sent[step.guest] - step.target_kib) <= ROUNDED_KIB
            else NOT_SENT
            for step in plan.steps
        }
        return Outcome(
            applied_kib={step.guest: step.target_kib for step in plan.steps if outcomes[step.guest] is None},
            failed={guest: why for guest, why in outcomes.items() if why is not None},
        )

    def renew_lease(self, safe_kib: Mapping[str, int] | None = None) -> None:
        """There is nothing to undo."""

    def restore(self, targets_kib: Mapping[str, int]) -> None:
        """There is nothing to restore."""

    def now_s(self) -> float:
        """When this tick was."""
        time_s = self._present()["view"].get("time_s")
        return float("nan") if time_s is None else float(time_s)

    def sleep_until(self, t_s: float) -> None:
        """Go on to the next tick, whenever that was."""
        self.line = next(self._lines, None)

    def _present(self) -> Line:
        if self.line is None:
            raise RecordsError("the recorded trial has ended; ask goes_on() first")
        return self.line


def recordings(lines: Iterable[Line]) -> Iterator[Recording]:
    """Yield what each arbiter saw in the trials of a run; each must be replayed before the next is asked for."""
    for _, trial in groupby(lines, key=lambda line: (line["block"], line["order"], line.get("host"))):
        yield Recording(trial)


def replay(recording: Recording, policy: Policy, limits: Limits, record: Callable[[Line, Tick], None]) -> None:
    """Let a policy decide on every view of a trial, from its beginning; `record` gets each line with what came of it.

    Raises:
        RecordsError: a view cannot be read.

    """

    def note(tick: Tick) -> None:
        if recording.line is not None:
            record(recording.line, tick)

    balance(
        recording, recording, policy, Governor(limits), clock=recording, period_s=limits.period_s,
        record=note, go_on=recording.goes_on,
    )  # fmt: skip


def side_by_side(line: Line, tick: Tick, policy: Policy, label: str) -> Iterator[dict[str, Any]]:
    """Yield a row of `replay.csv` for each guest of a tick; None is unknown."""
    decision = decision_record(policy, tick.names, tick.allocation)
    made = tick_record(tick.view, decision, tick.plan, tick.outcome, tick.timing)
    key = {name: line.get(name) for name in ("run", "block", "order", "policy", "label", "tick", "trial_s")}
    key |= {"replayed": label, "time_s": made["view"]["time_s"]}
    for guest in made["view"]["guests"]:
        name = guest["name"]
        row = key | {"guest": name, "current_kib": guest["current_kib"]}
        for side, one in (("recorded", line), ("replayed", made)):
            decided, plan = one["decision"], one["plan"]
            told = (plan.get("reasons") or {}) | (plan.get("held") or {})
            row |= {
                f"{side}_asked_kib": (decided.get("targets_kib") or {}).get(name),
                f"{side}_target_kib": (plan.get("targets_kib") or {}).get(name),
                f"{side}_state": decided.get("state"),
                f"{side}_reason": told.get(name),
            }
        recorded, replayed = row["recorded_asked_kib"], row["replayed_asked_kib"]
        apart = None if recorded is None or replayed is None else replayed - recorded
        yield row | {"difference_kib": apart}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far the replayed policy's targets lay from the recorded ones, for one guest over one trial."""

    block: int
    order: int
    label: str
    guest: str
    ticks: int
    """In which both had a target for it."""
    median_kib: float | None
    """Replayed less recorded, like the next; None without such a tick."""
    largest_kib: int | None
    """The one farthest from 0."""
    opposite: int
    """Ticks in which one would let it grow and the other shrink, both by more than the governor's dead band."""


class Tally:
    """Puts the rows of one trial together to a `Difference` a guest; remembers a number a tick and guest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._first: dict[str, Mapping[str, Any]] = {}
        self._apart: dict[str, array[int]] = {}
        self._opposite: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in one row."""
        guest = row["guest"]
        self._first.setdefault(guest, row)
        apart = self._apart.setdefault(guest, array("q"))
        if row["difference_kib"] is not None:
            apart.append(row["difference_kib"])
            self._opposite[guest] += self._moves_apart(row)

    def differences(self) -> Iterator[Difference]:
        """Yield what came of every guest."""
        for guest, row in self._first.items():
            apart = self._apart[guest]
            yield Difference(
                block=row["block"], order=row["order"], label=row["label"], guest=guest, ticks=len(apart),
                median_kib=median(apart) if apart else None, largest_kib=max(apart, key=abs) if apart else None,
                opposite=self._opposite[guest],
            )  # fmt: skip

    def _moves_apart(self, row: Mapping[str, Any]) -> bool:
        if row["current_kib"] is None:
            return False
        band_kib = dead_band_kib(float(row["current_kib"]), self._limits)
        one, other = (float(row[f"{side}_asked_kib"] - row["current_kib"]) for side in ("recorded", "replayed"))
        return min(abs(one), abs(other)) >= band_kib and (one > 0) != (other > 0)


def replay_run(run: Path, policy: Policy, label: str, out: Path) -> list[Difference]:
    """Replay all trials of a run and write `replay.csv` into `out`; `label` names the replayed policy there.

    Raises:
        RecordsError: no run, a run without decisions, one that cannot be read, or a folder that cannot be written.

    """
    folder = RunFolder.open(run)
    said = folder.manifest["experiment"]
    take_kib_s = said.get("take_mib_s", math.inf) * MIB
    limits = Limits(period_s=said.get("period_s", Limits().period_s), allow_swap=True, take_kib_s=take_kib_s)
    lines = read_decisions(folder.path)
    if (first := next(lines, None)) is None:
        raise RecordsError(f"{run}: decisions.jsonl has no tick; give a run in which a trial has ended")
    found: list[Difference] = []
    with replay_rows(out) as write:
        for recording in recordings(chain([first], lines)):
            tally = Tally(limits)

            def record(line: Line, tick: Tick, tally: Tally = tally) -> None:
                for row in side_by_side(line, tick, policy, label):
                    tally.add(row)
                    write(row)

            replay(recording, policy, limits, record)
            found += tally.differences()
    return found
