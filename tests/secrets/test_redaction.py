"""Each planted secret alone, wherever text can be inside text; what is left alone; and that it ends soon."""

from __future__ import annotations

import base64
import html
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.capture.keep import learn
from pytest_llmwatch.capture.log_filter import LogFilter
from pytest_llmwatch.capture.scrub import Scrubber, clean_url
from pytest_llmwatch.redact import Redactor

REDACTOR = Redactor()
LEARNED = "Zx81-unknown-vendor-Qq77"


def _wrapped(text: str) -> Iterator[tuple[str, str]]:
    """Yield (how, text) of ways in which a text stands inside another."""
    yield "plain", text
    yield "in prose", f"See: {text}; thanks."
    yield "JSON", json.dumps({"note": f"é {text}\n"})
    yield "JSON in JSON", json.dumps({"a": json.dumps([{"b": text}])})
    yield "JSON cut off", json.dumps({"n": 1, "note": f"a\tb {text} and"})[:-2]
    yield "JSON amid prose", f"assistant: f({json.dumps({'x': text})})"
    yield "JSON in escapes", '{"x": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}'
    yield "Python", repr({"x": text, "y": f"it's\n{text}"})
    yield "Python bytes", repr([text.encode()])
    yield "URL", f"http://h/p?a=1&q={quote(text, safe='')}&z=2"
    yield "form", f"q={quote_plus(text)}&z=%20"
    yield "HTML", f"<p>{html.escape(text)}</p> &amp; more"
    yield "base64", f"data: {base64.b64encode(text.encode()).decode()} end"
    yield "data URL", f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"


def test_each_planted_secret_is_hidden_however_it_is_wrapped(planted: Any) -> None:
    left = []
    for p in planted:
        for how, text in _wrapped(p.text):
            redacted = REDACTOR.text(text)
            if any(needle in redacted for needle in p.needles):
                left.append((p.id, how))
            assert REDACTOR.text(redacted) == redacted
    assert left == []


def test_a_text_without_the_secret_is_not_touched_by_any_wrapping() -> None:
    harmless = 'Tom & Ann: "2 + 2 = 4", 50% of 1,234,567 at C:\\new\\temp; id chatcmpl-B9MHDbslfkBeAs8l4bebGd'
    for _how, text in _wrapped(harmless):
        assert REDACTOR.text(text) == text


def test_json_text_keeps_its_shape_and_its_numbers() -> None:
    text = (
        '{"to": "ann@example.org\\nBob", "card": 4111111111111111, "n": [4111111111111111, "4111 1111 1111 1111"]}'
    )
    redacted = REDACTOR.text(text)
    value = json.loads(redacted)
    assert value["to"].startswith("[EMAIL:")
    assert value["to"].endswith("\nBob")
    assert value["card"] == value["n"][0] == 4111111111111111
    assert value["n"][1].startswith("[CARD:")
    assert json.loads(REDACTOR.text('{"password": "a\\"b", "pin": "x"}'))["password"].startswith("[SECRET:")


@pytest.mark.parametrize(
    "text",
    [
        "version 10.20.30.40, release 1.2.3.4, section 3.1.10.2, mask 255.255.255.0, host 127.0.0.1",
        "at 12:30:45 on 2024-01-15, 15.01.2024, 01/02/2024; from 09:00 to 17:30; 2024 01 15 12 30",
        "call 3 of 12, phone booth, text 2 of 20240115, mobile first, contact: see page 12",
        "passport control at gate 12, driving licence required, national identity, tax id missing, SSN unknown",
        "0.1234567 0.00123456 012345 1e10 1234567890 12345678901234 1,234,567,890 99 100 101 102 103 104 105 106",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301 2001:db8::1 fe80::1 aa:bb:cc:dd:ee:ff",
        "token: 123456, tokens=1000, next_token: CAUQAA, max_tokens: 4096, key=value, code=404",
        "The cookie is a biscuit; cookie: chocolate. The secret: practice. Password: at least 12 characters",
        "order 0123-4567 of 2024, invoice 2024-000123, ISBN 978-3-16-148410-0, RFC 9110, 1600-1700 and 1800-1900",
        "<a href='/x?page=2&sort=asc'>2</a> &quot;quoted&quot; 100%25 %d %s",
    ],
)
def test_numbers_and_words_that_matter_stay(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_addresses_of_people_are_hidden_and_those_of_machines_stay() -> None:
    assert "[IP:" in REDACTOR.text("from 93.184.77.34 at noon")
    assert "[IP:" in REDACTOR.text("from 2a01:4f8:c0c:9d1::2 at noon")
    for address in ("10.1.2.3", "172.20.30.40", "127.0.0.1", "169.254.10.20", "8.8.8.8"):
        assert REDACTOR.text(address) == address


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GITHUB_TOKEN=ghp_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX or hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "client_secret=bP88Q~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "SKU SK12, pat, dp.example, model key-value, 8 a.m.: AA, sgp_1, part fw_update_of_the_firmware_image",
    ],
)
def test_what_documentation_puts_in_the_place_of_a_key_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


