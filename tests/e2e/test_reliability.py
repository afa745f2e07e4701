"""What breaks around the arbiter, one after the other, while it balances real guests (docs/reliability.md).

After each fault both guests are balanced again with what they had, neither has killed for want of memory, and nobody is
blamed who did not do it. With `BALLAST_KEEP=1` what was measured goes to docs/measured/reliability.csv.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.xen.host import LEASE_S
from tests.e2e.conftest import PROJECT, SMOKE, Lived
from tests.e2e.serving import Service, serving
from tests.e2e.test_control import SAFE_KIB, until, xl_list_mib

pytestmark = pytest.mark.lab

MEASURED = PROJECT / "docs" / "measured" / "reliability.csv"
WHOLE_S = 180.0
LATER = "nohup sh -c 'sleep 1; {}' >/dev/null 2>&1 &"
"""In a shell that may not wait for it: what it does ends the connection over which it was asked."""
SESSIONS = 'pkill -KILL -f "^sshd: root"'
AGENT = "kill -KILL $(cat /run/ballast-agent.lock)"
LOOPS = "for i in 1 2 3 4; do timeout 20 sh -c 'while :; do :; done' & done; wait"
FLOOD = (
    "mv /usr/bin/perl /usr/bin/perl.own; printf '#!/bin/sh\\nexec yes\\n' >/usr/bin/perl; chmod +x /usr/bin/perl; "
    "pkill -KILL -f '^perl - '; sleep 20; mv /usr/bin/perl.own /usr/bin/perl; pkill -KILL -x yes"
)
"""In place of samples the guest says one thing without end."""


class Trouble(NamedTuple):
    """A fault: where it is done, with which command, and the event that it must leave behind, if any."""

    name: str
    where: str
    command: str
    event: str = ""


TROUBLES = (
    Trouble("a guest's sampler is killed", "g1", "pkill -KILL -f '^perl - '", "sampler_ended g1"),
    Trouble("a guest's SSH sessions are killed", "g2", LATER.format(SESSIONS), "disconnected g2"),
    Trouble("a guest floods its connection for 20 s", "g2", FLOOD, "bad_line g2"),
    Trouble("dom0's SSH sessions are killed", "dom0", LATER.format(SESSIONS), "host_lost"),
    Trouble("dom0's agent is killed", "dom0", AGENT, "host_lost"),
    Trouble("four endless loops in dom0 for 20 s", "dom0", LOOPS),
    Trouble("dom0's clock is set back by an hour", "dom0", "date -s '-1 hour'"),
    Trouble("a guest is paused for 15 s", "dom0", "xl pause g2; sleep 15; xl unpause g2"),
)


def whole(lived: Lived, service: Service, before_mib: dict[str, int]) -> bool:
    """Whether both guests take part, and have what they had."""
    return set(service.balanced()) == {"g1", "g2"} and all(
        abs(xl_list_mib(lived)[name] - before_mib[name]) <= 2 for name in SAFE_KIB
    )


def news_of(service: Service, known: int) -> str:
    return "\n".join(service.events()[known:])


def says(news: Callable[[], str], event: str) -> bool:
    return event in news()


def oom_kills(lived: Lived) -> int:
    return sum(int(lived.ask(name, "sed -n 's/^oom_kill //p' /proc/vmstat")) for name in SAFE_KIB)


def test_nobody_suffers_from_what_breaks_around_the_arbiter(lived: Lived, tmp_path: Path) -> None:
    lived.restore()
    measured = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with serving(lived, tmp_path / "first") as service:
        until(lambda: min(service.balanced().values(), default=0) > 315, 120, "each has half of the pool")
        before_mib = xl_list_mib(lived)
        for trouble in TROUBLES:
            known, began_s = len(service.events()), time.monotonic()
            lived.ask(trouble.where, trouble.command)
            news = partial(news_of, service, known)
            until(partial(says, news, trouble.event), WHOLE_S, f"{trouble.name}: {trouble.event}")
            until(lambda: whole(lived, service, before_mib), WHOLE_S, f"{trouble.name}: all is as before")
            assert "does not follow" not in news(), trouble.name
            assert oom_kills(lived) == 0, trouble.name
            measured.append((trouble.name, round(time.monotonic() - began_s, 1)))
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(30)
        began_s = time.monotonic()
        with serving(lived, tmp_path / "second") as second:
            until(lambda: whole(lived, second, before_mib), WHOLE_S, "the next service goes on, and moves nothing")
            measured.append(("the service is killed and started again", round(time.monotonic() - began_s, 1)))
            assert "does not follow" not in news_of(second, 0)
    keep(measured)


def test_when_controller_and_agent_are_killed_dom0_sets_the_safe_targets(lived: Lived) -> None:
    """The controller is stopped first, so that it cannot send another agent."""
    lived.restore()
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER], cwd=SMOKE.parents[2], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        try:
            assert controller.stdout.readline() == "applied\n"
            until(lambda: xl_list_mib(lived)["g2"] == 220, 90, "g2 at its target")
            controller.send_signal(signal.SIGSTOP)
            lived.ask("dom0", AGENT)
            began_s = time.monotonic()
            assert xl_list_mib(lived)["g2"] == 220
            until(lambda: xl_list_mib(lived)["g2"] == SAFE_KIB["g2"] // 1024, 120, "g2 at its safe target")
            keep([("controller and agent are killed", round(time.monotonic() - began_s, 1))])
            said = lived.ask("dom0", "cat", "/run/ballast-agent.log")
            assert "was killed; safe targets: to be set" in said
        finally:
            controller.kill()


CONTROLLER = f"""
import time
from tests.e2e.test_control import host, plan
from tests.e2e.conftest import SMOKE, Lived
from harness.experiment.files import load_experiment
xen = host(Lived(experiment=load_experiment(SMOKE)), lease_s={LEASE_S})
xen.start()
xen.apply(plan(g2=220 * 1024))
print('applied', flush=True)
while True:
    time.sleep(1)
    xen.renew_lease()
"""


def keep(rows: list[tuple[str, float]]) -> None:
    """Add what was measured to the kept figures, if that is wanted."""
    if not os.environ.get("BALLAST_KEEP"):
        return
    known = dict(csv.reader(MEASURED.read_text().splitlines()[1:])) if MEASURED.exists() else {}
    known |= {name: str(seconds) for name, seconds in rows}
    with MEASURED.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("fault", "whole_again_s"), *known.items()])
