"""Made-up keys in the forms that vendors document, and look-alikes; nothing here opens anything.

The forms were written from the vendors' pages and GitHub's list of secret scanning patterns, not from the patterns
that are measured. Keys are made at run time from a seed, so none stands in the repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterator
from random import Random
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

FORMATS: dict[str, str] = {
    "OpenAI, legacy": r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
    "OpenAI, project": r"sk-proj-[A-Za-z0-9_-]{74}T3BlbkFJ[A-Za-z0-9_-]{74}",
    "OpenAI, service account": r"sk-svcacct-[A-Za-z0-9_-]{58}T3BlbkFJ[A-Za-z0-9_-]{58}",
    "OpenAI, administration": r"sk-admin-[A-Za-z0-9_-]{58}T3BlbkFJ[A-Za-z0-9_-]{58}",
    "OpenRouter": r"sk-or-v1-[0-9a-f]{64}",
    "Anthropic": r"sk-ant-api03-[A-Za-z0-9_-]{93}AA",
    "Anthropic, administration": r"sk-ant-admin01-[A-Za-z0-9_-]{93}AA",
    "Google, API key": r"AIza[A-Za-z0-9_-]{35}",
    "Google, OAuth secret": r"GOCSPX-[A-Za-z0-9_-]{28}",
    "Google, access token": r"ya29\.[A-Za-z0-9_-]{120}",
    "AWS, access key id": r"(?:AKIA|ASIA)[A-Z2-7]{16}",
    "GitHub, classic": r"gh[pousr]_[A-Za-z0-9]{36}",
    "GitHub, fine-grained": r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    "GitLab, personal": r"glpat-[A-Za-z0-9_-]{20}",
    "GitLab, deploy": r"gldt-[A-Za-z0-9_-]{20}",
    "GitLab, CI job": r"glcbt-[0-9a-f]{2}_[A-Za-z0-9_-]{20}",
    "GitLab, OAuth application": r"gloas-[0-9a-f]{64}",
    "Slack, bot": r"xoxb-[0-9]{11}-[0-9]{12}-[A-Za-z0-9]{24}",
    "Slack, app": r"xapp-1-A[A-Z0-9]{10}-[0-9]{13}-[0-9a-f]{64}",
    "Slack, webhook": r"https://hooks\.slack\.com/services/T[A-Z0-9]{10}/B[A-Z0-9]{10}/[A-Za-z0-9]{24}",
    "Stripe": r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{24}",
    "Stripe, webhook": r"whsec_[A-Za-z0-9]{32}",
    "Hugging Face": r"hf_[A-Za-z]{34}",
    "Groq": r"gsk_[A-Za-z0-9]{52}",
    "xAI": r"xai-[A-Za-z0-9]{80}",
    "Perplexity": r"pplx-[A-Za-z0-9]{48}",
    "Replicate": r"r8_[A-Za-z0-9]{37}",
    "NVIDIA": r"nvapi-[A-Za-z0-9_-]{64}",
    "Fireworks": r"fw_[A-Za-z0-9]{24}",
    "Pinecone": r"pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{63}",
    "LangSmith": r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",
    "Langfuse": r"sk-lf-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "Tavily": r"tvly-(?:dev-)?[A-Za-z0-9]{32}",
    "npm": r"npm_[A-Za-z0-9]{36}",
    "PyPI": r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{150}",
    "RubyGems": r"rubygems_[0-9a-f]{48}",
    "Docker Hub": r"dckr_pat_[A-Za-z0-9_-]{27}",
    "DigitalOcean": r"do[opr]_v1_[0-9a-f]{64}",
    "Databricks": r"dapi[0-9a-f]{32}",
    "Shopify": r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}",
    "SendGrid": r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "Twilio, API key": r"SK[0-9a-f]{32}",
    "Mailgun": r"key-[0-9a-f]{32}",
    "Mailchimp": r"[0-9a-f]{32}-us[1-9][0-9]",
    "Discord, bot": r"[MNO][A-Za-z0-9]{25}\.[A-Za-z0-9]{6}\.[A-Za-z0-9_-]{38}",
    "Telegram, bot": r"[0-9]{10}:AA[A-Za-z0-9_-]{33}",
    "Notion": r"ntn_[A-Za-z0-9]{46}",
    "Linear": r"lin_api_[A-Za-z0-9]{40}",
    "Airtable": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    "Figma": r"figd_[A-Za-z0-9_-]{40}",
    "Postman": r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    "New Relic": r"NRAK-[A-Z0-9]{27}",
    "Sentry": r"sntryu_[0-9a-f]{64}",
    "Grafana, service account": r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",
    "HashiCorp Vault": r"hvs\.[A-Za-z0-9_-]{90}",
    "Terraform Cloud": r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{64}",
    "Doppler": r"dp\.pt\.[A-Za-z0-9]{43}",
    "PlanetScale": r"pscale_tkn_[A-Za-z0-9_-]{43}",
    "Pulumi": r"pul-[0-9a-f]{40}",
    "Square": r"sq0(?:atp-[A-Za-z0-9_-]{22}|csp-[A-Za-z0-9_-]{43})",
    "Atlassian": r"ATATT3xFfGF0[A-Za-z0-9_-]{171}=[0-9A-F]{8}",
    "age": r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    "JWT": r"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\.eyJ[A-Za-z0-9_-]{60}\.[A-Za-z0-9_-]{43}",
    "private key": r"-----BEGIN PRIVATE KEY-----\n(?:[A-Za-z0-9+/]{64}\n){8}-----END PRIVATE KEY-----",
}
"""Kind -> what every key of it looks like: a form of its own, told without a word beside it."""

NAMED: dict[str, tuple[str, str]] = {
    "AWS, secret key": ("aws_secret_access_key", r"[A-Za-z0-9+/]{40}"),
    "Azure, storage key": ("AccountKey", r"[A-Za-z0-9+/]{86}=="),
    "Azure OpenAI": ("AZURE_OPENAI_API_KEY", r"[0-9a-f]{32}"),
    "Azure, client secret": ("client_secret", r"[A-Za-z0-9]{3}8Q~[A-Za-z0-9_~.-]{34}"),
    "Cohere": ("COHERE_API_KEY", r"[A-Za-z0-9]{40}"),
    "Mistral": ("MISTRAL_API_KEY", r"[A-Za-z0-9]{32}"),
    "Twilio, auth token": ("TWILIO_AUTH_TOKEN", r"[0-9a-f]{32}"),
    "Datadog": ("DD_API_KEY", r"[0-9a-f]{32}"),
    "Cloudflare": ("CLOUDFLARE_API_TOKEN", r"[A-Za-z0-9_-]{40}"),
    "password": ("password", r"[A-Za-z][a-z]{4}[0-9]{2}[!#%^*][A-Za-z0-9]{4}"),
}
"""Kind -> (a name in use, what the key looks like): hex or letters that only the name beside them tells."""

PLACES = (
    "Sure, your key is {key}.",
    'export const client = new Client({{ auth: "{key}" }});',
    "Run `tool login {key}` and try again.",
    "config:\n  - value: '{key}'\n    ttl: 30",
    "curl -H 'X-Auth: {key}' https://api.example.com/v1",
)
NAMED_PLACES = (
    "{name}={key}",
    '{name} = "{key}"',
    '{{"{name}": "{key}", "n": 1}}',
    "{name}: {key}",
    'os.environ["{name}"] = "{key}"',
)

_CLASSES = {"category_digit": "0123456789", "category_word": "abcXYZ019_", "category_space": " "}


def made(expression: str, random: Random) -> str:
    """Return a random text that ``expression`` matches; anchors and look-arounds make nothing."""
    return _nodes(parser.parse(expression), random)


def _nodes(nodes: Any, random: Random) -> str:
    return "".join(_node(str(op).lower(), value, random) for op, value in nodes)


def _node(op: str, value: Any, random: Random) -> str:
    if op == "literal":
        return chr(value)
    if op == "in":
        return random.choice(_choices(value))
    if op in ("max_repeat", "min_repeat"):
        low, high, inner = value
        return "".join(_nodes(inner, random) for _ in range(random.randint(low, min(int(high), low + 8))))
    if op == "subpattern":
        return _nodes(value[-1], random)
    if op == "branch":
        return _nodes(random.choice(value[1]), random)
    return random.choice("abcdef0123456789") if op in ("any", "not_literal") else ""


def _choices(items: Any) -> str:
    out = ""
    for op, value in items:
        name = str(op).lower()
        if name == "literal":
            out += chr(value)
        elif name == "range":
            out += "".join(map(chr, range(value[0], value[1] + 1)))
        elif name == "category":
            out += _CLASSES.get(str(value).lower(), "a")
        elif name == "negate":
            return "abcdef0123456789"
    return out


def keys(each: int = 5, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, key, text that holds it): ``each`` of every form, one in each place."""
    random = Random(seed)
    for kind, form in FORMATS.items():
        for i in range(each):
            key = made(form, random)
            yield kind, key, PLACES[i % len(PLACES)].format(key=key)


