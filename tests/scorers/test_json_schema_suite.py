"""JSON Schema: formats that the validator checks by itself, and the official suite where its files are."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import schema

DRAFTS = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
FOLDER = Path(os.environ.get("LLMWATCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

NEEDS_NETWORK = ("cross-draft.json#", *(f"dynamicRef.json#{n}." for n in (13, 14, 15, 16, 17)))
NEEDS_CLASSES = ("draft2020-12/patternProperties.json#5.",)
r"""Refer to other documents, which are never fetched; use \p classes, which Python's re does not have."""
LOOSE_FORMATS = (
    "hostname.json#",
    "idn-hostname.json#",
    "uri-template.json#",
    "iri.json#",
    "uri.json#",
    "uri-reference.json#",
)
"""Formats of which some bad values pass: punycode is not decoded, templates are not parsed, ports not counted."""

FORMATS: list[tuple[str, list[str], list[str]]] = [
    ("date", ["2026-02-28"], ["2026-02-30", "28.02.2026"]),
    ("date-time", ["2026-11-21T10:00:00Z", "1998-12-31t23:59:60.5+00:00", "1998-12-31T15:59:60-08:00"],
     ["2026-11-21", "2026-02-30T10:00:00Z", "2026-11-21T10:00:00",
      "2026-11-21T24:00:00Z", "1998-12-31T22:59:60Z", "２026-11-21T10:00:00Z"]),
    ("time", ["08:30:06Z", "23:59:60Z", "08:30:06.25+05:30"], ["08:30", "25:00:00Z", "08:30:06", "22:59:60Z"]),
    ("duration", ["P4DT12H30M5S", "P2W", "PT36H", "P1Y"], ["P", "PT", "P1", "4D", "P2D1Y", "P1YT"]),
    ("email", ["joe.bloggs@example.com", '"joe bloggs"@example.com', "joe@[127.0.0.1]", "joe@[IPv6:::1]"],
     ["2962", ".joe@example.com", "joe..b@example.com", "joe@", "joe@exa mple.com", "joe@[127.0.0.300]"]),
    ("hostname", ["www.example.com", "a-b.c"],
     ["-bad.example.com", "a..b", "", "under_score.com", "a" * 64, "ab--c.com"]),
    ("ipv4", ["192.168.0.1"], ["256.1.1.1", "127.0.0"]),
    ("ipv6", ["::1"], ["12345::"]),
    ("uuid", ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
     ["2eb8aa08aa9811eab4aa73b441d16380", "g" * 8 + "-aa98-11ea-b4aa-73b441d16380"]),
    ("uri", ["https://user@example.com:8080/a?b=c#d", "mailto:joe@example.com", "urn:isbn:1", "http://[::1]/"],
     ["/a", "//example.com", "http:// no", "https://exa mple.com", "http://[::1", "a b:c", "http://a/%zz"]),
    ("uri-reference", ["/a?b", "", "#f", "//example.com"], ["\\\\WINDOWS\\share", "#fr\\agment", "1a:b"]),
    ("iri", ["http://ƒøø.com/?q=é"], ["bâr.com/ é é"]),
    ("json-pointer", ["", "/a/~0~1/0"], ["a", "/a~", "/a~2"]),
    ("relative-json-pointer", ["1", "0/a", "0#"], ["-1/a", "01/a", "/a"]),
    ("regex", ["^a+$"], ["^(a"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "good", "bad"), FORMATS, ids=[row[0] for row in FORMATS])
@pytest.mark.parametrize("draft", [None, *DRAFTS.values()])
def test_a_format(name: str, good: list[str], bad: list[str], draft: str | None) -> None:
    given: dict[str, Any] = {"format": name, **({"$schema": draft} if draft else {})}
    if draft == DRAFTS["draft7"] and name in ("duration", "uuid"):
        pytest.skip(f"draft 7 has no {name}")
    assert [text for text in good if not schema.is_valid(text, given)] == []
    assert [text for text in bad if schema.is_valid(text, given)] == []
    assert [text for text in bad if not schema.is_valid(text, given, formats=False)] == []
    assert schema.is_valid(12, given)  # a format says nothing of what is no text


@pytest.mark.parametrize("name", [row[0] for row in FORMATS])
def test_hostile_text_costs_no_more_than_its_length(name: str) -> None:
    if name == "regex":
        pytest.skip("compiles what it gets; schemas are the user's own")
    for piece in ("a", "a.", "/", "0", "%41", "1D", ":", '"', "[", "2026-"):
        assert schema.is_valid(piece * (100_000 // len(piece)), {"format": name}) in (True, False)


def rows() -> list[dict[str, Any]]:
    path = FOLDER / "jsonschema_suite.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in $LLMWATCH_DATA or ../shared/data")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def verdict(row: dict[str, Any], formats: bool) -> bool | str:
    given = row["schema"]
    if isinstance(given, dict) and "$schema" not in given:
        given = {**given, "$schema": DRAFTS[row["task"]]}
    try:
        return schema.is_valid(row["output"], given, formats=formats)
    except schema.InvalidSchema as error:
        return str(error)


def test_the_official_suite_without_formats() -> None:
    wrong = {
        row["id"]: found
        for row in rows()
        if "/format" not in row["id"] and (found := verdict(row, False)) is not bool(row["valid"])
    }
    listed = {id_ for id_ in wrong if any(part in id_ for part in (*NEEDS_NETWORK, *NEEDS_CLASSES))}
    assert wrong.keys() - listed == set()
    assert all(isinstance(wrong[id_], str) for id_ in listed)  # said to be out of reach, never a wrong verdict


def test_the_official_suite_of_formats() -> None:
    of_formats = [row for row in rows() if "optional/format/" in row["id"]]
    wrong = {row["id"] for row in of_formats if verdict(row, True) is not bool(row["valid"])}
    assert {id_ for id_ in wrong if not any(part in id_ for part in LOOSE_FORMATS)} == set()
    bad = sum(not row["valid"] for row in of_formats)
    assert len(wrong) < 0.3 * bad
