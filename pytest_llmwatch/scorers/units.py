"""Units beside numbers: which one a number has in a text, however it is written."""

from __future__ import annotations

import re

_KINDS = """
dollar dollars usd $; euro euros eur €; pound pounds gbp £; yen jpy ¥; franc francs chf; rupee rupees inr ₹; \\
cent cents
percent pct %; point points
thousand k; million mn; billion bn; trillion tn
kilometer kilometers kilometre kilometres km; meter meters metre metres; centimeter centimeters cm; mm; \\
mile miles; foot feet ft; inch inches; yard yards
acre acres; hectare hectares ha
kilogram kilograms kilo kilos kg; gram grams g; milligram milligrams mg; mcg; \\
ounce ounces oz; ton tons tonne tonnes; lb lbs
liter liters litre litres; ml; gallon gallons; cup cups; tablespoon tablespoons tbsp; teaspoon teaspoons tsp
second seconds sec secs; ms; minute minutes min mins; hour hours hr hrs; day days; \\
week weeks; month months; quarter quarters; \\
year years; decade decades; century centuries
celsius °c; fahrenheit °f
kb; mb; gb; tb
watt watts; kilowatt kilowatts kw; volt volts
mph; kph
"""
UNITS: dict[str, tuple[str, str]] = {
    word: (group.split()[0], line.split()[0])
    for line in _KINDS.replace("\\\n", " ").strip().splitlines()
    for group in line.split(";")
    for word in group.split()
}
"""How a unit may be written (lower case) -> its name, and what kind of unit it is."""

# a number in digits or one word, what is written onto it, and the two words after it
_NUMBER = re.compile(
    r"(?:\d[\d.,:]*|[^\W\d_]+(?=[ -]))\s?-?(%|°\s?[CFcf]\b|[^\W\d_]{1,20})?(?:[ -]([^\W\d_]{1,20}))?"
)
_SYMBOLS = frozenset("$€£¥₹")


def units(text: str, start: int) -> dict[str, str]:
    """Return kind -> unit of the number at ``start``: a symbol before it, units among the next two words."""
    found = _NUMBER.match(text, start)
    words = [word.lower().replace(" ", "") for word in found.groups() if word] if found else []
    before = text[max(0, start - 2) : start].strip()[-1:]
    if before in _SYMBOLS:
        words.append(before)
    return {kind: unit for unit, kind in (UNITS[word] for word in words if word in UNITS)}
