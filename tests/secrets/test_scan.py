"""The last look before a recording is written: it puts together what a reader could, and says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.capture.cassette_file import CassetteFile
from pytest_llmwatch.capture.cassette_item import Interaction
from pytest_llmwatch.errors import SecretFound
from pytest_llmwatch.redact import Redactor

KEY = "sk-" + "proj-abc123DEF456ghi789JKL012mno345"


def _chunk(piece: str) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n"


def _item(**parts: Any) -> Interaction:
    given: dict[str, Any] = {
        "method": "POST",
        "url": "http://h/v1/chat/completions",
        "request_body": "{}",
        "request_headers": {},
        "status": (200, "OK"),
        "headers": {"content-type": ["application/json"]},
        "body": "{}",
        "timing": {},
    }
    return Interaction.make(**given | parts)


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"request_body": json.dumps({"messages": [{"content": f"x {KEY}"}]})}, "line 7"),
        ({"request_body": '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}'}, "request body at $.a"),
        ({"body": _chunk(KEY[:7]) + _chunk(KEY[7:])}, "response body, in the pieces of choices.0.0.delta.content"),
        ({"body": json.dumps({"x": [{"arguments": json.dumps({"k": KEY.replace("-", "\\u002d")})}]})}, ""),
        ({"url": f"http://h/v1?x={KEY.replace('-', '%2D')}"}, "request URL"),
    ],
)
def test_a_secret_that_was_left_refuses_the_file_and_says_where(
    tmp_path: Path, parts: dict[str, Any], place: str
) -> None:
    path = tmp_path / "case.yaml"
    file = CassetteFile(path, "cassettes/case.yaml", Redactor())
    with pytest.raises(SecretFound) as caught:
        file.save([_item(**parts)])
    message = caught.value.one_line()
    assert "cassettes/case.yaml" in message
    assert "POST /v1" in message
    assert "OPENAI_KEY" in message
    assert place in message
    assert KEY[8:] not in message
    assert list(tmp_path.iterdir()) == []


def test_personal_data_and_numbers_never_cost_a_recording(tmp_path: Path) -> None:
    file = CassetteFile(tmp_path / "case.yaml", "case.yaml", Redactor([("digits", r"\d+")]))
    file.save(
        [_item(body=json.dumps({"to": "ann@example.org", "card": "4111 1111 1111 1111", "id": 4111111111111111}))]
    )
    assert file.path.exists()
