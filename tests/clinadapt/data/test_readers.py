"""Reading rows: every format and compression, and every way in which a file can be broken."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from clinadapt.data import parquet_rows, readers, spreadsheets
from clinadapt.data.readers import column_names, read_rows
from clinadapt.errors import UserError

ROWS = [
    {"transcription": "Knee pain,\nsince 3 days.", "medical_specialty": "Orthopedic"},
    {"transcription": 'He said "fine". 37,5 °C', "medical_specialty": "Général"},
]
CSV = (
    'transcription,medical_specialty\n"Knee pain,\nsince 3 days.",Orthopedic\n"He said ""fine"". 37,5 °C",Général\n'
).encode()
SEMICOLONS = (
    'transcription;medical_specialty\n"Knee pain,\nsince 3 days.";Orthopedic\n"He said ""fine"". 37,5 °C";Général\n'
).encode()
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


MANY = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))


def zip_bytes(data: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet_bytes(rows: list[dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


SHEET = [tuple(ROWS[0]), *(tuple(row.values()) for row in ROWS)]


def workbook(*sheets: list[tuple[Any, ...]]) -> bytes:
    """An Excel workbook with the rows of each sheet."""
    book = Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def with_part(book: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """An Excel workbook in which one part is another."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part)) if part == name else old.read(part))
    return changed.getvalue()


def damaged(data: bytes) -> bytes:
    """The same with eight bytes in its middle overwritten."""
    middle = len(data) // 2
    return data[:middle] + b"\xff" * 8 + data[middle + 8 :]


