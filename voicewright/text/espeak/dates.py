"""Dates, seasons and times of the day, as words."""

from __future__ import annotations

import re

from voicewright.text.espeak.counting import Counting
from voicewright.text.espeak.german import German


class Dates:
    """One method for each kind of token that `pattern` names so; each gives what is said.

    german: where ordinals are declined.
    """

    def __init__(self, counting: Counting, german: German | None) -> None:
        self.counting = counting
        self.locale = counting.locale
        self.german = german

    def first(self, token: re.Match[str]) -> str:
        return self.locale.first

    def iso(self, token: re.Match[str]) -> str:
        year, month, day = re.findall(r"\d+", token[0])
        return self.calendar(token, day, month, year)

    def date(self, token: re.Match[str]) -> str:
        day, month, year = token[0].split(token["between"])
        if int(month) > 12 >= int(day):  # only one order makes a date of it
            day, month = month, day
        if len(year) == 2:
            year = ("20" if int(year) < 50 else "19") + year
        return self.calendar(token, day, month, year)

    def textual(self, token: re.Match[str]) -> str:
        name = token["short"].lower()
        month = next(
            n for n, shorts in enumerate(self.locale.short_months, 1) if name in shorts.lower().split("|")
        )
        return self.calendar(token, token["number_of_day"], str(month), token["year"] or "")

    def calendar(self, token: re.Match[str], day: str, month: str, year: str) -> str:
        """The day of a date as its language says it; digit by digit where the calendar has none such."""
        if not 1 <= int(month) <= 12 or not 1 <= int(day) <= 31 or not self.locale.months:
            return " ".join(self.counting.digits(part) for part in re.findall(r"\d+", token[0]))
        if self.german is not None:
            before = re.findall(r"\w+", token.string[max(0, token.start() - 16) : token.start()])[-2:]
            said = self.german.ordinal(int(day), before, "")
        else:
            said = self.locale.first if int(day) == 1 else str(int(day))
        name = self.locale.months[int(month) - 1]
        form = self.locale.date if year else self.locale.date.partition("{month}")[0] + "{month}"
        return form.format(day=said, month=name, year=self.counting.plain(year or "0"))

    def season(self, token: re.Match[str]) -> str:
        """ "2019/20" and "1990-2000"."""
        first, sign, last = re.split(r"([/–-])", token[0])
        to = f" {self.locale.to} " if sign != "/" and self.locale.to else " "
        return self.counting.plain(first) + to + self.counting.plain(last)

    def time(self, token: re.Match[str]) -> str:
        hour, *rest = (int(part) for part in re.findall(r"\d+", token[0]))
        minute = rest[0] if rest else 0
        if not minute and hour == 1 and self.locale.one_hour:
            said = self.locale.one_hour
        else:
            form = self.locale.time if minute else self.locale.full_hour
            hours = self.counting.agreeing(str(hour), self.locale.feminine_hours, self.locale.spelled_times)
            minutes = self.counting.spelled(minute) if self.locale.spelled_times else minute
            said = form.format(hour=hours, minute=minutes)
        return " ".join([said, *(str(part) for part in rest[1:])])
