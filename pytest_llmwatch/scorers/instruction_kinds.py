"""The 25 kinds of verifiable instructions of IFEval (Zhou et al. 2023, table 1), each a check of its own.

A check gets the answer and its arguments and returns whether the instruction was followed, and what was seen. All
of them take time linear in the length of the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.scorers.sentences import sentences

RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "less than": lambda n, wanted: n < wanted,
    "at least": lambda n, wanted: n >= wanted,
    "at most": lambda n, wanted: n <= wanted,
    "more than": lambda n, wanted: n > wanted,
    "exactly": lambda n, wanted: n == wanted,
}
"""IFEval has the first two; the others are natural."""

Found = tuple[bool, str]
Arguments = Mapping[str, Any]

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[’']\w+|\w+(?:[.\-/&]\w+)*")
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*")
_POSTSCRIPTS = {"P.P.S": re.compile(r"p\.\s?p\.\s?s"), "P.S.": re.compile(r"p\.\s?s\.")}
_LANGUAGE_CHARS = 10_000


def _compared(n: int, args: Arguments, relation: str, wanted: str, what: str) -> Found:
    given, number = args.get(relation, "at least"), int(args[wanted])
    return RELATIONS[given](n, number), f"{n:,} {what}, {given} {number:,} wanted"


def _detected(text: str) -> str | None:
    from pytest_llmwatch.scorers.language import detect

    # capitals look like no language to a model that was trained on ordinary text
    return detect(text[:_LANGUAGE_CHARS].lower())


def no_comma(text: str, _args: Arguments) -> Found:
    n = text.count(",")
    return n == 0, f"{n:,} commas"


def number_words(text: str, args: Arguments) -> Found:
    return _compared(sum(1 for _ in _WORD.finditer(text)), args, "relation", "num_words", "words")


def number_sentences(text: str, args: Arguments) -> Found:
    return _compared(len(sentences(text, lines=False)), args, "relation", "num_sentences", "sentences")


def number_paragraphs(text: str, args: Arguments) -> Found:
    parts = [part.strip() for part in _DIVIDER.split(text)]
    if any(not part for part in parts[1:-1]):
        return False, "an empty paragraph between two dividers ***"
    n, wanted = sum(map(bool, parts)), args["num_paragraphs"]
    return n == wanted, f"{n:,} paragraphs divided by ***, {wanted:,} wanted"


def nth_paragraph_first_word(text: str, args: Arguments) -> Found:
    parts = text.split("\n\n")
    n, wanted, nth = sum(bool(p.strip()) for p in parts), args["num_paragraphs"], args["nth_paragraph"]
    words = parts[nth - 1].split(maxsplit=1) if 1 <= nth <= min(n, len(parts)) else []
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0].lower() if words else ""
    right = bool(first) and n == wanted and first == args["first_word"].strip().lower()
    return right, f"{n:,} paragraphs, {wanted:,} wanted; paragraph {nth} begins with {first!r:.40}"


def existence(text: str, args: Arguments) -> Found:
    low = text.lower()
    missing = [word for word in args["keywords"] if word.lower() not in low]
    return not missing, f"missing: {', '.join(missing)}" if missing else "all keywords are there"


def frequency(text: str, args: Arguments) -> Found:
    keyword = args["keyword"].strip()
    return _compared(text.lower().count(keyword.lower()), args, "relation", "frequency", f"times {keyword!r}")


def forbidden_words(text: str, args: Arguments) -> Found:
    words = [word for word in args["forbidden_words"] if word]
    found = [w for w in words if re.search(rf"\b{re.escape(w)}\b", text, re.IGNORECASE)]
    return not found, f"used: {', '.join(found)}" if found else "none of the words is used"


def letter_frequency(text: str, args: Arguments) -> Found:
    letter = args["letter"].strip().lower()
    return _compared(text.lower().count(letter), args, "let_relation", "let_frequency", f"times {letter!r}")


def response_language(text: str, args: Arguments) -> Found:
    found = _detected(text)
    return found in (None, args["language"]), f"language {found or 'not known'}, {args['language']} wanted"


def number_placeholders(text: str, args: Arguments) -> Found:
    n = 0
    for line in text.split("\n"):
        opening = line.find("[")
        while opening >= 0:
            closing = line.find("]", opening)
            if closing < 0:
                break
            n += 1
            opening = line.find("[", closing)
    wanted = args["num_placeholders"]
    return n >= wanted, f"{n:,} placeholders in square brackets, at least {wanted:,} wanted"


def postscript(text: str, args: Arguments) -> Found:
    marker = args["postscript_marker"].strip()
    known = _POSTSCRIPTS.get(marker)
    low = text.lower()
    found = known.search(low) is not None if known else marker.lower() in low
    return found, f"{'a' if found else 'no'} postscript {marker}"


def number_bullet_lists(text: str, args: Arguments) -> Found:
    lines = [line.lstrip() for line in text.split("\n")]
    n = sum(line.startswith("-") or (line.startswith("*") and line[1:2] not in ("*", "")) for line in lines)
    wanted = args["num_bullets"]
    return n == wanted, f"{n:,} bullet points, exactly {wanted:,} wanted"


def constrained_response(text: str, args: Arguments) -> Found:
    options = args.get("options") or _CHOICES
    found = next((option for option in options if option in text), None)
    return found is not None, f"says {found!r:.80}" if found else "none of the answers allowed"


def number_highlighted_sections(text: str, args: Arguments) -> Found:
    # *italic* and **bold**; what holds no text counts as neither
    n = sum(bool(m[1].strip()) for form in (_HIGHLIGHT, _DOUBLE_HIGHLIGHT) for m in form.finditer(text))
    wanted = args["num_highlights"]
    return n >= wanted, f"{n:,} highlighted sections, at least {wanted:,} wanted"


def multiple_sections(text: str, args: Arguments) -> Found:
    splitter = re.escape(args["section_spliter"].strip())
    n, wanted = sum(1 for _ in re.finditer(rf"{splitter}\s?\d", text)), args["num_sections"]
    return n >= wanted, f"{n:,} sections, at least {wanted:,} wanted"


def json_format(text: str, _args: Arguments) -> Found:
    body = text.strip()
    if body.startswith("```"):
        body = re.sub(r"\A```(?:json)?", "", body, count=1, flags=re.IGNORECASE)
    body = body.removesuffix("```").strip()
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False, "not JSON"
    return True, "JSON"


def title(text: str, _args: Arguments) -> Found:
    for line in text.split("\n"):
        opening, closing = line.find("<<"), line.rfind(">>")
        if 0 <= opening < closing - 2 and line[opening:closing].strip("<> \t\r"):
            return True, "a title in <<double angular brackets>>"
    return False, "no title in <<double angular brackets>>"


def two_responses(text: str, _args: Arguments) -> Found:
    parts = [part.strip() for part in text.split("******")]
    if any(not part for part in parts[1:-1]):
        return False, "an empty response between two dividers ******"
    made = [part for part in parts if part]
    right = len(made) == 2 and made[0] != made[1]
    return right, f"{len(made):,} responses divided by ******{', both the same' * (len(made) == 2 and not right)}"


def repeat_prompt(text: str, args: Arguments) -> Found:
    right = text.strip().lower().startswith(args["prompt_to_repeat"].strip().lower())
    return right, f"{'begins' if right else 'does not begin'} with the request"


def end_checker(text: str, args: Arguments) -> Found:
    phrase = args["end_phrase"].strip()
    right = text.strip().strip('"').lower().endswith(phrase.lower())
    return right, f"{'ends' if right else 'does not end'} with {phrase!r:.80}"


def quotation(text: str, _args: Arguments) -> Found:
    text = text.strip()
    right = len(text) > 1 and text[0] == text[-1] == '"'
    return right, f"{'' if right else 'not '}wrapped in double quotation marks"


def english_capital(text: str, _args: Arguments) -> Found:
    found = _detected(text)
    return text.isupper() and found in (None, "en"), f"capitals only: {text.isupper()}; language {found}"


def english_lowercase(text: str, _args: Arguments) -> Found:
    found = _detected(text)
    return text.islower() and found in (None, "en"), f"small letters only: {text.islower()}; language {found}"


def capital_word_frequency(text: str, args: Arguments) -> Found:
    n = sum(m[0].isupper() for m in _TOKEN.finditer(text))
    return _compared(n, args, "capital_relation", "capital_frequency", "words in capitals")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of instruction: its check, and the arguments it takes (``?`` at the end: may be left out)."""

    check: Callable[[str, Arguments], Found]
    takes: Mapping[str, str]


