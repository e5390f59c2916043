"""Written English that is not said as it is spelled: months, units, symbols."""

from __future__ import annotations

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SHORT_MONTHS = ("Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec")
MONTH_NAMES = {name: name for name in MONTHS} | {
    short: next(name for name in MONTHS if name.startswith(short[:3])) for short in _SHORT_MONTHS
}
"""Full and short month names, without their dot."""

SLASHED = {"w/o": "without", "w/": "with", "b/c": "because", "n/a": "N.A", "c/o": "care of"}

UNITS = {
    "km": ("kilometer", "kilometers"), "m": ("meter", "meters"), "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"), "μm": ("micrometer", "micrometers"), "nm": ("nanometer",
    "nanometers"),
    "mi": ("mile", "miles"), "yd": ("yard", "yards"), "ft": ("foot", "feet"), "in": ("inch", "inches"),
    "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams"),
    "μg": ("microgram", "micrograms"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"), "l": ("liter", "liters"), "L": ("liter", "liters"),
    "ml": ("milliliter", "milliliters"), "mL": ("milliliter", "milliliters"), "gal": ("gallon", "gallons"),
    "km/h": ("kilometer per hour", "kilometers per hour"), "kph": ("kilometer per hour",
    "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"), "m/s": ("meter per second", "meters per second"),
    "fps": ("frame per second", "frames per second"), "rpm": ("revolution per minute",
    "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"), "dpi": ("dot per inch", "dots per inch"),
    "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"), "dB": ("decibel", "decibels"),
    "B": ("byte", "bytes"), "kB": ("kilobyte", "kilobytes"), "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "Mbps": ("megabit per second", "megabits per second"), "Gbps": ("gigabit per second",
    "gigabits per second"),
    "ms": ("millisecond", "milliseconds"), "μs": ("microsecond", "microseconds"), "s": ("second", "seconds"),
    "sec": ("second", "seconds"), "secs": ("second", "seconds"), "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"), "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"),
    "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"), "V": ("volt", "volts"), "kV": ("kilovolt", "kilovolts"),
    "mA": ("milliamp", "milliamps"), "mAh": ("milliamp hour", "milliamp hours"), "px": ("pixel", "pixels"),
    "°": ("degree", "degrees"), "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"), "Ω": ("ohm", "ohms"), "%": ("percent", "percent"),
    "‰": ("per mille", "per mille"), "″": ("inch", "inches"), "′": ("foot", "feet"),
    "m²": ("square meter", "square meters"), "km²": ("square kilometer", "square kilometers"),
    "m³": ("cubic meter", "cubic meters"), "cm³": ("cubic centimeter", "cubic centimeters"),
    "USD": ("U.S dollar", "U.S dollars"), "EUR": ("euro", "euros"), "GBP": ("pound", "pounds"),
    "€": ("euro", "euros"), "£": ("pound", "pounds"), "¢": ("cent", "cents"), "p": ("penny", "pence"),
    "x": ("times", "times"),
}  # fmt: skip
ATTACHED_ONLY = frozenset({"m", "g", "l", "s", "h", "in", "B", "W", "V", "p", "x", "′", "L"})
"""Units that after a space are more often words, letters or marks."""

SYMBOLS = {
    "&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "×": "times", "÷": "divided by",
    "±": "plus or minus", "≈": "approximately", "≠": "not equal to", "≤": "at most", "≥": "at least",
    "√": "square root of", "∞": "infinity", "°": "degrees", "§": "section", "©": "copyright",
    "$": "dollars", "£": "pounds", "€": "euros", "¥": "yen", "₹": "rupees", "¢": "cents",
    "²": "squared", "³": "cubed", "Ω": "ohms", "∑": "sum", "∫": "integral", "№": "number", "‰": "per mille",
}  # fmt: skip
BETWEEN_NUMBERS = {"*": "times", "<": "less than", ">": "greater than", "^": "to the power of", "-": "to",
                   "–": "to", "/": "over", "~": "to", ":": "to"}  # fmt: skip
SILENT = frozenset("*_~|\\^<>#/'-\"`=+™®•·‣▪●○–¨¯¹@&%")
"""Marks of typography that have no sound where no rule above gives them one."""

VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "π": "pi",
    "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega",
}  # fmt: skip

SCALE_WORDS = frozenset({"hundred", "thousand", "million", "billion", "trillion"})
