"""Languages other than English: what Kokoro has, and what espeak-ng knows besides."""

import pickle

import pytest

from voicewright.errors import UsageError, VoicewrightError
from voicewright.text import japanese
from voicewright.text.espeak import library as espeak
from voicewright.text.espeak.ipa import share
from voicewright.text.frontend import Frontend
from voicewright.text.g2p import LANGUAGES, find_language
from voicewright.text.mandarin import g2p as mandarin
from voicewright.text.pieces import JOINED
from voicewright.text.vocab import KOKORO, KOKORO_ZH, STYLETTS2, spell

_TEXTS = {
    "es": "Hola, ¿cómo estás? El Sr. López tiene 1.234,50 € y 25 años.",
    "fr-fr": "Est-ce que vous êtes heureux ? Il y a 1 200 oiseaux, c'est l’homme.",
    "hi": "मेरे पास 1,25,000 किताबें हैं। ज़िंदगी अच्छी है।",
    "it": "Ciao, come stai? L'acqua costa 1,50 € e lo zio ha 28 anni.",
    "pt-br": "Olá, tudo bem? O coração custa R$ 20,50 às 15h30.",
    "de": "Guten Tag! Am 3. Mai 1987 kostete es 20,50 €, z.B. fünf Prüfungen.",
    "nl": "Goedendag, het is 15.30 uur; de 3e put van 1987.",
    "pl": "Dzień dobry, mam 25 lat i -3 koty.",
    "ru": "Привет, мир! Сегодня 25 градусов.",
}


@pytest.mark.parametrize("code", _TEXTS)
def test_every_word_sounds_and_keeps_its_place(code):
    text = _TEXTS[code]
    tokens = Frontend(code).tokens(text)
    assert tokens.unknown == ()
    assert set(tokens.phonemes) <= set(KOKORO)
    at = 0
    for word in tokens.words:
        at = text.index(word.text, at) + len(word.text)
        assert tokens.phonemes[word.start : word.stop].strip()
    assert all(a.stop <= b.start for a, b in zip(tokens.words, tokens.words[1:], strict=False))
    outside = set(range(len(tokens.ids))) - {i for w in tokens.words for i in range(w.start, w.stop)}
    assert {tokens.phonemes[i] for i in outside} <= set(' ;:,.!?—…“”"()')


@pytest.mark.parametrize(
    ("code", "text", "phonemes"),
    [
        ("es", "Hola, ¿cómo estás?", "ˈola, kˈomo estˈas?"),
        ("fr-fr", "vous êtes heureux", "vuz ɛtz øʁˈø"),
        ("it", "come stai?", "kˌome stˈaj?"),
        ("pt-br", "tudo bem", "tˈudʊ bˈAŋ"),
        ("hi", "पाँच है।", "pˈa\u0303nc hɛː."),
        ("de", "Guten Tag!", "ɡˈuːtən tˈɑːk!"),
        ("nl", "hoe gaat het?", "hˈu ɣˈaːt hət?"),
    ],
)
def test_phonemes_are_those_of_kokoros_pipeline(code, text, phonemes):
    """Read off misaki 0.9.4; benchmarks/g2p.py compares two hundred sentences a language."""
    assert Frontend(code).tokens(text).phonemes == phonemes


@pytest.mark.parametrize(
    ("code", "written", "spelled_out"),
    [
        ("es", "Cuesta 1.234 € el 3/5/2024.", "Cuesta 1234 euros el 3 de mayo de 2024."),
        ("es", "EE.UU., -5 y 50 %", "Estados Unidos, menos 5 y 50%"),
        ("fr-fr", "Le 1er mai à 15h30, 20,50 €", "Le premier mai à 15 heures 30, 20 euros 50"),
        ("it", "1 € o 2 €", "un euro o 2 euro"),
        ("pt-br", "R$ 1,00, às 15h30", "um real, às 15 e 30"),
        ("hi", "₹20 और 15:30 बजे", "20 रुपये और 15 बजकर 30 मिनट"),
        ("de", "am 3. Mai 1987", "am dritten Mai neunzehnhundertsiebenundachtzig"),
        ("de", "der 3. Mai, 15:30 Uhr, z.B.", "der dritte Mai, 15 Uhr 30, zum Beispiel"),
        ("nl", "de 3e om 15.30 uur", "de derde om 15 uur 30"),
        ("pl", "-3", "minus trzy"),
    ],
)
def test_numbers_dates_money_and_abbreviations(code, written, spelled_out):
    front = Frontend(code)
    assert front.tokens(written).phonemes == front.tokens(spelled_out).phonemes


