"""How languages other than English write numbers, dates, money and abbreviations, as tables.

What is not here is left to espeak-ng, which reads plain numbers, percentages, ordinals of the Romance
languages and
common symbols in each of its languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Locale:
    """One language's habits in writing."""

    num2words: str = ""
    """num2words' code of the language; empty where it knows none."""
    decimal: str = ","
    group: str = r"[. \u00a0\u202f']"
    """Pattern of what stands between thousands."""
    indian: bool = False
    """Groups of two digits above the thousand: 1,25,000."""
    minus: str = ""
    months: tuple[str, ...] = ()
    date: str = "{day} {month} {year}"
    first: str = "1"
    """How the first of a month is said."""
    time: str = "{hour} {minute}"
    full_hour: str = "{hour}"
    hour_marks: str = ":"
    after_time: str = ""
    """Pattern of a word that a time already says: "15:30 Uhr"."""
    money: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Currency symbol → what one is ("un euro") and what several are called ("euros")."""
    money_join: str = " "
    """Between the units and the hundredths: "20 euros con 50"."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """Signs that are read as words; those of web addresses too."""
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    """With their dots, as written."""
    ordinals: Mapping[str, str] = field(default_factory=dict)
    """What follows a number to make it an ordinal → what to add to num2words' ordinal."""
    dotted_day: bool = False
    """ "3. Mai": a dot makes an ordinal of a day."""
    spoken_years: bool = False
    """Years of the last millennium are counted in hundreds, which espeak-ng does not do."""
    east_asian: bool = False
    """Chinese characters, kana and hangul are letters here."""
    full_stops: str = ""
    """Marks of the script that end a sentence."""


