"""In every Python process that a test starts: the module site imports what has this name (docs.python.org, "site")."""

from __future__ import annotations

import sys

from recorder import hook

sys.addaudithook(hook)
