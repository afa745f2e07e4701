"""What the second trial of a policy in a block is called: the A/A test, which shows how far it lies from itself."""

from __future__ import annotations

AGAIN = " (again)"
"""The end of such a trial's label; no label of an experiment may end so. The policy's name stays the same."""


def again(label: str) -> str:
    """Return the label of the second trial of what has this label."""
    return f"{label}{AGAIN}"


def is_again(label: str) -> bool:
    """Whether this is the label of a second trial."""
    return label.endswith(AGAIN)


def without_again(label: str) -> str:
    """Return the label of the trial that this one repeats."""
    return label.removesuffix(AGAIN)