def test_words_that_are_heard_as_one_share_its_sound():
    assert share(["ab", "cd"], [["ab"], ["cd"]]) == ["ab", "cd"]
    assert share(["tw", "nti"], [["tw", "nti"]]) == ["tw nti"]
    shared = share(["ilja", "tɛ̃"], [["il"], ["i"], ["a"], ["tɛ̃"]])
    assert shared[0] and all(part.startswith(JOINED) for part in shared[1:3]) and shared[3] == "tɛ̃"
    assert "".join(shared).replace(JOINED, "") == "iljatɛ̃"
    # What cannot be compared in good time is taken word by word.
    assert share(["x" * 2000], [["a"], ["b"]]) == ["a", "b"]


def test_codes_names_and_letters_find_a_language():
    for code, name, letter in [("es", "spanish", "e"), ("ja", "Japanese", "j"), ("pt-br", "Portuguese", "p")]:
        assert find_language(code).code == find_language(name).code == find_language(letter).code == code
    assert find_language("en").code == "en-us"
    assert find_language("de_AT").code == "de"
    assert find_language("sw").name == espeak.languages()["sw"] == "Swahili"
    assert {language.kokoro for language in LANGUAGES.values()} >= set("abefhijpz")


@pytest.mark.parametrize(
    ("code", "near"), [("germn", "de (German)"), ("frensh", "fr-fr (French)"), ("xx", "en-us")]
)
def test_an_unknown_language_is_one_sentence_with_the_nearest(code, near):
    with pytest.raises(UsageError, match="No front end reads the language") as caught:
        Frontend(code)
    assert near in str(caught.value) and caught.value.exit_code == 2


def test_symbols_without_a_reading_are_reported():
    assert Frontend("es").tokens("hola 😀 東京").unknown == ("😀", "東", "京")
    assert Frontend("fr-fr").tokens("12 ₿ oui").unknown == ("₿",)
    with pytest.raises(VoicewrightError, match="no reading is known for 😀"):
        Frontend("de").tokens("😀").check()
    with pytest.raises(VoicewrightError, match="holds no words"):
        Frontend("it").tokens("?! … —").check()


def test_sounds_outside_the_vocabulary_are_spelt_with_its_nearest():
    assert Frontend("de").tokens("fünf").phonemes == "fˈynf"
    own = dict(KOKORO) | {"ʏ": 200}
    assert Frontend("de", vocab=own).tokens("fünf").phonemes == "fˈʏnf"
    assert spell("ɝ", KOKORO) == "ɜɹ" and spell("ẽ", KOKORO) == "e\u0303" and spell("X", KOKORO) is None
    assert spell("ʤ", {"d": 1, "ʒ": 2}) == "dʒ" and spell("\u032f", KOKORO) == ""
    assert all(spell(symbol, KOKORO) is not None for symbol in "ʏɵʉɘɞɶʀħʕʐʑɱɓɗɠ")
    assert Frontend("de", vocab=STYLETTS2).tokens("Zeit").unknown == ()


