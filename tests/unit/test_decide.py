"""One decision from a view written down."""

from __future__ import annotations

import json

import pytest

from harness.cli.decide import decide, read_views
from harness.policies import make
from harness.view import ViewError
from tests.unit.test_view import GUEST, HOST, view_json


def two_guests() -> str:
    lazy = {**GUEST, "name": "g2", "mem_free_kib": 200000, "mem_available_kib": 250000}
    return json.dumps(view_json({**GUEST, "committed_kib": 900000}, lazy), indent=2)


def test_a_decision_says_what_decided_and_why_for_every_guest() -> None:
    (view,) = read_views(two_guests())
    decision = decide(make("two-state", {"tax": 0.5}), view, raw=True)
    assert list(decision) == ["policy", "params", "state", "targets_kib", "reasons"]
    assert (decision["policy"], decision["state"], decision["params"]["tax"]) == ("two-state", "scarce", 0.5)
    assert sum(decision["targets_kib"].values()) == 2 * 393216 + 102400 - 65536
    assert all("pays" in reason for reason in decision["reasons"].values())
    assert json.loads(json.dumps(decision, allow_nan=False)) == decision


def test_the_governor_has_the_last_word_unless_the_decision_is_raw() -> None:
    (view,) = read_views(two_guests())
    raw = decide(make("two-state"), view, raw=True)["targets_kib"]
    sent = decide(make("two-state"), view)
    assert raw["g1"] > sent["targets_kib"]["g1"] == 393216 + 102400 - 65536
    assert "Xen has only 36 MiB of it free now" in sent["reasons"]["g1"]


def test_a_guest_to_which_nothing_is_sent_keeps_what_it_has() -> None:
    (view,) = read_views(json.dumps(view_json({**GUEST, "age_s": 60})))
    decision = decide(make("equal"), view)
    assert decision["targets_kib"] == {"g1": 393216}
    assert decision["reasons"] == {"g1": "left out: no sample for 60 s"}


def test_every_line_of_json_lines_is_decided_as_if_it_were_the_first() -> None:
    growing = [json.dumps(view_json({**GUEST, "current_kib": size})) for size in (393216, 400000)]
    policy = make("static")
    views = list(read_views("\n".join(["", *growing, ""])))
    assert [decide(policy, view, raw=True)["targets_kib"]["g1"] for view in views] == [393216, 400000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Not JSON"),
        ("{", "Not JSON"),
        ("[" * 100_000, "Not JSON"),
        ("[]", "the view: expected an object"),
        (json.dumps(view_json()) + "\n{oops", "Line 2: not JSON"),
        (json.dumps(view_json()) + '\n{"host": {}}', "Line 2: guests: expected a list"),
        (json.dumps({"time_s": 1, "host": HOST, "guests": [{"name": "a"}]}), r"guests\[0\].current_kib: missing"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ViewError, match=message):
        list(read_views(text))
