"""One lab for all tests of a process: built and provisioned by the playbooks, as a user does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.experiment.config import Experiment
from harness.experiment.files import load_experiment
from harness.experiment.site import Site, from_inventory
from harness.lab import access
from harness.lab.image import cache_root
from harness.lab.lab import Lab

PROJECT = Path(__file__).parents[2]
SMOKE = PROJECT / "tests" / "e2e" / "smoke.yml"
BIN = Path(sys.executable).parent
SHARED = ("images", "servers")
"""What is made once, whoever runs tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """The lab, up and provisioned for an experiment. A playbook may begin it anew: then its ports are others."""

    experiment: Experiment
    sites: dict[str, Site] = field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        """The lab that is up now."""
        (lab,) = Lab.running()
        return lab

    @property
    def site(self) -> Site:
        """How its machines are reached now."""
        inventory = self.lab.inventory
        if (text := inventory.read_text()) not in self.sites:
            self.sites[text] = from_inventory([inventory], self.experiment)
        return self.sites[text]

    def ask(self, machine: str, *command: str) -> str:
        """Run a command on a machine of the lab and return what it prints."""
        argv = [*access.ssh_command(self.lab, machine), *command]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout

    def restore(self) -> None:
        """Put the lab back to its snapshot, and wait until all of it answers."""
        self.lab.restore()
        state = self.lab.state()
        assert state is not None
        access.wait(state.ports, lambda _: None)


def playbook(*arguments: str, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the checkout, as a user does."""
    command = [str(BIN / "ansible-playbook"), *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=timeout_s)


def changed(printed: str) -> dict[str, int]:
    """How much of each machine a playbook changed, by what it printed."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", printed, re.MULTILINE)}


def own_cache(name: str) -> Path:
    """Where a lab can be up beside another one; what is made once is shared."""
    cache = cache_root().resolve() / "tests" / name
    cache.mkdir(parents=True, exist_ok=True)
    for folder in SHARED:
        made = cache_root().resolve() / folder
        made.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (cache / folder).symlink_to(made)
    return cache


@pytest.fixture(scope="session", autouse=True)
def cache() -> Iterator[None]:
    """Give each process of `pytest -n` a lab of its own; the first has that of a user."""
    with pytest.MonkeyPatch.context() as patch:
        if (worker := os.environ.get("PYTEST_XDIST_WORKER", "gw0")) != "gw0":
            patch.setenv("BALLAST_CACHE", str(own_cache(worker)))
        yield


@contextmanager
def living(experiment: Path) -> Iterator[Lived]:
    """Bring the lab up and provision it for an experiment."""
    try:
        variables = ["-e", f"experiment={experiment}", "-e", "lab_keep=true"]
        done = playbook("playbooks/lab.yml", "playbooks/provision.yml", *variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        yield Lived(experiment=load_experiment(experiment))
    finally:
        for lab in Lab.running():
            lab.down()


@pytest.fixture(scope="session")
def lived() -> Iterator[Lived]:
    """The lab of the smoke experiment; it stays up for all tests."""
    with living(SMOKE) as made:
        yield made