def _kind(check: Callable[[str, Arguments], Found], **takes: str) -> Kind:
    return Kind(check, takes)


KINDS: dict[str, Kind] = {
    "keywords:existence": _kind(existence, keywords="texts"),
    "keywords:frequency": _kind(frequency, keyword="text", frequency="count", relation="relation?"),
    "keywords:forbidden_words": _kind(forbidden_words, forbidden_words="texts"),
    "keywords:letter_frequency": _kind(
        letter_frequency, letter="letter", let_frequency="count", let_relation="relation?"
    ),
    "language:response_language": _kind(response_language, language="text"),
    "length_constraints:number_sentences": _kind(number_sentences, num_sentences="count", relation="relation?"),
    "length_constraints:number_paragraphs": _kind(number_paragraphs, num_paragraphs="count"),
    "length_constraints:number_words": _kind(number_words, num_words="count", relation="relation?"),
    "length_constraints:nth_paragraph_first_word": _kind(
        nth_paragraph_first_word, num_paragraphs="count", nth_paragraph="count", first_word="text"
    ),
    "detectable_content:number_placeholders": _kind(number_placeholders, num_placeholders="count"),
    "detectable_content:postscript": _kind(postscript, postscript_marker="text"),
    "detectable_format:number_bullet_lists": _kind(number_bullet_lists, num_bullets="count"),
    "detectable_format:constrained_response": _kind(constrained_response, options="texts?"),
    "detectable_format:number_highlighted_sections": _kind(number_highlighted_sections, num_highlights="count"),
    "detectable_format:multiple_sections": _kind(multiple_sections, section_spliter="text", num_sections="count"),
    "detectable_format:json_format": _kind(json_format),
    "detectable_format:title": _kind(title),
    "combination:two_responses": _kind(two_responses),
    "combination:repeat_prompt": _kind(repeat_prompt, prompt_to_repeat="text"),
    "startend:end_checker": _kind(end_checker, end_phrase="text"),
    "startend:quotation": _kind(quotation),
    "change_case:capital_word_frequency": _kind(
        capital_word_frequency, capital_frequency="count", capital_relation="relation?"
    ),
    "change_case:english_capital": _kind(english_capital),
    "change_case:english_lowercase": _kind(english_lowercase),
    "punctuation:no_comma": _kind(no_comma),
}
"""IFEval's id of an instruction -> its check. The ids and the names of the arguments are IFEval's own."""
