"""What is known of how guests follow their targets, kept in a file from one start of the service to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from harness.governor import Trust
from harness.governor.movement import LONGEST_REST_S
from harness.records import write_whole
from harness.view import LARGEST

OLDEST_S = 86400.0
"""What was learned longer ago than this may be of other guests: a day; ours."""
LARGEST_BYTES = 4 << 20
"""Of thousands of guests; a larger file is something else."""


class _Guest(BaseModel):
    """A guest's trust; `Trust` says what the fields are."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    strikes: int = Field(ge=0, le=10**6)
    speed_kib_s: float | None = Field(gt=0, le=LARGEST)
    rest_s: float = Field(ge=0, le=LONGEST_REST_S)
    debt_kib: float | None = Field(default=None, ge=0, le=LARGEST)

    def trust(self, age_s: float) -> Trust:
        """As the governor has it."""
        known = Trust(strikes=self.strikes, speed_kib_s=self.speed_kib_s, rest_s=max(0.0, self.rest_s - age_s))
        return known if self.debt_kib is None else {**known, "debt_kib": self.debt_kib}


class _Kept(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    utc: AwareDatetime
    guests: dict[str, _Guest]


@dataclass(slots=True)
class TrustFile:
    """One file; it is written when a guest did not follow or was lent something, when that is over, and at the end."""

    path: Path
    _written: dict[str, tuple[int, float | None]] = field(default_factory=dict)

    def read(self, now: datetime | None = None) -> tuple[dict[str, Trust], str]:
        """What was kept, and why it is nothing where there was something; a rest goes on while nobody was there."""
        try:
            with self.path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
            if len(content) > LARGEST_BYTES:
                return {}, self._ignored(f"it is larger than {LARGEST_BYTES >> 20} MiB")
            kept = _Kept.model_validate_json(content)
        except FileNotFoundError:
            return {}, ""
        except OSError as error:
            return {}, self._ignored(error.strerror or str(error))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:80]
            return {}, self._ignored(f"{where + ': ' if where else ''}{first['msg'][:200]}")
        age_s = ((now or datetime.now(UTC)) - kept.utc).total_seconds()
        if not 0 <= age_s <= OLDEST_S:
            return {}, self._ignored(
                f"it is of {kept.utc:%Y-%m-%d %H:%M} UTC, not of the last {OLDEST_S / 3600:.0f} hours"
            )
        return {name: it.trust(age_s) for name, it in kept.guests.items()}, ""

    def keep(self, trust: Mapping[str, Trust], *, at_once: bool = False) -> None:
        """Write it if strikes or debts are others than those that were written last, or at once.

        Raises:
            OSError: it cannot be written.

        """
        news = {name: (it["strikes"], it.get("debt_kib")) for name, it in trust.items()}
        news = {name: each for name, each in news.items() if any(each)}
        if at_once or news != self._written:
            self._written = news
            said = {"utc": datetime.now(UTC).isoformat(timespec="milliseconds"), "guests": trust}
            write_whole(self.path, json.dumps(said, allow_nan=False))

    def _ignored(self, why: str) -> str:
        return f"{self.path} is ignored, all guests are trusted anew: {why}"
