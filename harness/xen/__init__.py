"""The real host: guests and dom0 over SSH, behind the two ports of the arbiter."""