def test_long_texts_are_cut_between_sentences_and_lose_nothing():
    front = Frontend("es")
    text = "El gato duerme encima del periódico. " * 60
    chunks = front.chunks(text)
    assert all(len(chunk.ids) <= 510 for chunk in chunks)
    assert sum(len(chunk.words) for chunk in chunks) == 60 * 6
    assert all(chunk.phonemes.endswith(".") for chunk in chunks)
    # One word of the longest kind is cut, not refused and not dropped.
    assert all(len(chunk.ids) <= 510 for chunk in front.chunks("a" * 5000))
    assert "".join(chunk.text for chunk in front.chunks("bo" * 300)) == "bo" * 300


def test_own_pronunciations_and_pickling(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("zaragoza\tzaɾa\nC++\tse\n", "utf-8")
    front = pickle.loads(pickle.dumps(Frontend("es", path)))
    assert front.tokens("en Zaragoza, [x](/ab/) C++").phonemes == "en zaɾa, ab se"


def test_a_missing_extra_is_one_sentence(monkeypatch):
    monkeypatch.setattr(japanese, "find_spec", lambda name: None)
    monkeypatch.setattr(mandarin, "find_spec", lambda name: None)
    with pytest.raises(VoicewrightError, match=r"Japanese needs fugashi.*pip install 'voicewright\[ja\]'"):
        Frontend("ja")
    with pytest.raises(VoicewrightError, match=r"Mandarin needs jieba.*pip install 'voicewright\[zh\]'"):
        Frontend("zh")


@pytest.fixture(scope="module")
def zh() -> Frontend:
    pytest.importorskip("jieba", reason="the extra zh is not installed")
    return Frontend("zh")


@pytest.fixture(scope="module")
def ja() -> Frontend:
    pytest.importorskip("fugashi", reason="the extra ja is not installed")
    return Frontend("ja")


def _heard(front: Frontend, text: str) -> list[tuple[str, str]]:
    tokens = front.tokens(text)
    return [(word.text, tokens.phonemes[word.start : word.stop]) for word in tokens.words]


def test_mandarin_words_have_places(zh):
    assert zh.tokens("你好，世界！").phonemes == "ni↓xau↓, ʂɨ↘ʨje↘!"
    assert _heard(zh, "我有25个苹果。") == [
        ("我", "wo↓"), ("有", "jou↓"), ("25个", "ɚ↘ʂɨ↗u↓kɤ↘"), ("苹果", "pʰi↗ŋkwo↓"),
    ]  # fmt: skip
    assert _heard(zh, "《红楼梦》，iPhone") == [("红楼梦", "xʊ↗ŋlou↗mə↘ŋ"), ("iPhone", "ˌIfˈOn")]


@pytest.fixture(scope="module")
def zh_1_1() -> Frontend:
    pytest.importorskip("jieba", reason="the extra zh is not installed")
    pytest.importorskip("pypinyin_dict", reason="the extra zh is not installed")
    return Frontend("zh", vocab=KOKORO_ZH)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("你好，世界！", "ㄋㄧ2ㄏㄠ3, ㄕ十4ㄐㄝ4!"),
        ("我有25个苹果。", "我2又3/ㄦ4ㄕ十2ㄨ3ㄍㄜ5/ㄆ应2ㄍ我3."),
        ("我想买五把好雨伞。", "我2ㄒ阳3/ㄇㄞ3ㄨ2ㄅㄚ3/ㄏㄠ3ㄩ2ㄙㄢ3."),
        ("这个小孩儿不听话。", "ㄓㄜ4ㄍㄜ5/ㄒ要3ㄏㄞR2/ㄅㄨ4ㄊ应1ㄏ穵4."),
        ("他不。我看一看。", "ㄊㄚ1/ㄅㄨ4. 我3/ㄎㄢ4ㄧ5ㄎㄢ4."),
        ("《红楼梦》，iPhone", "“ㄏ中2ㄌㄡ2ㄇㄥ4”, ˌIfˈOn"),
    ],
)
def test_mandarin_of_kokoro_1_1(zh_1_1, zh, written, said):
    """Phonemes of misaki's ZHG2P(version="1.1"), and 1.0's stay what they are in the same process."""
    assert zh_1_1.tokens(written).phonemes == said
    assert zh_1_1.tokens(written).unknown == ()
    assert zh.tokens("你好，世界！").phonemes == "ni↓xau↓, ʂɨ↘ʨje↘!"