def named_keys(each: int = 5, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, key, text) of the keys that only a name tells."""
    random = Random(seed)
    for kind, (name, form) in NAMED.items():
        for i in range(each):
            key = made(form, random)
            yield kind, key, NAMED_PLACES[i % len(NAMED_PLACES)].format(name=name, key=key)


def _pixel(random: Random) -> str:
    raw = zlib.compress(random.randbytes(600))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + raw).decode()


def look_alikes(each: int = 10, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of what looks like a secret and is none."""
    random = Random(seed)
    for _ in range(each):
        blob = random.randbytes(32)
        word = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=9))
        yield "SHA-256", f"sha256:{hashlib.sha256(blob).hexdigest()}  {word}.tar.gz"
        yield "commit", f"commit {hashlib.sha1(blob).hexdigest()}\nAuthor: A. Developer"
        yield "MD5", f"ETag: {hashlib.md5(blob).hexdigest()}"
        yield "integrity", f'"integrity": "sha512-{base64.b64encode(hashlib.sha512(blob).digest()).decode()}"'
        yield "UUID", f"request {uuid.UUID(bytes=blob[:16], version=4)} took 12 ms"
        yield "ULID", f"run 01{''.join(random.choices('0123456789ABCDEFGHJKMNPQRSTVWXYZ', k=24))} is done"
        yield "id of an answer", f"chatcmpl-{''.join(random.choices('ABCDEFabcdef0123456789', k=29))}"
        yield "id of a tool call", f"call_{''.join(random.choices('ABCDEFabcdef0123456789', k=24))}"
        yield "image in base64", f"![x](data:image/png;base64,{_pixel(random)})"
        yield "embedding", f"[{', '.join(f'{random.uniform(-1, 1):.8f}' for _ in range(40))}]"
        yield "trace", f"traceparent: 00-{blob[:16].hex()}-{blob[16:24].hex()}-01"
        yield "page token", json.dumps({"next_page": 2, "cursor": word, "tokens": 1234})
    yield from _PLACEHOLDERS


