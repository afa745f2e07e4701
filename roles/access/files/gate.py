#!/usr/bin/python3 -I
"""All that the arbiter's key may start in dom0: the agent that is installed here, which is the one that it sends.

Root runs this by sudo, for sshd, whatever was asked for (roles/access). What comes on standard input before the agent's
requests has to be that agent, byte for byte.
"""

import io
import json
import os
import shlex
import sys
import types
from pathlib import Path

AGENT = Path(__file__).resolve().with_name("agent.json")
"""Names and texts, in the order in which they are sent; first what starts them."""
REFUSED = (
    "this key may start nothing but the arbiter's agent, as it is installed here. If the arbiter is another version by "
    "now, run playbooks/access.yml of that one"
)


def sent(size: int) -> bytes:
    """So many bytes of standard input, and not one more: what follows is the agent's."""
    taken = b""
    while len(taken) < size and (more := os.read(0, size - len(taken))):
        taken += more
    return taken


def main() -> None:
    """See the top."""
    (_, start), *sources = json.loads(AGENT.read_text())
    words = [f"{name}:{len(text.encode())}" for name, text in sources]
    asked, agent = os.environ.get("SSH_ORIGINAL_COMMAND", ""), "".join(text for _, text in sources).encode()
    if asked != shlex.join(["exec", "python3", "-I", "-c", start, *words]) or sent(len(agent)) != agent:
        sys.exit(REFUSED)
    sys.argv = ["-c", *words]
    sys.stdin = types.SimpleNamespace(buffer=io.BytesIO(agent))
    exec(compile(start, "ballast-start", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
