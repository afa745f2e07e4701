"""The agent in dom0: what it does when asked, and what it does when nobody asks any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.xen import toolstack
from harness.xen.agent import Agent
from harness.xen.asked import LARGEST_KIB
from harness.xen.deadman import set_all
from harness.xen.resident import BUSY, LEASE_OUT, UNLED, serve
from harness.xen.toolstack import SLACK_KIB, Bindings

SAFE = {"g1": 300_000, "g2": 300_000}


class FakeXen:
    """As much of Xen as the agent needs; what is set is kept, in the order in which it came."""

    def __init__(self) -> None:
        self.max_kib: dict[int, int] = {}
        self.store = {(domid, "memory/static-max"): "800000" for domid in (1, 2)}
        self.store |= {(domid, "memory/target"): "300000" for domid in (1, 2)}
        self.names: dict[int, str | None] = {0: "Domain-0", 1: "g1", 2: "g2", 3: None, 4: "two\nlines"}
        self.dying: set[int] = set()
        self.sent: list[tuple[int, int]] = []
        self.limits: list[tuple[int, int]] = []

    def memory_kib(self) -> tuple[int, int]:
        return 2_000_000, 500_000

    def domains(self) -> Iterator[dict[str, Any]]:
        for domid, name in self.names.items():
            yield {"domid": domid, "name": name, "current_kib": 300_000, "max_kib": self.max_kib.get(domid),
                   "paused": False, "dying": domid in self.dying, "hvm": False}  # fmt: skip

    def read(self, domid: int, key: str) -> str | None:
        return self.store.get((domid, key))

    def cap(self, domid: int, kib: int) -> None:
        self.max_kib[domid] = kib

    def aim(self, domain: Mapping[str, Any], kib: int, video_kib: int, most_kib: int) -> None:
        if kib == 666:
            raise OSError("hypercall failed")
        self.limits.append((domain["domid"], most_kib))
        self.store[domain["domid"], "memory/target"] = str(kib - video_kib)
        self.sent.append((domain["domid"], kib))


class Told:
    """An agent with a clock that stands, told to do things."""

    def __init__(self) -> None:
        self.xen, self.now_s = FakeXen(), 100.0
        self.agent = Agent(self.xen, clock=lambda: self.now_s)  # type: ignore[arg-type]

    def __call__(self, op: str, **request: object) -> dict[str, Any]:
        said = self.agent.answer(json.dumps({"op": op, **request}).encode())
        assert said is not None
        assert said.pop("mono_s") == self.now_s  # every answer says when it was given
        return said


@pytest.fixture
def told() -> Told:
    told = Told()
    assert told("lease", seconds=10, safe_kib=SAFE) == {}
    return told


def test_state_tells_what_xen_has_and_gives_every_domain_and_leaves_out_what_has_no_proper_name(told: Told) -> None:
    said = told("state")
    assert (said["total_kib"], said["free_kib"]) == (2_000_000, 500_000)
    assert set(said["domains"]) == {"Domain-0", "g1", "g2"}
    assert said["domains"]["g1"]["current_kib"] == 300_000
    assert said["domains"]["g1"]["static_max_kib"] == 800_000
    assert said["domains"]["g1"]["target_kib"] == 300_000
    assert said["domains"]["Domain-0"]["target_kib"] is None
    assert [domain["domid"] for domain in said["others"]] == [3, 4], "and yet they may be promised memory"


@pytest.mark.parametrize("name", ["Windows 10", "db [old]", "büro", "42", "-v", "../../x", "evil; $(name)", "x" * 255])
def test_a_domain_may_be_called_whatever_xen_takes_for_a_name(told: Told, name: str) -> None:
    told.xen.names[1] = name
    assert told("lease", safe_kib={name: 300_000}) == {}
    assert told("state")["domains"][name]["domid"] == 1
    assert told("set", targets_kib={name: 200_000}) == {"applied_kib": {name: 200_000}, "failed": {}}
    assert told.xen.sent == [(1, 200_000)]


def test_of_two_domains_with_one_name_none_is_meant_and_both_are_counted(told: Told) -> None:
    told.xen.names[2] = "g1"
    said = told("state")
    assert "g1" not in said["domains"]
    assert {1, 2} <= {domain["domid"] for domain in said["others"]}
    assert "several domains have this name" in told("set", targets_kib={"g1": 200_000})["failed"]["g1"]
    assert told.xen.sent == []


def test_one_that_is_dying_does_not_stand_in_the_way_of_its_successor(told: Told) -> None:
    told.xen.names[2] = "g1"
    told.xen.dying = {1}
    assert told("state")["domains"]["g1"]["domid"] == 2
    told("set", targets_kib={"g1": 200_000})
    assert told.xen.sent == [(2, 200_000)]


def test_set_moves_the_target(told: Told) -> None:
    assert told("set", targets_kib={"g1": 200_000}) == {"applied_kib": {"g1": 200_000}, "failed": {}}
    assert told.xen.store[1, "memory/target"] == "200000"


def test_those_that_shrink_come_first(told: Told) -> None:
    told("set", targets_kib={"g1": 400_000, "g2": 200_000})
    assert told.xen.sent == [(2, 200_000), (1, 400_000)]


def test_one_that_cannot_be_set_does_not_stop_the_others_and_says_why(told: Told) -> None:
    said = told("set", targets_kib={"gone": 1, "g2": 666, "Domain-0": 9, "g1": 200_000})
    assert said["applied_kib"] == {"g1": 200_000}
    assert said["failed"].keys() == {"gone", "g2", "Domain-0"}
    assert said["failed"]["g2"] == "hypercall failed"
    assert "no such domain" in said["failed"]["gone"]
    assert "keeps what it has" in said["failed"]["Domain-0"]


def test_a_target_above_what_the_domain_was_created_for_is_refused(told: Told) -> None:
    assert "800000" in told("set", targets_kib={"g1": 800_001})["failed"]["g1"]
    assert told.xen.sent == []


def test_video_memory_is_part_of_a_target_but_not_of_what_the_balloon_is_told(told: Told) -> None:
    told.xen.store[1, "memory/videoram"] = "8192"
    told("set", targets_kib={"g1": 208_192})
    assert told.xen.store[1, "memory/target"] == "200000"
    assert told("state")["domains"]["g1"]["target_kib"] == 208_192


class Calls:
    """Xen's bindings, as far as what is called on them."""

    def __init__(self) -> None:
        self.made: list[tuple[object, ...]] = []

    def xc(self) -> Calls:
        return self

    xs = xc

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.made.append((name, *args))


