"""Canonical form of patient ids, so that one patient has one id in all tables of a study.

Two spellings of one id put a patient into two splits, and no later step would notice. Two patients under one id only
share a split. So spellings that programs and people exchange are one id (docs/sources.md, "Patient ids").
"""

import re
import unicodedata
from decimal import Decimal

from synfundus.errors import WrongInputError
from synfundus.labels import is_unknown

_WHOLE = re.compile(r"(\d{1,64})(?:\.0*)?")
_NUMBER = re.compile(r"-?\d{1,64}(?:\.\d*)?(?:e\d{1,2})?")
"""A number that pandas rewrites when it reads a column of numbers: `1e5` as `100000.0`, `12.50` as `12.5`."""
_SHORTENED = re.compile(r"[0-9](?:\.[0-9]+)?e\+[0-9]+")
"""A long number as spreadsheets write it (`1.23457E+11`)."""
_PROTECTED = re.compile(r'="(.*)"')
"""A cell that keeps its leading zeros in a spreadsheet: `="0012"`."""
_DASHES = dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-")
"""Hyphens, dashes and the minus sign, which word processors write for `-`."""


def whole_number(text: str) -> str | None:
    """Return a whole number without leading zeros and decimals (`0012.0` -> `12`), None if `text` is none."""
    match = _WHOLE.fullmatch(text)
    return None if match is None else str(int(match[1]))


def canonical_patient_id(text: str) -> str | None:
    """Return the canonical form of a patient id, or None for a word that means unknown.

    The form has Unicode's compatibility composition (NFKC), small letters, single spaces and no invisible characters.
    Every dash is `-`. One leading apostrophe, with which spreadsheets mark a cell as text, is dropped.
    An id that is a number is written without leading zeros, exponent and zeros after the point.

    Raises:
        WrongInputError: a spreadsheet has shortened the id, so several patients may share it.
    """
    protected = _PROTECTED.fullmatch(text.strip())
    plain = (protected[1] if protected else text).casefold()
    canonical = " ".join((plain if plain.isascii() else _composed(plain)).split()).removeprefix("'").lstrip()
    if is_unknown(canonical):
        return None
    if _SHORTENED.fullmatch(canonical):
        raise WrongInputError(
            f"patient id {text!r} is a number that a spreadsheet has shortened, so its digits are lost;"
            " export the table again with this column as text"
        )
    return _plain_number(canonical) if _NUMBER.fullmatch(canonical) else canonical


def _plain_number(text: str) -> str:
    """Return all digits of a number; `Decimal` is exact, whatever their number."""
    digits = format(Decimal(text), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _composed(text: str) -> str:
    """Return the compatibility composition with `-` for dashes and without invisible characters."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_DASHES)
    return unicodedata.normalize("NFKC", "".join(c for c in folded if unicodedata.category(c) != "Cf"))


def patient_of(dataset: str, text: str) -> str | None:
    """Return the patient of a public dataset, such as `eyepacs:10`; None if `text` means unknown."""
    patient = canonical_patient_id(text)
    return None if patient is None else f"{dataset}:{patient}"