def _months(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SPANISH_MONTHS = _months(
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
)
_PORTUGUESE_MONTHS = _months(
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro"
)

SPANISH = Locale(
    num2words="es",
    minus="menos",
    months=_SPANISH_MONTHS,
    date="{day} de {month} de {year}",
    first="primero",
    hour_marks=":h",
    money={
        "€": ("un euro", "euros"), "$": ("un dólar", "dólares"), "£": ("una libra", "libras"),
        "¥": ("un yen", "yenes"), "₹": ("una rupia", "rupias"),
    },
    money_join=" con ",
    symbols={
        "&": "y", "+": "más", "=": "igual a", "@": "arroba", ".": "punto", "/": "barra", "-": "guion",
        "_": "guion bajo", "½": "un medio", "¼": "un cuarto", "¾": "tres cuartos", "°": "grados",
        "×": "por", "÷": "entre", "<": "menor que", ">": "mayor que",
    },
    abbreviations={
        "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Dr.": "doctor", "Dra.": "doctora",
        "D.": "don",
        "Ud.": "usted", "Uds.": "ustedes", "EE.UU.": "Estados Unidos", "EE. UU.": "Estados Unidos",
        "etc.": "etcétera", "p. ej.": "por ejemplo", "p.ej.": "por ejemplo", "pág.": "página",
        "núm.": "número",
        "n.º": "número", "av.": "avenida", "Av.": "avenida", "a.C.": "antes de Cristo",
        "d.C.": "después de Cristo", "aprox.": "aproximadamente", "km": "kilómetros", "kg": "kilos",
    },
)  # fmt: skip

FRENCH = Locale(
    num2words="fr",
    minus="moins",
    months=_months("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"),
    first="premier",
    time="{hour} heures {minute}",
    full_hour="{hour} heures",
    hour_marks=":h",
    money={
        "€": ("un euro", "euros"), "$": ("un dollar", "dollars"), "£": ("une livre", "livres"),
        "¥": ("un yen", "yens"), "₹": ("une roupie", "roupies"),
    },
    symbols={
        "&": "et", "+": "plus", "=": "égale", "@": "arobase", ".": "point", "/": "barre oblique",
        "-": "tiret",
        "_": "tiret bas", "½": "un demi", "¼": "un quart", "¾": "trois quarts", "°": "degrés", "×": "fois",
        "÷": "divisé par", "<": "inférieur à", ">": "supérieur à",
    },
    abbreviations={
        "M.": "monsieur", "Mme": "madame", "Mmes": "mesdames", "Mlle": "mademoiselle", "MM.": "messieurs",
        "Dr": "docteur", "Pr": "professeur", "Me": "maître", "etc.": "et cetera", "p. ex.": "par exemple",
        "n°": "numéro", "N°": "numéro", "c.-à-d.": "c'est-à-dire", "av. J.-C.": "avant Jésus-Christ",
        "apr. J.-C.": "après Jésus-Christ", "env.": "environ", "bd": "boulevard", "km": "kilomètres",
        "kg": "kilos",
    },
    ordinals={"er": "", "re": "", "ère": "", "e": "", "ème": "", "es": ""},
)  # fmt: skip

ITALIAN = Locale(
    num2words="it",
    minus="meno",
    months=_months(
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"
    ),
    first="primo",
    time="{hour} e {minute}",
    money={
        "€": ("un euro", "euro"), "$": ("un dollaro", "dollari"), "£": ("una sterlina", "sterline"),
        "¥": ("uno yen", "yen"), "₹": ("una rupia", "rupie"),
    },
    money_join=" e ",
    symbols={
        "&": "e", "+": "più", "=": "uguale a", "@": "chiocciola", ".": "punto", "/": "barra", "-": "trattino",
        "_": "trattino basso", "½": "un mezzo", "¼": "un quarto", "¾": "tre quarti", "°": "gradi", "×": "per",
        "÷": "diviso", "<": "minore di", ">": "maggiore di",
    },
    abbreviations={
        "Sig.": "signor", "Sig.ra": "signora", "Dott.": "dottor", "Dott.ssa": "dottoressa",
        "Prof.": "professor",
        "ecc.": "eccetera", "es.": "esempio", "pag.": "pagina", "n.": "numero", "Ing.": "ingegner",
        "Avv.": "avvocato", "a.C.": "avanti Cristo", "d.C.": "dopo Cristo", "km": "chilometri", "kg": "chili",
    },
)  # fmt: skip

PORTUGUESE = Locale(
    num2words="pt_BR",
    minus="menos",
    months=_PORTUGUESE_MONTHS,
    date="{day} de {month} de {year}",
    first="primeiro",
    time="{hour} e {minute}",
    full_hour="{hour} horas",
    hour_marks=":h",
    money={
        "R$": ("um real", "reais"), "€": ("um euro", "euros"), "$": ("um dólar", "dólares"),
        "US$": ("um dólar", "dólares"), "£": ("uma libra", "libras"), "¥": ("um iene", "ienes"),
        "₹": ("uma rupia", "rupias"),
    },
    money_join=" e ",
    symbols={
        "&": "e", "+": "mais", "=": "igual a", "@": "arroba", ".": "ponto", "/": "barra", "-": "hífen",
        "_": "sublinhado", "½": "meio", "¼": "um quarto", "¾": "três quartos", "°": "graus", "×": "vezes",
        "÷": "dividido por", "<": "menor que", ">": "maior que",
    },
    abbreviations={
        "Sr.": "senhor", "Sra.": "senhora", "Srta.": "senhorita", "Dr.": "doutor", "Dra.": "doutora",
        "Prof.": "professor", "Profa.": "professora", "etc.": "etcétera", "p. ex.": "por exemplo",
        "pág.": "página", "nº": "número", "n.º": "número", "av.": "avenida", "Av.": "avenida",
        "a.C.": "antes de Cristo", "d.C.": "depois de Cristo", "km": "quilômetros", "kg": "quilos",
    },
)  # fmt: skip

HINDI = Locale(
    decimal=".",
    group=",",
    indian=True,
    minus="माइनस",
    months=_months("जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर"),
    time="{hour} बजकर {minute} मिनट",
    full_hour="{hour} बजे",
    after_time=r"\s?बजे",
    money={
        "₹": ("एक रुपया", "रुपये"), "$": ("एक डॉलर", "डॉलर"), "€": ("एक यूरो", "यूरो"), "£": ("एक पाउंड", "पाउंड"),
        "¥": ("एक येन", "येन"),
    },
    symbols={
        "&": "और", "+": "प्लस", "=": "बराबर", "@": "ऐट", ".": "डॉट", "/": "स्लैश", "-": "डैश", "_": "अंडरस्कोर",
        "½": "आधा", "¼": "एक चौथाई", "¾": "तीन चौथाई", "°": "डिग्री", "×": "गुणा", "÷": "भाग",
    },
    abbreviations={"डॉ.": "डॉक्टर", "श्री.": "श्री", "प्रो.": "प्रोफ़ेसर", "रु.": "रुपये"},
    full_stops="।॥",
)  # fmt: skip

GERMAN = Locale(
    num2words="de",
    minus="minus",
    months=_months(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
    ),
    time="{hour} Uhr {minute}",
    full_hour="{hour} Uhr",
    after_time=r"\s?Uhr",
    money={
        "€": ("ein Euro", "Euro"), "$": ("ein Dollar", "Dollar"), "£": ("ein Pfund", "Pfund"),
        "¥": ("ein Yen", "Yen"), "₹": ("eine Rupie", "Rupien"),
    },
    symbols={
        "&": "und", "+": "plus", "=": "gleich", "@": "ät", ".": "Punkt", "/": "Schrägstrich",
        "-": "Bindestrich",
        "_": "Unterstrich", "½": "einhalb", "¼": "einviertel", "¾": "dreiviertel", "°": "Grad", "×": "mal",
        "÷": "geteilt durch", "<": "kleiner als", ">": "größer als",
    },
    abbreviations={
        "z.B.": "zum Beispiel", "z. B.": "zum Beispiel", "d.h.": "das heißt", "d. h.": "das heißt",
        "u.a.": "unter anderem", "u. a.": "unter anderem", "usw.": "und so weiter", "bzw.": "beziehungsweise",
        "Dr.": "Doktor", "Prof.": "Professor", "Hr.": "Herr", "Fr.": "Frau", "Nr.": "Nummer", "ca.": "zirka",
        "evtl.": "eventuell", "ggf.": "gegebenenfalls", "inkl.": "inklusive", "Str.": "Straße",
        "St.": "Sankt",
        "Mio.": "Millionen", "Mrd.": "Milliarden", "vgl.": "vergleiche", "S.": "Seite",
        "n. Chr.": "nach Christus",
        "v. Chr.": "vor Christus", "km": "Kilometer", "kg": "Kilogramm", "cm": "Zentimeter",
    },
    dotted_day=True,
    spoken_years=True,
)  # fmt: skip

DUTCH = Locale(
    num2words="nl",
    minus="min",
    months=_months(
        "januari februari maart april mei juni juli augustus september oktober november december"
    ),
    time="{hour} uur {minute}",
    full_hour="{hour} uur",
    hour_marks=":.",
    after_time=r"\s?uur",
    money={
        "€": ("één euro", "euro"), "$": ("één dollar", "dollar"), "£": ("één pond", "pond"),
        "¥": ("één yen", "yen"), "₹": ("één roepie", "roepies"),
    },
    symbols={
        "&": "en", "+": "plus", "=": "is gelijk aan", "@": "apenstaartje", ".": "punt", "/": "schuine streep",
        "-": "streepje", "_": "laag streepje", "½": "een half", "¼": "een kwart", "¾": "driekwart",
        "°": "graden",
        "×": "keer", "÷": "gedeeld door", "<": "kleiner dan", ">": "groter dan",
    },
    abbreviations={
        "dhr.": "de heer", "mevr.": "mevrouw", "dr.": "doctor", "prof.": "professor", "bijv.": "bijvoorbeeld",
        "bv.": "bijvoorbeeld", "d.w.z.": "dat wil zeggen", "enz.": "enzovoort", "nr.": "nummer",
        "blz.": "bladzijde",
        "ca.": "circa", "o.a.": "onder andere", "m.a.w.": "met andere woorden", "km": "kilometer",
        "kg": "kilo",
    },
    ordinals={"e": "", "ste": "", "de": ""},
)  # fmt: skip

_NUM2WORDS = frozenset(
    [
        "ar",
        "az",
        "be",
        "bn",
        "ca",
        "cs",
        "cy",
        "da",
        "eo",
        "fa",
        "fi",
        "he",
        "hu",
        "id",
        "is",
        "ja",
        "kn",
        "ko",
        "lt",
        "lv",
        "no",
        "pl",
        "ro",
        "ru",
        "sk",
        "sl",
        "sr",
        "sv",
        "te",
        "th",
        "tr",
        "uk",
        "vi",
    ]
)
_POINT = frozenset(
    [
        "bn",
        "th",
        "ko",
        "yue",
        "hak",
        "ur",
        "pa",
        "gu",
        "mr",
        "ta",
        "te",
        "kn",
        "ml",
        "si",
        "ne",
        "as",
        "or",
        "he",
        "am",
        "sw",
        "my",
    ]
)
"""Languages whose decimals have a point."""

_MINUS = {
    "miinus": "fi et", "mínusz": "hu", "минус": "ru bg mk sr kk ky", "мінус": "uk be", "eksi": "tr",
    "μείον": "el", "mínus": "is", "menys": "ca",
    "minus": "pl cs sk da sv nb no ro hr bs sl lv lt id ms af lb sq",
    "ناقص": "ar", "منفی": "fa", "マイナス": "ja", "마이너스": "ko", "âm": "vi", "ลบ": "th",
}  # fmt: skip


def locale_of(code: str) -> Locale:
    """What is known of a language of espeak-ng that has no table of its own."""
    base = code.split("-")[0]
    point = base in _POINT
    return Locale(
        num2words=base if base in _NUM2WORDS else "",
        minus=next((word for word, codes in _MINUS.items() if base in codes.split()), ""),
        decimal="." if point else ",",
        group="," if point else r"[. \u00a0\u202f']",
        east_asian=base in ("ko", "yue", "hak", "cmn", "ja"),
        full_stops={"hy": "։", "ur": "۔", "am": "።", "ti": "።"}.get(base, "।॥" if base in _POINT else ""),
    )
