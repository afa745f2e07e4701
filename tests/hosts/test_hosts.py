"""From a plain Debian server to a balanced Xen host and back, by the playbooks alone (`scripts/test --hosts`).

Hours, since every processor here is emulated. BALLAST_HOST names the server (tests/hosts/plain.py). With BALLAST_HOSTS
set to the inventory of one that runs already, tests can be chosen one by one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.records import read_run
from tests.e2e.conftest import changed
from tests.hosts import plain

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TWO = PROJECT / "tests" / "hosts" / "two.yml"
KIND = plain.KINDS[os.environ.get("BALLAST_HOST", "bookworm")]
LONGEST_S = 3 * 3600.0
NETWORK = "sha256sum /etc/network/interfaces 2>/dev/null; ls /etc/systemd/network"
LOOK = (
    "dpkg-query --show | sha256sum; ip -br link | cut -c1-30; command -v lvs >/dev/null && lvs; "
    "sha256sum /etc/network/interfaces 2>/dev/null; ls -I xen /etc/default/grub.d /etc/systemd/network /var/lib"
)
"""Of /var/lib/xen the packages themselves leave something."""
BACK = ["-e", "teardown_hosts=true", "-e", "xen_host_remove_disks=true"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The machine, and what a person would do with it."""

    inventory: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of this checkout, with the server's inventory."""
        argv = [*map(str, command), "-i", str(self.inventory)]
        return subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LONGEST_S)

    def play(self, playbook: str, *options: str) -> str:
        """Run a playbook on it; what it printed, its long lines joined."""
        done = self.run(BIN / "ansible-playbook", f"playbooks/{playbook}.yml", "-e", f"experiment={TWO}", *options)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return joined(done.stdout)

    def ask(self, words: str) -> str:
        """Run a shell's words on the server."""
        done = self.run(BIN / "ansible", "xen1", "-e", "ansible_ssh_use_tty=false", "-m", "raw", "-a", words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.partition("\n")[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if there := os.environ.get("BALLAST_HOSTS"):
        yield Server(inventory=Path(there))
        return
    with plain.running(KIND, tmp_path_factory.mktemp("server")) as inventory:
        server = Server(inventory=inventory)
        if KIND.volume_group:
            server.ask(f"vgcreate -q {KIND.volume_group} /dev/vdb")
        yield server


def joined(printed: str) -> str:
    """What Ansible printed, without the breaks that it makes in long lines."""
    return re.sub(r"\n {4,}", " ", printed)


@pytest.fixture(scope="module")
def before(server: Server) -> str:
    """What the server was like before anything was done to it; kept, for tests that are chosen one by one."""
    kept = server.inventory.with_name("before")
    if not kept.exists():
        kept.write_text(server.ask(LOOK))
    return kept.read_text()


def test_a_preview_changes_nothing(server: Server, before: str) -> None:
    previewed = server.play("provision", "--check")
    assert "ens3 becomes a port of xenbr0" in previewed
    assert server.ask(LOOK) == before


CUT_OFF = (
    "systemd-run --unit=cut-off sh -c 'until ip link show xenbr0; do sleep 1; done; "
    "while ip link show xenbr0; do ip address flush dev xenbr0; sleep 1; done'"
)
"""As long as there is a bridge, it has no address."""


def test_a_bridge_over_which_it_does_not_answer_is_taken_back(server: Server) -> None:
    network = server.ask(f"ip -br link | cut -c1-30; {NETWORK}")
    server.ask(CUT_OFF)
    variables = '{"xen_host_bridge_undo_s": 120, "xen_host_reboot": false}'
    stopped = server.run(
        BIN / "ansible-playbook", "playbooks/provision.yml", "-e", f"experiment={TWO}", "-e", variables
    )
    assert stopped.returncode != 0
    assert "did not answer over xenbr0, and all was taken back" in joined(stopped.stdout), stopped.stdout[-4000:]
    assert server.ask(f"ip -br link | cut -c1-30; {NETWORK}") == network
    assert server.ask("systemctl is-active cut-off || true").strip() in ("inactive", "failed")


def test_without_leave_it_is_not_booted(server: Server) -> None:
    provision = ["playbooks/provision.yml", "-e", f"experiment={TWO}", "-e", '{"xen_host_reboot": false}']
    stopped = server.run(BIN / "ansible-playbook", *provision)
    assert stopped.returncode != 0
    assert "What is left: boot it" in joined(stopped.stdout), stopped.stdout[-4000:]


def test_it_boots_xen_has_guests_and_an_experiment_runs_on_them(server: Server, tmp_path: Path) -> None:
    done = server.run(PROJECT / "scripts" / "run-experiment", TWO, "-e", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (folder,) = (tmp_path / "two").iterdir()
    trials = read_run(folder).trials
    assert set(trials.status) == {"ok"}
    assert set(trials.label) == {"static", "two-state"}
    assert (folder / "report.pdf").exists()


def test_the_doctor_finds_nothing_wrong_with_it(server: Server) -> None:
    examined = server.run(BIN / "ballast", "doctor", "--no-lab", "--experiment", TWO)
    assert examined.returncode == 0, examined.stdout + examined.stderr
    assert f"xen1: Xen {KIND.xen}" in examined.stdout


def test_a_second_time_nothing_changes(server: Server) -> None:
    again = changed(server.play("provision"))
    assert {name: again[name] for name in ("xen1", "g1", "g2")} == {"xen1": 0, "g1": 0, "g2": 0}


def test_a_preview_of_the_teardown_takes_nothing_back(server: Server) -> None:
    previewed = server.play("teardown", *BACK, "--check")
    assert "xen-system-amd64" in previewed
    assert "xenbr0" in server.ask("ip -br link")
    assert server.ask("xl list | wc -l").strip() == "4"


def test_all_of_it_is_taken_back_and_plain_linux_boots(server: Server, before: str) -> None:
    undone = server.play("teardown", *BACK)
    assert "Left: Xen runs until the next boot." in undone
    booted = server.run(BIN / "ansible", "xen1", "-m", "reboot", "-a", f"reboot_timeout={plain.BOOT_S:.0f}")
    assert booted.returncode == 0, booted.stdout
    assert server.ask("cat /sys/hypervisor/type 2>/dev/null || echo none").strip() == "none"
    assert server.ask(LOOK) == before
    assert changed(server.play("teardown", *BACK))["xen1"] == 0
