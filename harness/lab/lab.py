"""One lab: its disks, its snapshot, the QEMU that runs it, and the way in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.lab import inventory, qemu
from harness.lab.held import LOCK
from harness.lab.image import PROJECT, Image, LabError, cache_root, locked, obtain
from harness.lab.room import require_memory
from harness.lab.shape import Clock, Shape

KEEPER = "harness.lab.keeper"
MEMORY = "memory"
"""The machine's memory when it had been provisioned; a name in the lab's folder, where QEMU runs."""
DISKS = ("dom0.qcow2", "base.qcow2")
"""dom0's own, and the image from which the guests' disks in its memory are made."""
START_S = 60.0
AT_REST = "at-rest"
"""A file in the lab's folder: it stands still at its snapshot, and nobody has used it yet."""
END_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A running lab, as `state.json` tells it."""

    keeper: int
    """The process that holds QEMU."""
    owner: int
    """The process with which it ends; 0: none."""
    command: tuple[str, ...]
    """QEMU's command line, without where it starts from."""
    accelerator: str
    why: str
    memory_mib: int
    ports: dict[str, int]
    """Machine → port on 127.0.0.1."""
    clock: Clock
    terms: dict[str, Any]
    """What the experiment says of the lab: its processor and its disks."""
    guest_percent: int
    """The part of the processor that each guest has; 0: what it gets."""