BODY = "3fA9d0c2B7e41f8a6D5c9b0e7F2a4d8c"


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-" + BODY, "ghp_" + BODY, "glcbt-64_" + BODY, "gloas-" + BODY * 2, "fw_" + BODY, "tvly-" + BODY,
        "lsv2_pt_" + BODY.lower() + "_0a1b2c3d4e", "rubygems_" + BODY.lower(), "dckr_pat_" + BODY, "ntn_" + BODY,
        "dor_v1_" + BODY.lower(), "shpca_" + BODY.lower(), "SK" + BODY.lower(), BODY.lower() + "-us19",
        "123456789:AA" + BODY + "x", "patABCdef12345678." + BODY.lower() * 2, "dp.pt." + BODY, "hvs." + BODY,
    ],
)  # fmt: skip
def test_keys_of_other_vendors_are_hidden_also_before_a_line_of_dashes(key: str) -> None:
    assert key not in REDACTOR.text(f"Your key is {key}.")
    assert BODY.lower() not in REDACTOR.text(f"| {key} ------------------------------ |").lower()
    if key.startswith(("sk-", "gh", "hvs", "fw_")):
        assert BODY not in REDACTOR.text(f"{key}------------------------------xxxxxxxxxxxxxxxxxxxxxxxxxxxxx")


# -- what a request proves to be a secret


@dataclass
class _Sent:
    headers: dict[str, str] = field(default_factory=dict)
    url: str = "http://h/v1"


@pytest.mark.parametrize(
    "sent",
    [
        _Sent({"authorization": f"Bearer {LEARNED}"}),
        _Sent({"api-key": LEARNED}),
        _Sent({"x-team-token": LEARNED}),
        _Sent({"authorization": f"Basic {base64.b64encode(f'u:{LEARNED}'.encode()).decode()}"}),
        _Sent({"cookie": f"a=1; sid={LEARNED}"}),
        _Sent(url=f"http://u:{LEARNED}@h/v1"),
        _Sent(url=f"http://h/v1?api_key={LEARNED}"),
    ],
)
def test_a_credential_of_a_request_is_hidden_wherever_it_comes_back(sent: Any) -> None:
    redactor = Redactor()
    said = f"Access denied for {LEARNED}."
    assert redactor.text(said) == said
    learn(sent, redactor)
    assert LEARNED not in redactor.text(said)


def test_stand_ins_and_plain_headers_are_not_learned() -> None:
    redactor = Redactor()
    learn(_Sent({"authorization": "Bearer test-key", "x-note": LEARNED, "api-key": "sk-local"}), redactor)  # type: ignore[arg-type]
    text = f"test-key sk-local {LEARNED}"
    assert redactor.text(text) == text
    redactor.learn_environment({"MY_API_KEY": LEARNED, "SOME_KEY": "/etc/keys/id1.pem", "EDITOR": "vim-12345678"})
    assert redactor.text("vim-12345678 /etc/keys/id1.pem") == "vim-12345678 /etc/keys/id1.pem"
    assert LEARNED not in redactor.text(text)


def test_a_url_is_kept_without_what_opens_it() -> None:
    url = f"https://bot:{LEARNED}@h:8080/users/ann@example.org/v1?api_key=abc&q=call+%2B49+30+901820&n=5"
    cleaned = clean_url(url, REDACTOR)
    assert cleaned.startswith("https://h:8080/users/[EMAIL:")
    assert "api_key=[REDACTED]" in cleaned
    assert "901820" not in cleaned
    assert cleaned.endswith("&n=5")


# -- pieces

KEY = "sk-" + "proj-abc123DEF456ghi789JKL012mno345"


def _chat(piece: str) -> Any:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]}


def _gemini(piece: str) -> Any:
    return {"candidates": [{"content": {"parts": [{"text": piece}], "role": "model"}, "index": 0}]}


