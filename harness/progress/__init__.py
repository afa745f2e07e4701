"""What reaches the person who waits, and whose run it is."""

from harness.progress.lines import EVERY_S, LONGEST_LINE, Progress

__all__ = ["EVERY_S", "LONGEST_LINE", "Progress"]
