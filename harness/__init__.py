"""Ballast: balances memory among the guests of a Xen host, and proves how well."""
