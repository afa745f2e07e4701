"""The way to a machine that cannot be reached directly: a program whose input and output are the connection.

It is OpenSSH's ProxyCommand, and OpenSSH itself for a ProxyJump, as in OpenSSH.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress

LINGER_S = 2.0
"""For the program to end once the connection has."""
LAST_WORDS = 300
"""Characters of what it has complained of."""


class Proxy:
    """A program that stands between; its socket is the connection."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: there is no such program.

        """
        self.complaints = ""
        """What it has said beside, once it is closed."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # until `close`; a pipe that nobody reads would fill up
        self.socket, other = socket.socketpair()
        try:
            with other:
                # In a group of its own: Ctrl-C is for us, and we still have something to say to dom0.
                self._process = subprocess.Popen(
                    argv, stdin=other.fileno(), stdout=other.fileno(), stderr=self._said, process_group=0
                )
        except OSError:
            self.socket.close()
            self._said.close()
            raise

    def close(self) -> None:
        """End it."""
        self.socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LINGER_S)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LINGER_S)
        if not self._said.closed:
            self._said.seek(0)
            said = self._said.read(1 << 16).decode(errors="replace")
            self.complaints = " ".join(said.split())[-LAST_WORDS:]
            self._said.close()
