"""What prompt injection looks like: patterns by kind, and what text may be hidden in another text.

Each pattern is searched only where one of its triggers (lower case) occurs, so ordinary text costs a few searches
for fixed strings. Repetitions are bounded, so each pattern takes time linear in the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple


class Marker(NamedTuple):
    """A pattern of one kind. ``data`` patterns count only in what the application reads (the context)."""

    kind: str
    pattern: re.Pattern[str]
    triggers: tuple[str, ...]
    data: bool = False


KINDS = ("override", "mode", "jailbreak", "prompt_theft", "asks_for_secrets", "control_token", "reader", "hidden")
"""override: sets aside what was asked; mode: claims a special mode; jailbreak: a role without rules; prompt_theft:
wants the system prompt; asks_for_secrets: wants a password or key; control_token: a chat template's own tokens;
reader: data that tell their reader what to answer; hidden: any of these encoded, or in invisible characters."""

_NOT = r"(?<!not )(?<!n't )(?<!never )"
_SET_ASIDE = r"(?:ignor(?:e|ing)|disregard|forget|override|bypass|discard|overlook)"
_PROMPT = r"(?:instructions?|prompts?|rules|directions|guidelines|programming|commands|directives|restrictions)"
_SAY = r"(?:say|state|print|write|output|tell|respond|reply|answer|give|return|show|send|declare|claim|pretend)"
_KEPT_BACK = (
    r"(?:pass ?words?|passphrase|pass ?code|secret(?! santa)(?: key| code| word)?|api[ _-]?keys?|credentials"
    r"|access token|private key)"
    r"(?!\s+(?:reset|policy|policies|manager|generator|field|requirement|strength|protect|length|rules?|hash))"
)
_ASK = (
    r"(?:tell|give|share|reveal|show|send|say|spell|print|repeat|encode|leak|disclose|confirm|provide|write|need)"
)
_REPLY = r"(?:response|reply|answer|output|summary)"
_ALTER = (
    r"(?:add|append|include|insert|integrate|embed|incorporate|mention|augment|enhance|modify|alter|change|adjust"
    r"|encode|encrypt|reverse|replace|translate|render|express|use|apply|convert|misspell|scramble|rearrange|remove"
    r"|group|shift|substitute|provide|write|begin|start|end|finish|conclude|format|respond|invert|promote|display"
    r"|represent|shuffle|space|spell|give|make|put|extend|supplement|hide|weave|slip|link|advertise)"
)


def _marker(kind: str, pattern: str, triggers: str, *, data: bool = False) -> Marker:
    words = tuple(word.replace("_", " ") for word in triggers.split())
    return Marker(kind, re.compile(pattern, re.IGNORECASE), words, data)


_ASIDE_TRIGGERS = "ignor disregard forget overrid bypass discard overlook"

_ENGLISH = (
    _marker(
        "override",
        rf"(?<!\w){_NOT}{_SET_ASIDE}\s+(?:about\s+)?(?:(?:all|any|the|your|my|of|these|those|every)\s+){{0,4}}"
        rf"(?:previous|prior|preceding|above|earlier|former|original|initial|system)\s+(?:\w+\s+)?{_PROMPT}",
        _ASIDE_TRIGGERS,
    ),
    _marker(
        "override",
        rf"(?<!\w){_NOT}{_SET_ASIDE}\s+(?:about\s+)?(?:all\s+)?(?:of\s+)?(?:your|those|these)\s+"
        rf"(?:\w+\s+)?{_PROMPT}",
        _ASIDE_TRIGGERS,
    ),
    _marker(
        "override",
        rf"(?<!\w){_NOT}(?:ignore|disregard|forget)\s+(?:every?thing|all|anything|what|whatever)\s+(?:that\s+)?"
        r"(?:you(?:'ve|\s+have|\s+were|\s+are|\s+know)|I(?:'ve|\s+have)?\s+(?:said|told)|above|before\s+this"
        r"|(?:was|is|has\s+been)\s+(?:said|written))",
        _ASIDE_TRIGGERS,
    ),
    _marker(
        "override",
        rf"(?<!\w){_NOT}(?:ignore|disregard|forget)\s+(?:all\s+)?(?:of\s+)?(?:the\s+|this\s+)?"
        r"(?:above|foregoing|preceding|previous)"
        r"(?=\s*(?:and\b|then\b|[,.:;!]|\Z|ignore|text|content|context|message|prompt|conversation|data|tasks?\b))",
        _ASIDE_TRIGGERS,
    ),
    _marker(
        "override",
        rf"(?<!\w){_NOT}(?:ignore|disregard|forget)\s+(?:all\s+)?(?:the|this|that)\s+(?:\w+\s+){{1,2}}"
        rf"(?:and|then)\s+(?:just\s+|only\s+)?{_SAY}\b",
        _ASIDE_TRIGGERS,
    ),
    _marker(
        "override",
        rf"regardless\s+of\s+(?:any\s+|the\s+|your\s+)?(?:previous|prior|earlier|above)\s+(?:tasks?|{_PROMPT})"
        r"|new\s+(?:system\s+)?instructions\s*:"
        r"|from\s+now\s+on,?\s+you(?:'re|\s+are|\s+will\s+(?:act|behave|respond|answer|be|only)|\s+must)\b",
        "regardless instructions from_now_on",
    ),
    _marker(
        "mode",
        r"(?<!\w)(?:enter(?:ing)?|enabl(?:e|ing)|activat(?:e|ing)|switch(?:ing)?\s+(?:in)?to)\s+(?:\w+\s+){0,3}?"
        r"(?:developer|DAN|god|jailbreak|sudo|unrestricted|override)\s+mode"
        r"|[<\[{(]\s*(?:\w+\s+){0,3}(?:system|god|admin|developer|root|debug|sudo|override)\s+mode\s*[>\]})]"
        r"|(?:system|admin|override|god|developer)\s+mode\s+(?:activated|enabled|engaged)"
        r"|you\s+are\s+now\s+(?:DAN\b|in\s+developer\s+mode|jailbroken|unrestricted)",
        "mode now_dan now_jailb now_unres",
    ),
    _marker(
        "mode",
        r"you\s+(?:have\s+to|must)\s+(?:answer|obey|comply\s+with|follow)\s+(?:all|every|any)(?:\s+of)?\s+my\b",
        "have_to must",
    ),
    _marker(
        "jailbreak",
        r"\bdo\s+anything\s+now\b|(?:do|does)\s+not\s+have\s+to\s+abide\s+by\s+(?:the|any)\s+rules"
        r"|broken\s+free\s+(?:of|from)\s+the\s+(?:\w+\s+){0,2}(?:confines|limits|rules|restrictions)"
        r"|(?:act|behave|respond|answer|pretend|role-?play)\b[^.\n]{0,80}?\b(?:without|no|free\s+(?:of|from))\s+"
        r"(?:any\s+)?(?:restrictions|limitations|filters|censorship|ethical|moral\s+|safety\s+)",
        "anything abide broken_free restrictions limitations filters censorship ethical moral safety",
    ),
    _marker(
        "prompt_theft",
        rf"(?<!\w)(?:{_ASK}|display|recite|output|translate|summari[sz]e|dump)\s+(?:me\s+|us\s+)?(?:your|the)\s+"
        r"(?:\w+\s+){0,2}?(?:system\s+(?:prompt|message|instructions)"
        r"|(?:hidden|initial|original|secret)\s+(?:prompt|instructions))"
        r"|what(?:'s|\s+is|\s+are|\s+was|\s+were)\s+your\s+(?:\w+\s+)?"
        r"(?:system\s+prompt|(?:initial|original|previous|hidden|secret)\s+(?:instructions|prompt))"
        r"|(?:repeat|print|output)\s+(?:everything|all|the\s+(?:words|text))\s+above",
        "prompt message instructions above",
    ),
    _marker(
        "asks_for_secrets",
        rf"(?<!\w)(?:what(?:'s|\s+is|\s+are)|{_NOT}{_ASK}(?:\s+(?:me|us|out|down|a\s+\w+\s+about))?)"
        rf"\s+(?:your|the|our)\s+(?:(?:\w+|admin's|user's)\s+)?{_KEPT_BACK}",
        "password passphrase passcode pass_code pass_word secret api_key apikey api-key credentials access_token"
        " private_key",
    ),
    _marker(
        "control_token",
        r"<\|(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|>|\[/?INST\]|<</?SYS>>",
        "<| inst] sys>>",
    ),
    _marker(
        "reader",
        rf"(?:^|[.!?:;>]\s*|[\"'(]\s*)(?:please\s+|can\s+you\s+|could\s+you\s+|in\s+your\s+{_REPLY},?\s+)?{_ALTER}\b"
        rf"(?:[^.!?\n]|[.!?](?=\S)){{0,150}}?\byour\s+(?:next\s+|final\s+|own\s+)?{_REPLY}\b"
        rf"|(?:^|[.!?:;>]\s*)in\s+your\s+{_REPLY},?\s+{_ALTER}\b",
        "your",
        data=True,
    ),
    _marker(
        "reader",
        r"(?:tell|ask|instruct|urge|direct|advise|convince|request(?:ing)?)\s+the\s+user\s+(?:to\s+)?"
        r"(?:go|visit|click|open|download|reset|send|call|enter|provide|install|follow)\b"
        r"|(?:dear|attention|note\s+to\s+the|note\s+to)[,:]?\s+(?:AI|LLM|language\s+model|chatbot|ChatGPT|GPT"
        r"|assistant)\b"
        r"|if\s+you\s+are\s+an?\s+(?:AI|LLM|language\s+model|assistant|chatbot)\b"
        r"|<!--[^<>]{0,200}?\b(?:print|declare|ignore|say|state|respond|answer)\b[^<>]{0,40}:",
        "user dear attention note_to if_you_are <!--",
        data=True,
    ),
)

_LATIN = (
    r"(?:ignor[ae]|olvid[ae]|descart[ae]|omit[ae])\w*\s+(?:\w+\s+){0,4}?(?:instrucciones|indicaciones|órdenes)",
    r"(?:ignor[ea]|esque[çc]a|desconsidere)\w*\s+(?:\w+\s+){0,4}?(?:instruções|orientações|ordens)",
    r"(?:ignore[rz]|ignore|oublie[rz]?)\s+(?:\w+\s+){0,4}?(?:instructions\s+pr|consignes|directives\s+pr)",
    r"(?:ignora|dimentica|trascura)\w*\s+(?:\w+\s+){0,4}?(?:istruzioni|indicazioni|ordini)",
    r"(?:ignorier\w*|vergiss|vergessen\s+sie|missachte\w*)\s+(?:\w+\s+){0,4}?(?:anweisung|instruktion|vorgabe)\w*",
    r"(?:negeer|vergeet)\s+(?:\w+\s+){0,4}?(?:instructies|aanwijzingen)",
    r"(?:zignoruj|ignoruj|zapomnij\s+o)\s+(?:\w+\s+){0,4}?(?:instrukcj|polece)\w*",
    r"(?:abaikan|lupakan)\s+(?:\w+\s+){0,4}?(?:instruksi|perintah|petunjuk)",
    r"(?:bỏ\s+qua|phớt\s+lờ)\s+(?:\w+\s+){0,4}?(?:hướng\s+dẫn|chỉ\s+dẫn|lệnh)",
    r"(?:önceki|yukarıdaki)\s+(?:\w+\s+){0,2}?(?:talimat|komut)\w*\s+(?:\w+\s+){0,2}?(?:yok\s+say|unut|görmezden)",
)
_OTHER = (
    r"(?:игнорир|проигнорир|забуд)\w*\s+(?:\w+\s+){0,4}?(?:инструкци|указани)",
    r"(?:αγνο[ήε]|αγνοή|ξεχ[άα]σ|ξέχασ)\w*\s+(?:\w+\s+){0,4}?(?:οδηγίες|εντολές)",
    r"(?:تجاهل|انس)\S*\s+(?:\S+\s+){0,3}?(?:التعليمات|الأوامر|القواعد)",
    r"(?:निर्देश|आदेश)[^।.\n]{0,20}(?:अनदेख|नज़रअंदाज|भूल)",
    r"(?:忽略|无视|忘记|忽視|無視|忘記|不要理会)[^。.\n]{0,12}(?:指示|指令|说明|提示|規則|规则|命令)",
    r"(?:指示|命令|指令|プロンプト)[をはも]?[^。\n]{0,8}(?:無視|忘れ)",
    r"(?:지시|명령|지침)[^.\n]{0,10}(?:무시|잊)",
)
_LATIN_TRIGGERS = (
    "instruc istruz instruk instruç consignes directives_pr anweisung vorgabe aanwijz polece perintah petunjuk"
    " indica ordens órdenes orienta ordini hướng chỉ_dẫn lệnh talimat komut"
)
_OTHER_TRIGGERS = (
    "инструкци указани οδηγίες εντολές التعليمات الأوامر القواعد निर्देश आदेश 指示 指令 说明 提示 規則 规则 命令"
    " プロンプト 지시 명령 지침"
)
MARKERS = (
    *_ENGLISH,
    _marker("override", r"(?<!\w)(?:" + "|".join(_LATIN) + ")", _LATIN_TRIGGERS),
    _marker("override", "|".join(_OTHER), _OTHER_TRIGGERS),
)

_HIDDEN_CHARS = 200_000
_MAX_PARTS = 50
_MIN_PART, _MAX_PART = 24, 8_000
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){16,}")
_TAGS = re.compile("[\U000e0020-\U000e007e]{8,}")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_TELLING = ("ignor", "disregard", "forget", "instruction", "password", "prompt", "your response", "your answer")
_ROT13 = tuple(codecs.encode(word, "rot13") for word in _TELLING)
_BACKWARDS = tuple(word[::-1] for word in _TELLING)


def found(text: str, *, data: bool) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield (kind, match) of what stands openly in ``text``."""
    low = text.lower()
    for marker in MARKERS:
        if (data or not marker.data) and any(trigger in low for trigger in marker.triggers):
            for match in marker.pattern.finditer(text):
                yield marker.kind, match