@pytest.mark.parametrize("hvm", [False, True])
def test_xens_own_limit_moves_before_the_balloon_is_told(monkeypatch: pytest.MonkeyPatch, hvm: bool) -> None:
    calls = Calls()
    monkeypatch.setattr(toolstack, "_bindings", lambda: (calls, calls))
    Bindings().aim({"domid": 5, "hvm": hvm}, 200_000, 8_000, LARGEST_KIB)
    on_demand = [("domain_set_target_mem", 5, 192_000 + SLACK_KIB)] if hvm else []
    assert calls.made == [
        ("domain_setmaxmem", 5, 200_000 + SLACK_KIB),
        *on_demand,
        ("write", "", "/local/domain/5/memory/target", "192000"),
    ]


def test_a_cap_below_a_target_is_xens_limit_from_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    monkeypatch.setattr(toolstack, "_bindings", lambda: (calls, calls))
    Bindings().aim({"domid": 5, "hvm": True}, 200_000, 8_000, 190_000)
    assert calls.made == [
        ("domain_setmaxmem", 5, 190_000),
        ("domain_set_target_mem", 5, 182_000),
        ("write", "", "/local/domain/5/memory/target", "192000"),
    ]


def test_targets_and_caps_come_in_one_request(told: Told) -> None:
    said = told("set", targets_kib={"g1": 280_000, "g2": 200_000}, caps_kib={"g1": 250_000, "nobody": 1})
    assert said == {
        "applied_kib": {"g1": 280_000, "g2": 200_000},
        "failed": {"nobody": "not capped: no such domain runs"},
    }
    assert told.xen.limits == [(1, 250_000), (2, LARGEST_KIB)]


