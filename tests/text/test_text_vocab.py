"""The symbol tables, against the facts known of both."""

from voicewright.text.vocab import KOKORO, MAX_TOKENS, N_TOKENS, PAD, STYLETTS2


def test_kokoro_has_114_symbols_in_178_slots_and_leaves_63_free():
    assert len(KOKORO) == len(set(KOKORO.values())) == 114
    assert PAD not in KOKORO.values()
    assert max(KOKORO.values()) == N_TOKENS - 1
    assert N_TOKENS - 1 - len(KOKORO) == 63
    assert all(len(symbol) == 1 for symbol in KOKORO)
    assert MAX_TOKENS == 510


def test_known_slots_of_kokoro():
    known = {";": 1, "…": 10, " ": 16, "A": 24, "ᵊ": 42, "ɡ": 92, "ˈ": 156, "ˌ": 157, "ː": 158, "ᵻ": 177}
    assert {symbol: KOKORO[symbol] for symbol in known} == known


def test_styletts2_order_pad_punctuation_letters_phonemes():
    assert STYLETTS2["$"] == PAD
    assert STYLETTS2[" "] == 16
    assert STYLETTS2["A"] == 17
    assert STYLETTS2["a"] == 43
    assert STYLETTS2["ɑ"] == 69
    assert STYLETTS2["ᵻ"] == 177
    # The apostrophe stands twice in the order; the later slot is used.
    assert len(STYLETTS2) == 177
    assert STYLETTS2["'"] == 176
    assert 174 not in STYLETTS2.values()


def test_103_symbols_keep_their_id_and_11_differ():
    same = {symbol for symbol, slot in KOKORO.items() if STYLETTS2.get(symbol) == slot}
    assert len(same) == 103
    others = {symbol: KOKORO[symbol] for symbol in KOKORO.keys() - same}
    assert others == {
        "(": 12, ")": 13, "\u0303": 17, "ʣ": 18, "ʥ": 19, "ʦ": 20, "ʨ": 21, "ᵝ": 22, "ꭧ": 23,
        "A": 24, "ᵊ": 42,
    }  # fmt: skip
