"""Takes the uncompressed ELF kernel out of a bzImage (Linux, Documentation/arch/x86/boot.rst, the setup header)."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SETUP_SECTS_AT, MAGIC_AT, PAYLOAD_AT = 0x1F1, 0x202, 0x248
SECTOR_BYTES = 512


def _unxz(payload: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(payload)  # the stream is followed by four bytes of its size


def _gunzip(payload: bytes) -> bytes:
    return gzip.decompress(payload[:-4])


def _unzstd(payload: bytes) -> bytes:
    return subprocess.run(["zstd", "-dc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout


DECOMPRESSORS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ\x00": _unxz, b"\x1f\x8b": _gunzip, b"\x28\xb5\x2f\xfd": _unzstd,
}  # fmt: skip


def vmlinux(bzimage: bytes) -> bytes:
    """Return the ELF image inside `bzimage`.

    Raises:
        ValueError: it is no bzImage, or its compression is none of xz, gzip and zstd.

    """
    if bzimage[MAGIC_AT : MAGIC_AT + 4] != b"HdrS":
        raise ValueError("not a bzImage: no HdrS header")
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD_AT)
    start = (bzimage[SETUP_SECTS_AT] + 1) * SECTOR_BYTES + offset
    payload = bzimage[start : start + length]
    for magic, decompress in DECOMPRESSORS.items():
        if payload.startswith(magic):
            return decompress(payload)
    raise ValueError(f"kernel payload starts with {payload[:6].hex()}: only xz, gzip and zstd are understood")


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(vmlinux(Path(sys.argv[1]).read_bytes()))
