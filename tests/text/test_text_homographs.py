"""English words that are written alike and sound different."""

import pytest

from voicewright.text.frontend import Frontend


@pytest.fixture(scope="module")
def us() -> Frontend:
    return Frontend("en-us")


@pytest.mark.parametrize(
    ("sentence", "word", "sound"),
    [
        ("She read it to me yesterday.", "read", "ɹˈɛd"),
        ("Did they read it?", "read", "ɹˈid"),
        ("I have never read it.", "read", "ɹˈɛd"),
        ("These pipes are made of lead.", "lead", "lˈɛd"),
        ("She took the lead and will lead us.", "lead", "lˈid"),
        ("We live here.", "live", "lˈɪv"),
        ("The game was shown live on television.", "live", "lˈIv"),
        ("He lives alone.", "lives", "lˈɪvz"),
        ("She has lived here for years.", "lived", "lˈɪvd"),
        ("It saved many lives.", "lives", "lˈIvz"),
        ("Stay close to me.", "close", "klˈOs"),
        ("The shops close at six.", "close", "klˈOz"),
        ("A tear fell.", "tear", "tˈɪɹ"),
        ("Do not tear it.", "tear", "tˈɛɹ"),
        ("There is a tear in my sleeve.", "tear", "tˈɛɹ"),
        ("He took a bow.", "bow", "bˈW"),
        ("He drew his bow.", "bow", "bˈO"),
        ("The north wind blew.", "wind", "wˈɪnd"),
        ("Roads wind through the hills.", "wind", "wˈInd"),
        ("The wound healed.", "wound", "wˈund"),
        ("The road wound up the hill.", "wound", "wˈWnd"),
        ("Wait a minute.", "minute", "mˈɪnət"),
        ("The traces are minute.", "minute", "mInˈut"),
        ("Many people object to it.", "object", "əbʤˈɛkt"),
        ("A heavy object fell.", "object", "ˈɑbʤəkt"),
        ("Farmers use this road.", "use", "jˈuz"),
        ("It is of no use.", "use", "jˈus"),
        ("He plays the bass in a band.", "bass", "bˈAs"),
        ("He caught a bass in the river.", "bass", "bˈæs"),
        ("Workers protest against it.", "protest", "pɹətˈɛst"),
        ("The protest was long.", "protest", "pɹˈOtˌɛst"),
    ],
)
def test_neighbours_and_topic_decide(us, sentence, word, sound):
    tokens = us.tokens(sentence)
    said = {w.text.lower(): tokens.phonemes[w.start : w.stop].replace("T", "ɾ") for w in tokens.words}
    assert said[word] == sound


def test_a_pause_separates(us):
    """What stands beyond a full stop says nothing about grammar."""
    assert "ɹˈid" in us.tokens("She left. Read this.").phonemes
