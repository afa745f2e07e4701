"""A host with guests that use, cache, swap and stall, in virtual time; the same two ports as the real one."""
