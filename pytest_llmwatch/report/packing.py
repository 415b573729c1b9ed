"""Columns of numbers as bytes, and pages' data as base64 of gzip.

What a browser does before a table of 50,000 calls can be used is mostly to unpack and to read its data: as bytes
it is half of what it is as JSON, and need not be read.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import sys
from array import array
from collections.abc import Iterable, Sequence

from pytest_llmwatch.model import JSON

_HEX = frozenset("0123456789abcdef")
_WIDEST = 6  # bytes: what a float of a browser holds without loss


def pack(value: JSON) -> str:
    """Return ``value`` as base64 of gzipped JSON."""
    return _base64(_json(value))


class Columns:
    """Bytes of columns of ``n`` rows each, lowest bytes of all rows first, as they compress best.

    What a method returns stands for the column in the header: one value where all rows have it, otherwise
    ``[offset, width]`` and what the method says. The highest number of a width is "unknown".
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def numbers(self, values: Sequence[int | None]) -> JSON:
        """Add whole numbers and return ``[offset, width, least, unit]``: a value is least + unit * number."""
        known = [v for v in values if v is not None]
        if not known:
            return None
        least, most = min(known), max(known)
        if least == most and len(known) == len(values):
            return least
        unit = math.gcd(*(v - least for v in known)) or 1
        while (width := _width((most - least) // unit + 1)) > _WIDEST:
            unit *= 256  # nobody reads a difference that small beside a number that large
        none = 256**width - 1
        return [*self._add([none if v is None else (v - least) // unit for v in values], width), least, unit]

    def codes(self, values: Iterable[str | None]) -> JSON:
        """Add texts; return [distinct texts, ``[offset, width]`` of a row's place there, past the end = none]."""
        places: dict[str, int] = {}
        codes = [-1 if v is None else places.setdefault(v, len(places)) for v in values]
        if len(set(codes)) < 2:
            return [list(places), codes[0] if codes else -1]
        end = len(places)
        return [list(places), self._add([end if code < 0 else code for code in codes], _width(end))]

    def ids(self, ids: Sequence[str]) -> JSON:
        """Add ids; return where they stand: as bytes where all are hexadecimal and as long, else as they are."""
        size = len(ids[0]) if ids else 0
        if size % 2 or not all(len(i) == size and _HEX.issuperset(i) for i in ids):
            return list(ids)
        at = len(self._bytes)
        self._bytes += bytes.fromhex("".join(ids))
        return {"at": at, "size": size // 2}

    def pack(self, header: JSON) -> str:
        """Return base64 of gzip of the header's length (4 bytes, lowest first), its JSON, and the columns."""
        text = _json(header)
        return _base64(len(text).to_bytes(4, "little") + text + self._bytes)

    def _add(self, numbers: Sequence[int], width: int) -> list[JSON]:
        at = len(self._bytes)
        whole = array("Q", numbers)
        if sys.byteorder == "big":
            whole.byteswap()
        data = whole.tobytes()
        for place in range(width):
            self._bytes += data[place::8]
        return [at, width]


def _width(most: int) -> int:
    return max(1, (most.bit_length() + 7) // 8)


def _json(value: JSON) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _base64(data: bytes) -> str:
    # base64 holds no "<", so nothing in it can end its element; equal runs give equal bytes
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")
