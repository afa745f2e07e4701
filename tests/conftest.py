"""What all tests need of the process that runs them."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None)


def pytest_configure() -> None:
    """Let Ctrl-C be heard, here and in what tests start: a shell starts what it puts in the background deaf to it.

    Hypothesis tries the same examples everywhere, so that a commit passes or fails whoever tests it; with
    `BALLAST_SEARCH=1` it looks for others. No example has a deadline: machines are noisy.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile("search" if os.environ.get("BALLAST_SEARCH") else "same")
