"""The encoding of a file that is not UTF-8, as iconv calls it."""

from __future__ import annotations

from charset_normalizer import from_bytes

from clinadapt.errors import UserError

# Python's name of an encoding -> iconv's; Western ones are WINDOWS-1252
_ICONV = {
    "cp949": "CP949", "euc_kr": "CP949", "cp932": "CP932", "gb18030": "GB18030", "big5": "BIG5", "cp950": "BIG5",
    "cp1250": "WINDOWS-1250", "iso8859_2": "ISO-8859-2", "cp1251": "WINDOWS-1251", "cp1253": "WINDOWS-1253",
    "cp1254": "WINDOWS-1254", "cp1255": "WINDOWS-1255", "cp1256": "WINDOWS-1256",
}  # fmt: skip
_CENTRAL_EUROPEAN = ("Polish", "Czech", "Hungarian", "Slovak", "Slovene", "Croatian", "Romanian")


def likely_encoding(sample: bytes) -> str:
    """iconv's name for the likely encoding of bytes that are not UTF-8."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if sample[1::2].count(0) > len(sample) / 4 or sample[::2].count(0) > len(sample) / 4:
        return "UTF-16LE" if sample[1::2].count(0) > sample[::2].count(0) else "UTF-16BE"
    guess = from_bytes(sample, cp_exclusion=["utf_8"]).best()
    if guess and guess.encoding in ("cp1250", "iso8859_2") and guess.language not in _CENTRAL_EUROPEAN:
        guess = None  # also likely for Western texts
    return _ICONV.get(guess.encoding, "WINDOWS-1252") if guess else "WINDOWS-1252"


def refuse_utf16(line: str, name: str) -> None:
    """Refuse a file in UTF-16 without a byte order mark, whose Latin letters are UTF-8 with NUL between them."""
    if line.count("\0") > len(line) / 4:
        order = "LE" if line.find("\0") % 2 else "BE"
        raise UserError(f"{name} is UTF-16: convert it with iconv -f UTF-16{order} -t UTF-8")
