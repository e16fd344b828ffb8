"""Strings that identify patients and sentences of their notes, planted in the input of a whole run, and where any of
them was written."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from clinadapt.data.builtin_cases import generate

# Name, record number, phone, e-mail address and street of patients
_PATIENTS = [
    ("Jaskmo Velnadal", "E99431010", "708-955-3609", "jvelnadal@example.org", "14 Quarrendon Street"),
    ("Ottilka Brzenowa", "H77204169", "312-555-0182", "obrzenowa@example.net", "88 Pellbrook Avenue"),
    ("Thandilo Mokwebe", "K30917742", "415-555-0117", "tmokwebe@example.com", "7 Harvistock Road"),
    ("Marunka Sjövrek", "P55120983", "612-555-0149", "msjovrek@example.edu", "231 Tannerby Lane"),
    ("Eskild Quorvane", "T81147206", "503-555-0164", "equorvane@example.org", "19 Wexholm Drive"),
    ("Ligaya Dumontreux", "W26638451", "214-555-0173", "ldumontreux@example.com", "505 Fennimore Court"),
]
IDENTIFIERS = [part for name, *others in _PATIENTS for part in (name.split()[1], *others)]
_SENTENCES = {  # of a note -> of an instruction or an answer about it; neither identifies anybody
    "Keeps a wooden flamingo beside the kettle": "repaints the wooden flamingo every spring",
    "Plays the cello for two lame donkeys": "tunes the cello before feeding the donkeys",
    "Sleeps under eleven quilts with a lantern lit": "washes eleven quilts in the mill pond",
    "Swims in the old quarry before sunrise": "dives in the quarry for blue bottles",
    "Counts the steps to the lighthouse aloud": "paints the steps of the lighthouse yellow",
    "Collects broken umbrellas from the ferry": "mends umbrellas on the evening ferry",
}
SENTENCES = [sentence for pair in _SENTENCES.items() for sentence in pair]
_NOTES_EACH = 2  # of a patient

# Of a run's folder: what it reads, and what download wrote before identifiers were screened
RAW = ("input/**/*", "home/outputs/*/download-*/dataset/*.parquet", "store/sources/**/*")
# What holds texts of notes without identifiers, by design: datasets and splits of the steps, cases for reviewers and
# what is cached of them (README, the table of files)
RESTRICTED = (
    "home/outputs/*/screen-*/screened/*.parquet", "home/outputs/*/synthesize/triples/*.parquet",
    "home/outputs/*/format-*/splits/*.parquet", "home/outputs/*/evaluate-*/evaluation/*.parquet", "store/tokens/**/*",
    "store/evaluations/**/*", "store/reviews/**/*", "store/restricted/**/*",
)  # fmt: skip


def write_input(folder: Path, cases: int = 0) -> dict[str, Path]:
    """Folders of files whose names, columns and texts hold the planted strings.

    Args:
        folder: gets `notes`, notes with labels, and `triples`, instructions with answers about other notes.
        cases: built-in notes that stand among the notes in a file of their own.
    """
    notes, triples = folder / "input/notes", folder / "input/triples"
    bodies = generate(2 * _NOTES_EACH * len(_PATIENTS), 11)
    for (name, record, phone, email, street), (sentence, answer) in zip(_PATIENTS, _SENTENCES.items(), strict=True):
        family = name.split()[1]
        rows: dict[Path, list[dict[str, Any]]] = {notes: [], triples: []}
        for _ in range(_NOTES_EACH):
            for kind, listed in rows.items():
                body = next(bodies)
                text = (
                    f"Patient: {name}\nMRN: {record}\nCONTACT: phone {phone}, email {email}, lives at {street}.\n"
                    f"{body['transcription']}\nSOCIAL: {sentence}. Mr. {family} (MRN: {record}) was told to call "
                    f"{phone} or to write to {email}."
                )
                other = {"patient": record, f"seen by the son of {name}": "yes"}
                if kind == notes:
                    listed.append({"transcription": text, "medical_specialty": body["medical_specialty"], **other})
                else:
                    said = f"Mr. {family} of {street}, who {answer}, was called at {phone}."
                    question = f"What of {name} ({record}, {email})?"
                    row = {"note": text, "question": question, "answer": said, "task": "Question Answering"}
                    listed.append(row | other)
        for kind, listed in rows.items():
            _write(kind / f"{family}, {name.split()[0]} {record}.jsonl", listed)
    if cases:
        _write(notes / "others.jsonl", list(generate(cases, 7)))
    return {"notes": notes, "triples": triples}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def leaks(folder: Path, tokenizer: Path | None = None) -> list[tuple[str, str]]:
    """(file, string) for each planted string where it must not be; prints the places that were searched.

    Args:
        folder: of a run: `input`, and whatever it wrote.
        tokenizer: tokenizer.json of the tokens in tables.
    """
    encoder = Tokenizer.from_file(str(tokenizer)) if tokenizer else None
    raw, restricted = (_matching(folder, patterns) for patterns in (RAW, RESTRICTED))
    result, searched = [], dict[str, int]()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        strings = [] if path in raw else IDENTIFIERS if path in restricted else [*IDENTIFIERS, *SENTENCES]
        name = path.relative_to(folder).as_posix()
        place = "/".join(name.split("/")[: 1 if name.startswith("temporary") else 2]) + (
            " (identifiers only)" if path in restricted else ""
        )
        searched[place] = searched.get(place, 0) + bool(strings)
        result += [(name, string) for string in _standing(strings, path, name, encoder)]
    print("\n".join(f"searched: {place}, {count} files" for place, count in searched.items() if count))
    return result


def is_everywhere(strings: Sequence[str], files: Sequence[Path]) -> bool:
    """Whether each string stands in one of the files at least: whether what was planted was read at all."""
    found = {string for path in files for string in _standing(strings, path, path.name, None)}
    return found == set(strings)


def matching(folder: Path, *patterns: str) -> list[Path]:
    """Files below a folder by pattern."""
    return sorted(_matching(folder, patterns))


def _matching(folder: Path, patterns: Sequence[str]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def _standing(strings: Sequence[str], path: Path, name: str, encoder: Tokenizer | None) -> Iterator[str]:
    """The strings that stand in a file or in its name: as they are, escaped, compressed, in a table or in tokens, and
    the plain hash of one, which can be guessed."""
    contents = [name.lower(), *(text.lower() for text in _contents(path.read_bytes(), encoder))] if strings else []
    for string in strings:
        lower = string.lower()
        forms = {lower, json.dumps(lower)[1:-1], quote(lower).lower(), hashlib.sha256(string.encode()).hexdigest()}
        if any(form in content for form in forms for content in contents):
            yield string


def _contents(data: bytes, encoder: Tokenizer | None) -> Iterator[str]:
    """The texts of a file, by what it is, not by its name."""
    yield data.decode("utf-8", "ignore")
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"\xfd7zXZ", lzma.decompress), (b"BZh", bz2.decompress)):
        if data.startswith(magic):
            yield from _contents(unpack(data), encoder)
    if data.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(data)):  # .npz, .xlsx
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member
                yield from _contents(archive.read(member), encoder)
    if data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        yield json.dumps(table.to_pylist(), default=str, ensure_ascii=False)
        for column in ("input_ids", "chosen_ids", "rejected_ids"):
            if encoder and column in table.column_names:
                yield "\n".join(encoder.decode(ids or []) for ids in table[column].to_pylist())