_PLACEHOLDERS = tuple(
    ("placeholder", text)
    for text in (
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "OPENAI_API_KEY=sk-...",
        'client = OpenAI(api_key="sk-your-api-key-goes-here")',
        'client = OpenAI(api_key="YOUR_API_KEY")',
        "api_key: <your-key>",
        "api_key = os.environ['OPENAI_API_KEY']",
        "password: ${DB_PASSWORD}",
        "password = getpass.getpass()",
        "Your password must have at least 12 characters.",
        "Authorization: Bearer $TOKEN",
        "Authorization: Bearer <token>",
        "Authorization: Bearer YOUR_ACCESS_TOKEN",
        "export GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "postgresql://user:password@localhost:5432/app",
        "postgresql://${USER}:${PASSWORD}@db/app",
        "xoxb-your-bot-token",
        "sk_test_XXXXXXXXXXXXXXXXXXXXXXXX",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@host",
        "token: 4096, max_tokens: 512, next_token: CAUQAA",
        "secret: Kubernetes secrets are stored in etcd",
        "the pass phrase is a secret",
        "glpat-XXXXXXXXXXXXXXXXXXXX",
    )
)


def rule_keys(rules: list[dict[str, Any]], each: int = 3, seed: int = 2) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (rule, key, text, whether a name must tell it) of another tool's rules (gitleaks.toml).

    A rule for keys that only a name tells begins with the name; what its first group holds is the key. Its own
    flags and boundaries are left out.
    """
    for rule in rules:
        if "regex" not in rule:
            continue
        random = Random(f"{seed}{rule['id']}")
        expression = re.sub(r"\(\?i\)|\(\?-i\)", "", rule["regex"])
        expression = expression.replace("[[:alnum:]]", "[A-Za-z0-9]").replace(r"\z", "$").replace("(?-i:", "(?:")
        named = "(?:=|>|:{1,3}=" in expression
        try:
            tree = parser.parse(expression)
        except (re.error, RecursionError):
            continue
        group = next((v for op, v in tree if str(op).lower() == "subpattern" and v[0] == 1), None)
        for i in range(each):
            key = _nodes(group[-1] if group is not None else tree, random)
            if named:
                name = rule["id"].split("-")[0] + "_api_token"
                text = NAMED_PLACES[i % len(NAMED_PLACES)].format(name=name, key=key)
            else:
                text = PLACES[i % len(PLACES)].format(key=key)
            yield rule["id"], key, text, named
