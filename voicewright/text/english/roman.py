"""Roman numerals: which runs of letters are one, and whether it is said as a number, an ordinal or a year."""

from __future__ import annotations

import re

from voicewright.text.english import numbers
from voicewright.text.english.known import is_word
from voicewright.text.english.numbers import roman
from voicewright.text.english.reader import Reader
from voicewright.text.english.scan import Token
from voicewright.text.english.tables import GRAMMAR, WORDS

_FORM = re.compile(
    r"(?P<first>[IVXLCDM]{1,15}+|[ivxlcdm]{1,15}+)(?:-(?P<last>[IVXLCDM]{1,15}+|[ivxlcdm]{1,15}+)(?![\w']))?"
    r"(?P<letter>[abAB])?(?P<end>'s|th|st|nd|rd)?(?:-(?P<rest>[a-z'-]+))?"
)


class NumeralReader(Reader):
    """Reads words that are Roman numerals by what stands before and after them."""

    numeral: tuple[int, str, int] = (-1, "", 0)
    """The last one: the index of its token, its manner, its value."""
    numbered = -9
    """Index of the dot of an abbreviation that counts what follows ("Vol.")."""

    def _roman(self, token: Token, index: int) -> bool:
        """ "Henry VIII" → "the eighth", "Chapter IV" → "four", "MCMXCIX" → "nineteen ninety nine"."""
        form = _FORM.fullmatch(token.text)
        if form is None or not roman(form["first"]):
            return False
        first, last = roman(form["first"]), roman(form["last"] or "")
        nth = form["end"] not in (None, "'s")
        if nth and token.text.islower():
            return False
        manner = self._manner(index, form["first"], first, form["rest"] or form["last"] or "")
        if nth and manner != "the nth" and len(form["first"]) > 1:
            manner = "nth"
        if not manner or (form["last"] and not last) or (form["letter"] and manner != "number"):
            return False
        self.numeral = (index, manner, last or first)
        letter = f" {form['letter'].upper()}" if form["letter"] else ""
        spoken = self._as_words(first, manner) + letter + ("'s" if form["end"] == "'s" else "")
        if last:
            spoken = f"{spoken} to {self._as_words(last, manner)}"
        self._say(token, f"{spoken} {(form['rest'] or '').replace('-', ' ')}".strip())
        self._dash_is_to(index)
        return True

    def _as_words(self, number: int, manner: str) -> str:
        if manner == "year":
            return numbers.year(number, self.british)
        if manner == "number":
            return numbers.cardinal(number, self.british)
        return manner.replace("nth", numbers.ordinal(number, self.british))

    def _dash_is_to(self, index: int) -> None:
        """A dash between two numerals is "to"."""
        dash = self._next(index, 1)
        if self._text(dash) in ("-", "–", "—") and roman(self._beside(dash, 1)):
            self._say(self.tokens[dash], "to")
            self.index = self._next(dash, 1)

    def _manner(self, index: int, text: str, number: int, rest: str) -> str:
        """ "number", "year", "nth" or "the nth"; nothing where the letters are no numeral."""
        back = self._next(index, -1)
        back -= back == self.numbered
        word, after = self._text(back), self._text(index + 1)
        low = word.lower()
        word_like = text in WORDS.no_numerals or (len(text) > 2 and is_word(text.lower(), self.british))
        if self._continues(index, text, number, word_like):
            return self.numeral[1]
        if self._ordinal_follows(index, rest) and (len(text) > 1 or (text in "IVX" and word[:1].islower())):
            return "nth"
        counting = {low, low.removesuffix("s"), low.removesuffix("es")} & WORDS.counting
        year = low in WORDS.years or (len(text) > 3 and number <= 2100 and not word_like and not counting)
        if number >= 1000 and year and (text.isupper() or (low in WORDS.years and len(text) > 3)):
            return "year"
        if counting:
            return "number" if self._counts(index, text, frozenset(counting), word) else ""
        if text.islower():
            # Alone in small letters: "(ii)", "iii.", but not "via" nor the editor vi.
            lone = len(text) > 1 and set(text) <= set("ivx") and self.tokens[index].text == text
            sure = (word, after) == ("(", ")") or (
                (len(text) > 2 or after in (".", ")", ":", ",")) and text not in ("xi", "xx", "xxx")
            )
            return "number" if lone and sure else ""
        manner = self._of_name(index, back, text, word)
        if manner or len(text) == 1:
            return manner
        if text in ("IV", "VI"):
            named = word.istitle() and word not in WORDS.sentence_starts
            heads = not word and after in ("", ".", ":", ")")
            word_like = self._beside(index, 1).lower() in WORDS.letters_before or not (named or heads)
        return "number" if not word_like and (set(text) <= set("IVX") or len(text) > 3) else ""

    def _counts(self, index: int, text: str, counting: frozenset[str], word: str) -> bool:
        """Is it a numeral after a word that counts? "Part I" is, "the part I like" is not."""
        back, beside = self._next(index, -1), self._next(index, 1)
        after = self._text(beside).lower()
        if text in "Ii":
            if after in WORDS.numeral_joins and roman(self._beside(beside, 1)) > 1:
                return True
            if not counting & WORDS.one_before or after in WORDS.i_verbs:
                return False
            named = word.istitle() and text == "I" and self._beside(back, -1).lower() not in GRAMMAR.articles
            return named or word.isupper() or not after or after in WORDS.one_follows
        if len(text) == 1:
            tenth = text in "Xx" and bool(counting & WORDS.ten_before)
            return tenth or text in "Vv" or (text in "LC" and bool(counting & WORDS.counting_long))
        return not (text.islower() and not set(text) <= set("ivx") and is_word(text, self.british))

    def _continues(self, index: int, text: str, number: int, word_like: bool) -> bool:
        """Does it follow another numeral in a list ("II and III") or at the end of a span ("iv to ix")?"""
        at, joined = index, False
        for _ in range(3):
            at = self._next(at, -1)
            if at in (-1, self.numeral[0]):
                break
            if self._text(at).lower() not in WORDS.numeral_joins:
                return False
            joined = True
        if at != self.numeral[0] or not joined or number <= self.numeral[2] or text in "CDLMcdlm":
            return False
        return self.tokens[at].text[:1].isupper() == text.isupper() and not (word_like and text.islower())

    def _ordinal_follows(self, index: int, rest: str) -> bool:
        """Does a century or its like come, perhaps after more numerals ("the XIX and XX centuries")?"""
        after = rest.rpartition("-")[2]
        for _ in range(6):
            if after.lower() in WORDS.ordinal_before:
                return True
            if after and after.lower() not in WORDS.numeral_joins and not roman(after):
                return False
            index = self._next(index, 1)
            after = self._text(index)
        return False

    def _of_name(self, index: int, back: int, text: str, word: str) -> str:
        """ "the nth" after a ruler's name, or after any name with a title before it."""
        if word == "the":
            return "nth" if self._beside(back, -1).capitalize() in WORDS.rulers | WORDS.known_rulers else ""
        if not self._capitalised(self._at(back)) or text in "CDLM":
            return ""
        titled = self._titled(back, len(text) > 1)
        known = word.capitalize() in WORDS.known_rulers
        if not (titled or known or (word.capitalize() in WORDS.rulers and (len(text) > 1 or text == "I"))):
            return ""
        after, beyond = self._beside(index, 1).lower(), self._beside(index + 1, 1)
        ruled = (
            titled or not after or after in WORDS.ruler_follows or (known and after in WORDS.ruler_goes_on)
        )
        if text == "I" and (after in WORDS.i_verbs or not ruled):
            return ""
        initial = len(text) == 1 and after == "." and not titled and beyond[:1].isupper()
        return "" if initial and beyond not in WORDS.sentence_starts else "the nth"

    def _titled(self, back: int, long: bool) -> bool:
        """Does a title stand before the name that ends at token `back`? `long`: a ruler's name will do."""
        for _ in range(5):
            back = self._next(back, -1)
            dot = self._text(back) == "."
            back -= dot
            word = self._text(back)
            title = word.capitalize() in WORDS.titles
            if word.lower().removesuffix("s") in WORDS.ruler_titles or (
                title and word not in WORDS.place_titles
            ):
                return True
            if long and not dot and word.capitalize() in WORDS.rulers | WORDS.known_rulers:
                return True
            if (dot and not title) or not (word[:1].isupper() or word in WORDS.particles):
                return False
        return False
