"""How QEMU is called, and how it is spoken to (QEMU Machine Protocol)."""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.lab.image import Image, LabError, cache_root

QEMU = "qemu-system-x86_64"
DOM0_MIB = 320  # dom0 with some guests under load; measured
XEN_MIB = 32  # Xen itself, 9 MiB and what it keeps below 16; and the domain that is idle, 5 MiB
PER_GUEST_MIB = 8  # what Xen keeps for a PV guest beside its memory
DOM0_IP = "10.0.2.15"
FIRST_GUEST_IP = 101
PROBE_S = 20.0
EVENTS_KEPT = 64
KEEPER_SOCKET = "keeper.sock"
"""For the keeper; whoever works in the lab has qmp.sock, which takes one at a time."""
TRANSLATED_MIB = 1536
"""For code that TCG has translated. Seven guests fill 512 MiB within minutes, and then all of it is translated anew."""

PANIC_PORT = 0x505
"""Of QEMU's pvpanic device: who writes a 1 to it stops the machine at that very instruction."""
XEN_OPTIONS = (
    "dom0_max_vcpus=1 console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning "
    # With a lazily switched FPU, TCG loses vector registers across context switches: programs die at random.
    "spec-ctrl=eager-fpu xpti=false "
    # A guest that wakes up takes the processor at once from the domain that only keeps it from sleeping.
    "sched_ratelimit_us=100 "
    # Memory that nobody has used yet is not touched: neither time nor the snapshot's disk is spent on it.
    "bootscrub=false"
)
KERNEL_OPTIONS = "root=/dev/vda console=hvc0 mitigations=off quiet cryptomgr.notests rodata=off tsc=unstable"

