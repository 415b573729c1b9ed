"""Secrets and personal data are found; what only looks like them is left alone."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.redact import Redactor
from pytest_llmwatch.redact_base import word_windows
from pytest_llmwatch.redact_patterns import PATTERNS
from pytest_llmwatch.redact_shape import Shape

REDACTOR = Redactor()

SECRETS = {
    "OPENAI_KEY": "sk-proj-abc123DEF456ghi789JKL012mno345",
    "ANTHROPIC_KEY": "sk-ant-api03-abcDEF123456_ghiJKL-7890",
    "GOOGLE_KEY": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AWS_KEY": "AKIAIOSFODNN7EXAMPLE",
    "GITHUB_TOKEN": "ghp_" + "a1B2" * 9,
    "GITLAB_TOKEN": "glpat-abcDEF123456ghiJKL78",
    "SLACK_TOKEN": "xoxb-" + "123456789012-abcdefGHIJKL",
    "STRIPE_KEY": "sk_live_" + "a1B2c3D4e5F6g7H8",
    "HUGGINGFACE_TOKEN": "hf_" + "abcdefghijklmnopqrstuvwxyzABCD",
    "VENDOR_KEY": "gsk_" + "a1B2c3D4" * 6,
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "SENDGRID_KEY": "SG.abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg",
}
PERSONAL = {
    "EMAIL": "ann.oneil+news@mail.example.co.uk",
    "CARD": "4111 1111 1111 1111",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "PHONE": "+49 30 901820",
    "SSN": "536-90-4399",
}


@pytest.mark.parametrize(("kind", "secret"), [*SECRETS.items(), *PERSONAL.items()])
def test_each_kind_is_found_alone_in_prose_and_in_json(kind: str, secret: str) -> None:
    for text in (secret, f"Here: {secret}.", f'{{"note": "{secret}"}}', f"a={secret}\nb", f"({secret})"):
        redacted = REDACTOR.text(text)
        assert secret not in redacted
        assert f"[{kind}:" in redacted
        assert REDACTOR.text(redacted) == redacted


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://app:s3cr3t@db.internal:5432/x", "s3cr3t"),
        ("redis://:p4ssw0rd@cache:6379/0", "p4ssw0rd"),
        ("Authorization: Bearer abcDEF1234567890abcd", "abcDEF1234567890abcd"),
        ("authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
        ("OPENAI_API_KEY=abcd1234efgh5678", "abcd1234efgh5678"),
        ('{"client_secret": "abcd1234efgh"}', "abcd1234efgh"),
        ("password: hunter2hunter2", "hunter2hunter2"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEcut off", "MIIEcut"),
        ("Amex 378282246310005 and Mastercard 5555-5555-5555-4444", "5555-5555-5555-4444"),
        ("call (415) 555-2671 now", "555-2671"),
        ("GB29NWBK60161331926819", "GB29NWBK60161331926819"),
    ],
)
def test_secrets_in_their_surroundings(text: str, hidden: str) -> None:
    redacted = REDACTOR.text(text)
    assert hidden not in redacted
    assert REDACTOR.text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens": 1000, "max_output_tokens": 256, "total_tokens": 4096}',
        "gpt-4o-mini-2024-07-18 claude-sonnet-4-5-20250929 text-embedding-3-large SmolLM2-135M-Instruct.Q4_1.gguf",
        "resp_68a1b2c3d4e5f60718293a4b5c6d7e8f chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG call_12345xyz fp_44709d6fcb",
        "req_011CRxyz9876543210 msg_0123456789abcdef0123456789abcdef",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301 4729187d167fecfba27e68863c7454c3",
        "2024-01-15T10:00:00.000Z 15.01.2024 12:30 1700000000 1700000000000 1700000000000000000",
        "3.14159265358979 -0.5 1e-07 1,234,567.89 0.0024161234567890",
        "Order 1234567890123 of 12 items, ISBN 978-3-16-148410-0, room 101, page 42-43",
        "4111 1111 1111 1112 has a wrong check digit, and 1234 5678 9012 3456 is no card",
        "DE89 3704 0044 0532 0130 01 has a wrong checksum",
        "sk-learn-is-a-package-with-a-name and task-oriented-dialogue-systems-survey",
        "password: required, token: the smallest unit, secret: none, api_key: str",
        "the bearer of this letter, bearer authentication-is-used-here",
        "http://localhost:8080/v1/a@b/c and user@host without a domain, @mention, a @ b",
        "version 10.20.30.40, +5 points, +1, 5+5=10, C++ 2020",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgsk-proj-abc123DEF456ghi789",
        "${DB_PASSWORD} postgresql://app:${DB_PASSWORD}@db/x",
        "Temperatures: 12 13 14 15 16 17 18 19 20 21 22 23",
    ],
)
def test_what_only_looks_like_a_secret_is_left_alone(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_equal_values_stay_equal_and_others_differ() -> None:
    one, two, three = REDACTOR.text("a@x.org b@x.org a@x.org").split()
    assert one == three != two
    assert Redactor(salt="other").text("a@x.org") != one
    # a card is the same card however it is grouped
    assert REDACTOR.text("4111 1111 1111 1111") == REDACTOR.text("4111111111111111")


def test_json_values_are_walked_and_keys_tell() -> None:
    value = {
        "api_key": "short",
        "Authorization": "x",
        "max_tokens": 100,
        "usage": {"input_tokens": 4111111111111111},
        "messages": [{"content": "I am ann@x.org", "n": None, "ok": True}],
        "password": "",
    }
    redacted = REDACTOR.value(value)
    assert redacted["api_key"].startswith("[SECRET:")
    assert redacted["Authorization"].startswith("[SECRET:")
    assert redacted["max_tokens"] == 100
    assert redacted["usage"] == value["usage"]
    assert redacted["messages"][0]["content"].startswith("I am [EMAIL:")
    assert redacted["messages"][0]["ok"] is True
    assert redacted["password"] == ""
    assert REDACTOR.value(redacted) == redacted


def test_personal_data_can_be_left_in_and_secrets_cannot() -> None:
    only_secrets = Redactor(pii=False)
    for value in PERSONAL.values():
        assert only_secrets.text(value) == value
    for secret in SECRETS.values():
        assert only_secrets.text(secret) != secret


def test_a_users_patterns_are_used_and_checked() -> None:
    redactor = Redactor([("ticket", r"TCK-\d+"), ("half", r"id=(?P<secret>\w+)")])
    assert redactor.text("TCK-1 id=abc").startswith("[TICKET:")
    assert redactor.text("id=abc").startswith("id=[HALF:")
    with pytest.raises(UsageError, match="must be a regular expression") as caught:
        Redactor([("bad", "(")])
    assert caught.value.slug == "redact-pattern"


def test_a_catastrophic_user_pattern_is_stopped() -> None:
    redactor = Redactor([("slow", r"^(([a-z])+.)+[A-Z]([a-z])+$")])
    with pytest.raises(UsageError, match="took longer"):
        redactor.text("a" * 5000)


@pytest.mark.parametrize(
    "unit", ["a", "a.", "1 ", "a@", "+1", "sk-", "x:", "eyJ", "-----BEGIN ", "AA11 ", "://", "password=", "aws "]
)
def test_hostile_text_ends(unit: str) -> None:
    # an expression that is quadratic would take minutes here, one that is exponential for ever
    text = unit * (200_000 // len(unit))
    redacted = REDACTOR.text(text)
    assert REDACTOR.text(redacted) == redacted


@given(st.text(max_size=300))
def test_any_text_is_redacted_once(text: str) -> None:
    redacted = REDACTOR.text(text)
    assert REDACTOR.text(redacted) == redacted


@given(st.text(max_size=60), st.sampled_from(sorted(SECRETS.values())), st.text(max_size=60))
def test_a_secret_between_spaces_never_survives(before: str, secret: str, after: str) -> None:
    text = f"{before} {secret} {after}"
    if not text.startswith("data:"):
        assert secret not in REDACTOR.text(text)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


@given(
    st.recursive(
        _LEAVES,
        lambda c: st.lists(c, max_size=4) | st.dictionaries(st.text(max_size=8), c, max_size=4),
        max_leaves=10,
    )
)
def test_any_json_keeps_its_shape(value: object) -> None:
    redacted = REDACTOR.value(value)
    json.dumps(redacted)
    assert type(redacted) is type(value)


def test_looking_only_around_a_word_finds_what_looking_everywhere_does() -> None:
    patterns = [p for p in PATTERNS if p.reach is not None and p.words]
    assert {p.kind for p in patterns} == {"SECRET", "EMAIL", "IP"}
    names = ["api_key", "subscription_access_key", "encryption-accesskey", "token", "refresh_token", "PassPhrase"]
    names += ["?sig=", "&signature=", "key=", "&code=", "authKEY", "mytoken", "secret"]
    between = [":", "= ", "=>", '": "', "   ", '\\"', " b'", ",", "\n"]
    pieces = [*names, *between, "abc123" * 3, "x9" * 40, "Z8" * 150, "Q7" * 300, "plain words here "]
    pieces += ["ann.lee", "@", "%40", "mail.example.org", "a" * 60 + ".", "x" * 63 + ".y" * 30 + ".com"]
    pieces += ["2001:0db8:85a3:0000:0000:8a2e:0370:7334", "::", "2abc:"]
    some = random.Random(5)
    found = 0
    for _ in range(2000):
        text = "".join(some.choice(pieces) for _ in range(some.randint(2, 40)))
        for pattern in patterns:
            assert pattern.reach is not None
            group = 1 if pattern.expression.groups else 0
            everywhere = [m.span(group) for m in pattern.expression.finditer(text)]
            places = word_windows(text.lower(), pattern.words, pattern.reach)
            around = [m.span(group) for a, b in places for m in pattern.expression.finditer(text, a, b)]
            assert around == everywhere, text
            found += len(everywhere)
    assert found > 1000


def test_what_a_texts_shape_rules_out_no_pattern_finds() -> None:
    secrets = [
        "sk-proj-" + "a1B2" * 6,
        "ghp_" + "Zy9" * 12,
        "xoxb-1234567890",
        "sk_test_0123456789",
        "AKIA" + "Q7" * 8,
    ]
    secrets += [
        "SG." + "a1" * 9 + "." + "b2" * 9,
        "eyJhbGciOi.eyJzdWIiOj.abc1",
        "hooks.slack.com/services/" + "T0" * 10,
    ]
    secrets += ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "10.1.2.3", "192.168.0.77", "2001:db8::1"]
    secrets += ["4111 1111 1111 1111", "+1 (212) 555-0123", "fax: (030) 90182-0"]
    pieces = [
        *secrets,
        "n",
        "\\",
        "%20",
        " ",
        ".",
        "=",
        "~",
        "é",
        "\u0661",
        "\ud800",
        "KELVIN\u212a",
        "in prose 12 of 2023",
    ]
    pieces += ["(030) 901820", "4", "-", "+49 ", "a" * 13, "/", "_", "\n"]
    some = random.Random(8)
    ruled_out = found = 0
    for _ in range(3000):
        text = "".join(some.choice(pieces) for _ in range(some.randint(1, 7)))
        shape = Shape(text)
        runs = shape.runs()
        for pattern in PATTERNS:
            everywhere = [m.span() for m in pattern.expression.finditer(text)]
            if pattern.run:
                assert [
                    m.span() for a, b in runs for m in pattern.expression.finditer(text, a, b)
                ] == everywhere, text
            if pattern.numeric:
                places = [(a, b) for a, b, digits in shape.numbers() if digits >= pattern.numeric]
                assert [
                    m.span() for a, b in places for m in pattern.expression.finditer(text, a, b)
                ] == everywhere, text
            if pattern.reach is not None and not pattern.words:
                places = shape.around(pattern.forms, pattern.reach)
                assert [
                    m.span() for a, b in places for m in pattern.expression.finditer(text, a, b)
                ] == everywhere, text
            possible = not pattern.forms or shape.has(pattern.forms)
            possible = possible and bool(runs or not pattern.long)
            assert possible or not everywhere, text
            found += len(everywhere)
            ruled_out += not possible
        assert shape.suspicious or REDACTOR.text(text) == text
    assert found > 1000
    assert ruled_out > 1000