def _anthropic(piece: str) -> Any:
    delta = {"type": "input_json_delta", "partial_json": piece}
    return {"type": "content_block_delta", "index": 1, "delta": delta}


def _unknown(piece: str) -> Any:
    return {"v2": {"chunk": {"say": piece}}}


@pytest.mark.parametrize("make", [_chat, _gemini, _anthropic, _unknown])
def test_a_key_is_hidden_wherever_two_deltas_are_cut(make: Any) -> None:
    for cut in range(1, len(KEY)):
        pieces = ["Hi é ", f"take {KEY[:cut]}", f"{KEY[cut:]} now", " bye"]
        body = b"".join(f"data: {json.dumps(make(p))}\n\n".encode() for p in pieces)
        kept, sizes = Scrubber(REDACTOR).stream(body, [7, len(body) - 7])
        assert sum(sizes) == len(kept)
        said = "".join(line for line in kept.decode().splitlines())
        assert KEY[:cut] not in said.replace("sk-", "", said.count("sk-") if cut < 4 else 0) or cut < 4
        assert KEY[cut:] not in said or len(KEY) - cut < 4
        assert "[OPENAI_KEY:" in said


def test_a_stream_that_breaks_off_in_a_secret_gives_nothing_away() -> None:
    whole = [json.dumps(_chat(p)) for p in ("my key: ", KEY[:9])]
    last = json.dumps(_chat(KEY[9:]))
    for end in range(last.index(KEY[9:]) + 22, len(last)):
        body = "".join(f"data: {w}\n\n" for w in whole).encode() + f"data: {last[:end]}".encode()
        kept, _ = Scrubber(REDACTOR).stream(body, [len(body)])
        assert KEY[9:25].encode() not in kept
        with pytest.raises(ValueError, match=r"^(Unterminated|Expecting)"):
            json.loads(kept.rpartition(b"data: ")[2])  # what was broken stays broken


def test_tokens_and_words_beside_a_text_are_hidden_with_it() -> None:
    tokens = [
        {"token": t, "bytes": list(t.encode()), "top_logprobs": [{"token": t}]}
        for t in ("is ", KEY[:8], KEY[8:], ".")
    ]
    body = {
        "text": f"is {KEY}.",
        "logprobs": {"content": tokens},
        "words": [{"word": w} for w in ("+49", "30", "901820")],
    }
    kept = json.loads(Scrubber(REDACTOR).json_text(json.dumps(body).encode()) or "")
    assert "".join(t["token"] for t in kept["logprobs"]["content"]).startswith("is [OPENAI_KEY:")
    assert bytes(b for t in kept["logprobs"]["content"] for b in t["bytes"]).startswith(b"is [OPENAI_KEY:")
    assert [t["top_logprobs"] for t in kept["logprobs"]["content"]] == [
        [{"token": "is "}],
        [],
        [],
        [{"token": "."}],
    ]
    assert "901820" not in json.dumps(kept["words"])


def test_json_lines_and_arrays_of_events_are_put_together_too() -> None:
    pieces = [_gemini(p) for p in ("a ", KEY[:12], KEY[12:], " b")]
    array = Scrubber(REDACTOR).json_text(json.dumps(pieces).encode()) or ""
    lines = Scrubber(REDACTOR).lines("".join(json.dumps(p) + "\n" for p in pieces)) or ""
    for kept in (array, lines):
        assert KEY[12:] not in kept
        assert "[OPENAI_KEY:" in kept


def test_a_binary_body_keeps_its_length() -> None:
    body = b"\x00\xff\x89PNG\x00" + KEY.encode() + b"\xfe ann@example.org"
    kept = Scrubber(REDACTOR).binary(body)
    assert len(kept) == len(body)
    assert KEY.encode() not in kept
    assert kept.endswith(b"ann@example.org")  # stated in the docs: in binary data only secrets are looked for


def test_json_that_is_too_deep_is_text() -> None:
    body = b"[" * 5000 + json.dumps(KEY).encode() + b"]" * 5000
    kept = Scrubber(REDACTOR).json_text(body)
    assert kept is None
    assert KEY not in Scrubber(REDACTOR).text(body.decode())


# -- logs


@pytest.fixture
def records() -> Iterator[list[str]]:
    """What a handler on the root logger shows."""
    shown: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(self.format(record))

    handler = Handler()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield shown
    root.removeHandler(handler)
    root.setLevel(level)


