"""What a special figure says of the claim of its experiment, in words that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pandas as pd

from reports.document import Block
from reports.language import phrase


class Claim(StrEnum):
    """What became of a claim."""

    SUPPORTED = "Supported"
    NOT_SUPPORTED = "Not supported"
    OPEN = "Cannot be judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """A verdict, the figures and tables behind it, and these tables as frames for tables/*.csv."""

    claim: Claim
    reason: str
    blocks: Sequence[Block]
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The verdict as a sentence."""
        return phrase("{}: {}", phrase(self.claim), self.reason)


def judged(holds: bool | None) -> Claim:
    """Return the claim's fate: None where the rows cannot tell."""
    return Claim.OPEN if holds is None else Claim.SUPPORTED if holds else Claim.NOT_SUPPORTED
