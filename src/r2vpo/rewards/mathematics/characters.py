"""Unicode characters that represent LaTeX."""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙ", "0123456789+-=()n")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+")
_SUBSCRIPTS = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙ]+")
_NAMED = r"""
    × \times  ÷ \div  ·⋅∙• \cdot  ± \pm  ∓ \mp  √ \sqrt  ∛ \sqrt[3]  ∞ \infty  … \ldots  ⋯ \cdots
    ≤⩽≦ \le  ≥⩾≧ \ge  ≠ \ne  ≈ \approx  ≡ \equiv  ∧ \land  ∨ \lor  °º˚ ^\circ  ∠ \angle  △ \triangle
    ∪ \cup  ∩ \cap  ∖ \setminus  ∈ \in  ∅Ø \emptyset  ℝ \mathbb{R}  ℤ \mathbb{Z}  ℕ \mathbb{N}  ℚ \mathbb{Q}
    ℂ \mathbb{C}  ⟨ \langle  ⟩ \rangle  ⌊ \lfloor  ⌋ \rfloor  ⌈ \lceil  ⌉ \rceil
"""
"""Signs and the command for each of them."""
_UNITS = """
    ¢ cents  € euros  £￡ gbp  ¥￥ yen  ₹ rupees  ㎜ mm  ㎝ cm  ㎞ km  ㎏ kg
    ㎠ cm^{2}  ㎡ m^{2}  ㎢ km^{2}  ㎤ cm^{3}  ㎥ m^{3}
"""
_PLAIN = "、， , 。 . ⁄∕ / ′ ' ∶ : −–—－‐‑‒―﹣⁃ -"


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return {sign: written for signs, written in zip(words[::2], words[1::2], strict=True) for sign in signs}


_COMMANDS = {
    **{sign: f"{command} " for sign, command in _pairs(_NAMED).items()},
    **{sign: re.sub(r"^[a-z]+", r"\\text{ \g<0>}", unit) for sign, unit in _pairs(_UNITS).items()},
    **_pairs(_PLAIN),
    **dict.fromkeys("∴⇒✓✅", ""),
    **{"℃": r"^\circ C", "℉": r"^\circ F", "和": r"\text{and}", "与": r"\text{and}", "或": r"\text{or}"},
}
_SLASHED = re.compile("(?:(\\d+)|([⁰¹²³⁴⁵⁶⁷⁸⁹]+))\\s?[⁄∕]\\s?(?:(\\d+)|([₀₁₂₃₄₅₆₇₈₉]+))")
"""A fraction with the Unicode slash, whose parts may be raised and lowered."""
_UNIT_IN_TEXT = re.compile(r"(\\(?:text|mathrm)\{[^{}]*[A-Za-z])([²³])\}")
"""The power of a unit inside its brackets: `\\text{ cm²}`."""
_ROOTED = re.compile(r"√\s?(\d+(?:\.\d+)?)")
_GREEK = re.compile("[Α-Ωα-ω]")
_CJK = re.compile("[\u3040-\u30ff\u4e00-\u9fff]+")
_OTHER = re.compile("|".join(map(re.escape, _COMMANDS)))


def plain_characters(text: str) -> str:
    r"""Write Unicode digits, signs, letters and scripts in LaTeX."""
    if text.isascii():
        return text
    text = _SLASHED.sub(_slashed, text)
    text = _ROOTED.sub(r"\\sqrt{\1}", text)
    text = _UNIT_IN_TEXT.sub(r"\1}\2", text)
    text = _SUPERSCRIPTS.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPT)}}}", text)
    text = _SUBSCRIPTS.sub(lambda found: f"_{{{found[0].translate(_SUBSCRIPT)}}}", text)
    text = _OTHER.sub(lambda found: _COMMANDS[found[0]], text)
    text = unicodedata.normalize("NFKC", "".join(map(_vulgar_fraction, text)))
    text = _OTHER.sub(lambda found: _COMMANDS[found[0]], text)
    text = _GREEK.sub(lambda found: _greek(found[0]), text)
    return _CJK.sub(lambda found: rf"\text{{{found[0]}}}", text)


def _vulgar_fraction(character: str) -> str:
    r"""Write ½ as `\frac{1}{2}`: its compatible form is 1, a fraction slash, and 2."""
    if character.isascii() or "\u2044" not in (form := unicodedata.normalize("NFKC", character)):
        return character
    above, _, below = form.partition("\u2044")
    return rf"\frac{{{above}}}{{{below}}}" if above and below else character


def _slashed(found: re.Match[str]) -> str:
    above = found[1] or found[2].translate(_SUPERSCRIPT)
    below = found[3] or found[4].translate(_SUBSCRIPT)
    return rf"\frac{{{above}}}{{{below}}}"


def _greek(letter: str) -> str:
    name = unicodedata.name(letter, "").rpartition(" ")[2].lower()
    name = {"lamda": "lambda", "final": "sigma"}.get(name, name)
    return rf"\{name} " if letter.islower() else rf"\{name.capitalize()} "
