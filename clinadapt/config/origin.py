"""Whose note a row is (the patient, the encounter, the patient's sex and age) and when it was written: the columns that
say so, and how the newest notes are held out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator

# Field of a row -> usual names of its column, in the order in which they are looked for. Names are compared without
# case, blanks and punctuation: `Patient ID` is patientid.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "patient": (
        "subjectid", "patientid", "patientuid", "uniquepid", "patientmrn", "mrn", "medicalrecordnumber", "patmrn",
        "patmrnid", "patid", "patientnum", "patnum", "personid", "nhsnumber", "patientnumber", "patientidentifier",
        "patient",
    ),
    "encounter": (
        "hadmid", "encounterid", "encounternum", "encid", "visitid", "visitoccurrenceid", "admissionid", "stayid",
        "csn", "patencid", "patenccsnid", "episodeid", "encounter",
    ),
    "date": (
        "charttime", "chartdate", "notedatetime", "notedate", "visitdate", "documentdate", "reportdate", "servicedate",
        "encounterdate", "admissiondate", "admittime", "authoredon", "createdat", "datetime", "timestamp", "date",
    ),
    "sex": ("patientsex", "patientgender", "sex", "gender"),
    "age": ("patientage", "ageyears", "ageinyears", "ageatvisit", "ageatadmission", "age"),
}  # fmt: skip
ORIGIN = tuple(USUAL_NAMES)
MAX_NEWEST = 50  # percent


def usual_name(column: str) -> str:
    """A column name as USUAL_NAMES lists it."""
    return re.sub(r"[\W_]+", "", column).lower()


def origin_columns(columns: Iterable[str], named: Mapping[str, str]) -> dict[str, str]:
    """The columns with patient, encounter, date, sex and age.

    Args:
        columns: of a row.
        named: field -> its column as the settings name it (see `date_column` of a date); empty: there is none.

    Returns:
        Field -> column: the one named, or the first that has a usual name. A field without a column is left out.
    """
    by_name: dict[str, str] = {}
    listed = list(columns)
    for column in listed:
        by_name.setdefault(usual_name(column), column)
    columns_by_field: dict[str, str] = {}
    for field, usual in USUAL_NAMES.items():
        if field in named:
            column = date_column(named[field])[0] if field == "date" else named[field]
            if column and column in listed:
                columns_by_field[field] = column
        elif name := next((name for name in usual if name in by_name), ""):
            columns_by_field[field] = by_name[name]
    return columns_by_field


def date_columns(columns: Iterable[str]) -> list[str]:
    """The columns that have a usual name of a date, in the order of USUAL_NAMES."""
    usual = USUAL_NAMES["date"]
    return sorted((c for c in columns if usual_name(c) in usual), key=lambda column: usual.index(usual_name(column)))


def date_column(name: str) -> tuple[str, str]:
    """Column and format of a date: `visit_date %d/%m/%Y` has a format of strptime after the name; else it is empty."""
    column, percent, form = name.partition(" %")
    return column, f"%{form}" if percent else ""


def check_columns(columns: Mapping[str, str], fields: Iterable[str], kind: str) -> None:
    """Check the names of the fields for which `columns` names a column. Raises ValueError."""
    known = list(fields)
    if unknown := columns.keys() - set(known):
        raise ValueError(f"{kind} has no field '{min(unknown)}': it has {', '.join(known)}")


def named_origin(columns: Mapping[str, str]) -> dict[str, str]:
    """Those of the settings `columns` that name the fields of ORIGIN."""
    return {field: column for field, column in columns.items() if field in ORIGIN}


def newest_share(test: str) -> float | None:
    """`newest 10%` -> 0.1; None for `random`. Raises ValueError."""
    if test == "random":
        return None
    match = re.fullmatch(r"newest ?(\d{1,2}(?:\.\d+)?) ?%", test)
    if not match or not 0 < float(match[1]) <= MAX_NEWEST:
        raise ValueError(f"write random, or the newest share of the notes as in 'newest 10%', at most {MAX_NEWEST}%")
    return float(match[1]) / 100


def _check_test(test: str) -> str:
    newest_share(test)
    return test


TestNotes = Annotated[str, AfterValidator(_check_test)]  # which notes are the test: `random`, or `newest 10%`
