"""Importing modules of the user's by name."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType


def import_named(name: str) -> ModuleType:
    """Import a module that a budget or a golden set names, from where Python looks or the current folder.

    A console script does not look where it is run, as ``python -m`` does. The folder comes last: no file in
    it hides what is installed.

    Raises:
        ImportError: There is no such module, or it fails to import.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)