def test_mandarin_of_kokoro_1_1_has_places_lexicon_and_reports(zh_1_1, tmp_path):
    assert [word for word, _ in _heard(zh_1_1, "我有25个苹果。")] == ["我有", "25个", "苹果"]
    own = tmp_path / "own.txt"
    own.write_text("苹果\tㄆ应2\n", "utf-8")
    front = pickle.loads(pickle.dumps(Frontend("zh", own, KOKORO_ZH)))
    assert front.tokens("苹果").phonemes == "ㄆ应2"
    assert zh_1_1.tokens("你😀好").unknown == ("😀",)
    chunks = zh_1_1.chunks("今天天气很好。" * 60)
    assert len(chunks) > 1 and all(len(chunk.ids) <= 510 for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "今天天气很好。" * 60


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2024年5月3日", "二零二四年五月三日"),
        ("15:30", "十五点三十分"),
        ("50%", "百分之五十"),
        ("-5℃", "零下五摄氏度"),
        ("1,200米", "一千二百米"),
        ("10-20个", "十到二十个"),
        ("007", "零零七"),
        ("¥20", "二十元"),
    ],
)
def test_mandarin_numbers(zh, written, said):
    assert zh.tokens(written).phonemes.replace(" ", "") == zh.tokens(said).phonemes.replace(" ", "")


def test_japanese_words_have_places(ja):
    assert ja.tokens("こんにちは、世界！").phonemes == "koɲɲiʨiβa, sekai!"
    assert _heard(ja, "私は東京へ行った。") == [
        ("私", "βatakɯɕi"), ("は", "βa"), ("東京", "toːkʲoː"), ("へ", "e"), ("行った", "iʔta"),
    ]  # fmt: skip
    assert _heard(ja, "25個、50%オフ")[:2] == [("25", "ɲiʥɨːɡo"), ("個", "ko")]
    assert _heard(ja, "iPhoneは")[0] == ("iPhone", "ˌIfˈOn")


@pytest.mark.parametrize("code", ["zh", "ja"])
def test_east_asian_texts_are_cut_and_report(code, request):
    front = request.getfixturevalue(code)
    sentence = "今天天气很好。" if code == "zh" else "今日は天気がいいです。"
    chunks = front.chunks(sentence * 40)
    assert len(chunks) > 1 and all(len(chunk.ids) <= 510 for chunk in chunks)
    assert all(chunk.phonemes.endswith(".") for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == sentence * 40
    assert front.tokens("😀 …").unknown == ("😀",)
    assert front.tokens("").words == () and front.tokens("\n\n").words == ()
    assert pickle.loads(pickle.dumps(front)).tokens(sentence) == front.tokens(sentence)
    # No marks for a long while.
    assert all(len(chunk.ids) <= 510 for chunk in front.chunks("今天天气" * 200))


def test_a_word_of_more_than_an_utterance_is_cut():
    """Five hundred and eleven tokens in one word: two chunks, both with the written word, nothing lost."""
    front = Frontend("de", lexicon=None)
    chunks = front.chunks(f"[x](/{'a' * 511}/)")
    assert [len(chunk.ids) for chunk in chunks] == [510, 1]
    assert all(chunk.words[0].text.startswith("[x]") for chunk in chunks)


@pytest.mark.parametrize("code", ["fr-fr", "hi"])
def test_time_grows_with_the_text_alone(code):
    """Eight times the text, not much more than eight times the time; hostile text included."""
    import time

    front = Frontend(code)
    for unit in ("uno dos, tres 4 ", "x", "1", "-", "a'", "1.", "( ", "1,1", "ि"):
        seconds = []
        for size in (1_500, 12_000):
            text = (unit * size)[:size]
            start = time.process_time()
            front.chunks(text)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 24 * seconds[0] + 0.3, (code, unit, seconds)
