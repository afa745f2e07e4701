"""What all tests need of the process that runs them."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let Ctrl-C be heard, here and in what tests start: a shell starts what it puts in the background deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
