"""Titles, days and months, numbered things, short forms, and whether their dot ends a sentence."""

from __future__ import annotations

from voicewright.text.english import numbers
from voicewright.text.english.grammar import is_plural
from voicewright.text.english.known import is_word
from voicewright.text.english.numbers import roman
from voicewright.text.english.roman import NumeralReader
from voicewright.text.english.scan import Token
from voicewright.text.english.tables import GRAMMAR, WORDS
from voicewright.text.english.written import months, units


class AbbreviationReader(NumeralReader):
    """Reads words that stand for others, most of them with a dot."""

    dated = -9
    """Index of the last token of the last day or month."""
    until = -1
    """Index of the day or month that a span ends with."""

    def _abbreviation(self, token: Token, index: int) -> bool:
        """Reads the word as an abbreviation where it is one."""
        # "resp.status" is an address of some kind.
        dotted = self._text(index + 1) == "." and not self._text(index + 2)[:1].islower()
        end = index + 1 if dotted else index
        before, after = self._near(index, -1), self._near(end, 1)
        if dotted and len(token.text) == 1 and self._initial(token, end, before, after):
            return True
        if not dotted and token.text in WORDS.streets and self._of_street(token, before, after):
            self._say(token, WORDS.streets[token.text])
            return True
        spoken = self._numbered(token, index, end, before, after)
        if spoken is None and (named := self._titled_name(token, end, before, after)) is not None:
            spoken, ends = named
            if ends:
                self._with_dot(token, index, spoken)
                return True
        if spoken is not None:
            self._through(token, end, spoken)
            return True
        if self._day_or_month(token, index, end, before, after):
            return True
        if dotted and (spoken := self._short_form(token.text, before, after)) is not None:
            self._with_dot(token, index, spoken, always=token.text.lower() == "etc")
            return True
        return False

    def _through(self, token: Token, end: int, spoken: str) -> None:
        """The word with its dot, where the sentence goes on."""
        self._say(token, spoken, self.tokens[end].stop)
        self.index = end + 1

    def _initial(self, token: Token, end: int, before: Token | None, after: Token | None) -> bool:
        """An initial: "J. K. Rowling", but not "So do I. The end"."""
        word = token.text
        if not word.isupper() or not self._capitalised(after) or after is None:
            return False
        starts = after.text in WORDS.sentence_starts and self._text(self._next(end, 1) + 1) != "."
        told = before.text if before is not None else ""
        if starts or told.lower() in WORDS.before_letter or (word == "I" and told[:1].islower()):
            return False
        self._through(token, end, word)
        return True

    def _of_street(self, token: Token, before: Token | None, after: Token | None) -> bool:
        """ "Elm Rd, Leeds", "5th Ave"; "Mont St Michel" is none."""
        if before is None or (token.text in WORDS.titles and self._capitalised(after)):
            return False
        named = self._capitalised(before) and before.text not in WORDS.sentence_starts | WORDS.no_streets
        return named or before.kind == "ordinal"

    # Titles

    def _title_of(self, token: Token | None) -> str | None:
        """What a title of the table stands for, however it is capitalised."""
        if token is None or (token.text.islower() and token.text not in WORDS.lower_titles):
            return None
        whole = token.text.isupper() or token.text.islower()
        spoken: str | None = WORDS.titles.get(token.text.capitalize() if whole else token.text)
        return spoken

    def _titled_name(
        self, token: Token, end: int, before: Token | None, after: Token | None
    ) -> tuple[str, bool] | None:
        """The title, and whether its dot ends the sentence; None where the word is none here."""
        spoken = self._title_of(token)
        form = token.text.capitalize()
        dotted = self.tokens[end] is not token
        if spoken is None or not (dotted or (form in WORDS.dotless_titles and token.text[0].isupper())):
            return None
        if self._is_numeric(before) and token.text in units():
            return None
        following, told = self._beside(end, 1), before.text if before is not None else ""
        starts = following in WORDS.sentence_starts
        shouted = token.text.isupper() and len(token.text) > 1
        if shouted and is_word(spoken.lower(), self.british):
            spoken = spoken.upper()
        named = self._capitalised(after) and (dotted or after is not self._at(end + 1))
        if shouted and named and not following.isupper():
            named = form in WORDS.dotless_titles and form != "Ms"
        placed = told[:1].isupper() or (before is not None and before.kind == "ordinal")
        placed = placed and told not in WORDS.sentence_starts
        if self._joins_title(end):
            return spoken, False
        if form in WORDS.after_names and placed and (form == "Sr" or not named or starts):
            return None
        if named:
            return spoken, dotted and starts and told.lower() in GRAMMAR.determiners
        other = form in WORDS.place_titles or form == "Sr" or shouted or self._is_numeric(after)
        return (spoken, after is None) if dotted and not other else None

    def _joins_title(self, end: int) -> bool:
        """Is another title next, or joined by "and", "or", "&", "/" or a comma?"""
        at = first = self._next(end, 1)
        for _ in range(2):
            at = self._next(at, 1) if self._text(at).lower() in WORDS.joining else at
        word = self._text(at)
        if word.lower() in WORDS.full_titles and word[0].isupper():
            return at != first
        return (
            at != first and bool(self._title_of(self._at(at))) and word.capitalize() not in WORDS.place_titles
        )

    # Numbered things

    def _numbered(
        self, token: Token, index: int, end: int, before: Token | None, after: Token | None
    ) -> str | None:
        """ "No. 5", "Fig.3", "pp. iv–ix", "the No. of items"."""
        low = token.text.lower()
        spoken: str | None = WORDS.before_number.get(low)
        if spoken is None or after is None:
            return None
        if self.tokens[end] is token:
            return spoken if self._numbered_without_dot(token, index, before, after) else None
        if low in ("no", "nos") and after.text.lower() == "of":
            return spoken
        if self._is_numeric(before) and low in units():
            return None
        digits = self._is_numeric(after) or after.text[:1].isdecimal()
        if not digits and after.text not in GRAMMAR.numbers:
            if low not in WORDS.counting or not self._counted_after(token, end, after.text):
                return None
            self.numbered = end
            return spoken
        if not token.text.islower() or low not in WORDS.nouns | {"no"}:
            return spoken
        # "his art. 7 people", "he said no. 7 people": the word ends its sentence.
        told = before.text.lower() if before is not None else "."
        counts = is_plural(self._beside(self._next(end, 1), 1).lower())
        if low == "no":
            return None if told in WORDS.no_words or (counts and told not in GRAMMAR.determiners) else spoken
        ends = self._beside(self._next(end, 1), 1) in ("", *".,:;)!?")
        if len(low) == 1 or (before is not None and before.kind == "other"):
            return spoken
        cited = told in WORDS.cites and not (counts and told == "of")
        return spoken if before is None or cited or ends else None

    def _counted_after(self, token: Token, end: int, after: str) -> bool:
        """Is what comes after "Vol." a numeral? "No. I" and "the art. I know" are none."""
        low = token.text.lower()
        if not roman(after) or low in ("v", "c"):
            return False
        if len(after) > 1:
            return True
        told = self._beside(self._next(end, 1), 1).lower() in WORDS.i_verbs or low not in WORDS.counting_short
        books = token.text[0].isupper() or low in WORDS.books
        return books and (after in "VXvx" or (after in "Ii" and not told))

    def _numbered_without_dot(self, token: Token, index: int, before: Token | None, after: Token) -> bool:
        """ "Vol 2", and "at No 10" where no sentence begins."""
        digits = self._is_numeric(after)
        if token.text == "no" and digits and self._at(index + 1) is not after:
            return before is not None and before.text.lower() in WORDS.no_after
        if token.text == "No":
            said = before is not None and before.kind == "word"
            digits = digits and (said or self._beside(self._next(index, 1), 1) in WORDS.singular_verbs)
        numeral = token.text in WORDS.numbered_dotless and bool(roman(after.text)) and len(after.text) > 1
        return self._at(index + 1) is not after and (
            numeral or (digits and token.text in WORDS.numbered_dotless | {"No"})
        )

    # Days and months

    def _date_name(self, word: str) -> str | None:
        form = word.capitalize() if word[:1].isupper() else ""
        return WORDS.days.get(form) or months().get(form)

    def _is_day(self, token: Token | None) -> bool:
        return (
            token is not None and token.kind in ("number", "ordinal") and len(token.text.rstrip("stndrh")) < 3
        )

    def _day_or_month(
        self, token: Token, index: int, end: int, before: Token | None, after: Token | None
    ) -> bool:
        """ "Mon.–Fri.", "Sat. and Sun.", "Jan-Mar"; "the Sun. He rose" is none."""
        names = [self._date_name(part) for part in token.text.split("-")]
        name = names[0]
        if name is None or None in names:
            return False
        if len(names) > 1:
            self._through(token, end if after is not None else index, " to ".join(filter(None, names)))
            return True
        beyond = self._next(self._next(end, 1), 1)
        dash = after is not None and after.text in ("-", "–", "—", "--")
        spans = dash and self._date_name(self._text(beyond)) is not None
        short, dotted = token.text.capitalize() != name, self.tokens[end] is not token
        dated = self._is_day(before) or (after is not None and after.kind in ("number", "ordinal", "range"))
        dated = dated or (after is not None and after.text == "," and self._is_day(self._at(beyond)))
        if not spans and not (short and (dotted or index == self.until or (dated and token.text != "Sun"))):
            return False
        told = before.text.lower() if before is not None else ""
        near = told in WORDS.on_days or self.dated >= index - 4 or index == self.until
        joined = token.text.isupper() and self._beside(end, 1).lower() in WORDS.joining
        goes_on = after is not None and (joined or not self._capitalised(after)) and told != "the"
        if token.text.capitalize() in ("Sat", "Sun") and not (spans or near or goes_on):
            return False
        self.dated = end
        if spans and after is not None:
            self._through(token, end, name)
            self._say(after, "to")
            self.index = self.until = beyond
        else:
            self._with_dot(token, index, name) if dotted else self._say(token, name)
        return True

    # Short forms

    def _short_form(self, word: str, before: Token | None, after: Token | None) -> str | None:
        """What a word stands for when a dot follows it."""
        low = word.lower()
        if before is not None and self._is_numeric(before) and low in units() and len(low) > 1:
            return units()[low][not numbers.is_one(before.text)]
        capital = word[0].isupper() or (low == "co" and before is not None and before.text in ("&", "and"))
        if word.istitle() and low in WORDS.states and before is not None and before.text == ",":
            at = next(n for n in range(self.index - 1, 0, -1) if self.tokens[n] is before)
            if self._capitalised(self._near(at, -1)) or self._beside(at, -1) == ".":
                return str(WORDS.states[low])
        if (
            word in GRAMMAR.short_names
            or low not in WORDS.abbreviations
            or (low in WORDS.capital_abbreviations and not capital)
        ):
            return None
        if low == "al" and (before is None or before.text.lower() != "et"):
            return None
        if low == "v" and not (word == "v" and self._capitalised(before) and self._capitalised(after)):
            return None
        if low in WORDS.inside_only and (
            after is None or (self._capitalised(after) and not roman(after.text))
        ):
            return None
        if before is not None and before.kind == "ordinal" and low in WORDS.after_ordinal:
            return str(WORDS.after_ordinal[low])
        spoken: str = WORDS.abbreviations[low]
        return spoken
