"""The service enters real machines by an account that may do nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.lab import access
from tests.e2e.conftest import Lived, changed, playbook
from tests.e2e.serving import serving, wanted
from tests.e2e.test_control import until, xl_list_mib

pytestmark = pytest.mark.lab

USER = "ballast-arbiter"
MACHINES = ("dom0", "g1")
"""One guest is enough: under emulation each task takes one half a minute."""


def played(lived: Lived, key: Path, *more: str, machines: Sequence[str] = MACHINES) -> dict[str, int]:
    """Run the playbook that makes the account on some machines; how much it changed on each."""
    inventory = ["-i", str(lived.lab.inventory), "--limit", ",".join(machines)]
    done = playbook("playbooks/access.yml", *inventory, "-e", f"access_key_file={key}.pub", *more)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return changed(done.stdout)


def entered(lived: Lived, machine: str, key: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """What comes of it where somebody with the key asks for something else."""
    command = access.ssh_command(lived.lab, machine)
    command[command.index("-i") + 1] = str(key)
    command[-1] = f"{USER}@{command[-1].partition('@')[2]}"
    return subprocess.run([*command, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def test_the_service_balances_by_an_account_that_may_do_nothing_else(lived: Lived, tmp_path: Path) -> None:
    lived.restore()
    key, dom0 = tmp_path / "key", lived.site.dom0
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    assert min(played(lived, key).values()) > 0
    assert played(lived, key, machines=["dom0"]) == {"dom0": 0}
    for machine in MACHINES:
        for words in (["id"], ["sudo", "-n", "id"]):
            refused = entered(lived, machine, key, *words)
            assert (refused.returncode != 0, refused.stdout) == (True, ""), machine
            assert "this key may start nothing but" in refused.stderr, machine
    login = {"user": USER, "key_file": str(key), "known_hosts": str(dom0.known_hosts)}
    guests = wanted(lived)["guests"][:1]
    with serving(lived, tmp_path, login=login, guests=guests, pool_mib=330) as service:
        until(lambda: service.balanced().get("g1", 0) > 325, 120, "g1 has all of its pool")
        assert xl_list_mib(lived)["g1"] > 325
    played(lived, key, "-e", "access_state=absent", machines=["dom0"])
    assert "Permission denied" in entered(lived, "dom0", key, "id").stderr
    assert "uid=" not in lived.ask("dom0", f"id {USER} 2>&1 || true")