def hidden(text: str, *, data: bool) -> Iterator[tuple[str, str]]:
    """Yield (how it was hidden, the marker) of what stands in ``text`` encoded or in characters nobody sees.

    Base64, hexadecimal, ROT13, backwards, Unicode tags, and invisible or full-width characters within words; of
    the first 200,000 characters.
    """
    text = text[:_HIDDEN_CHARS]
    if not text.isascii():
        for run in _TAGS.finditer(text):
            yield "invisible characters", "".join(chr(ord(c) - 0xE0000) for c in run[0])[:200]
    seen: set[str] | None = None
    for how, other in _readings(text):
        for _kind, match in found(other, data=data):
            if seen is None:
                seen = {m[0].lower() for _kind, m in found(text, data=data)}
            if match[0].lower() not in seen:
                yield how, match[0][:200]


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """Yield what ``text`` says when it is read in another way."""
    if not text.isascii():
        plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
        if plain != text:
            yield "disguised characters", plain
    low = text.lower()
    if any(word in low for word in _ROT13):
        yield "ROT13", codecs.encode(text, "rot13")
    if any(word in low for word in _BACKWARDS):
        yield "backwards", text[::-1]
    yield from _decoded(text)


def _decoded(text: str) -> Iterator[tuple[str, str]]:
    parts = [part for part in text.split() if len(part) >= _MIN_PART][:_MAX_PARTS]
    for part in parts:
        for run in _HEX.findall(part[:_MAX_PART]):
            try:
                yield "hexadecimal", bytes.fromhex(run).decode()
            except ValueError:
                continue
        for run in _BASE64.findall(part[:_MAX_PART]):
            body = run.rstrip("=")
            try:
                yield "Base64", base64.b64decode(body + "=" * (-len(body) % 4)).decode()
            except (binascii.Error, ValueError):
                continue
