"""A guest that is only there. It may claim memory without ever touching it, as many programs do.

Such a claim counts in Committed_AS, so self-adjustment leaves the guest that much; it is not used, so a tax on idle
memory takes it away. Runs on the guest's own Python (3.9 or newer) with nothing but its standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap

from touching import MIB, Over, Run


def main() -> None:
    """Claim, and wait for the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--committed-mib", type=int, required=True, help="memory claimed and not touched, MiB")
    parser.add_argument("--duration-s", type=float, required=True)
    options = parser.parse_args()
    run = Run(options.duration_s)
    with contextlib.ExitStack() as stack, contextlib.suppress(Over):
        if options.committed_mib:
            claim = mmap.mmap(-1, options.committed_mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            stack.callback(claim.close)
        run.begin()
        run.sleep_until(run.deadline_s)


if __name__ == "__main__":
    main()
