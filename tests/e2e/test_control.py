"""What keeps the guests safe when something ends that should not: on real Xen, with real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.experiment import runner
from harness.experiment.site import from_inventory
from harness.governor import Governor, Limits, Plan, Step
from harness.policies import make
from harness.progress import Progress
from harness.records import RunFolder, read_run
from harness.xen.client import GuestClient
from harness.xen.host import XenHost
from harness.xen.source import Terms, XenSource
from harness.xen.ssh import ConnectionFailed, connect
from tests.e2e.conftest import SMOKE, Lived

pytestmark = pytest.mark.lab

SAFE_KIB = {"g1": 288 * 1024, "g2": 288 * 1024}


def until(true: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait for something to become true."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.2)


def xl_list_mib(lived: Lived) -> dict[str, int]:
    """What `xl list` says that each domain has."""
    rows = [line.split() for line in lived.ask("dom0", "xl", "list").splitlines()[1:]]
    return {row[0]: int(row[2]) for row in rows}


def host(lived: Lived, **options: float) -> XenHost:
    return XenHost(lived.site.dom0, lived.site.guests, safe_kib=SAFE_KIB, **options)


def plan(**targets_kib: int) -> Plan:
    steps = tuple(
        Step(guest=guest, from_kib=0, target_kib=kib, asked_kib=kib, reason="test")
        for guest, kib in targets_kib.items()
    )
    return Plan(steps=steps, held={})


def test_what_the_arbiter_reads_back_is_what_xl_list_says(lived: Lived) -> None:
    lived.restore()
    with host(lived) as xen:
        assert xen.apply(plan(g2=240 * 1024)).failed == {}
        until(lambda: xen.state().domains["g2"].current_kib <= 240 * 1024, 90, "g2 at 240 MiB")
        told = {name: round(domain.current_kib / 1024) for name, domain in xen.state().domains.items()}
        assert {name: mib for name, mib in told.items() if name in SAFE_KIB} == {
            name: mib for name, mib in xl_list_mib(lived).items() if name in SAFE_KIB
        }
    until(lambda: xl_list_mib(lived)["g2"] == 288, 90, "g2 back at its safe target")


def test_dom0_sets_the_safe_targets_when_the_controller_is_killed(lived: Lived) -> None:
    lived.restore()
    code = (
        "import time\n"
        "from tests.e2e.test_control import host, plan\n"
        "from tests.e2e.conftest import SMOKE, Lived\n"
        "from harness.experiment.files import load_experiment\n"
        "xen = host(Lived(experiment=load_experiment(SMOKE)))\n"
        "xen.start()\n"
        "xen.apply(plan(g2=220 * 1024))\n"
        "print('applied', flush=True)\n"
        "time.sleep(600)\n"
    )
    project = SMOKE.parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=project, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "applied\n"
        until(lambda: xl_list_mib(lived)["g2"] == 220, 90, "g2 at its target")
        controller.send_signal(signal.SIGKILL)
    until(lambda: xl_list_mib(lived)["g2"] == 288, 90, "g2 at its safe target, set by dom0")


def test_dom0_sets_the_safe_targets_when_the_lease_runs_out(lived: Lived) -> None:
    lived.restore()
    with host(lived, lease_s=3.0) as xen:
        xen.apply(plan(g2=230 * 1024))
        until(lambda: xl_list_mib(lived)["g2"] in (230, 288), 90, "g2 moved")
        until(lambda: xl_list_mib(lived)["g2"] == 288, 90, "g2 at its safe target without a word from us")


def test_a_paused_guest_is_seen_and_left_out_until_it_runs_again(lived: Lived) -> None:
    lived.restore()
    terms = {name: Terms(min_kib=160 * 1024, max_kib=480 * 1024) for name in SAFE_KIB}
    governor = Governor(Limits(period_s=4.0))  # of the controller's seconds, which a lab beside others fills slowly
    with ExitStack() as stack:
        clients = [stack.enter_context(GuestClient(machine, period_s=0.5)) for machine in lived.site.guests]
        assert all(client.wait_for_sample(60) for client in clients)
        source = XenSource(stack.enter_context(host(lived)), clients, terms, reserve_kib=0, pool_kib=576 * 1024)

        def left_out() -> dict[str, str]:
            view = source.view()
            plan = governor.plan(view, make("static").decide(governor.fresh(view)))
            return {name: reason for name, reason in plan.held.items() if reason.startswith("left out")}

        assert left_out() == {}
        lived.ask("dom0", "xl", "pause", "g2")
        try:
            until(lambda: source.view().paused.tolist() == [0, 1], 30, "Xen says that g2 is paused")
            assert left_out() == {"g2": "left out: paused"}
            time.sleep(14)  # longer than three periods: it is still the pause that is told, not the silence
            assert left_out() == {"g2": "left out: paused"}
        finally:
            lived.ask("dom0", "xl", "unpause", "g2")
        until(lambda: left_out() == {}, 90, "g2 takes part again")


def test_a_guest_that_is_capped_cannot_grow_until_its_next_target(lived: Lived) -> None:
    lived.restore()
    with host(lived) as xen:
        xen.apply(plan(g2=240 * 1024))
        until(lambda: xen.state().domains["g2"].current_kib <= 240 * 1024, 90, "g2 at 240 MiB")
        assert xen.apply(replace(plan(g2=280 * 1024), caps_kib={"g2": 250 * 1024})).failed == {}
        time.sleep(5)
        assert xen.state().domains["g2"].current_kib <= 250 * 1024
        xen.apply(plan(g2=280 * 1024))
        until(lambda: xen.state().domains["g2"].current_kib >= 279 * 1024, 90, "g2 at 280 MiB")


def test_a_machine_with_another_host_key_is_refused(lived: Lived, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    kind, key = (tmp_path / "other.pub").read_text().split()[:2]
    dom0 = lived.site.dom0
    (tmp_path / "known_hosts").write_text(f"[{dom0.address}]:{dom0.port} {kind} {key}\n")
    with pytest.raises(ConnectionFailed, match="host key"):
        connect(replace(dom0, known_hosts=tmp_path / "known_hosts"))


def test_the_sampler_keeps_talking_and_forks_nothing(lived: Lived) -> None:
    lived.restore()
    with GuestClient(lived.site.guests[0], period_s=0.5) as client:
        assert client.wait_for_sample(60)
        assert client.newest is not None
        first = client.newest.sample
        count = "grep ^processes /proc/stat"
        said = lived.ask("g1", f"{count}; sleep 10; {count}").split()
        assert client.newest.sample.seq - first.seq >= 10
        assert client.wait_for_sample(60, after_s=time.monotonic())
        # Twenty samples later: `sleep`, the second `grep`, and what the kernel itself started.
        assert int(said[3]) - int(said[1]) < 10
        lived.ask("g1", "dd if=/dev/zero of=/run/shared bs=1M count=8 && sleep 2")
        assert client.newest.sample.shmem_kib - first.shmem_kib >= 8 * 1024
        lived.ask("g1", "rm", "/run/shared")


@contextmanager
def trials(lived: Lived, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Run short trials of the smoke experiment; whatever becomes of the test, they do not go on after it."""
    said = yaml.safe_load(SMOKE.read_text())
    said |= {"policies": ["static", "two-state"], "shadows": [], "repeat_baseline": False, "duration_s": 40}
    (out / "smoke.yml").write_text(yaml.safe_dump(said))
    command = [sys.executable, "-m", "harness", "trials", str(out / "smoke.yml"), f"--inventory={lived.lab.inventory}"]
    with subprocess.Popen(
        [*command, "--out", str(out)], cwd=SMOKE.parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ticks(out: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in out.glob("smoke/*/trials/*/decisions.jsonl"))


def test_a_run_that_was_killed_goes_on_and_one_that_was_stopped_is_safe(lived: Lived, tmp_path: Path) -> None:
    with trials(lived, tmp_path) as killed:
        until(lambda: ticks(tmp_path) >= 3, 240, "a trial in flight")
        killed.kill()
        killed.communicate()

    with trials(lived, tmp_path) as stopped:
        until(lambda: ticks(tmp_path) >= 5, 240, "the same trial in flight again")
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, said
    assert "goes on" in said
    assert {name: xl_list_mib(lived)[name] for name in SAFE_KIB} == {"g1": 288, "g2": 288}

    with trials(lived, tmp_path) as last:
        printed, said = last.communicate(timeout=900)
    assert last.returncode == 0, said
    (folder,) = (tmp_path / "smoke").iterdir()
    assert Path(printed.strip()) == folder
    run = read_run(folder)
    assert RunFolder.open(folder).finished() == {(1, 1), (1, 2)}
    assert set(run.trials.status) == {"ok"}
    assert "attempt_discarded" in set(run.events.event)


def test_a_host_of_ones_own_has_no_snapshot_and_ends_at_the_initial_split(lived: Lived, tmp_path: Path) -> None:
    inventory = yaml.safe_load(lived.lab.inventory.read_text())
    for group in inventory.values():
        for machine in group["hosts"].values():
            machine.pop("ballast_lab")
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(inventory))
    own = lived.experiment.model_copy(update={"policies": lived.experiment.policies[1:]})
    site = from_inventory([tmp_path / "mine.yml"], own)
    assert site.lab is None

    lived.restore()
    before = lived.ask("g1", "cat", "/proc/sys/kernel/random/boot_id")
    done = runner.run(own, {"": site}, tmp_path, Progress(lambda _: None))
    assert done.failed == 0
    assert read_run(done.folder).manifest["xen"]["lab"] is False
    assert lived.ask("g1", "cat", "/proc/sys/kernel/random/boot_id") == before
    until(lambda: {name: xl_list_mib(lived)[name] for name in SAFE_KIB} == {"g1": 288, "g2": 288}, 90, "initial split")
    assert "mono.py" not in lived.ask("g1", "ps", "ax")
