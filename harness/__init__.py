"""Ballast: balances memory among the guests of a Xen host, and proves how well."""

import os
from pathlib import Path

from harness import compiled

if _folder := os.environ.get(compiled.ENVIRONMENT):
    compiled.use(Path(_folder))
