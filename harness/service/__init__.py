"""The arbiter on its own: without trials, for as long as it is wanted."""
