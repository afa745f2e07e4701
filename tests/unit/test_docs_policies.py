"""docs/policies.md says of every policy what the code says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import annotated_types
import numpy as np
import pytest
from pydantic.fields import FieldInfo

from harness.experiment.signals import SIGNALS, needed
from harness.policies import make, names, params_of
from harness.view import COLUMNS, HOST_FIELDS, HostView
from tests.unit.test_docs import page, table
from tests.unit.views import in_mib, make_view

ALWAYS = {"current_kib", "min_kib", "max_kib", "shares"}
PARTS = ("Formula.", "Needs", "Source.", "Known to fail.")
SECTIONS = dict(re.findall(r"^## `([\w-]+)`\n(.*?)(?=^## |\Z)", page("policies.md"), re.M | re.S))


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without heads and rules."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    rules = [number for number, cells in enumerate(lines) if set("".join(cells)) <= set("-: ")]
    return [cells for number, cells in enumerate(lines) if number not in rules and number + 1 not in rules]


def span(field: FieldInfo) -> str:
    """The values that a parameter may have, as the page writes them."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    low = high = ""
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=end):
                low = f"[{end:g}"
            case annotated_types.Gt(gt=end):
                low = f"({end:g}"
            case annotated_types.Le(le=end):
                high = f"{end}]"
            case annotated_types.Lt(lt=end):
                high = f"{end})"
    return f"{low}, {high}"


def default(field: FieldInfo) -> str:
    value = field.default
    return f"`{str(value).lower()}`" if isinstance(value, bool | str) else f"{value:g}"


def unit(name: str) -> str:
    return next((said for ending, said in (("_mib", "MiB"), ("_s", "s")) if name.endswith(ending)), "-")


def test_the_page_has_every_policy_and_no_other_with_all_its_parts() -> None:
    assert sorted(SECTIONS) == sorted(names())
    for title, text in SECTIONS.items():
        assert [part for part in PARTS if f"**{part}**" not in text] == [], title


@pytest.mark.parametrize("name", names())
def test_parameters_units_ranges_and_defaults_are_those_of_the_code(name: str) -> None:
    text = SECTIONS[name].partition("**Worked numbers**")[0]
    said = {cells[0].strip("`"): cells[1:4] for cells in rows(text)}
    fields = params_of(name).model_fields
    assert said == {key: [unit(key), span(field), default(field)] for key, field in fields.items()}
    assert bool(fields) != ("No parameters." in text)


def test_the_page_of_signals_says_who_decides_nothing_without_them() -> None:
    said = {row[0]: re.findall(r"[\w-]+", row[2]) for row in table(page("signals.md"), "signal")}
    assert tuple(said) == SIGNALS
    for name in names():
        active = params_of(name).model_fields.get("active")
        touched = {"active": "touched"} if active and "touched" in get_args(active.annotation) else {}
        assert [signal for signal, who in said.items() if name in who] == [*filter(None, [needed(name, touched)])]


def known_view() -> HostView:
    """A view of which everything is known."""
    known: dict[str, Any] = {
        name: np.full(3, 1e5) for name in ("mem_available_kib", "committed_kib", "refault_kib_s", "active_kib")
    }
    known |= {name: np.zeros(3) for name in ("swap_in_kib_s", "swap_out_kib_s", "stall_some", "stall_full")}
    view = make_view(
        [400, 500, 300], pool=1300, lo=100, hi=1000, used=[200, 300, 100], swap_fill=[0.1, 0, 0], **known
    )  # fmt: skip
    return replace(view, page_ages=(((1.0, 1e5),),) * 3, ghost_returns=(((1.0, 1.0),),) * 3)


def without(column: str) -> HostView:
    """The same with one figure of the second guest, or of the host, not known."""
    view = known_view()
    if column in HOST_FIELDS:
        return replace(view, **{column: np.nan})
    if column in COLUMNS:
        return replace(view, **{column: np.where([0, 1, 0], np.nan, getattr(view, column))})
    return replace(view, **{column: (getattr(view, column)[0], None, getattr(view, column)[2])})


@pytest.mark.parametrize("name", names())
def test_a_policy_cannot_do_without_what_the_page_says_and_without_nothing_else(name: str) -> None:
    match = re.search(r"\*\*Needs\*\*(.*?); of the\s+host(.*?)\.(?:\s|$)", SECTIONS[name], re.S)
    assert match is not None
    guest, host = (re.findall(r"`(\w+)`", said) for said in match.groups())
    either = {"ghost_returns", "refault_kib_s"} if "either" in match[1] else set()
    every = (*COLUMNS, "page_ages", "ghost_returns", *HOST_FIELDS)
    held = {column for column in every if make(name).decide(without(column)).reasons[1].startswith("held at")}
    assert held - ALWAYS == {*guest, *host} - either


def test_the_worked_numbers_of_the_price_are_what_it_decides() -> None:
    table = rows(SECTIONS["price"].partition("**Worked numbers**")[2])
    assert len(table) == 5
    for pool, weight, *lists in table:
        shares, swap, lo, hi, expected = (
            [float(x) for x in cell.split(",")] if cell != "-" else [1e6] for cell in lists
        )
        view = make_view(
            [float(pool) / 4] * 4, pool=float(pool), used=[300, 700, 120, 900], swap_fill=swap, shares=shares,
            lo=lo if len(lo) > 1 else lo[0], hi=hi[0],
        )  # fmt: skip
        decided = make("price", {"swap_weight": float(weight)}).decide(view)
        assert in_mib(decided.targets_kib) == pytest.approx(expected, abs=0.002)
