"""The signals of an experiment: what is measured on the guests beyond what every guest says (docs/signals.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from harness.experiment.document import Model, instead
from harness.xen.page_ages import AGINGS, WINDOW_S

SIGNALS = ("page-ages", "swap-trace")


class Signal(Model):
    """One signal. In the file: its name, or a mapping of name and parameters."""

    name: str
    window_s: Annotated[float | None, Field(ge=2, le=3600)] = None
    """Of page-ages: within how long a page must be touched to count as active."""

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in SIGNALS:
            raise ValueError(f"there is no signal {name}; {instead(name, SIGNALS)}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, said: object) -> object:
        if isinstance(said, str):
            said = {"name": said}
        if isinstance(said, Mapping) and said.get("name") == "page-ages":
            return {"window_s": WINDOW_S, **said}
        return said

    @model_validator(mode="after")
    def _has_a_window(self) -> Signal:
        if (self.name == "page-ages") != (self.window_s is not None):
            raise ValueError("window_s belongs to page-ages alone; remove it")
        return self


def needed(policy: str, params: Mapping[str, object]) -> str | None:
    """Return the signal without which a policy can decide nothing; None where it needs none."""
    return "page-ages" if policy == "miss-ratio" or params.get("active") == "touched" else None


def window_s(signals: Iterable[Signal]) -> float | None:
    """The window of page-ages; None where that is off."""
    return next((signal.window_s for signal in signals if signal.name == "page-ages"), None)


def aging_s(signals: Iterable[Signal]) -> float:
    """How often a guest is to look which of its pages were used; 0: never."""
    return (window_s(signals) or 0.0) / AGINGS


def traces_swap(signals: Iterable[Signal]) -> bool:
    """Whether the guests' swap disks are followed."""
    return any(signal.name == "swap-trace" for signal in signals)
