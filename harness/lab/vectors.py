"""Do vector registers survive when the CPU is taken away? Runs on the machine that is asked: `python3 - SECONDS`.

Several processes each load random bytes into all sixteen vector registers, count down for some milliseconds without
touching them, and look whether they still hold the same. Where Xen restores the FPU lazily under QEMU's emulation they
do not (a fault that otherwise shows as daemons that die at random). Nothing but Python's standard library, since the
guests have no compiler; so the instructions are written here by hand. Its last line is JSON.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import sys
import time

REGISTERS = 16
BYTES = 16 * REGISTERS
PROCESSES = 3
"""More than there are CPUs, so that they displace one another too."""
ROUND_S = 0.03
"""Longer than a turn that Xen's scheduler gives while others wait."""


def machine_code(spoilt: int | None = None) -> bytes:
    """`hold(rdi: what to load, rsi: where to store, rdx: how far to count)`; `spoilt` is a register that it clears."""
    load = b"".join(_move(0x6F, register, base=7) for register in range(REGISTERS))
    spoil = b"" if spoilt is None else bytes([0x66, 0x0F, 0xEF, 0xC0 | spoilt << 3 | spoilt])  # pxor, registers 0 to 7
    count = bytes.fromhex("48ffca 75fb")  # dec rdx; jnz to the dec
    store = b"".join(_move(0x7F, register, base=6) for register in range(REGISTERS))
    return load + spoil + count + store + b"\xc3"  # ret


def _move(opcode: int, register: int, base: int) -> bytes:
    """`movdqu` between a register and memory at rdi (7) or rsi (6), 16 bytes for each register."""
    prefix = b"\xf3\x44" if register >= 8 else b"\xf3"
    return prefix + bytes([0x0F, opcode, 0x80 | (register & 7) << 3 | base]) + (16 * register).to_bytes(4, "little")


class Holder:
    """The instructions in memory, ready to be called."""

    def __init__(self, code: bytes) -> None:
        self._memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64)(address)

    def hold(self, pattern: bytes, turns: int) -> bytes:
        """Keep `pattern` in the registers for so many turns; returns what they hold then."""
        found = ctypes.create_string_buffer(BYTES)
        self._call(pattern, ctypes.cast(found, ctypes.c_char_p), turns)
        return found.raw


def check(seconds: float, code: bytes) -> tuple[int, int]:
    """How many rounds there were, and in how many the registers were no longer the same."""
    holder = Holder(code)
    turns, rounds, corrupt = 100_000, 0, 0
    until_s = time.monotonic() + seconds
    while (began_s := time.monotonic()) < until_s:
        pattern = os.urandom(BYTES)
        corrupt += holder.hold(pattern, turns) != pattern
        rounds += 1
        if time.monotonic() - began_s < ROUND_S:
            turns += turns // 4
    return rounds, corrupt


def check_at_once(seconds: float, processes: int, code: bytes) -> dict[str, int]:
    """The sums over several processes; one that dies counts as corrupt."""
    total = {"rounds": 0, "corrupt": 0}
    children = []
    for _ in range(processes):
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(write_fd, json.dumps(check(seconds, code)).encode())
            os._exit(0)
        os.close(write_fd)
        children.append((pid, read_fd))
    for pid, read_fd in children:
        said = os.read(read_fd, 1000)
        os.close(read_fd)
        os.waitpid(pid, 0)
        rounds, corrupt = json.loads(said) if said else (0, 1)
        total["rounds"] += rounds
        total["corrupt"] += corrupt
    return total


def main() -> None:
    """Check for as many seconds as the argument says."""
    if platform.machine() != "x86_64":
        sys.exit(f"this check is written for x86_64, and this machine is {platform.machine()}")
    sys.stdout.write(json.dumps(check_at_once(float(sys.argv[1]), PROCESSES, machine_code())) + "\n")


if __name__ == "__main__":
    main()
