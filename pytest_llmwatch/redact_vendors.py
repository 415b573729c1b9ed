"""Keys that a prefix of their vendor tells, as the vendors document them; beside those in `redact_patterns`.

Placeholders of documentation (``hf_xxxx``) have such a prefix too, and open nothing.
"""

from __future__ import annotations

from pytest_llmwatch.redact_base import START, Pattern, has_digit, make

_PREFIX = 8
_OTHERS = 3


def opens(text: str) -> bool:
    """Whether a text in the form of a key can be one, and is not ``xxxx`` behind a prefix.

    All of it is looked at, so that a line of ``x`` or dashes behind a key does not make it a placeholder.
    """
    letters = set(text[_PREFIX:].lower())
    return "x" not in letters or len(letters - {"x"}) >= _OTHERS


def generated(text: str) -> bool:
    """Whether a key whose prefix could begin an ordinary name was made at random: it has digits too."""
    return has_digit(text[4:]) and opens(text)


_HEX = (
    "dop_v1_",
    "doo_v1_",
    "dor_v1_",
    "shpat_",
    "shpca_",
    "shppa_",
    "shpss_",
    "rubygems_",
    "pul-",
)
_LONG = (
    *("gsk_", "xai-", "pplx-", "r8_", "nvapi-", "npm_", "dapi", "fw_", "pcsk_", "tvly-", "jina_", "dckr_pat_"),
    *(
        "ntn_",
        "lin_api_",
        "figd_",
        "glsa_",
        "sntryu_",
        "sntrys_",
        "hvs.",
        "hvb.",
        "hvp.",
        "pscale_tkn_",
        "pscale_pw_",
    ),
    *(
        "pscale_oauth_",
        "lsv2_pt_",
        "lsv2_sk_",
        "duffel_test_",
        "duffel_live_",
        "fio-u-",
        "tk-us-",
        "HRKU-AA",
        "ico-",
    ),
    *(
        "ops_eyJ",
        "xkeysib-",
        "ATATT3",
        "cmVmd",
        "glcbt-",
        "glft-",
        "glsoat-",
        "glimt-",
        "glagent-",
        "glffct-",
        "gloas-",
        "sgp_",
    ),
)


def _any(prefixes: tuple[str, ...]) -> str:
    return "(?:" + "|".join(p.replace(".", r"\.") for p in prefixes) + ")"


_END = r"(?![A-Za-z0-9])"

VENDORS: tuple[Pattern, ...] = (
    make("VENDOR_KEY", START + _any(_HEX) + r"[0-9a-fA-F]{24,}", *_HEX, check=generated, run=True),
    make("VENDOR_KEY", START + _any(_LONG) + r"[A-Za-z0-9_+/-]{20,}", *_LONG, check=generated, run=True),
    make(
        "VENDOR_KEY",
        START + r"(?:dp\.(?:pt|st|ct|sa|scim|audit)\.|dt0[a-z]01\.|sq0[a-z]{3}-)[A-Za-z0-9_.-]{22,}",
        *("dp.", "dt0", "sq0"),
        check=generated,
        run=True,
    ),
    make(
        "VENDOR_KEY",
        START + r"(?:NRAK-[A-Z0-9]{27}|EZ[AT]K[A-Za-z0-9]{54})" + _END,
        "NRAK-",
        "EZAK",
        "EZTK",
        run=True,
    ),
    make("VENDOR_KEY", START + r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}" + _END, "PMAK-", run=True),
    make("VENDOR_KEY", START + r"FLWSECK(?:_TEST)?-[0-9a-h]{32}-X" + _END, "FLWSECK", run=True),
    make("VENDOR_KEY", START + r"A3-(?:[A-Z0-9]{5,11}-){4,5}[A-Z0-9]{5}" + _END, "A3-", check=generated, run=True),
    make("VENDOR_KEY", START + r"AGE-SECRET-KEY-1[A-Z0-9]{58}" + _END, "AGE-SECRET-KEY-1", run=True),
    make("TWILIO_KEY", START + r"SK(?:[0-9a-f]{32}|[0-9A-F]{32})" + _END, "SK", check=generated, run=True),
    make("MAILCHIMP_KEY", START + r"[0-9a-f]{32}-us\d{1,2}" + _END, "-us", check=generated, run=True),
    make("AIRTABLE_KEY", START + r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}" + _END, "pat", run=True),
    make("TERRAFORM_TOKEN", START + r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}", ".atlasv1.", run=True),
    make("TELEGRAM_TOKEN", START + r"\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])", ":AA", long=True),
    make(
        "DISCORD_TOKEN",
        START + r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}(?![A-Za-z0-9_.-])",
        ".",
        check=lambda text: has_digit(text.partition(".")[0] + text.rpartition(".")[2]) and opens(text),
        run=True,
    ),
    make(
        "TEAMS_WEBHOOK",
        r"\.webhook\.office\.com/webhookb2/(?P<secret>[^\s\"'\\<>]{40,400})",
        ".webhook.office.com",
        long=True,
    ),
)
