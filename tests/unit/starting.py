"""Workloads as the harness starts them: they say that they are ready, and are told to go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ANSWER_S = 20
"""For a workload to say something."""


def told(
    argv: Sequence[str | Path], word: bytes = b"go\n", *, start_new_session: bool = False
) -> subprocess.Popen[str]:
    """Start a workload whose input holds the word already, and then ends."""
    reading, writing = os.pipe()
    os.write(writing, word)
    os.close(writing)
    try:
        return subprocess.Popen(
            argv, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=start_new_session,
        )  # fmt: skip
    finally:
        os.close(reading)


def untold(argv: Sequence[str | Path]) -> subprocess.Popen[str]:
    """Start a workload that must wait for the word; returns once it has said that it is ready."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n", process.communicate(timeout=ANSWER_S)
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Give the word, and end the input."""
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.close()
    process.stdin = None  # `communicate` would flush it


def paced(done: float, asked: float) -> bool:
    """Whether a workload kept the pace that it was asked for: never above it, and below where this machine is busy."""
    return 0 < done <= 1.3 * asked
