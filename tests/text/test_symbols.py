"""Sounds of a language that a table lacks: found, told, and given slots."""

from __future__ import annotations

import pytest

from voicewright.errors import UsageError, VoicewrightError
from voicewright.text.frontend import Frontend
from voicewright.text.symbols import Lacking, audit, own_slots, reread
from voicewright.text.vocab import KOKORO, N_TOKENS


def test_what_dutch_has_and_kokoro_lacks() -> None:
    found = audit(["Dus een bus.", "Een beuk."], "nl", KOKORO)
    assert [(one.symbol, one.instead, one.count, one.word) for one in found.lacking] == [("ɵ", "ø", 2, "dus")]
    assert not found.unknown
    said = found.lines("Dutch")
    assert len(said) == 1 and "ɵ (2 times, as in “dus”)" in said[0] and "ø would be said" in said[0]


def test_english_lacks_nothing() -> None:
    found = audit(["The quick brown fox jumps over the lazy dog, 23 times."], "en-us", KOKORO)
    assert found.lacking == () and found.alike == () and found.lines("English") == []


def test_words_that_differ_in_tone_alone_are_told() -> None:
    found = audit(["ma, mà, má", "ba"], "vi", KOKORO)
    assert found.alike and {"ma", "mà", "má"} > set(found.alike[0])
    assert any("Written alike" in line for line in found.lines("Vietnamese"))
    larger = own_slots(found.lacking, KOKORO)
    assert audit(["ma, mà, má", "ba"], "vi", larger).lacking == ()
    reader = Frontend("vi", None, larger)
    assert len({reader.tokens(word).phonemes for word in ("ma", "mà", "má")}) == 3


def test_slots_are_free_ones_and_may_run_out() -> None:
    larger = own_slots([Lacking("ɵ", "ø", 1, "dus"), Lacking("ʏ", "y", 1, "hütte")], KOKORO)
    new = {symbol: slot for symbol, slot in larger.items() if symbol not in KOKORO}
    assert set(new) == {"ɵ", "ʏ"} and not set(new.values()) & {0, *KOKORO.values()}
    assert all(0 < slot < N_TOKENS for slot in new.values()) and dict(KOKORO).items() <= larger.items()
    many = [Lacking(chr(0x4E00 + n), "", 1, "x") for n in range(80)]
    with pytest.raises(VoicewrightError, match="80 sounds"):
        own_slots(many, KOKORO)


def test_phonemes_are_read_again_unless_somebody_wrote_them() -> None:
    larger = own_slots(audit(["dus"], "nl", KOKORO).lacking, KOKORO)
    reader = Frontend("nl", None, larger)
    before = Frontend("nl", None, KOKORO).tokens("dus").phonemes
    assert "ɵ" in reread("dus", before, reader, KOKORO)
    assert reread("dus", "dyːs", reader, KOKORO) == "dyːs"


def test_a_language_that_nobody_reads() -> None:
    with pytest.raises(UsageError, match="No front end"):
        audit(["a"], "qqq", KOKORO)
