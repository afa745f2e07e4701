"""Views are read strictly, keep the unknown unknown, and survive a round trip."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from harness.view import COLUMNS, HostView, ViewError
from tests.unit.views import hostile_view

GUEST: dict[str, Any] = {
    "name": "g1",
    "current_kib": 393216,
    "min_kib": 131072,
    "max_kib": 1048576,
    "shares": 1000,
    "mem_total_kib": 325000,
    "mem_free_kib": 9000,
    "mem_available_kib": 60000,
    "buffers_kib": 4000,
    "cached_kib": 52000,
    "committed_kib": 280000,
    "swap_total_kib": 524288,
    "swap_free_kib": 520000,
    "swap_in_kib_s": 0.0,
    "swap_out_kib_s": 0.0,
    "refault_kib_s": 0.0,
    "major_faults_s": 0.0,
    "stall_some": 0.0,
    "stall_full": 0.0,
    "age_s": 0.4,
}
HOST = {"total_kib": 4194304, "free_kib": 102400, "reserve_kib": 65536}


def view_json(*guests: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {"time_s": 12.0, "host": HOST, "guests": list(guests) or [GUEST], **changes}


def test_the_view_of_the_contract_is_read() -> None:
    view = HostView.from_json(view_json())
    assert view.names == ("g1",)
    assert view.pool_kib == 393216 + 102400 - 65536
    assert view.used_kib[0] == 325000 - 9000 - 4000 - 52000
    assert view.swap_fill[0] == pytest.approx((524288 - 520000) / 524288)
    assert np.isnan(view.active_kib[0])
    assert np.isnan(view.used_with_shared_kib[0])
    shared = HostView.from_json(view_json({**GUEST, "shmem_kib": 1200}))
    assert shared.used_with_shared_kib[0] == shared.used_kib[0] + 1200


def test_absent_and_null_are_unknown_and_never_zero() -> None:
    view = HostView.from_json(view_json({"name": "g1", "current_kib": 1000, "swap_in_kib_s": None}))
    assert all(np.isnan(getattr(view, name)[0]) for name in COLUMNS if name not in ("current_kib", "shares"))
    assert view.shares[0] == 1000


def test_promised_memory_comes_off_the_pool() -> None:
    view = HostView.from_json(view_json(host={**HOST, "promised_kib": 400}))
    assert view.pool_kib == 393216 + 102400 - 65536 - 400


def test_whether_a_guest_is_paused_is_true_false_or_not_known_in_and_out() -> None:
    guests = [{**GUEST, "name": str(said), "paused": said} for said in (True, False, None)]
    view = HostView.from_json(view_json(*guests, GUEST))
    np.testing.assert_array_equal(view.paused, [1, 0, np.nan, np.nan])
    assert [row["paused"] for row in view.to_json()["guests"]] == [True, False, None, None]


def test_a_guest_without_swap_has_none_filled() -> None:
    view = HostView.from_json(view_json({**GUEST, "swap_total_kib": 0, "swap_free_kib": 0}))
    assert view.swap_fill[0] == 0


def test_figures_that_contradict_each_other_are_unknown() -> None:
    view = HostView.from_json(view_json({**GUEST, "mem_free_kib": 999999, "swap_free_kib": 999999}))
    assert np.isnan(view.used_kib[0])
    assert np.isnan(view.swap_fill[0])


def test_a_figure_that_cannot_be_is_unknown() -> None:
    view = HostView(
        free_kib=-1, reserve_kib=0, names=("a", "b"), current_kib=np.array([np.inf, 5]), age_s=np.array([np.inf, 1])
    )
    assert np.isnan([view.free_kib, view.pool_kib, view.current_kib[0]]).all()
    assert view.age_s[0] > 1e9


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ([], "the view: expected an object"),
        ({"guests": []}, "host: expected an object, found nothing"),
        ({"host": HOST}, "guests: expected a list of guests, found nothing"),
        (view_json(guests=[3]), r"guests\[0\]: expected an object, found 3"),
        (view_json({"name": " "}), r"guests\[0\].name"),
        (view_json({"name": "a\x1b[31m"}), r"guests\[0\].name"),
        (view_json(GUEST, GUEST), "'g1' is there more than once"),
        (view_json(GUEST, {**GUEST, "name": "g2", "cached_kib": "5"}), r"guests\[1\].cached_kib: .*found '5'"),
        (view_json({**GUEST, "cached_kib": -1}), "cached_kib: expected a number from 0"),
        (view_json({**GUEST, "cached_kib": True}), "found True"),
        (view_json({**GUEST, "cached_kib": float("nan")}), "or null when it is not known"),
        (view_json({**GUEST, "cached_kib": 10**400}), "found 1000.*…"),
        (view_json({**GUEST, "current_kib": None}), r"guests\[0\].current_kib: missing"),
        (view_json({**GUEST, "shares": 0}), "shares: must be above 0"),
        (view_json({**GUEST, "min_kib": 2000000}), "max_kib: 1048576 is below min_kib"),
        (view_json({**GUEST, "paused": 1}), r"guests\[0\].paused: expected true, false, or null.*found 1"),
        (view_json({**GUEST, "page_ages": "x"}), "page_ages: expected a list"),
        (view_json({**GUEST, "page_ages": [[1, 2], [3]]}), r"page_ages\[1\]: expected a pair"),
        (view_json({**GUEST, "ghost_returns": [[1, "x"]]}), r"ghost_returns\[0\]: expected a number"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(obj: object, message: str) -> None:
    with pytest.raises(ViewError, match=message):
        HostView.from_json(obj)


def test_a_view_survives_the_way_through_json() -> None:
    view = HostView.from_json(view_json({**GUEST, "page_ages": [[1, 10], [60, 500]]}, {"name": "g2", "current_kib": 7}))
    again = HostView.from_json(json.loads(json.dumps(view.to_json())))
    assert again.names == view.names
    assert again.page_ages == (((1.0, 10.0), (60.0, 500.0)), None)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(view, name), err_msg=name)


def test_sizes_are_written_as_whole_kib_and_the_unknown_as_null() -> None:
    row = HostView.from_json(view_json({**GUEST, "cached_kib": None})).to_json()["guests"][0]
    assert row["cached_kib"] is None
    assert row["current_kib"] == 393216
    assert isinstance(row["current_kib"], int)
    assert "page_ages" not in row


def test_whatever_a_view_holds_it_can_be_written_as_strict_json() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        json.dumps(hostile_view(rng).to_json(), allow_nan=False)


def test_a_selection_keeps_the_host_and_the_chosen_guests() -> None:
    view = HostView.from_json(view_json(GUEST, {**GUEST, "name": "g2", "current_kib": 5, "ghost_returns": [[1, 2]]}))
    part = view.select(np.array([False, True]))
    assert part.names == ("g2",)
    assert part.pool_kib == 5 + 102400 - 65536
    assert part.ghost_returns == (((1.0, 2.0),),)
