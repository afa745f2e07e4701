"""What systemd is told of the service: that it is ready, that it lives, what it does (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """Tells systemd, if it was systemd that started this process and asked to be told."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        told = os.environ if environment is None else environment
        self._address = told.get("NOTIFY_SOCKET", "")
        own = told.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = told.get("WATCHDOG_USEC", "") if own else ""
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() else 0.0
        """Without a word for so long the service is taken for dead; 0: nobody watches."""

    def ready(self) -> None:
        """The service balances from now on."""
        self._say("READY=1")

    def lives(self, status: str) -> None:
        """It has ticked; `status` is what `systemctl status` shows."""
        self._say(f"WATCHDOG=1\nSTATUS={status.splitlines()[0] if status else ''}")

    def reloading(self, mono_s: float) -> None:
        """It reads its file again, from this moment of the monotonic clock on; `ready` ends that."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={round(mono_s * 1e6)}")

    def stopping(self) -> None:
        """It ends."""
        self._say("STOPPING=1")

    def _say(self, text: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, suppress(OSError):  # it may be gone; we go on
            told.setblocking(False)
            told.sendto(text.encode(), address)