def test_a_cap_moves_xens_limit_and_leaves_the_target(told: Told) -> None:
    assert told("set", targets_kib={}, caps_kib={"g1": 250_000}) == {"applied_kib": {}, "failed": {}}
    assert told.xen.max_kib[1] == 250_000
    assert told.xen.sent == []
    assert told.agent.lease_ends_s == 110, "a cap is something to undo"


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"op": "exec"}',
        b'{"op": "__init__"}',
        b'{"op": "set"}',
        b'{"op": "set", "targets_kib": {"g1": "200000"}}',
        b'{"op": "set", "targets_kib": {"g1": true}}',
        b'{"op": "set", "targets_kib": {"g1": 0}}',
        b'{"op": "set", "targets_kib": {"g1": 200000}, "caps_kib": {"g1": -1}}',
        b'{"op": "set", "targets_kib": {"g1": 200000}, "caps_kib": null}',
        b'{"op": "set", "targets_kib": {"g1": 1.5}}',
        b'{"op": "set", "targets_kib": {"": 200000}}',
        b'{"op": "set", "targets_kib": {"two\\nlines": 200000}}',
        b'{"op": "lease", "seconds": 0}',
        b'{"op": "lease", "seconds": NaN}',
        b'{"op": "lease", "seconds": 1e99}',
        b"\xff\xfe",
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing_and_is_told_so(told: Told, request_line: bytes) -> None:
    assert told.agent.answer(request_line)["error"]
    assert told.xen.sent == []
    assert told.agent.safe_kib == SAFE


def test_the_answer_carries_the_number_of_its_request(told: Told) -> None:
    assert told("state", id=7)["id"] == 7
    assert told("nonsense", id=8)["id"] == 8


def test_the_lease_begins_with_the_first_target_is_renewed_by_every_word_and_ends_when_all_is_restored(
    told: Told,
) -> None:
    assert told.agent.lease_ends_s is None, "nothing to undo yet"
    told("lease", seconds=10)
    assert told.agent.lease_ends_s is None
    told("set", targets_kib={"g1": 200_000})
    assert told.agent.lease_ends_s == 110
    told.now_s = 105
    told("state")
    assert told.agent.lease_ends_s == 110, "to look is not to lead"
    told("lease")
    assert told.agent.lease_ends_s == 115
    told("restore")
    assert told.agent.lease_ends_s is None
    assert told.xen.store[1, "memory/target"] == "300000"


def test_a_new_agent_in_the_middle_of_things_begins_with_a_lease(told: Told) -> None:
    told("lease", begin=True)
    assert told.agent.lease_ends_s == 110


def test_it_serves_until_the_lease_runs_out() -> None:
    agent = Agent(FakeXen())  # type: ignore[arg-type]
    requests, ask = os.pipe()
    answers, answer = os.pipe()
    ended: list[str] = []
    server = threading.Thread(target=lambda: ended.append(serve(agent, requests, answer)))
    server.start()
    os.write(ask, b'{"op": "lease", "seconds": 0.4, "safe_kib": {"g1": 300000}}\n{"op": "set", "targets_kib": ')
    os.write(ask, b'{"g1": 200000}}\n')
    for _ in range(4):
        time.sleep(0.2)
        os.write(ask, b'{"op": "lease"}\n')
    assert not ended, "it was renewed in time"
    server.join(5)
    assert ended == [LEASE_OUT]
    assert len(os.read(answers, 65536).splitlines()) == 6
    for fd in (requests, ask, answers, answer):
        os.close(fd)


class Restless(FakeXen):
    """One whose calls fail so many times: to tell of its domains, and to set the target of the second."""

    def __init__(self, blind: int = 0, deaf: int = 0) -> None:
        super().__init__()
        self.blind, self.deaf = blind, deaf

    def domains(self) -> Iterator[dict[str, Any]]:
        self.blind -= 1
        if self.blind >= 0:
            raise OSError("a transient error of Xen")
        return super().domains()

    def aim(self, domain: Mapping[str, Any], kib: int, video_kib: int, most_kib: int) -> None:
        if domain["name"] == "g2":
            self.deaf -= 1
            if self.deaf >= 0:
                raise OSError("the second is not to be had now")
        super().aim(domain, kib, video_kib, most_kib)


