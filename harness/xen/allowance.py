"""An allowance: so much at once, and so much a second in the long run (a token bucket). No I/O."""

from __future__ import annotations


class Allowance:
    """What is spent beyond it is a debt, which time pays off."""

    def __init__(self, *, at_once: float, per_s: float) -> None:
        self._most, self._per_s = at_once, per_s
        self._left, self._at_s = at_once, 0.0

    def spend(self, amount: float) -> None:
        """Take so much, whether it is there or not."""
        self._left -= amount

    def left(self, now_s: float) -> float:
        """What may be spent now; negative in debt."""
        self._left = min(self._most, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left

    def debt_s(self, now_s: float) -> float:
        """How long it takes until the debt is paid; 0 without one."""
        return max(0.0, -self.left(now_s) / self._per_s)