def test_what_sdks_log_is_redacted_and_what_the_application_logs_is_its_own(records: list[str]) -> None:
    before = logging.getLogRecordFactory()
    log_filter = LogFilter(REDACTOR)
    log_filter.install()
    sdk, own = logging.getLogger("openai._base_client"), logging.getLogger("shop.orders")
    try:
        sdk.debug(
            "Request options: %s", {"headers": {"Authorization": "short"}, "json_data": {"x": [f"é\n{KEY}"]}}
        )
        sdk.info("key %s", KEY)
        sdk.debug("password=%s", "hunter2hunter2")  # only the finished text tells
        sdk.debug("plain %d of %s", 3, "x")
        try:
            raise ValueError(KEY)
        except ValueError:
            sdk.exception("failed")
        own.info("key %s", KEY)
    finally:
        log_filter.remove()
    sdk.info("later %s", KEY)
    assert logging.getLogRecordFactory() is before
    assert [KEY in line for line in records] == [False] * (len(records) - 2) + [True, True]
    assert "short" not in records[0]
    assert "hunter2" not in "\n".join(records)
    assert "plain 3 of x" in records
    assert "ValueError: [OPENAI_KEY:" in records[-3]


def test_a_record_that_cannot_be_formatted_is_left_to_logging_without_the_secret() -> None:
    record = logging.LogRecord("openai", 10, "f", 1, "wrong %d", (f"text {KEY}",), None)
    LogFilter(REDACTOR).clean(record)
    assert record.msg == "wrong %d"
    assert KEY not in repr(record.args)


def test_a_silent_logger_costs_nothing_and_a_filter_under_another_goes_quiet() -> None:
    class Never(Redactor):
        def text(self, s: str) -> str:
            raise AssertionError(s)

    before = logging.getLogRecordFactory()
    log_filter = LogFilter(Never())
    log_filter.install()
    try:
        silent = logging.getLogger("httpx.silent")
        silent.setLevel(logging.ERROR)
        silent.debug("not made: %s", KEY)
        ours = logging.getLogRecordFactory()

        def above(*args: Any, **kwargs: Any) -> logging.LogRecord:
            return ours(*args, **kwargs)

        logging.setLogRecordFactory(above)
        log_filter.remove()
        record = logging.getLogRecordFactory()("openai", 10, "f", 1, "m %s", (KEY,), None)
        assert record.getMessage() == f"m {KEY}"
    finally:
        logging.setLogRecordFactory(before)


# -- properties

_GLUE = [
    *(
        " ",
        "\n",
        '"',
        "\\",
        "\\n",
        '\\"',
        '{"a": "',
        '"}',
        "[",
        "]",
        "%20",
        "%",
        "&quot;",
        "&",
        "=",
        ":",
        "+",
        "-",
        ".",
    ),
    *(
        "@",
        "/",
        "password=",
        '"password": "',
        "token: ",
        "0",
        "1",
        "a",
        "B",
        "(",
        ")",
        "\\u0041",
        "'",
        "?key=",
        "card ",
    ),
    *("phone ", "ssn ", "iban ", "[SECRET:1a2b]", "1a2b]", "é", "😀"),
]


@given(st.data())
def test_text_made_of_secrets_and_what_stands_around_them_is_redacted_once(planted: Any, data: Any) -> None:
    short = [p.text for p in planted if len(p.text) < 120]
    pieces = data.draw(st.lists(st.sampled_from(_GLUE) | st.sampled_from(short), max_size=9))
    redacted = REDACTOR.text("".join(pieces))
    assert REDACTOR.text(redacted) == redacted
    spaced = REDACTOR.text(" ".join(p for p in pieces if p in short))
    assert not [p.id for p in planted if p.text in pieces and any(n in spaced for n in p.needles)]


HOSTILE = [
    *("a@", "1 ", "0 1", "1-", "+1", "12-34-", "AA11 ", "eyJ", "sk-", "-----BEGIN ", "://", "http://a:b"),
    *("password=", "token: ", "cookie: a=", "phone 1", "card 4111 ", "tax id ", "passport ", "2001:", "1."),
    *('"', '\\"', "\\u", "\\x41", '{"', '[{"a":"\\n', '{"password":"x",', "%41", "&quot;", "&#x", "abcd1234"),
    *("[SECRET:1a2b]a@b.cc ", "?key=", "'\\''"),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            REDACTOR.text(text)
            best = min(best, time.process_time() - start)
        return best

    small, large = 25_000, 100_000
    # four times the text: quadratic takes sixteen times as long, linear four times, a busy machine a little more
    assert seconds(large) < 10 * seconds(small) + 0.01
