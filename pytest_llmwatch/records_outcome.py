"""What became of an answer, as logs tell it: success, thumbs, re-asks, corrections, hand-overs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_llmwatch.call import UserOutcome
from pytest_llmwatch.records_fields import BadValue

_NAMES = {
    "success": "success succeeded resolved solved task_success goal_achieved",
    "reask": "reask re_ask reasked re_asked rephrased user_rephrased regenerated user_regenerated",
    "corrected": "corrected correction edited user_edited was_edited user_corrected",
    "escalated": "escalated escalation handoff hand_off handed_off human_handoff transferred transferred_to_human",
    "abandoned": "abandoned user_abandoned",
}
_FEEDBACK = (
    *("feedback", "user_feedback", "thumbs", "thumb", "vote", "user_vote", "feedback_score", "user_score"),
    "reaction",
)
_STARS = ("stars", "star_rating", "csat")
_FIELD = {alias: field for field, names in _NAMES.items() for alias in names.split()}
KEYS = frozenset({*_FIELD, *_FEEDBACK, *_STARS, "thumbs_up", "thumbs_down"})
"""Keys of a log line, in snake case and without ``is_`` and ``was_``, that tell an outcome."""

UP, DOWN = "thumbs_up", "thumbs_down"
_SIGNS = {
    UP: "thumbs_up thumbsup thumb_up up upvote upvoted like liked positive good helpful love heart 👍 ❤️ +1 1",
    DOWN: "thumbs_down thumbsdown thumb_down down downvote downvoted dislike disliked negative bad unhelpful "
    "not_helpful 👎 -1 0",
}
_SIGN = {word: thumb for thumb, words in _SIGNS.items() for word in words.split()}
_WORDS = {
    True: "true yes y 1 success succeeded successful resolved solved completed",
    False: "false no n 0 failure failed unsuccessful unresolved unsolved",
}
_FLAG = {word: value for value, words in _WORDS.items() for word in words.split()}


def key_of(key: str) -> str | None:
    """Return the key as `KEYS` has it, None where it tells no outcome."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    for name in (snake, snake.removeprefix("is_"), snake.removeprefix("was_")):
        if name in KEYS:
            return name
    return None


def thumb(value: Any) -> str | None:
    """Return ``thumbs_up`` or ``thumbs_down`` for a word, a sign (1; 0, -1), a bool, or an object that holds one.

    None where it says neither: free text, or a number that may be a rating of any scale.
    """
    if isinstance(value, bool):
        return UP if value else DOWN
    if isinstance(value, int | float):
        return UP if value == 1 else DOWN if value in (0, -1) else None
    if isinstance(value, str):
        word = re.sub(r"[\s-]+(?=\D)", "_", value.strip().lower())
        return _SIGN.get(word)
    if isinstance(value, Mapping):
        keys = ("thumbs", "value", "score", "type", "rating", "sentiment", "vote", "key", "name")
        said = [s for k in keys if k in value and (s := thumb(value[k])) is not None]
        said += [UP for k in (UP, "thumbsUp") if value.get(k) is True]
        said += [DOWN for k in (DOWN, "thumbsDown") if value.get(k) is True]
        return said[0] if said else None
    if isinstance(value, list):
        said = [s for v in value if (s := thumb(v)) is not None]
        return DOWN if DOWN in said else said[0] if said else None
    return None


def flag(value: Any) -> bool | None:
    """Return a yes or no: a bool, 0 or 1, or a word for it; None where it is something else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        return _FLAG.get(value.strip().lower())
    return None


def outcome_object(given: Any) -> dict[str, Any]:
    """Return ``outcome`` as an object, also where the line tells it in a word, as ``escalated``.

    Raises:
        BadValue: It is neither an object nor such a word.
    """
    if isinstance(given, Mapping):
        return dict(given)
    if flag(given) is not None:
        return {"success": given}
    name = key_of(given) if isinstance(given, str) else None
    if name in _FIELD or name in (UP, DOWN):
        return {str(name): True}
    raise BadValue("must be an object, or a word such as resolved, failed, escalated")


def read_outcome(given: Mapping[str, Any], beside: Iterable[tuple[str, Any]] = ()) -> UserOutcome:
    """Return the outcome of a line.

    Args:
        given: Its ``outcome`` object. What it holds must be understood.
        beside: Other keys of the line, of which those that tell an outcome plainly are taken.

    Raises:
        BadValue: ``outcome`` holds something that is neither yes nor no.
    """
    known: dict[str, Any] = {}
    for key, value in given.items():
        name = key_of(key)
        if name is None or value is None:
            continue
        if name in _FIELD:
            said = flag(value)
            if said is None:
                raise BadValue(f"outcome.{key} must be true or false")
            known.setdefault(_FIELD[name], said)
        else:
            word = value if isinstance(value, str) else None
            known.setdefault("feedback", _feedback(name, value) or word)
    for key, value in beside:
        name = key_of(key)
        if name is None or value is None:
            continue
        told = flag(value) if name in _FIELD else _feedback(name, value)
        if told is not None:
            known.setdefault(_FIELD.get(name, "feedback"), told)
    return UserOutcome(**known)


def _feedback(name: str, value: Any) -> str | None:
    if name in (UP, DOWN):
        # thumbs_down: false says that nobody turned it down, not that somebody liked it
        return name if flag(value) or (type(value) is int and value > 0) else None
    if name in _STARS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return DOWN if value <= 2 else UP if value >= 4 else "neutral"
    return thumb(value)
