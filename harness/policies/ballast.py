"""`ballast`: what each guest needs is served whole, in turns where not all can be, and what nobody needs stays.

Ours. What guests need, and whether they could live with less, is estimated in `demand`; who is served, in `turns`:

1. A guest that needs no more than it had at first gets that. So nobody pays for what others ask beyond theirs.
2. Those that need more, and for which half of it would be worth nothing, are served whole or not at all. First is who
   gains most for each KiB that must still be moved; a gain counts the more the less of its time a guest has had lately,
   which is the gradient of Σ S·ln(time not lost) (F. P. Kelly, A. K. Maulloo, D. K. H. Tan, "Rate control for
   communication networks", Journal of the Operational Research Society 49(3), 1998). So who waits comes to outweigh
   who is served: that is the turn, and shares are its length.
3. Those that can live with less pay for it, down to where their last KiB is worth what it is to the last one served.
4. What is left goes to growth that is to come, to the next in line, to those that lived with less, to spare memory.
   What a guest lately needed and will need again is lent to who lives with less only as far as it would be back in
   time: what is lent must be written out first. And whoever has fewer shares does not begin its turn in it.
5. What nobody needs stays where it is, for moving costs the guest's own processor. When somebody needs it, it is taken
   from who has most of it beyond what it lately needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.policies.base import MIB, Allocation, Params, Reasons, among_known, changes, mib
from harness.policies.demand import Demand, Estimator, Habits
from harness.policies.settle import settle
from harness.policies.turns import Terms, Turns, take_turns
from harness.policies.waterfill import waterfill
from harness.view import FloatArray, HostView


class BallastParams(Params):
    """Parameters of `ballast`."""

    spare_mib: float = Field(
        default=16.0,
        ge=4,
        le=65536,
        description="MiB, 4 to 65536: what a guest has beside what it uses, if there is so much; 16, as the governor's",
    )
    lead: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="0 to 10: growth is served ahead by so many times a period and 2 s; 1, ours",
    )
    memory_s: float = Field(
        default=120.0,
        gt=0,
        le=86400,
        description="s, above 0 to 86400: the most that was needed fades to 1/e in this; 120, ours",
    )
    turn_s: float = Field(
        default=60.0, gt=0, le=86400, description="s, above 0 to 86400: average over the time not lost; 60, ours"
    )
    smoothing_s: float = Field(
        default=4.0, gt=0, le=600, description="s, above 0 to 600: average over stall; 4, two ticks"
    )
    cliff: float = Field(
        default=3.0,
        gt=0,
        le=1_000_000,
        description="above 0 to 1000000: time lost over the part of its memory that is lacking, from which a guest is "
        "served whole or not at all; 3, ours",
    )
    bear: float = Field(
        default=0.9, ge=0, le=1, description="0 to 1: share of its time that a guest is made to wait at most; 0.9, ours"
    )
    take: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="0 to 1: part of its memory that it is made to swap out a tick; 0.05, ours",
    )
    protect: float = Field(
        default=1.0, ge=0, le=1, description="0 to 1: part of what a guest had at first that nobody takes; 1, ours"
    )
    hold: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="0 to 1000: by so many times more counts who is being served; 1, ours",
    )
    keep: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="0 to 1: part that is not lent of what a guest lately needed and could not have back in time; 1, "
        "ours",
    )
    uncensored: bool = Field(
        default=True,
        description="true or false: what is lacking is learned from committed memory, or is what is in swap",
    )
    stay: bool = Field(
        default=True, description="true or false: what nobody needs stays where it is, or is dealt out by need"
    )


class Ballast:
    """Follow the gradient of Σ S·ln(time not lost), serve needs whole, move nothing that nobody needs."""

    name: ClassVar[str] = "ballast"

    def __init__(self, params: BallastParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Forget all guests; what they have in the next view is what they have at first."""
        params, spare_kib = self.params, self.params.spare_mib * MIB
        self._terms = Terms(
            bear=params.bear, take=params.take, protect=params.protect, hold=params.hold, keep=params.keep,
            spare_kib=spare_kib,
        )  # fmt: skip
        self._estimator = Estimator(
            Habits(
                uncensored=params.uncensored, lead=params.lead, spare_kib=spare_kib, memory_s=params.memory_s,
                turn_s=params.turn_s, smoothing_s=params.smoothing_s, cliff=params.cliff,
            )
        )  # fmt: skip

    def decide(self, view: HostView) -> Allocation:
        """Estimate what is needed, see who is served, and move as little as that takes."""
        needs = ["mem_total_kib", "mem_available_kib", "committed_kib", "stall_some"]
        return among_known(view, self._decide, needs=needs)

    def _decide(self, view: HostView) -> Allocation:
        demand = self._estimator.look(view)
        turns = take_turns(view, demand, self._terms, self._estimator.period_s)
        self._estimator.served_whole(turns.whole)
        targets = self._placed(view, demand, turns.granted)
        return Allocation(targets_kib=targets, reasons=Reasons(_reasons(view, demand, turns, targets), len(view)))

    def _placed(self, view: HostView, demand: Demand, granted: FloatArray) -> FloatArray:
        """What is granted, from memory beyond what was lately needed, else from any not in use, else from who waits."""
        granted = np.maximum(np.floor(granted), view.least_kib)
        pool, current = max(view.pool_kib, float(granted.sum())), view.current_kib
        if not self.params.stay:
            return waterfill(pool, granted, np.maximum(granted, 1.0), granted, view.max_kib).targets_kib
        for least in (demand.peak, demand.live):
            kept = np.maximum(granted, np.minimum(least, current))
            if kept.sum() <= pool:
                return settle(pool, kept, current, view.max_kib)
        return settle(pool, granted, current, view.max_kib)


def _reasons(view: HostView, demand: Demand, turns: Turns, targets: FloatArray) -> Iterator[str]:
    columns = (demand.slopes, turns.modest, turns.served, demand.base, demand.lack, demand.done)
    for text, (slopes, modest, served, base, lack, done) in zip(
        changes(view, targets), zip(*(column.tolist() for column in columns), strict=True), strict=True
    ):
        if slopes:
            said = f"bears the want of {mib(lack)}" if lack > 0 else f"needs {mib(base)} and has not touched all of it"
        else:
            how = "no more than its own" if modest else "served" if served else "waits for its turn"
            said = f"needs {mib(base)}, {how}"
        yield f"{said}, lost {1 - done:.0%} of its time: {text}"
