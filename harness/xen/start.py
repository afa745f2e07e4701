"""Runs what is sent: first the agent and what it imports, under the names by which it does, then its process."""

import sys
import types

*used, main = [(name, sys.stdin.buffer.read(int(size))) for name, size in (word.split(":") for word in sys.argv[1:])]
for name, text in used:
    module = sys.modules["harness.xen." + name] = types.ModuleType("harness.xen." + name)
    exec(compile(text, "ballast-" + name, "exec"), module.__dict__)
exec(compile(main[1], "ballast-resident", "exec"))