def encrypted(data: bytes) -> bytes:
    """A .zip of one file marked as encrypted (bit 0 of the flags, in the local header and in the directory)."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def rows_of(tmp_path: Path, name: str, data: bytes) -> list[Any]:
    """Rows of a file with that content; as after a download, only `name` tells its format."""
    path = tmp_path / "source"
    path.write_bytes(data)
    return list(read_rows(path, name))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.csv", CSV),
        ("NOTES.CSV", CSV),
        ("notes.v2.csv", CSV),
        ("bom.csv", b"\xef\xbb\xbf" + CSV),
        ("windows.csv", CSV.replace(b"Orthopedic\n", b"Orthopedic\r\n")),
        ("no-end-of-line.csv", CSV.rstrip()),
        ("blank-lines.csv", CSV.replace(b"Orthopedic\n", b"Orthopedic\n\n\n")),
        ("semicolons.csv", SEMICOLONS),
        ("excel.csv", b"\xef\xbb\xbfsep=;\r\n" + SEMICOLONS),
        ("tabs.csv", SEMICOLONS.replace(b";", b"\t")),
        ("tabs.tsv.gz", gzip.compress(SEMICOLONS.replace(b";", b"\t"))),
        ("pipes.csv", SEMICOLONS.replace(b";", b"|")),
        ("notes.csv.gz", gzip.compress(CSV)),
        ("notes.csv.bz2", bz2.compress(CSV)),
        ("notes.csv.xz", lzma.compress(CSV)),
        ("notes.csv.zip", zip_bytes(CSV, "notes.csv")),
        ("archive.zip", zip_bytes(CSV, "folder/Notes.CSV", "readme.txt")),
        ("notes.jsonl", JSONL),
        ("notes.ndjson", JSONL.replace(b"\n", b"\n\n")),
        ("notes.jsonl.gz", gzip.compress(JSONL)),
        ("notes.json", json.dumps(ROWS, indent=1).encode()),
        ("notes.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("notes.parquet", parquet_bytes(ROWS)),
        ("notes.xlsx", workbook(SHEET)),
        ("NOTES.XLSX", workbook([], SHEET, [])),
    ],
)
def test_a_format_gives_the_same_rows(tmp_path: Path, name: str, data: bytes) -> None:
    assert rows_of(tmp_path, name, data) == ROWS


@pytest.mark.parametrize(
    ("encoding", "iconv", "text"),
    [
        ("cp1250", "WINDOWS-1250", "Pacjent zgłasza ból w klatce piersiowej od dwóch dni, bez gorączki i duszności."),
        (
            "iso8859_2",
            "ISO-8859-2",
            "Pacjent zgłasza ból w klatce piersiowej od dwóch dni, bez gorączki i duszności. "
            "Choroby przewlekłe: cukrzyca, nadciśnienie tętnicze.",
        ),
        ("cp1253", "WINDOWS-1253", "Ο ασθενής αναφέρει πόνο στο στήθος εδώ και δύο ημέρες, χωρίς πυρετό ή δύσπνοια."),
        ("cp1254", "WINDOWS-1254", "Hasta iki gündür göğüs ağrısı şikayetiyle başvurdu, ateş ve nefes darlığı yok."),
        ("cp1255", "WINDOWS-1255", "החולה מתלונן על כאבים בחזה מזה יומיים, ללא חום או קוצר נשימה."),
        ("cp1256", "WINDOWS-1256", "يشكو المريض من ألم في الصدر منذ يومين دون حمى أو ضيق في التنفس."),
        ("cp932", "CP932", "患者は二日前からの胸の痛みを訴えて来院した。呼吸困難はなく、発熱もない。"),
        ("big5", "BIG5", "患者胸痛兩天，伴有呼吸困難和發熱，既往有高血壓病史。"),
        ("cp1252", "WINDOWS-1252", "El paciente presenta dolor torácico desde hace dos días. Señala náuseas."),
    ],
)
def test_the_encoding_of_a_file_is_proposed(tmp_path: Path, encoding: str, iconv: str, text: str) -> None:
    with pytest.raises(UserError, match=f"iconv -f {iconv} -t UTF-8"):
        rows_of(tmp_path, "notes.csv", f'transcription,label\n"{text}",x\n'.encode(encoding))


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("text;label, main", "v;w", ["text", "label, main"]),
        ("BP (sys;dia),note,id", "v,w,x", ["BP (sys;dia)", "note", "id"]),
        ('"a;b;c",d', "v,w", ["a;b;c", "d"]),
        ('"a,b";d', "v;w", ["a,b", "d"]),
        ("x|y,z;w", "v,w", ["x|y", "z;w"]),
        ("alone", "v", ["alone"]),
    ],
)
def test_the_header_shows_what_separates_columns(tmp_path: Path, header: str, row: str, columns: list[str]) -> None:
    (read,) = rows_of(tmp_path, "notes.csv", f"{header}\n{row}\n".encode())
    assert list(read) == columns


def test_a_row_of_another_width_is_marked(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "notes.csv", b"a,b\n1,2\n1\n1,2,3\n3,4\n") == [
        {"a": "1", "b": "2"},
        "1 fields instead of 2",
        "3 fields instead of 2",
        {"a": "3", "b": "4"},
    ]


def test_rows_of_a_workbook(tmp_path: Path) -> None:
    """Formulas are not evaluated; texts that the spreadsheet cut and rows of another width are marked."""
    rows = [(), ("text", "seen", "number", None), ("=1+1", datetime(2024, 5, 3), 7, None), (None, None, None),
            ("x" * 32_767, None, 1), ("a_x000D_\nb", None, 1, "more")]  # fmt: skip
    assert rows_of(tmp_path, "notes.xlsx", workbook([*rows, ("a_x000D_\nb",)])) == [
        {"text": None, "seen": datetime(2024, 5, 3), "number": 7},
        "a cell of 32,767 characters, at which spreadsheets cut a text",
        "4 fields instead of 3",
        {"text": "a\r\nb", "seen": None, "number": None},
    ]


def test_a_large_workbook_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "MAX_UNPACKED", 1000)
    with pytest.raises(UserError, match="holds more than 0 MiB of data: save it as .csv"):
        rows_of(tmp_path, "notes.xlsx", workbook(SHEET))


def test_a_row_with_a_huge_number_is_refused_and_errors_of_cells_are_no_text(tmp_path: Path) -> None:
    """A program writes a row's number, and openpyxl counts up to it."""
    book = workbook([("text", "label"), ("#REF!", "b")])
    changed = with_part(
        book, "xl/worksheets/sheet1.xml", lambda old: old.replace(b'<row r="2"', b'<row r="999999999999"')
    )
    assert list(rows_of(tmp_path, "a.xlsx", book)) == [{"text": None, "label": "b"}]
    with pytest.raises(UserError, match="more rows or columns than a sheet of notes"):
        rows_of(tmp_path, "notes.xlsx", changed)