PLAIN_CPU = "Nehalem,+rdrand"
"""Of TCG: a plain model without AVX, the second belt against lost vector registers."""
SVM_CPU = "Opteron_G3,+svm,+npt,+rdrand"
"""As plain, with AMD's virtualisation and its nested paging, which TCG emulates and Intel's it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """KVM or TCG, and why; with `shift`, TCG whose clock goes on by 2^shift ns an instruction."""

    name: str
    why: str
    shift: int | None = None
    svm: bool = False
    """Whether guests need AMD's virtualisation."""

    @property
    def arguments(self) -> list[str]:
        """The part of QEMU's command line that chooses it."""
        if self.name == "kvm":
            return ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
        model = ["-cpu", SVM_CPU if self.svm else PLAIN_CPU]
        if self.shift is None:
            return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATED_MIB}", *model, "-smp", "2"]
        # QEMU's manual has `sleep` the wrong way round: with it, time goes on at its own pace while no processor runs.
        clock = ["-icount", f"shift={self.shift},sleep=on", "-rtc", "clock=vm"]
        stop = ["-device", f"pvpanic,ioport={PANIC_PORT}", "-action", "panic=pause"]
        return ["-accel", f"tcg,thread=single,tb-size={TRANSLATED_MIB}", *model, "-smp", "1", *clock, *stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """MiB of the whole machine, and of it of dom0."""

    total_mib: int
    dom0_mib: int


def guest_ip(index: int) -> str:
    """The address of guest `index` (from 0) in QEMU's own network."""
    return f"10.0.2.{FIRST_GUEST_IP + index}"


def arguments(
    image: Image,
    accelerator: Accelerator,
    memory: Memory,
    disks: Sequence[Path],
    forwards: Mapping[int, str],
    words: str,
) -> list[str]:
    """The whole command line. `disks` become /dev/vda, vdb … of dom0; `forwards`: port on 127.0.0.1 → address inside.

    `words` are for dom0's kernel and boot script.

    To be run in the lab's folder, where the sockets and the console's log are made.
    """
    forwarded = ",".join(f"hostfwd=tcp:127.0.0.1:{port}-{ip}:22" for port, ip in forwards.items())
    command = [
        *_common(accelerator, memory, image, f"lab.name=dom0 lab.ip={DOM0_IP} {words}".rstrip()),
        "-chardev", "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log",
        "-serial", "chardev:console", "-qmp", "unix:qmp.sock,server=on,wait=off",
        "-qmp", f"unix:{KEEPER_SOCKET},server=on,wait=off",
        "-device", "virtio-net-pci,netdev=net0,romfile=", "-netdev", f"user,id=net0,restrict=on,{forwarded}",
    ]  # fmt: skip
    for index, disk in enumerate(disks):
        command += ["-drive", f"file={disk},if=none,id=disk{index},format=qcow2,cache=unsafe"]
        command += ["-device", f"virtio-blk-pci,drive=disk{index}"]
    return command


def _common(accelerator: Accelerator, memory: Memory, image: Image, kernel_words: str) -> list[str]:
    dom0 = f"dom0_mem={memory.dom0_mib}M,max:{memory.dom0_mib}M"
    modules = f"{image.folder / 'vmlinux'} {KERNEL_OPTIONS} {kernel_words},{image.folder / 'initramfs'}"
    return [
        QEMU, *accelerator.arguments, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-vga", "none", "-m", str(memory.total_mib),
        "-kernel", str(image.folder / "xen"), "-append", f"{dom0} {XEN_OPTIONS}", "-initrd", modules,
    ]  # fmt: skip


PROBED = Memory(total_mib=512, dom0_mib=DOM0_MIB)


def choose_accelerator(image: Image, *, svm: bool = False) -> Accelerator:
    """For a lab in real time: KVM if the lab's own kernel reaches user space under it, else TCG.

    The verdict is kept until anything changes. With `svm`, TCG: under KVM guests of guests depend on the processor and
    on what its owner allows.
    """
    if shutil.which(QEMU) is None:
        raise LabError(f"{QEMU} is not installed. scripts/run-experiment installs it (package qemu-system-x86).")
    if forced := os.environ.get("BALLAST_ACCELERATOR"):
        return Accelerator(name=forced, why="$BALLAST_ACCELERATOR says so", svm=svm)
    if svm:
        return Accelerator(name="tcg", why="it emulates the virtualisation that PVH guests need", svm=True)
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator(name="tcg", why="/dev/kvm is not there or not yours (group kvm)")
    flags = Path("/proc/cpuinfo").read_text().split()
    if "vmx" not in flags and "svm" not in flags:
        return Accelerator(name="tcg", why="the CPU shows no virtualisation extension (vmx, svm)")
    verdicts = cache_root() / "accelerator.json"
    machine = f"{platform.release()} {platform.version()} {image.folder.name} {_cpu_model()}"
    known = json.loads(verdicts.read_text()) if verdicts.exists() else {}
    if known.get("machine") != machine:
        known = {"machine": machine, "kvm": _kvm_boots(image)}
        verdicts.write_text(json.dumps(known))
    if known["kvm"]:
        return Accelerator(name="kvm", why="the lab's kernel boots under it")
    return Accelerator(
        name="tcg", why=f"/dev/kvm opens, but the lab's kernel did not boot under it within {PROBE_S:.0f} s"
    )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _kvm_boots(image: Image) -> bool:
    """Whether Xen and dom0's kernel, booted without any disk, come as far as the initramfs."""
    with tempfile.TemporaryDirectory() as folder:
        console = Path(folder) / "console"
        command = _common(Accelerator(name="kvm", why=""), PROBED, image, "lab.name=probe")
        command += ["-serial", f"file:{console}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as probe:
            deadline = time.monotonic() + PROBE_S
            try:
                while time.monotonic() < deadline and probe.poll() is None:
                    if console.exists() and b"lab: user space" in console.read_bytes():
                        return True
                    time.sleep(0.2)
            finally:
                probe.kill()
    return False


class Monitor:
    """A QMP session."""

    def __init__(self, path: Path, timeout_s: float = 60.0) -> None:
        self._rest, self._events, self._timeout_s = b"", deque[str](maxlen=EVENTS_KEPT), timeout_s
        with ExitStack() as opened:  # a QEMU that does not listen yet must not cost us a socket
            self._line = opened.enter_context(socket.socket(socket.AF_UNIX))
            self._line.settimeout(timeout_s)
            # A socket's path has at most 107 bytes; the folder's descriptor makes any folder short enough.
            with _folder(path.parent) as short:
                self._line.connect(f"{short}/{path.name}")
            self._next(timeout_s)  # the greeting
            self.execute("qmp_capabilities")
            self._opened = opened.pop_all()

    def execute(self, command: str, **parameters: object) -> Any:  # noqa: ANN401 - as JSON has it
        """Run a QMP command and return its answer; raises LabError when QEMU refuses."""
        self._line.sendall(json.dumps({"execute": command, "arguments": parameters}).encode() + b"\n")
        while (answer := self._next(self._timeout_s)) is not None:
            if "error" in answer:
                raise LabError(f"QEMU refuses {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]
        raise LabError(f"QEMU did not answer to {command} within {self._timeout_s:.0f} s")

    def await_event(self, name: str, timeout_s: float) -> bool:
        """Whether an event of this name has come, or does within so many seconds; those before it are forgotten."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            while self._events:
                if self._events.popleft() == name:
                    return True
            if self._next(max(0.0, deadline_s - time.monotonic())) is None:
                return False

    def human(self, command: str) -> str:
        """Run a command of the human monitor; snapshots of whole machines exist only there in QEMU 7."""
        printed = str(self.execute("human-monitor-command", **{"command-line": command}))
        if printed.strip():
            raise LabError(f"QEMU: {command}: {printed.strip()}")
        return printed

    def close(self) -> None:
        """End the session; the machine goes on."""
        self._opened.close()

    def _next(self, timeout_s: float) -> dict[str, Any] | None:
        """What QEMU says next, its events kept; None when it says nothing in time."""
        while b"\n" not in self._rest:
            if not select.select([self._line], [], [], timeout_s)[0]:
                return None
            chunk = self._line.recv(65536)
            if not chunk:
                raise LabError("QEMU went away")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "event" in said:
            self._events.append(str(said["event"]))
        return said


@contextmanager
def monitor(folder: Path) -> Iterator[Monitor]:
    """Speak to the QEMU whose socket is in `folder`."""
    session = Monitor(folder / "qmp.sock")
    try:
        yield session
    finally:
        session.close()


@contextmanager
def _folder(path: Path) -> Iterator[str]:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
