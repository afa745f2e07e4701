"""The command line of a script of this folder: it says what the script's first lines say."""

from __future__ import annotations

import argparse


def command_line(says: str | None) -> argparse.ArgumentParser:
    """A parser that takes nothing yet, and answers --help with `says`, as it stands."""
    return argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
