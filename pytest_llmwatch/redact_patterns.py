"""What secrets look like: a table of patterns, each with the check that keeps it honest.

Every expression is linear on hostile text: no nested quantifiers over overlapping classes, and every gap between
a word and its value is bounded. A pattern with a ``needle`` is only tried where one of its needles occurs, which
keeps redaction of ordinary prose cheap. Personal data has a table of its own, `redact_personal`.
"""

from __future__ import annotations

import re

from pytest_llmwatch.redact_base import START, Pattern, has_digit, make
from pytest_llmwatch.redact_personal import PERSONAL
from pytest_llmwatch.redact_vendors import VENDORS, opens


def looks_random(text: str) -> bool:
    """Whether ``text`` could be generated: letters and digits, or one long word without separators."""
    body = re.sub(r"^(?:sk|rk|pk)-(?:proj-|svcacct-|admin-|ant-|or-)?", "", text)
    return (has_digit(body) or not re.search(r"[-_.]", body)) and opens(text)


_PLACEHOLDER = re.compile(r"(?:\+|%20)*(?:\[[A-Z][A-Z0-9_]{1,40}:)?[0-9a-f]{4}\]")


def assigned(text: str) -> bool:
    """Whether ``text`` after ``password:`` is a value: "required" is prose, "hunter2!x" is not."""
    return (
        has_digit(text)
        and not text.isdigit()
        and not text.startswith(("[", "$", "%(", "os.", "self."))
        and (len(text) < 20 or opens(text))
        and ("]" not in text or _PLACEHOLDER.match(text) is None)
    )


def _token(text: str) -> bool:
    # a page token or a count is no secret; one that opens something is long, and random
    return assigned(text) and any(c.isalpha() for c in text)


def _password(text: str) -> bool:
    # "http://host:8080/a@b" has a port there, "${PASSWORD}" is a variable
    return not text.startswith(("[", "$", "<", "{", "%(")) and not re.match(r"\d{1,5}/", text)


# between a name and its value, as JSON, YAML, an assignment, a header, or a pair of strings writes it
_GIVEN = r"(?:[\\\"']{0,3}\]?\s{0,4}(?:[:?]{0,3}=>?|:)\s{0,4}(?:b(?=[\\\"']))?[\\\"']{0,3}|[\"'],\s?b?[\"'])"