def test_tabs_separate_a_tsv_file_whatever_its_header_holds(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "notes.tsv", b"label\tthe, text\nx\ty, z\n") == [{"label": "x", "the, text": "y, z"}]


def test_a_line_that_is_no_json_object_is_marked(tmp_path: Path) -> None:
    data = b'{"a": 1}\n{"a": \n[1]\n"text"\n{"a": "\0"}\n{"a": 2}\n'
    assert rows_of(tmp_path, "notes.jsonl", data) == [{"a": 1}, *["not a JSON object"] * 4, {"a": 2}]


def test_a_field_of_megabytes_is_read(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "notes.csv", b"a,b\n" + b"x" * 5_000_000 + b",label\n")
    assert len(row["a"]) == 5_000_000


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "notes.csv", b"a,b\n") == []


def test_rows_come_one_by_one(tmp_path: Path) -> None:
    """The rows before a defect are read."""
    path = tmp_path / "notes.csv"
    path.write_bytes(b"a,b\n1,2\n" + b"3,4\n" * 100_000 + b'"open')
    assert next(read_rows(path, "notes.csv")) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("notes.csv", b"", "notes.csv is empty: use a file"),
        ("notes.csv", b"\n\n", "notes.csv is empty: use a file"),
        ("notes.json", b'{"a": 1}', "neither an array of objects nor a FHIR resource"),
        ("notes.json", JSONL, "is not valid JSON; a file with one object a line is called .jsonl"),
        ("notes.json", b'[{"a": 1, "a": 2}]', "an object has a field twice"),
        ("notes.json", b"[" * 100_000, "is not valid JSON"),
        ("notes.csv.gz", gzip.compress(b""), "notes.csv.gz is empty: use a file"),
        ("notes.csv", CSV.decode().encode("latin-1"), r"not UTF-8 \(byte 0xb0\): convert it, .*iconv"),
        ("notes.csv", CSV.decode().encode("utf-16"), r"not UTF-8 \(byte 0xff\): .* iconv -f UTF-16 -t UTF-8"),
        ("notes.csv", CSV.decode().encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8"),
        ("notes.csv", "a,b\n가슴 통증이 이틀째 있습니다,심장\n".encode("cp949"), "iconv -f CP949 -t UTF-8"),
        ("notes.csv", "a,b\nБоль в груди в течение двух дней,кардиология\n".encode("cp1251"), "iconv -f WINDOWS-1251"),
        (
            "notes.jsonl",
            '{"a": "plain"}\n'.encode("utf-16-le"),
            "is UTF-16: convert it with iconv -f UTF-16LE -t UTF-8",
        ),
        ("notes.jsonl", '{"a": "plain"}\n'.encode("utf-16-be"), "iconv -f UTF-16BE"),
        ("notes.json", '[{"a": "plain"}]'.encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("notes.csv", b"transcription,label,transcription\n1,2,3\n", "columns 1 and 3 are both called 'transcription'"),
        (
            "notes.csv",
            b"Knee pain. It is fine,x,Knee pain. It is fine\n1,2,3\n",
            "columns 1 and 3 are both called one name",
        ),
        ("notes.csv", b"x;y|z\n1;2|3\n", "could be separated by a semicolon or a pipe: write it with commas"),
        ("notes.jsonl", b'{"a": "\xff"}', r"not UTF-8 \(byte 0xff\)"),
        ("notes.csv", b"a,b\n1,2\n3,\x004\n", "line 3 contains a NUL byte: export"),
        ("notes.csv", b'a,b\n1,2\n"open,4\n5,6\n', "a quote opened after line 2 is never closed: fix"),
        ("notes.csv", b'a,b\n1,2\n"3"x,4\n', "line 3 is not valid CSV: fix its quotes"),
        ("notes.csv.gz", gzip.compress(CSV * 100)[:-20], "cannot be decompressed.*: fetch it again"),
        ("notes.csv.gz", CSV, "cannot be decompressed"),
        ("notes.csv.gz", damaged(gzip.compress(MANY)), "cannot be decompressed"),
        ("notes.csv.bz2", bz2.compress(CSV)[:-9], "cannot be decompressed"),
        ("notes.csv.xz", lzma.compress(CSV)[:-9], "cannot be decompressed"),
        ("notes.csv.bz2", damaged(bz2.compress(MANY)), "cannot be decompressed"),
        ("notes.csv.xz", CSV, "cannot be decompressed"),
        ("notes.csv.xz", damaged(lzma.compress(MANY)), "cannot be decompressed"),
        ("notes.zip", CSV, "cannot be decompressed"),
        ("notes.zip", damaged(zip_bytes(MANY, "a.csv")), "cannot be decompressed"),
        ("notes.zip", encrypted(zip_bytes(CSV, "a.csv")), "is encrypted: .*password"),
        ("notes.csv", b'"a,b\nKnee,fine\n', "a quote opened after line 1 is never closed"),
        ("notes.csv", b'a"b,"c"d\nKnee,fine\n', "line 1 is not valid CSV"),
        ("notes.zip", zip_bytes(CSV, "a.csv", "b.csv"), "contains 2 CSV files: use a .zip with exactly one"),
        ("notes.zip", zip_bytes(CSV, "a.txt"), "contains 0 CSV files"),
        ("notes.parquet", b"PAR1 and then nothing", "not a valid Parquet file: export it again"),
        ("notes.parquet", parquet_bytes(ROWS * 1000)[:-50], "not a valid Parquet file: export it again"),
        ("notes.parquet", parquet_bytes([{"a": str(i) * 50} for i in range(5000)]).replace(b"1", b"\xff"), "again"),
        ("notes.xls", CSV, "unknown format; use .csv, .tsv, .json, .jsonl .*, .parquet, .xlsx: save it as .xlsx"),
        ("letter.docx", CSV, "unknown format; .*: write the texts into one of these, a row a note"),
        ("notes.xlsx", CSV, "notes.xlsx cannot be decompressed"),
        ("notes.xlsx", b"\xd0\xcf\x11\xe0" + CSV, "has a password or is an old .xls workbook"),
        ("notes.xlsx", zip_bytes(CSV, "notes.csv"), "is not a valid .xlsx workbook"),
        ("notes.xlsx", damaged(workbook(SHEET)), "notes.xlsx (?:is not a valid|cannot be decompressed)"),
        (
            "notes.xlsx",
            zip_bytes(b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "xl/workbook.xml"),
            "not a workbook",
        ),
        ("notes.xlsx", workbook(SHEET, SHEET), "has 2 sheets with rows"),
        ("notes.xlsx", workbook([]), "has no sheet with rows"),
        ("notes.xlsx", workbook([("text", "label", "text")]), "columns 1 and 3 are both called 'text'"),
        ("notes.xlsx", workbook([("a",) * 10_001]), "columns 1 and 2"),
        ("notes.xlsx", zip_bytes(b"", "xl/vbaProject.bin"), "contains macros"),
        ("notes.xlsx", encrypted(zip_bytes(b"x" * 99, "a.xml")), "is not a valid .xlsx workbook"),
        ("notes", CSV, "unknown format"),
    ],
)
def test_a_broken_file(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        rows_of(tmp_path, name, data)
    assert "\n" not in str(raised.value)
    assert not any(word in str(raised.value) for word in ("Knee", "fine", "open,"))


class TestLimits:
    """A small file cannot fill memory or disk, and an error about it is short."""

    def test_a_bomb_is_stopped_early(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "MIN_EXPANDED", 2**18)
        for name, pack in (("a.jsonl.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.jsonl.xz", lzma.compress)):
            (tmp_path / name).write_bytes(pack(b'{"a": 1}\n' * 120_000))
            with pytest.raises(UserError, match=f"{name} expands to more than 200 times its size"):
                list(read_rows(tmp_path / name, name))
        (tmp_path / "a.zip").write_bytes(zip_bytes(b"a,b\n1,2\n" * 120_000, "a.csv"))
        with pytest.raises(UserError, match="expands"):
            list(read_rows(tmp_path / "a.zip", "a.zip"))

    def test_a_parquet_bomb_is_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "MIN_EXPANDED", 2**20)
        table = pa.table({"text": ["x" * 2**20 + str(i) for i in range(16)]})
        pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
        with pytest.raises(UserError, match=r"a.parquet expands to more than 200 times"):
            list(read_rows(tmp_path / "a.parquet", "a.parquet"))

    @pytest.mark.parametrize("encoding", ["dictionary", "category", "DELTA_BYTE_ARRAY"])
    def test_a_text_that_parquet_holds_once_counts_for_each_row(
        self, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readers, "MIN_EXPANDED", 2**24)
        monkeypatch.setattr(parquet_rows, "_AT_ONCE", 2**20)
        texts: Any = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int32()), pa.array(["x" * 2**18]))
        options: dict[str, Any] = {"dictionary_pagesize_limit": 2**30}
        if encoding == "DELTA_BYTE_ARRAY":
            texts = texts.dictionary_decode()
            options = {"use_dictionary": False, "column_encoding": {"text": encoding}}
        options["store_schema"] = encoding == "category"
        pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", **options)
        assert (tmp_path / "a.parquet").stat().st_size < 80_000
        before, peak = pa.total_allocated_bytes(), 0
        with pytest.raises(UserError, match=r"a.parquet expands to more than 200 times"):
            for _ in read_rows(tmp_path / "a.parquet", "a.parquet"):
                peak = max(peak, pa.total_allocated_bytes() - before)
        assert 0 < peak < 2**23

    def test_categories_of_pandas_count_as_often_as_rows_have_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readers, "MIN_EXPANDED", 2**20)
        monkeypatch.setattr(readers, "MAX_ROW", 2**14)
        texts = [f"{i:06d}" * 100 for i in range(1000)]
        pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), tmp_path / "a.parquet")
        assert pq.read_schema(tmp_path / "a.parquet").field("text").type.value_type == pa.string()
        assert list(read_rows(tmp_path / "a.parquet", "a.parquet")) == [{"text": text} for text in texts]

    def test_numbers_and_bytes_that_parquet_holds_once_are_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readers, "MIN_EXPANDED", 2**20)
        for column, reason in (
            (pa.array([[0] * 2**18], pa.list_(pa.int8())), "expands to more than 200 times"),
            (pa.array([b"x" * 2048] * 9, pa.binary(2048)), "has values of more than 1,024 bytes each"),
        ):
            pq.write_table(pa.table({"a": column}), tmp_path / "a.parquet")
            with pytest.raises(UserError, match=f"a.parquet.* {reason}"):
                list(read_rows(tmp_path / "a.parquet", "a.parquet"))

    def test_a_long_text_of_parquet_is_no_row(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "MAX_ROW", 1000)
        data = parquet_bytes([{"text": "a" * 1001}, {"text": "b" * 900}, {"text": "a" * 1001}])
        assert rows_of(tmp_path, "a.parquet", data) == [
            reason := "longer than 1,000 bytes",
            {"text": "b" * 900},
            reason,
        ]

    def test_parquet_columns_of_every_type_read_as_they_are(self, tmp_path: Path) -> None:
        texts = {"role": "user", "content": "note"}
        table = pa.table(
            {
                "text": ["a", None, "ü"],
                "bytes": pa.array([b"x", b"", None], pa.binary()),
                "large": pa.array(["a", "b", None], pa.large_string()),
                "coded": pa.array(["a", "b", "a"]).dictionary_encode(),
                "messages": pa.array([[texts, texts], [], None]),
                "struct": pa.array([texts, None, {"role": None, "content": "x"}]),
                "map": pa.array([[("k", "v")], None, []], pa.map_(pa.string(), pa.string())),
                "pairs": pa.array([["a", "b"], None, ["c", "d"]], pa.list_(pa.string(), 2)),
                "amount": pa.array([Decimal("1.5"), None, None], pa.decimal128(30, 2)),
                "when": [datetime(2031, 5, 1), None, None],
                "none": pa.nulls(3),
            }
        )
        by_prefix = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
        for options in ({}, {"store_schema": False}, {"row_group_size": 2}, {"data_page_version": "2.0"}, by_prefix):
            pq.write_table(table, tmp_path / "a.parquet", **options)
            assert list(read_rows(tmp_path / "a.parquet", "a.parquet")) == table.to_pylist()
        pq.write_table(table.slice(0, 0), tmp_path / "a.parquet")
        assert list(read_rows(tmp_path / "a.parquet", "a.parquet")) == []

    def test_many_values_in_json_and_many_formats_in_a_workbook(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readers, "MAX_JSON_VALUES", 1000)
        with pytest.raises(UserError, match=r"a.json has more than 1,000 values: write it as JSON lines"):
            rows_of(tmp_path, "a.json", b"[" + b"{}," * 999 + b"{}]")
        book = workbook(SHEET)
        assert len(rows_of(tmp_path, "a.xlsx", book)) == 2
        formats = with_part(
            book, "xl/styles.xml", lambda old: old.replace(b"</cellXfs>", b"<xf/>" * 2**19 + b"</cellXfs>")
        )
        with pytest.raises(UserError, match=r"a.xlsx is not a valid .xlsx workbook"):
            rows_of(tmp_path, "a.xlsx", formats)

    @pytest.mark.parametrize("form", ["at the beginning", "after a comment", "in UTF-16"])
    def test_texts_that_a_workbook_defines_itself(self, form: str, tmp_path: Path) -> None:
        def define(old: bytes) -> bytes:
            text = old.decode().partition("?>")[2] if old.startswith(b"<?xml") else old.decode()
            text = f'<!DOCTYPE worksheet [<!ENTITY a "abc">]>{text.replace("Knee", "&a;")}'
            if form == "after a comment":
                text = f"<!--{'x' * 5000}-->{text}"
            return text.encode("utf-16" if form == "in UTF-16" else "utf-8")

        with pytest.raises(UserError, match="not a workbook of a spreadsheet program"):
            rows_of(tmp_path, "a.xlsx", with_part(workbook(SHEET), "xl/worksheets/sheet1.xml", define))

    def test_a_line_without_end_takes_little_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """JSON lines count the row and go on; in a CSV file nothing after it can be trusted."""
        monkeypatch.setattr(readers, "MAX_ROW", 2**20)
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' + b"x" * 30_000_000 + b'\n{"a": 2}\n'))
        tracemalloc.start()
        rows = list(read_rows(tmp_path / "a.jsonl.gz", "a.jsonl.gz"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows == [{"a": 1}, "longer than 1,048,576 characters", {"a": 2}]
        assert peak < 12_000_000
        for data in (b"a,b\n" + b"x" * 2**21, b'a,b\n"' + b"xxxxxxx\n" * 2**18, b"a,b\n" + b"," * 2**21):
            (tmp_path / "a.csv").write_bytes(data)
            with pytest.raises(UserError, match=r"a.csv: the row at line \d+ has more than 1,048,576 characters"):
                list(read_rows(tmp_path / "a.csv", "a.csv"))

    @pytest.mark.parametrize(
        ("name", "data", "rows"),
        [
            ("a.csv", b",".join(b"c%d" % i for i in range(100_000)) + b"\n1\n", None),
            ("a.jsonl", json.dumps({f"c{i}": 1 for i in range(20_000)}).encode() + b"\n", ["more than 10,000 fields"]),
        ],
    )
    def test_too_many_columns_are_counted(self, name: str, data: bytes, rows: Any, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(data)
        if rows:
            assert list(read_rows(tmp_path / name, name)) == rows
        else:
            with pytest.raises(UserError, match="has 100,000 columns") as raised:
                list(read_rows(tmp_path / name, name))
            assert len(str(raised.value)) < 200

    def test_an_unusual_parquet_type_is_no_bug(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": pa.array([2**62], pa.timestamp("us"))}), tmp_path / "a.parquet")
        with pytest.raises(UserError, match="column of a type that is not read"):
            list(read_rows(tmp_path / "a.parquet", "a.parquet"))


def test_a_first_line_that_is_a_patient_is_not_shown() -> None:
    assert column_names(["note", "medical_specialty"]) == "the columns are note, medical_specialty"
    assert column_names(["note", "Emilia", "MRN123"]) == "the columns are note and 2 with other names"
    described = column_names(["Emilia", "1950-02-11", "MRN123"])
    assert "3 columns" in described and not any(part in described for part in ("Emilia", "1950", "MRN123"))
