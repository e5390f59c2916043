"""Text → phonemes → token ids."""

import pickle
import random
import subprocess
import sys
from pathlib import Path

import espeakng_loader
import pytest

from voicewright.errors import UsageError, VoicewrightError
from voicewright.text.espeak.library import open_espeak
from voicewright.text.frontend import Frontend
from voicewright.text.vocab import KOKORO, STYLETTS2


@pytest.fixture(scope="module")
def us() -> Frontend:
    return Frontend("en-us")


@pytest.fixture(scope="module")
def gb() -> Frontend:
    return Frontend("en-gb")


def test_spaces_and_punctuation_stand_as_kokoro_expects(us):
    tokens = us.tokens("Author of the danger trail, Philip Steels, etc.")
    assert tokens.phonemes == "ˈɔθəɹ ʌv ðə dˈAnʤəɹ tɹˈAl, fˈɪləp stˈilz, ɛtsˈɛTəɹə."
    assert tokens.ids == tuple(KOKORO[symbol] for symbol in tokens.phonemes)
    assert us.ids(tokens.phonemes) == list(tokens.ids)


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("the apple, the pear", "ði ˈæpᵊl, ðə pˈɛɹ"),
        ("to eat, to go, to.", "tʊ ˈit, tə ɡˌO, tu."),
        ("a cat", "ɐ kˈæt"),
        ("vitamin A", "vˈITəmən ˈA"),
        ("I can. Can I?", "ˌI kˈæn. kˌæn ˌI?"),
        ("water", "wˈɔTəɹ"),
        ("the record, to record", "ðə ɹˈɛkəɹd, tə ɹəkˈɔɹd"),
        ("I used to use it", "ˌI jˈust tə jˈuz ɪt"),
        ("he has read it", "hi hæz ɹˈɛd ɪt"),
        ("a close friend, close the door", "ɐ klˈOs fɹˈɛnd, klˈOz ðə dˈɔɹ"),
        ("they live here, a live show", "ðA lˈɪv hˈɪɹ, ɐ lˈIv ʃˈO"),
        ("the wind, to wind", "ðə wˈɪnd, tə wˈInd"),
        ("Philip's boys' toys, James's", "fˈɪləps bˈYz tˈYz, ʤˈAmzᵻz"),
        ("the FBI and the NBA", "ði ˌɛfbˌiˈI ænd ði ˌɛnbˌiˈA"),
        ("a sudden increase, the workers increase it", "ɐ sˈʌdᵊn ˈɪnkɹˌis, ðə wˈɜɹkəɹz ɪnkɹˈis ɪt"),
        ("red-haired", "ɹˈɛdhˌɛɹd"),
        ("café, naïve", "kæfˈA, nɑˈiv"),
    ],
)
def test_american_readings(us, text, phonemes):
    assert us.tokens(text).phonemes == phonemes


def test_british_differs(gb):
    assert gb.tokens("Hello there, father. The bath water.").phonemes == (
        "həlˈQ ðˈɛː, fˈɑːðə. ðə bˈɑːθ wˈɔːtə."
    )


def test_words_outside_the_lexicon_are_pronounced_in_both_dialects(us, gb):
    """espeak-ng reads them; two dialects in one process do not disturb each other."""
    for _ in range(2):
        assert us.tokens("blorptastic").phonemes == "blɔɹptˈAstɪk"
        assert gb.tokens("blorptastic").phonemes == "blɔːptˈAstɪk"
        assert us.tokens("Voicewright's zonker").unknown == ()
        us._pronouncer._cache.clear()


def test_espeak_is_the_one_of_the_wheel(monkeypatch):
    monkeypatch.setenv("KOKOROG2P_ESPEAK_LIBRARY", "/nowhere/libespeak-ng.so")
    monkeypatch.setenv("KOKOROG2P_ESPEAK_DATA", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    espeak = open_espeak("en-us")
    assert Path(espeak.library_path) == Path(espeakng_loader.get_library_path())
    assert Path(espeak.data_path) == Path(espeakng_loader.get_data_path()).resolve()
    assert espeak.phonemize("blorp", use_tie=True)


def test_a_broken_espeak_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: "/nowhere/libespeak-ng.so")
    with pytest.raises(VoicewrightError, match="espeak-ng cannot be opened"):
        Frontend("en-us").tokens("blorptastic")


def test_every_word_has_its_range_and_its_written_text(us):
    text = "On 3 May it cost $3.50, i.e. £2 (approx.) — don't."
    tokens = us.tokens(text)
    assert [word.text for word in tokens.words] == [
        "On", "3", "May", "it", "cost", "$3.50", "i.e.", "£2", "approx.", "don't",
    ]  # fmt: skip
    heard = [tokens.phonemes[word.start : word.stop] for word in tokens.words]
    assert heard[5] == "θɹˈi dˈɑləɹz ænd fˈɪfti sˈɛnts"
    assert all(sound and sound == sound.strip() for sound in heard)
    assert all(a.stop <= b.start for a, b in zip(tokens.words, tokens.words[1:], strict=False))
    between = set(range(len(tokens.ids))) - {i for w in tokens.words for i in range(w.start, w.stop)}
    assert {tokens.phonemes[i] for i in between} <= set(" ,.—()")


