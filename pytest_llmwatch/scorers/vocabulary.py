"""Word lists of groundedness: words about the text itself, negations, opposites."""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_llmwatch.scorers.words import LONGEST, STOP_WORDS, canonical, normal

_DISCOURSE = """
summary summarize article passage passages document text question answer provided provide given according
mentioned mention mentions state states stated based overall additionally therefore however including include
includes also sure here word words note following information context data structured objective overview author
highlight highlights discuss discusses discussing describe described describes specifically specific
particularly furthermore moreover finally meanwhile despite
"""
DISCOURSE = frozenset(_DISCOURSE.split())
"""Words with which an answer speaks of itself or its source ("the passage mentions ..."): they claim nothing."""

_SAID = """
specify specified information clear explicitly explicit detail details directly contain answer found
available indicate
"""
SAID = frozenset(map(canonical, [*DISCOURSE, *_SAID.split()]))
"""Stems after which a negation speaks of the text ("does not specify"), not of the world."""

NEGATIONS = frozenset(
    "not no never without nor none cannot neither nobody nothing nowhere".split()  # noqa: SIM905
)
"""Words that negate; words in n't as well."""

_DENYING = """
false null lack lacks absence absent unable fail refuse deny decline reject except hardly barely rarely few
unlikely unclear limited impossible unavailable
"""
DENIALS = NEGATIONS | frozenset(map(canonical, _DENYING.split()))
"""Stems that negate, also by their sense and in data."""

_PAIRS = """
increase decrease; rise fall; higher lower; high low; more less; more fewer; large small; big small; good bad;
positive negative; accept reject; agree disagree; agree refuse; before after; win lose; won lost; early late;
up down; gain loss; profit loss; success failure; succeed fail; support oppose; allow forbid;
allow ban; open close; start end; begin finish; first last; buy sell; improve worsen; strong weak;
strength weakness; fast slow; long short; old new; old young; inside outside; above below; arrive leave;
male female; man woman; men women; boy girl; father mother; son daughter; brother sister; husband wife;
north south; east west; left right; expensive cheap; easy difficult; simple complex; safe dangerous;
same different; always never; all none; true false; possible impossible; able unable; like dislike; love hate;
happy sad; full empty; add remove; include exclude; import export; public private; major minor;
maximum minimum; most least; best worst; better worse; advantage disadvantage; free paid; indoor outdoor;
ally enemy; attack defend; remember forget; approve deny; confirm deny; admit deny; guilty innocent; hot cold;
warm cold; summer winter; day night; morning evening; today tomorrow; yesterday tomorrow; supervised unsupervised;
expand shrink; increase reduce; grow shrink; raise lower; borrow lend; encourage discourage;
optimistic pessimistic; excited disappointed; satisfied dissatisfied; enable prevent; connect disconnect
"""


def _opposites() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for pair in _PAIRS.split(";"):
        one, other = map(canonical, pair.split())
        table.setdefault(one, set()).add(other)
        table.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in table.items()}


OPPOSITES = _opposites()
"""Canonical word -> canonical words that say the contrary."""


CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a name such as OutdoorSeating, a key in JSON, falls into words."""


MONTH = "May"
"""A function word in lower case, and a month."""


class Lexeme(NamedTuple):
    """What is known of a token by itself. ``kind``: ``function``, ``discourse``, ``number`` or ``word``."""

    key: str
    kind: str
    negates: bool
    is_title: bool
    """Whether it begins with a capital letter."""
    is_camel: bool
    is_plain: bool
    """A word in lower case, or a function word, that negates nothing."""


class _Lexicon(dict[str, Lexeme]):
    """Tokens looked up before: a plain dictionary, since a look-up is most of what scoring does."""

    def __missing__(self, token: str) -> Lexeme:
        if len(token) > LONGEST:
            # too long for a word, and not kept
            return Lexeme(token.lower(), "word", False, token[0].isupper(), False, False)
        if len(self) >= _MOST:
            self.clear()
        found = self[token] = _look_up(token)
        return found


_MOST = 100_000
LEXICON = _Lexicon()


def _look_up(token: str) -> Lexeme:
    word = normal(token)
    kind = "word"
    if word in STOP_WORDS:
        kind = "function"
    elif word[:1].isdigit():
        kind = "number"
    elif word in DISCOURSE:
        kind = "discourse"
    negates = word in NEGATIONS or word.endswith("n't")
    is_title, is_camel = token[0].isupper(), CAMEL.search(token) is not None
    is_function = kind == "function" and token != MONTH
    is_plain = not negates and not is_camel and (is_function or (kind == "word" and not is_title))
    return Lexeme(canonical(token), kind, negates, is_title, is_camel, is_plain)