def made_safe(xen: FakeXen, safe_kib: Mapping[str, int] = SAFE) -> tuple[dict[str, str], list[str], list[float]]:
    """Set safe targets as the agent does at its end. Returns who is left, what was logged, and when."""
    now_s, logged, times = [0.0], [], []

    def log(text: str) -> None:
        logged.append(text)
        times.append(now_s[0])

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    agent = Agent(xen)  # type: ignore[arg-type]
    return set_all(agent.make_safe, safe_kib, log, lambda: now_s[0], sleep), logged, times


@pytest.mark.parametrize("blind", [1, 5, 11])
def test_a_transient_error_of_xen_does_not_keep_the_safe_targets_from_being_set(blind: int) -> None:
    xen = Restless(blind=blind)
    failed, logged, _ = made_safe(xen)
    assert failed == {}
    assert xen.sent == [(1, 300_000), (2, 300_000)]
    assert logged[0] == f"to be set: {json.dumps(SAFE)}"
    assert "a transient error" in logged[1]
    assert json.loads(logged[-1])["applied_kib"] == SAFE


def test_one_domain_that_cannot_be_set_does_not_keep_the_others_from_theirs_and_is_tried_again() -> None:
    xen = Restless(deaf=4)
    failed, _, times = made_safe(xen)
    assert failed == {}
    assert xen.sent == [(1, 300_000), (2, 300_000)], "the first at once, and only once"
    assert np.diff(times)[1:].tolist() == [0.5, 1, 2, 4], "with growing pauses"


def test_safe_targets_are_tried_for_more_than_a_minute_and_then_it_is_said_whose_are_not_set() -> None:
    failed, logged, times = made_safe(Restless(deaf=10**6))
    assert failed == {"g2": "the second is not to be had now"}
    assert 60 <= times[-1] <= 100
    assert logged[-1].startswith("given up: ")


def test_a_safe_target_above_what_the_domain_can_have_is_cut_to_that_and_told() -> None:
    xen = FakeXen()
    failed, logged, times = made_safe(xen, {"g1": 900_000, "g2": 300_000})
    assert xen.sent == [(2, 300_000), (1, 800_000)]
    assert "above the 800000 KiB" in failed["g1"]
    assert times[-1] == 0, "which is not tried again"
    assert logged[-1].startswith("not as wanted: ")


def test_a_domain_that_is_gone_holds_nobody_up() -> None:
    failed, _, times = made_safe(FakeXen(), {"gone": 300_000, **SAFE})
    assert failed == {"gone": "no such domain runs"}
    assert times[-1] == 0


DRIVER = """
import os, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from harness.xen import resident, toolstack
from tests.unit.test_xen_agent import FakeXen
class Bindings(FakeXen):
    def domains(self):
        if Path({broken!r}).exists():
            Path({broken!r}).unlink()
            raise OSError("transient")
        return super().domains()
    def aim(self, domain, kib, video_kib, most_kib):
        super().aim(domain, kib, video_kib, most_kib)
        with open({sent!r}, "a") as sent:
            print(domain["name"], kib, file=sent)
resident.LOCK, resident.LOG, toolstack.Bindings = Path({lock!r}), Path({log!r}), Bindings
resident._stay_in_memory = lambda: None  # it would stay in the memory of whoever runs the tests
resident.main()
"""


class Process:
    """The agent as a process of its own, as in dom0, with no Xen under it."""

    def __init__(self, folder: Path) -> None:
        self.log, self.sent, self.broken = folder / "log", folder / "sent", folder / "broken"
        root = str(Path(toolstack.__file__).parents[2])
        code = DRIVER.format(
            tests=root, root=root, lock=str(folder / "lock"), log=str(self.log), sent=str(self.sent),
            broken=str(self.broken),
        )  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.said = self.line()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def ask(self, op: str, **request: object) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"op": op, **request}).encode() + b"\n")
        self.process.stdin.flush()
        return self.line()

    def end(self, *, hang_up: bool = False) -> int:
        assert self.process.stdin
        if hang_up:
            self.process.stdin.close()
        status = self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return status

    def set_aside(self) -> None:
        self.ask("lease", seconds=60, safe_kib=SAFE)
        assert self.ask("set", targets_kib={"g1": 200_000})["applied_kib"] == {"g1": 200_000}

    def targets(self) -> list[str]:
        return self.sent.read_text().splitlines()


RESTORED = ["g1 200000", "g1 300000", "g2 300000"]


