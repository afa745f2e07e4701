"""`python -m harness`: the same as `ballast`."""

import sys

from harness.cli import main

sys.exit(main())
