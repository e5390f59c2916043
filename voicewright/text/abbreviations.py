"""Abbreviations: titles, days and months, numbered things, short forms; and whether their dot ends a sentence."""

from __future__ import annotations

from voicewright.text import english_tables as tables
from voicewright.text import numbers, roman
from voicewright.text.grammar import is_plural
from voicewright.text.known import is_word
from voicewright.text.scan import Token
from voicewright.text.tables import GRAMMAR, WORDS


class AbbreviationReader(roman.NumeralReader):
    """Reads words that stand for others, most of them with a dot."""

    dated = -9
    """Index of the last token of the last day or month."""
    until = -1
    """Index of the day or month that a span ends with."""

    def _abbreviation(self, token: Token, index: int) -> bool:
        """Reads the word as an abbreviation where it is one."""
        dot = self._at(index + 1)
        beyond = self._at(index + 2)
        named = beyond is not None and beyond.kind == "word" and beyond.text[0].islower()
        dotted = dot is not None and dot.text == "." and not named
        end = index + 1 if dotted else index
        before, after = self._near(index, -1), self._near(end, 1)
        if dotted and len(token.text) == 1 and self._initial(token, end, before, after):
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
        beyond = self._at(self._next(end, 1) + 1)
        starts = after.text in WORDS.sentence_starts and (beyond is None or beyond.text != ".")
        named = before is not None and before.text.lower() in WORDS.before_letter
        small = before is not None and before.kind == "word" and before.text[:1].islower()
        if starts or named or (word == "I" and small):
            return False
        self._through(token, end, word)
        return True

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
        if self._is_numeric(before) and token.text in tables.UNITS:
            return None
        starts = after is not None and after.text in WORDS.sentence_starts
        shouted = token.text.isupper() and len(token.text) > 1
        if shouted and is_word(spoken.lower(), self.british):
            spoken = spoken.upper()
        named = self._capitalised(after) and (dotted or after is not self._at(end + 1))
        if shouted and named and after is not None and not after.text.isupper():
            named = form in WORDS.dotless_titles and form != "Ms"
        placed = (self._capitalised(before) or (before is not None and before.kind == "ordinal")) and (
            before is not None and before.text not in WORDS.sentence_starts
        )
        if self._joins_title(end):
            return spoken, False
        if form in WORDS.after_names and placed and (form == "Sr" or not named or starts):
            return None
        if named:
            determined = before is not None and before.text.lower() in GRAMMAR.determiners
            return spoken, dotted and starts and determined
        if not dotted or form in WORDS.place_titles or (form == "Sr" or shouted):
            return None
        particle = after is not None and not self._is_numeric(after)
        return (spoken, after is None) if particle or after is None else None

    def _joins_title(self, end: int) -> bool:
        """Is another title next, or joined by "and", "or", "&", "/" or a comma?"""
        at = self._next(end, 1)
        for _ in range(2):
            token = self._at(at)
            if token is None or token.text.lower() not in WORDS.joining:
                break
            at = self._next(at, 1)
        token = self._at(at)
        if token is None or at == self._next(end, 1):
            return False
        if token.text.lower() in WORDS.full_titles:
            return token.text[0].isupper()
        return self._title_of(token) is not None and token.text.capitalize() not in WORDS.place_titles

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
        if self._is_numeric(before) and low in tables.UNITS:
            return None
        digits = self._is_numeric(after) or after.text[:1].isdecimal()
        if not digits and after.text not in GRAMMAR.numbers:
            counts = (
                low in WORDS.counting and low not in ("v", "c") and self._counted_after(token, end, after)
            )
            self.numbered = end if counts else self.numbered
            return spoken if counts else None
        if not token.text.islower() or low not in WORDS.nouns | {"no"}:
            return spoken
        # "his art. 7 people", "he said no. 7 people": the word ends its sentence.
        told = before.text.lower() if before is not None else "."
        beyond = self._near(self._next(end, 1), 1)
        counts = beyond is not None and beyond.kind == "word" and is_plural(beyond.text.lower())
        if low == "no":
            return None if told in WORDS.no_words or (counts and told not in GRAMMAR.determiners) else spoken
        if len(low) == 1 or (before is not None and before.kind == "other"):
            return spoken
        return spoken if before is None or (told in WORDS.cites and not (counts and told == "of")) else None

    def _counted_after(self, token: Token, end: int, after: Token) -> bool:
        """Is what comes after "Vol." a numeral? "No. I" and "the art. I know" are none."""
        if roman.value(after.text) is None or len(after.text) > 1:
            return len(after.text) > 1 and roman.value(after.text) is not None
        if after.text in "Ii":
            verb = self._near(self._next(end, 1), 1)
            books = token.text[0].isupper() or token.text.lower() in WORDS.books
            return (
                books
                and token.text.lower() in WORDS.counting_short
                and not (verb is not None and verb.text.lower() in WORDS.i_verbs)
            )
        return after.text in "VXvx" and (token.text[0].isupper() or token.text.lower() in WORDS.books)

    def _numbered_without_dot(self, token: Token, index: int, before: Token | None, after: Token) -> bool:
        """ "Vol 2", and "at No 10" where no sentence begins."""
        if self._at(index + 1) is after:
            return False
        if token.text == "No":
            verb = self._near(self._next(index, 1), 1)
            starts = before is None or before.kind != "word"
            return self._is_numeric(after) and not (
                starts and (not verb or verb.text not in WORDS.singular_verbs)
            )
        numeral = roman.value(after.text) is not None and len(after.text) > 1
        return token.text in WORDS.numbered_dotless and (numeral or self._is_numeric(after))

    # Days and months

    def _date_name(self, token: Token | None) -> str | None:
        if token is None or not token.text[:1].isupper():
            return None
        form = token.text.capitalize()
        return WORDS.days.get(form) or tables.MONTH_NAMES.get(form)

    def _day_or_month(
        self, token: Token, index: int, end: int, before: Token | None, after: Token | None
    ) -> bool:
        """ "Mon.–Fri.", "Sat. and Sun.", "Jan-Mar"; "the Sun. He rose" is none."""
        if "-" in token.text:
            names = [
                self._date_name(Token("word", part, 0, 0, token.groups)) for part in token.text.split("-")
            ]
            if None in names:
                return False
            self._through(token, end if after is not None else index, " to ".join(filter(None, names)))
            return True
        name = self._date_name(token)
        if name is None:
            return False
        beyond = self._next(self._next(end, 1), 1)
        dash = after is not None and after.text in ("-", "–", "—", "--")
        spans = dash and self._date_name(self._at(beyond)) is not None
        short, dotted = token.text.capitalize() != name, self.tokens[end] is not token
        if not spans and not (short and (dotted or index == self.until)):
            return False
        told = before.text.lower() if before is not None else ""
        near = told in WORDS.on_days or self.dated >= index - 4
        joined = after is not None and token.text.isupper() and after.text.lower() in WORDS.joining
        goes_on = after is not None and (joined or not self._capitalised(after)) and told != "the"
        if token.text.capitalize() in ("Sat", "Sun") and not (
            spans or near or goes_on or index == self.until
        ):
            return False
        self.dated = end
        if spans and after is not None:
            self._through(token, end, name)
            self._say(after, "to")
            self.index = self.until = beyond
        elif dotted:
            self._with_dot(token, index, name)
        else:
            self._say(token, name)
        return True

    # Short forms

    def _short_form(self, word: str, before: Token | None, after: Token | None) -> str | None:
        """What a word stands for when a dot follows it."""
        low = word.lower()
        if before is not None and self._is_numeric(before) and low in tables.UNITS and len(low) > 1:
            return tables.UNITS[low][not numbers.is_one(before.text)]
        capital = word[0].isupper() or (low == "co" and before is not None and before.text in ("&", "and"))
        if low not in WORDS.abbreviations or (low in WORDS.capital_abbreviations and not capital):
            return None
        if low == "al" and (before is None or before.text.lower() != "et"):
            return None
        if low == "v" and not (word == "v" and self._capitalised(before) and self._capitalised(after)):
            return None
        if low in WORDS.inside_only and (
            after is None or (self._capitalised(after) and roman.value(after.text) is None)
        ):
            return None
        spoken: str = WORDS.abbreviations[low]
        return spoken
