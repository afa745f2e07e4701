"""Makes the kernel of the domain that runs when no other has anything to do: `python3 idle.py FILE`.

While the lab's clock counts instructions, a processor that sleeps would leave it to the controller's clock, with all
its delays. So a domain of the least weight keeps it busy. It is an endless loop, long enough that QEMU, which
translates it as one block, gets through idle time several times as fast as the clock on the wall.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

LOOP_NOPS = 64
"""Of 64 an idle lab of 250 MIPS goes six to nine times as fast as the wall's clock; of 500, some fifty times, and then
every answer of the world outside comes late."""
ENTRY = 0x100000
PAGE = 4096
NOP, JUMP_BACK = b"\x90", b"\xe9"
NOTES = {
    "ENTRY": 1, "HYPERCALL_PAGE": 2, "VIRT_BASE": 3, "PADDR_OFFSET": 4, "XEN_VERSION": 5, "GUEST_OS": 6, "LOADER": 8,
}  # fmt: skip
"""Xen's public header elfnote.h."""


def note(kind: str, content: bytes) -> bytes:
    """One ELF note of the owner Xen."""
    name = b"Xen\0"
    padded = content + b"\0" * (-len(content) % 4)
    return struct.pack("<III", len(name), len(content), NOTES[kind]) + name + padded


def image(nops: int = LOOP_NOPS) -> bytes:
    """The kernel as an ELF file that Xen starts as a 64-bit paravirtual guest; events stay masked, as it begins."""
    loop = nops * NOP + JUMP_BACK + struct.pack("<i", -(nops + 5))
    text = loop.ljust(2 * PAGE, b"\xcc")  # its second page is where Xen writes what calls it
    address = struct.Struct("<Q").pack
    notes = b"".join(
        [
            note("XEN_VERSION", b"xen-3.0\0"),
            note("GUEST_OS", b"lab-idle\0"),
            note("LOADER", b"generic\0"),
            note("VIRT_BASE", address(0)),
            note("PADDR_OFFSET", address(0)),
            note("ENTRY", address(ENTRY)),
            note("HYPERCALL_PAGE", address(ENTRY + PAGE)),
        ]
    )
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 2, 0, 0, 0)  # executable, x86-64
    load = struct.pack("<IIQQQQQQ", 1, 7, PAGE, ENTRY, ENTRY, len(text), len(text), PAGE)
    noted = struct.pack("<IIQQQQQQ", 4, 4, PAGE + len(text), 0, 0, len(notes), len(notes), 4)
    return (header + load + noted).ljust(PAGE, b"\0") + text + notes


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(image())