def test_overrides(us):
    tokens = us.tokens("Say [Kokoro](/kˈOkəɹO/) now, and [xyz](/ə🙂b/).")
    assert [word.text for word in tokens.words][1] == "[Kokoro](/kˈOkəɹO/)"
    assert tokens.phonemes == "sˈA kˈOkəɹO nˈW, ænd əb."
    assert tokens.unknown == ("🙂",)
    # What follows an article still decides its form.
    assert us.tokens("the [x](/ˈɛks/)").phonemes.startswith("ði ")


def test_unknown_symbols_are_reported_once_and_in_order(us):
    tokens = us.tokens("A tower 😀 東京 😀 done\ud83d")
    assert tokens.unknown[:3] == ("😀", "東", "京")
    assert len(tokens.unknown) == 4
    assert tokens.phonemes.endswith("tˈWəɹ dˈʌn")
    "".join(tokens.unknown).encode("utf-8")


def test_text_with_nothing_to_speak_is_a_clear_error(us):
    with pytest.raises(VoicewrightError, match=r"clip 7 has nothing to speak.*😀 東"):
        us.tokens("😀 東").check("clip 7")
    for empty in ("", " \n\t", "...", "\ufeff", "----"):
        with pytest.raises(VoicewrightError, match="no words"):
            us.tokens(empty).check()
    tokens = us.tokens("fine")
    assert tokens.check() is tokens


def test_ids_refuse_what_has_no_id(us):
    with pytest.raises(VoicewrightError, match="'1'"):
        us.ids("ə1")


def test_phonemes_at_hand_become_tokens(us):
    tokens = us.from_phonemes("tɹˈAl, fˈɪləp  “stˈilz”.")
    assert tokens.phonemes == "tɹˈAl, fˈɪləp “stˈilz”."
    assert [tokens.phonemes[w.start : w.stop] for w in tokens.words] == ["tɹˈAl", "fˈɪləp", "stˈilz"]
    assert us.from_phonemes("ə1").unknown == ("1",)
    spoken = us.tokens("Dr. Smith paid $3.50 (cash)!")
    assert us.from_phonemes(spoken.phonemes).ids == spoken.ids


def test_another_symbol_table_gets_the_nearest_or_a_report_of_what_it_lacks():
    tokens = Frontend("en-us", vocab=STYLETTS2).tokens("apple")
    assert tokens.phonemes == "ˈæpəl"
    assert tokens.unknown == ()
    tokens = Frontend("en-us", vocab={"æ": 1, "p": 2}).tokens("apple")
    assert tokens.phonemes == "æp"
    assert tokens.unknown == ("ᵊ", "l")


def test_unknown_language_lists_the_known_ones():
    assert Frontend("EN_us").language == "en-us"
    with pytest.raises(UsageError, match="en-us, en-gb"):
        Frontend("tlh")


def test_the_same_text_gives_the_same_tokens(us):
    text = "He read 3 books, e.g. 'Dune' — in 1984! Blorptastic Whittemore's résumé cost $5."
    assert us.tokens(text) == us.tokens(text) == Frontend("en-us").tokens(text)
    assert pickle.loads(pickle.dumps(us)).tokens(text) == us.tokens(text)


def test_no_mixture_of_odd_things_breaks_it(us):
    atoms = [
        "a", "I", "Dr.", "St.", "3", "1,000", "$", "£2", "%", "-", "–", "'", '"', "(", "[x](/ə/)", "[", "/",
        ".", "...", "!", " ", " ", " ", "\n", "\n\n", "May", "5:30", "pm", "p.m.", "etc.", "U.S.", "IV", "½",
        "1/2", "km", "°C", "#", "@", "b@c.com", "http://x.y", "é", "e\u0301", "\u200b", "東", "😀", "α", "²",
        "million", "the", "2021-05-03", "99/99/9999", "'tis", "MP3", "-5", "24:00", "007", "+", "<", "*",
        "\ud83d", "\x00", "Ⅷ", "٣",
    ]  # fmt: skip
    draw = random.Random(0)
    for _ in range(400):
        text = "".join(draw.choices(atoms, k=draw.randint(1, 14)))
        tokens = us.tokens(text)
        assert us.ids(tokens.phonemes) == list(tokens.ids)
        assert "  " not in tokens.phonemes
        assert all(0 <= word.start < word.stop <= len(tokens.ids) and word.text for word in tokens.words)
        limit = draw.choice([1, 20, 60])
        assert all(len(chunk.ids) <= limit for chunk in us.chunks(text, limit))


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys; import voicewright.text.frontend as f; f.Frontend('en-us'); "
        "print(sorted({'torch', 'numpy', 'kokorog2p', 'num2words', 'espeakng_loader'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_speaking_needs_no_torch(us):
    code = (
        "import sys; sys.modules['torch'] = None; from voicewright.text.frontend import Frontend; "
        "print(Frontend('en-us').tokens('Blorptastic 25.').phonemes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == us.tokens("Blorptastic 25.").phonemes
