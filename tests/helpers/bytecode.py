"""Keeps compiled Python modules where PYTHONDONTWRITEBYTECODE keeps Python from writing them beside the modules.

Without it, each process compiles all of JAX and MLflow again, which takes longer than most tests. Import this module
before those that take long to compile. Processes that tests start inherit the folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".pytest_cache/bytecode"

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(FOLDER))
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
    sys.dont_write_bytecode = False


def forget_temporary_modules() -> None:
    """Removes what was compiled of modules that tests wrote."""
    shutil.rmtree(f"{FOLDER}{tempfile.gettempdir()}", ignore_errors=True)
