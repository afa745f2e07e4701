"""Takes the uncompressed ELF kernel out of a bzImage (Linux, Documentation/arch/x86/boot.rst, the setup header)."""

from __future__ import annotations

import gzip
import lzma
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SETUP_SECTS_AT, MAGIC_AT, PAYLOAD_AT = 0x1F1, 0x202, 0x248
SECTOR_BYTES = 512


def _unxz(payload: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(payload)  # the stream is followed by four bytes of its size


def _gunzip(payload: bytes) -> bytes:
    return gzip.decompress(payload[:-4])


DECOMPRESSORS: Mapping[bytes, Callable[[bytes], bytes]] = {b"\xfd7zXZ\x00": _unxz, b"\x1f\x8b": _gunzip}


def vmlinux(bzimage: bytes) -> bytes:
    """Return the ELF image inside `bzimage`.

    Raises:
        ValueError: it is no bzImage, or its compression is neither xz nor gzip.

    """
    if bzimage[MAGIC_AT : MAGIC_AT + 4] != b"HdrS":
        raise ValueError("not a bzImage: no HdrS header")
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD_AT)
    start = (bzimage[SETUP_SECTS_AT] + 1) * SECTOR_BYTES + offset
    payload = bzimage[start : start + length]
    for magic, decompress in DECOMPRESSORS.items():
        if payload.startswith(magic):
            return decompress(payload)
    raise ValueError(f"kernel payload starts with {payload[:6].hex()}: only xz and gzip are understood")


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(vmlinux(Path(sys.argv[1]).read_bytes()))