class Lab:
    """The lab in one folder. Cheap to make; nothing runs before `up`.

    `run/` has the disks that are written. When the lab has been provisioned they become `frozen/`, beside them the
    machine's memory in `memory`, and neither is ever written again: every start lays new disks over them. So all
    trials meet the same machine, and whatever kills QEMU can damage nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, shape: Shape) -> Lab:
        """The lab of this shape, whether it has been built or not."""
        return cls(cache_root() / "labs" / shape.key())

    @classmethod
    def running(cls) -> tuple[Lab, ...]:
        """The labs that are up on this machine: none, one, or those of an experiment on several hosts."""
        labs = (cls(path.parent) for path in sorted((cache_root() / "labs").glob("*/state.json")))
        return tuple(lab for lab in labs if lab.state() is not None)

    @property
    def inventory(self) -> Path:
        """The Ansible inventory of the running lab."""
        return self.folder / inventory.FILE

    @property
    def provisioned(self) -> bool:
        """Whether there is a snapshot of this lab, taken when it had been provisioned."""
        return (self.folder / "frozen").is_dir()

    def state(self) -> State | None:
        """What runs, or None."""
        try:
            state = State(**json.loads((self.folder / "state.json").read_text()))
            words = Path(f"/proc/{state.keeper}/cmdline").read_bytes()
        except (OSError, ValueError, TypeError):
            return None
        return state if KEEPER.encode() in words else None

    def up(
        self,
        shape: Shape,
        say: Callable[[str], None],
        owner: int | None,
        *,
        at_rest: bool = False,
        beside: Iterable[Shape] = (),
    ) -> State:
        """Start the lab (from its snapshot if there is one) and return when QEMU answers; dom0 may still be booting.

        Args:
            shape: what to build it from.
            say: takes lines of progress.
            owner: the process with which the lab ends; None: it stays up until `down`.
            beside: what else of the same experiment may be up.
            at_rest: one with a snapshot stands still there until `wake` or `restore`, and is not waited for.

        Raises:
            LabError: it cannot be started; the message says what to do.

        """
        if self.state() is None:
            require_memory([shape])
        image = obtain(shape.image, say)
        with locked(self.folder):
            if (state := self.state()) is not None:
                return state
            friends = {Lab.of(each).folder for each in beside}
            if others := [lab.folder.name for lab in Lab.running() if lab.folder not in friends]:
                raise LabError(f"another lab is up ({', '.join(others)}). End it with: ballast lab down")
            if not self.provisioned:
                self._make_disks(image)
            accelerator = self._accelerator(shape, image)
            say(f"accelerator: {accelerator.name} ({accelerator.why})")
            return self._start(shape, image, accelerator, owner, at_rest=at_rest and self.provisioned)

    def _make_disks(self, image: Image) -> None:
        run = self._empty_run()
        for disk in DISKS:
            _overlay(run / disk, image.base)

    @staticmethod
    def _accelerator(shape: Shape, image: Image) -> qemu.Accelerator:
        if shape.shift is None:
            return qemu.choose_accelerator(image, svm=shape.svm)
        why = f"the lab's time is instructions, {shape.terms.processor_mips:g} million a second"
        return qemu.Accelerator(name="tcg", why=why, shift=shape.shift, svm=shape.svm)

    def _empty_run(self) -> Path:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        return run

    def _start(
        self, shape: Shape, image: Image, accelerator: qemu.Accelerator, owner: int | None, *, at_rest: bool
    ) -> State:
        names = [shape.host, *(guest.name for guest in shape.guests)]
        addresses = [qemu.DOM0_IP, *(qemu.guest_ip(index) for index in range(len(shape.guests)))]
        ports = inventory.free_ports(len(names))
        disks = [Path("run") / disk for disk in DISKS]
        forwards = dict(zip(ports, addresses, strict=True))
        memory = qemu.Memory(total_mib=shape.memory_mib, dom0_mib=shape.dom0_mib)
        command = qemu.arguments(image, accelerator, memory, disks, forwards, shape.words())
        state = State(
            keeper=0, owner=owner or 0, command=tuple(command), accelerator=accelerator.name, why=accelerator.why,
            memory_mib=shape.memory_mib, ports=dict(zip(names, ports, strict=True)), clock=shape.clock,
            terms=shape.terms.model_dump(mode="json"), guest_percent=shape.guest_percent,
        )  # fmt: skip
        inventory.write(self.folder, shape, image, state.ports)
        return self._launch(state, at_rest=at_rest)

    def _launch(self, state: State, *, at_rest: bool = False) -> State:
        """Start QEMU under a keeper: from the snapshot if there is one, else from the beginning."""
        command = list(state.command)
        if self.provisioned:
            run = self._empty_run()
            for disk in (self.folder / "frozen").glob("*.qcow2"):
                _overlay(run / disk.name, disk)
            command += ["-incoming", f"exec:cat {MEMORY}"]
        for stale in ("qmp.sock", qemu.KEEPER_SOCKET, "console.sock", "console.log", "failed", LOCK, AT_REST):
            (self.folder / stale).unlink(missing_ok=True)
        if at_rest:
            (self.folder / AT_REST).touch()
        keeper = [sys.executable, "-m", KEEPER, str(self.folder), str(state.owner), *command]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        with (self.folder / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                keeper, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        state = replace(state, keeper=process.pid)
        (self.folder / "state.json").write_text(json.dumps(asdict(state)))
        # Were it ours to wait for, it would stay a zombie when it ends before us.
        threading.Thread(target=process.wait, daemon=True, name="keeper").start()
        if not at_rest:
            self._await_qemu()
        return state

    def wake(self) -> bool:
        """Let a lab go on that stands still at its snapshot since it was started; False when this one does not.

        Raises:
            LabError: it did not start.

        """
        if self.state() is None or not (self.folder / AT_REST).exists():
            return False
        (self.folder / AT_REST).unlink()
        self._await_qemu()
        return True

    def _await_qemu(self) -> None:
        """Wait until QEMU runs the machine."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s and not (self.folder / "failed").exists():
            time.sleep(0.1)
            with suppress(OSError), qemu.monitor(self.folder) as session:
                status = session.execute("query-status")["status"]
                if status == "paused":  # as it was when its memory was written
                    session.execute("cont")
                if status in ("paused", "running"):
                    return
        said = (self.folder / "qemu.log").read_text()[-2000:]
        self.down()
        raise LabError(f"QEMU did not start. It said:\n{said}\nTo build this lab anew: ballast lab forget EXPERIMENT")

    def seal(self) -> None:
        """Keep the machine as it is now: every later start and every trial begins here. It is restarted from there.

        Raises:
            LabError: it is not up, or has been sealed already.

        """
        state = self.state()
        if state is None or self.provisioned:
            raise LabError("only a lab that is up and has no snapshot yet can be sealed")
        with qemu.monitor(self.folder) as session:
            session.execute("stop")
            session.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            session.execute("migrate", uri=f"exec:cat > {MEMORY}")
            while (status := session.execute("query-migrate")["status"]) != "completed":
                if status in ("failed", "cancelled"):
                    raise LabError(
                        f"the machine's memory could not be written to {self.folder / MEMORY}; is the disk full?"
                    )
                time.sleep(0.1)
        self.down()
        (self.folder / "run").rename(self.folder / "frozen")
        self._launch(state)

    def restore(self) -> None:
        """Go back to the snapshot. SSH connections are gone afterwards, and the machine's wall clock is old.

        A new QEMU is started, unless it has not left there: one that had run on would not let the processor's time
        stamp go back.

        Raises:
            LabError: it is not up, or has no snapshot.

        """
        state = self.state()
        if state is None or not self.provisioned:
            raise LabError("only a lab that is up and has a snapshot can go back to it")
        if self.wake():
            return
        self.down()
        self._launch(state)

    def down(self) -> bool:
        """End the lab (its snapshot stays); False when it was not up."""
        state = self.state()
        if state is None:
            return False
        os.kill(state.keeper, signal.SIGTERM)
        deadline_s = time.monotonic() + END_S
        while self.state() is not None:
            if time.monotonic() > deadline_s:
                raise LabError(f"the lab's process {state.keeper} does not end")
            time.sleep(0.05)
        return True

    def forget(self) -> None:
        """Remove the lab's disks and snapshot; the image stays."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)


def _overlay(path: Path, backing: Path) -> None:
    """Make a disk that holds only what differs from another."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "qcow2", str(path)]
    subprocess.run(command, check=True)
