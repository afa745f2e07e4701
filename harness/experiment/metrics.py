"""How a workload's result is read from what it printed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.experiment.document import Model, Problem
from harness.progress.plain import one_line
from harness.records import BEYOND, LARGEST, SMALLEST

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

_LAST_LINES = 5


class Metric(Model):
    """A number that a workload prints: under `key` of its last JSON line, or caught by the last match of `regex`."""

    name: Key
    unit: str
    better: Literal["higher", "lower"]
    key: Key | None = None
    regex: str | None = None

    def read(self, output: str) -> float:
        """Return the number from a workload's standard output.

        Raises:
            ValueError: there is none, or one that cannot be; the message ends with the last lines of the output.

        """
        found = self._from_json(output) if self.regex is None else self._from_match(output, self.regex)
        try:
            number = float("nan" if found is None or isinstance(found, bool) else found)
        except (TypeError, ValueError):
            number = math.nan
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if number == 0 or SMALLEST <= number <= LARGEST:
            return number
        last = one_line("\n".join(output.strip().splitlines()[-_LAST_LINES:])) or "nothing at all"
        if math.isnan(number):
            raise ValueError(f"no number for {self.name} in the output, which ends with: {last}")
        raise ValueError(f"{self.name} is {number:g} in the output, {BEYOND}; it ends with: {last}")

    def _from_json(self, output: str) -> Any:  # noqa: ANN401 - whatever the program printed
        for line in reversed(output.splitlines()):
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict):
                return said.get(self.key or self.name)
        return None

    @staticmethod
    def _from_match(output: str, regex: str) -> str | None:
        matches = list(re.finditer(regex, output, re.MULTILINE))
        return matches[-1][1] if matches else None

    def faults(self) -> Iterator[Problem]:
        """What is wrong with the description beyond its form."""
        if self.key is not None and self.regex is not None:
            yield ("regex",), "key is given too; the number is read by one of them: remove the other"
        try:
            groups = re.compile(self.regex or "()").groups
        except re.error as error:
            yield ("regex",), f"not a regular expression: {error}"
        else:
            if groups != 1:
                yield ("regex",), f"has {groups} groups; put exactly one around the number"
