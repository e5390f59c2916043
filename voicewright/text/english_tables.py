"""Written English that is not said as it is spelled: abbreviations, months, units, symbols."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TITLES = {
    "Mr": "Mister", "Mrs": "Mrs", "Ms": "Miz", "Mx": "Mix", "Dr": "Doctor", "Prof": "Professor",
    "Rev": "Reverend", "Fr": "Father", "Hon": "Honorable", "Gen": "General", "Col": "Colonel",
    "Maj": "Major", "Capt": "Captain", "Cpt": "Captain", "Cmdr": "Commander", "Lt": "Lieutenant",
    "Sgt": "Sergeant", "Cpl": "Corporal", "Pvt": "Private", "Sen": "Senator", "Rep": "Representative",
    "Gov": "Governor", "Pres": "President", "Messrs": "Messers", "Mme": "Madame", "Mlle": "Mademoiselle",
    "St": "Saint", "Ste": "Saint", "Mt": "Mount", "Ft": "Fort", "Pt": "Point",
}  # fmt: skip
"""Before a capitalised word; their dot never ends a sentence. Without a dot: see below."""

DOTLESS_TITLES = frozenset(
    {"Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "Messrs", "Mme", "St", "Mt", "Sgt", "Capt", "Lt"}
)
NAME_TITLES = frozenset(TITLES) - {"St", "Ste", "Mt", "Ft", "Pt"}

ABBREVIATIONS = {
    "jr": "junior", "sr": "senior", "esq": "esquire", "bros": "brothers", "etc": "etc", "vs": "versus",
    "cf": "compare", "viz": "namely", "approx": "approximately", "est": "established", "dept": "department",
    "assn": "association", "assoc": "association", "univ": "university", "inc": "incorporated",
    "ltd": "limited", "corp": "corporation", "govt": "government", "mfg": "manufacturing",
    "misc": "miscellaneous",
    "ave": "avenue", "blvd": "boulevard", "rd": "road", "hwy": "highway", "pkwy": "parkway", "st": "street",
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday",
    "thur": "Thursday", "thurs": "Thursday", "fri": "Friday",
    "ed": "editor", "eds": "editors", "trans": "translator", "ca": "circa", "incl": "including",
    "tel": "telephone", "ext": "extension", "apt": "apartment", "bldg": "building", "dr": "drive",
    "al": "al", "ibid": "ibid", "mgr": "manager", "intl": "international", "natl": "national",
}  # fmt: skip
"""Read so only when a dot follows; the dot is part of the abbreviation."""
CAPITAL_ABBREVIATIONS = _words(
    "jr sr esq bros inc ltd corp ave blvd rd hwy pkwy st mon tue tues wed thu thur thurs fri ed dr"
)
"""Of these, those that are ordinary words or word ends when they stand in lower case."""

DOTTED = {
    "e.g": "for example", "i.e": "that is", "p.m": "p.m", "a.m": "a.m", "n.b": "N.B", "a.k.a": "A.K.A",
    "ph.d": "P.H.D", "w.r.t": "with respect to", "q.v": "Q.V",
}  # fmt: skip
"""Letters with dots; any other such run is spelled out."""

BEFORE_LETTER = _words(
    "a an the vitamin plan grade class type group team level hepatitis point exhibit letter"
)
"""A single letter after these is a letter, not the initial of a name."""

SENTENCE_STARTS = _words(
    "The A An It He She They We I You But And In On At This That These Those There When If For As So "
    "Then Its His "
    "Her Their Our My Not No Yes What Who Why How Where After Before While Although However Once Some "
    "Most All "
    "Many With By From To Or"
)
"""A capitalised word of these after an abbreviation's dot begins a new sentence; a name need not."""

RULERS = _words(
    "Henry Louis George Charles William Edward James Richard Elizabeth Mary Philip Frederick Catherine Ivan "
    "Napoleon Leo Gregory Peter Paul Pius Benedict Francis Clement Innocent Urban Alexander Nicholas "
    "Ferdinand "
    "Otto Gustav Gustavus Christian Haakon Harald Olaf Robert David Rameses Ramses Ptolemy Wilhelm Friedrich "
    "Franz Joseph Leopold Albert Baldwin Boniface Adrian Sixtus Julius Malcolm Xerxes Darius Cleopatra Juan "
    "Carlos Felipe Pedro João Umberto Victor Emmanuel Stephen"
)
NUMBERED = _words(
    "Chapter Part Act Scene Volume Book Section Article Appendix War Phase Type Class Stage Title Level Bowl "
    "Canto Figure Table Rocky Mark Apollo Saturn Episode Season Version"
)