def test_when_the_controller_is_gone_the_safe_targets_are_set(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    assert agent.end(hang_up=True) == 0
    assert agent.targets() == RESTORED
    assert "the controller is gone" in agent.log.read_text()


def test_the_agent_outlives_an_error_of_xen_in_its_last_moments_and_logs_before_and_after(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    agent.broken.touch()
    assert agent.end(hang_up=True) == 0
    assert agent.targets() == RESTORED
    before, failed, after = agent.log.read_text().splitlines()[-3:]
    assert f"the controller is gone; safe targets: to be set: {json.dumps(SAFE)}" in before
    assert "transient" in failed
    assert json.dumps({"applied_kib": SAFE, "failed": {}}) in after


def test_a_log_that_cannot_be_written_keeps_no_target_from_being_set(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    agent.log.unlink(missing_ok=True)
    agent.log.mkdir()
    assert agent.end(hang_up=True) == 0
    assert agent.targets() == RESTORED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_on_a_signal_the_safe_targets_are_set(tmp_path: Path, number: signal.Signals) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    agent.process.send_signal(number)
    assert agent.end() == 0
    assert agent.targets() == RESTORED
    assert number.name in agent.log.read_text()


def test_when_the_lease_runs_out_the_safe_targets_are_set_and_the_exit_status_says_so(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    agent.ask("lease", seconds=0.3)
    assert agent.end() == UNLED
    assert agent.targets() == RESTORED


def test_after_a_farewell_the_safe_targets_are_set_or_not_as_it_was_told(tmp_path: Path) -> None:
    for restore in (True, False):
        agent = Process(tmp_path)
        agent.set_aside()
        agent.ask("bye", restore=restore)
        assert agent.end() == 0
        assert agent.targets() == (RESTORED if restore else ["g1 200000"])
        agent.sent.unlink()


def test_an_agent_that_set_nothing_undoes_nothing(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.ask("lease", seconds=60, safe_kib=SAFE)
    assert agent.end(hang_up=True) == 0
    assert not agent.sent.exists()


def test_there_is_one_agent_at_a_time_and_the_second_names_the_first(tmp_path: Path) -> None:
    first = Process(tmp_path)
    second = Process(tmp_path)
    assert str(first.process.pid) in second.said["error"]
    assert second.end() == BUSY
    assert first.ask("state")["total_kib"] == 2_000_000
    first.end(hang_up=True)
    third = Process(tmp_path)
    assert "ready" in third.said
    third.end(hang_up=True)


def killed(agent: Process, lease_s: float) -> float:
    """Kill an agent that has set something aside; returns when its lease ends."""
    agent.set_aside()
    agent.ask("lease", seconds=lease_s)
    ends_s = time.monotonic() + lease_s
    agent.process.kill()
    assert agent.end() == -signal.SIGKILL
    return ends_s


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline_s = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return true()


def test_when_the_agent_is_killed_its_heir_sets_the_safe_targets_at_the_end_of_the_lease(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    ends_s = killed(agent, 2.0)
    assert agent.targets() == ["g1 200000"]
    assert eventually(lambda: agent.targets() == RESTORED)
    assert time.monotonic() >= ends_s - 0.1
    assert f"agent {agent.process.pid} was killed; safe targets: to be set" in agent.log.read_text()


def test_the_heir_of_an_agent_that_was_replaced_does_nothing(tmp_path: Path) -> None:
    first = Process(tmp_path)
    ends_s = killed(first, 2.0)
    second = Process(tmp_path)
    assert "ready" in second.said, "the place is free: the heir has no lock"
    assert second.end(hang_up=True) == 0
    time.sleep(max(0.0, ends_s - time.monotonic()) + 1.0)
    assert first.targets() == ["g1 200000"], "whoever led since has decided"


def test_an_agent_whose_heir_was_killed_goes_on(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    agent.set_aside()
    agent.ask("lease", seconds=50)
    assert agent.end(hang_up=True) == 0
    assert agent.targets() == RESTORED


def test_nobody_inherits_from_an_agent_that_has_ended_by_itself(tmp_path: Path) -> None:
    agent = Process(tmp_path)
    agent.set_aside()
    agent.ask("lease", seconds=0.3)
    assert agent.end() == UNLED
    time.sleep(1.0)
    assert agent.targets() == RESTORED
