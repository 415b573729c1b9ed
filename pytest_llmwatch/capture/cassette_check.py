"""What is wrong with stored cassettes, and what no run uses any more."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file as hexadecimal digits, None if there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