SECRETS: tuple[Pattern, ...] = (
    make(
        "PRIVATE_KEY",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "PRIVATE KEY",
        flags=re.DOTALL,
    ),
    make("ANTHROPIC_KEY", START + r"sk-ant-[A-Za-z0-9_-]{16,}", "sk-ant-", run=True),
    make(
        "OPENAI_KEY",
        START + r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}",
        "sk-",
        check=looks_random,
        run=True,
    ),
    make(
        "GOOGLE_KEY",
        START + r"(?:AIza[0-9A-Za-z_-]{30,}|GOCSPX-[0-9A-Za-z_-]{20,})",
        "AIza",
        "GOCSPX-",
        check=opens,
        run=True,
    ),
    make("GOOGLE_TOKEN", START + r"ya29\.[0-9A-Za-z_-]{20,}", "ya29.", run=True),
    make(
        "AWS_KEY",
        START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
        check=opens,
        run=True,
    ),
    make(
        "AWS_SECRET",
        r"(?i)aws.{0,20}?(?:secret|session).{0,20}?[=:]\s*[\\\"']{0,3}(?P<secret>[A-Za-z0-9/+]{40,}={0,2})",
        "aws",
        "AWS",
        "Aws",
        check=opens,
        long=True,
    ),
    make(
        "GITHUB_TOKEN",
        START + r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        check=opens,
        run=True,
    ),
    make(
        "GITLAB_TOKEN",
        START + r"gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{18,}",
        "glpat-",
        "glptt-",
        "gldt-",
        "glrt-",
        check=opens,
        run=True,
    ),
    make(
        "SLACK_TOKEN", START + r"(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{10,}", "xox", "xapp-", check=has_digit, run=True
    ),
    make(
        "SLACK_WEBHOOK",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9_+/-]{20,})",
        "hooks.slack.com",
        run=True,
    ),
    make(
        "STRIPE_KEY",
        START + r"(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{16,})",
        "_live_",
        "_test_",
        "whsec_",
        check=opens,
        run=True,
    ),
    make(
        "HUGGINGFACE_TOKEN", START + r"(?:hf|api_org)_[A-Za-z0-9]{20,}", "hf_", "api_org_", check=opens, run=True
    ),
    make("PYPI_TOKEN", START + r"pypi-AgE[A-Za-z0-9_-]{30,}", "pypi-AgE", run=True),
    make("SENDGRID_KEY", START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", "SG.", run=True),
    make("JWT", START + r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}", "eyJ", run=True),
    make(
        "BEARER",
        r"(?i)\bbearer\s{1,4}(?P<secret>[A-Za-z0-9._~+/-]{16,}={0,2})",
        "earer",
        "EARER",
        check=has_digit,
        long=True,
    ),
    make(
        "BASIC_AUTH",
        r"(?i)authorization[\\\"']{0,2}\s{0,4}[:=,]\s{0,4}b?[\\\"']{0,2}"
        r"(?:basic|token|api-?key|digest|negotiate|aws4-hmac-sha256)\s{1,4}(?P<secret>[A-Za-z0-9+/_.~-]{8,}={0,2})",
        words=("authorization",),
    ),
    make(
        "COOKIE",
        r"(?i)(?<![a-z0-9])(?:set-)?cookie[\\\"']{0,2}\s{0,3}[:=,]\s{0,3}b?[\\\"']{0,2}"
        r"(?P<secret>[!#-+.\w^`|~-]{1,64}=[^\s\"';\\]{8,4000}(?:;\s?[^\s\"';\\]{0,4000}){0,40})",
        forms=(b"=",),
        words=("cookie",),
        check=has_digit,
    ),
    make(
        "PASSWORD",
        r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:/?#@\"'\\]{0,120}:(?P<secret>[^\s@\"'\\<>]{1,200})@",
        "://",
        check=_password,
    ),
    make(
        "SECRET",
        r"(?i)(?:api[_-]?key|(?:secret|access|private|account|signing|encryption|subscription|storage|auth)"
        r"[_-]?(?:access[_-]?)?key|client[_-]?secret|(?:access|auth|refresh|session|bot|id)[_-]?token"
        r"|password|passwd|passphrase|passcode|pwd|secret)" + _GIVEN + r"(?P<secret>[^\s\"'\\,;<>(){}&]{8,256})",
        words=("key", "token", "secret", "pass", "pwd"),
        reach=(24, 320),
        check=assigned,
    ),
    make(
        "SECRET",
        r"(?i)(?<![a-z])token" + _GIVEN + r"(?P<secret>[A-Za-z0-9._~+/-]{20,512}={0,2})",
        words=("token",),
        reach=(2, 560),
        long=True,
        check=_token,
    ),
    make(
        "SECRET",
        r"(?i)[?&](?:sig|signature|token|key|code|auth)=(?P<secret>[^\s\"'\\,;<>(){}&#]{16,512})",
        forms=(b"=",),
        words=("sig=", "signature=", "token=", "key=", "code=", "auth="),
        reach=(2, 560),
        check=assigned,
    ),
)
PATTERNS: tuple[Pattern, ...] = (*SECRETS, *VENDORS, *PERSONAL)
"""In order of precedence: where two match the same text, the longer wins, then the earlier."""

SECRET_KEYS = frozenset(
    {
        "api_key", "apikey", "api-key", "x-api-key", "x-goog-api-key", "authorization", "proxy-authorization",
        "password", "passwd", "passphrase", "secret", "client_secret", "clientsecret", "secret_key", "access_key",
        "secret_access_key", "aws_secret_access_key", "aws_session_token", "access_token", "accesstoken",
        "auth_token", "refresh_token", "private_key", "cookie", "set-cookie", "bearer_token", "db_password",
    }
)  # fmt: skip
"""Object keys (lower case) whose text value is hidden whatever it looks like."""
