"""What is known of how guests follow outlives the service, and a bad file costs only what it would have told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.governor import Trust
from harness.service.trust import LARGEST_BYTES, TrustFile

STUCK: dict[str, Trust] = {"g1": {"strikes": 2, "speed_kib_s": 1500.5, "rest_s": 20.0}}
NOW = datetime.now(UTC)


def test_what_was_kept_is_read_back_and_the_rest_has_gone_on(tmp_path: Path) -> None:
    TrustFile(tmp_path / "trust.json").keep(STUCK)
    known, ignored = TrustFile(tmp_path / "trust.json").read(datetime.now(UTC) + timedelta(seconds=5))
    assert ignored == ""
    assert known["g1"]["rest_s"] == pytest.approx(15, abs=1)
    assert {**known["g1"], "rest_s": 20.0} == STUCK["g1"]
    assert TrustFile(tmp_path / "trust.json").read(datetime.now(UTC) + timedelta(hours=1))[0]["g1"]["rest_s"] == 0


def test_what_a_guest_owes_is_kept_when_it_comes_to_owe_it_and_when_it_has_paid(tmp_path: Path) -> None:
    file = TrustFile(tmp_path / "trust.json")
    free: dict[str, Trust] = {"g1": {"strikes": 0, "speed_kib_s": 7.0, "rest_s": 0.0}}
    owing: dict[str, Trust] = {"g1": {**free["g1"], "debt_kib": 358400.0}}
    for trust in (owing, free):
        file.path.unlink(missing_ok=True)
        file.keep(trust)
        assert TrustFile(file.path).read() == (trust, "")


def test_the_first_start_has_nothing_to_say() -> None:
    assert TrustFile(Path("/nowhere/trust.json")).read() == ({}, "")


def test_it_is_written_when_a_guest_did_not_follow_and_when_one_is_trusted_again_and_when_it_is_told(
    tmp_path: Path,
) -> None:
    file = TrustFile(tmp_path / "trust.json")
    following: dict[str, Trust] = {"g1": {"strikes": 0, "speed_kib_s": 7.0, "rest_s": 0.0}}
    for trust, at_once, written in (
        (following, False, False), (STUCK, False, True), (STUCK, False, False), (following, False, True),
        (following, True, True),
    ):  # fmt: skip
        file.path.unlink(missing_ok=True)
        file.keep(trust, at_once=at_once)
        assert file.path.exists() == written


def kept(**changes: object) -> str:
    return json.dumps({"utc": NOW.isoformat(), "guests": {"g1": {**STUCK["g1"], **changes}}})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "JSON"),
        ("\x00\xff", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "object"),
        (kept(strikes=-1), "guests.g1.strikes: "),
        (kept(strikes=1.5), "guests.g1.strikes: "),
        (kept(speed_kib_s=0), "guests.g1.speed_kib_s: "),
        (kept(speed_kib_s="1"), "guests.g1.speed_kib_s: "),
        (kept(rest_s=1e9), "guests.g1.rest_s: "),
        (kept(rest_s=float("nan")), "guests.g1.rest_s: "),
        (kept(more=1), "guests.g1.more: "),
        (json.dumps({"guests": {}}), "utc: "),
        (json.dumps({"utc": "2026-01-01T00:00:00", "guests": {}}), "utc: "),
        (json.dumps({"utc": (NOW - timedelta(hours=25)).isoformat(), "guests": {}}), "not of the last 24 hours"),
        (json.dumps({"utc": (NOW + timedelta(hours=1)).isoformat(), "guests": {}}), "not of the last 24 hours"),
        (" " * (LARGEST_BYTES + 1), "larger than 4 MiB"),
    ],
    ids=lambda text: text[:24] if isinstance(text, str) else None,
)
def test_what_cannot_be_trust_is_ignored_and_said(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "trust.json"
    path.write_text(content, encoding="latin-1")
    known, ignored = TrustFile(path).read()
    assert known == {}
    assert ignored.startswith(f"{path} is ignored, all guests are trusted anew: ")
    assert why in ignored
    assert len(ignored) < 400 + len(str(path))


def test_a_folder_in_its_place_is_said_too(tmp_path: Path) -> None:
    assert "Is a directory" in TrustFile(tmp_path).read()[1]
