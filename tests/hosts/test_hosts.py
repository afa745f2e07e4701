"""From a plain Debian server to a balanced Xen host, by the playbooks alone (`scripts/test --hosts`)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.records import read_run
from tests.hosts import plain

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TWO = PROJECT / "tests" / "hosts" / "two.yml"
LONGEST_S = 3 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The machine, and what a person would do with it."""

    inventory: Path

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook on it."""
        command = [str(BIN / "ansible-playbook"), playbook, "-i", str(self.inventory), "-e", f"experiment={TWO}"]
        return subprocess.run(
            [*command, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )

    def ask(self, *words: str) -> str:
        """Run a command on the server."""
        command = [str(BIN / "ansible"), "xen1", "-i", str(self.inventory), "-m", "raw", "-a", " ".join(words)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=600).stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = plain.disk("networkd")
    with plain.running(made, tmp_path_factory.mktemp("server")) as inventory:
        yield Server(inventory=inventory)


def changed(printed: str) -> dict[str, int]:
    """How much of each machine a playbook changed."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", printed, re.MULTILINE)}


def test_a_preview_changes_nothing(server: Server) -> None:
    before = server.ask("dpkg-query --show | sha256sum; ip -br link; ls /etc/default/grub.d /var/lib")
    previewed = server.play("playbooks/provision.yml", "--check")
    assert previewed.returncode == 0, previewed.stdout[-4000:]
    assert "ens3 becomes a port of xenbr0" in previewed.stdout
    assert server.ask("dpkg-query --show | sha256sum; ip -br link; ls /etc/default/grub.d /var/lib") == before


def test_without_leave_it_is_not_booted(server: Server) -> None:
    stopped = server.play("playbooks/provision.yml", "-e", '{"xen_host_reboot": false}')
    assert stopped.returncode != 0
    assert "What is left: boot" in re.sub(r"\s+", " ", stopped.stdout)


def test_it_boots_xen_has_guests_and_an_experiment_runs_on_them(server: Server, tmp_path: Path) -> None:
    done = server.play("run-experiment.yml", "-e", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout[-6000:]
    (folder,) = (tmp_path / "two").iterdir()
    trials = read_run(folder).trials
    assert set(trials.status) == {"ok"}
    assert set(trials.label) == {"static", "two-state"}


def test_a_second_time_nothing_changes(server: Server) -> None:
    again = server.play("playbooks/provision.yml")
    assert again.returncode == 0, again.stdout[-4000:]
    assert {name: changed(again.stdout)[name] for name in ("xen1", "g1", "g2")} == {"xen1": 0, "g1": 0, "g2": 0}


def test_all_of_it_is_taken_back(server: Server) -> None:
    undone = server.play("playbooks/teardown.yml", "-e", "teardown_hosts=true", "-e", '{"xen_host_remove_disks": true}')
    assert undone.returncode == 0, undone.stdout[-4000:]
    assert "xen-system" not in server.ask("dpkg-query --show")
    assert "xenbr0" not in server.ask("ip -br link")
