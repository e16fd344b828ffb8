"""Read rows from the sheet of an Excel workbook (.xlsx). Formulas are not evaluated, and macros are refused."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from openpyxl.chartsheet import Chartsheet
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils.escape import unescape
from openpyxl.utils.exceptions import InvalidFileException

from clinadapt.errors import UserError

MAX_UNPACKED = 2**28  # bytes of all parts of a workbook; its texts are held in memory at once
MAX_PART = 2**21  # bytes of a part that is no sheet and no texts, of which openpyxl makes a tree
MAX_ROWS, MAX_CELLS = 2**20, 2**27  # of a sheet, empty ones that a number skips included
_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"


def read_sheet(path: Path, name: str) -> Iterator[tuple[Any, ...]]:
    """The rows of the only sheet that has any, the header first; values as they were last saved.

    Args:
        path: the workbook.
        name: its original file name, for error messages.

    Raises:
        UserError: the workbook is damaged, encrypted, too large, or has macros or several sheets with rows.
    """
    with path.open("rb") as file:
        try:
            _refuse_unreadable(file, name)
            with warnings.catch_warnings(action="ignore"):  # styles and validations, which are not used
                sheets = [sheet for sheet in _worksheets(file) if _has_rows(sheet)]
            if len(sheets) != 1:
                found = "no sheet with rows" if not sheets else f"{len(sheets)} sheets with rows"
                raise UserError(f"{name} has {found}: use a workbook with one, its first row a header")
            yield from _rows(sheets[0], name)
        except zipfile.BadZipFile:
            raise
        except (InvalidFileException, ArithmeticError, AttributeError, LookupError, RuntimeError, SyntaxError,
                TypeError, ValueError) as error:  # fmt: skip
            if isinstance(error, UserError):
                raise
            raise UserError(f"{name} is not a valid .xlsx workbook: save it again, or as .csv") from error


class _Parts(zipfile.ZipFile):
    """The parts of a workbook: sheets and texts are opened and read piece by piece, the others at once."""

    def read(self, name: Any, pwd: bytes | None = None) -> bytes:
        if self.getinfo(name).file_size > MAX_PART:
            raise ValueError("a part of formats, names or properties is too large")
        return super().read(name, pwd)


class _Reader(ExcelReader):
    def read_chartsheet(self, sheet: Any, rel: Any) -> None:
        """Only its place is taken: it has no rows."""
        chart = Chartsheet()
        chart._parent, chart.title = self.wb, sheet.name
        self.wb._add_sheet(chart)


def _worksheets(file: Any) -> list[Any]:
    reader = _Reader(file, read_only=True, data_only=True, keep_links=False)
    reader.archive = _Parts(file)
    reader.read()
    return list(reader.wb.worksheets)


def _rows(sheet: Any, name: str) -> Iterator[tuple[Any, ...]]:
    cells = 0
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells += len(row)
        if number > MAX_ROWS or cells > MAX_CELLS:
            raise UserError(f"{name} has more rows or columns than a sheet of notes: save it as .csv")
        yield tuple(map(_value, row))


def _value(cell: Any) -> Any:
    """Value of a cell; None where it holds an error of the spreadsheet, such as #REF!."""
    if cell.data_type == "e":
        return None
    return unescape(cell.value) if isinstance(cell.value, str) else cell.value


def _has_rows(sheet: Any) -> bool:
    sheet.reset_dimensions()  # some programs write wrong ones
    return any(any(value is not None for value in row) for row in sheet.iter_rows(max_row=100, values_only=True))


def _declares_a_type(content: IO[bytes]) -> bool:
    """Whether an XML document has a DOCTYPE, which may define texts that expand; it stands before the first element."""
    met: list[bool] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *_: met.append(True)
    parser.StartElementHandler = lambda *_: met.append(False)
    with suppress(expat.ExpatError):  # it will not be read either
        while not met and (block := content.read(4096)):
            parser.Parse(block)
    return bool(met and met[0])


def _refuse_unreadable(file: Any, name: str) -> None:
    if file.read(4) == _OLD_OR_ENCRYPTED:
        raise UserError(f"{name} has a password or is an old .xls workbook: save it as .xlsx without a password")
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if sum(part.file_size for part in parts) > MAX_UNPACKED:
            raise UserError(f"{name} holds more than {MAX_UNPACKED >> 20} MiB of data: save it as .csv")
        if any("vbaProject" in part.filename for part in parts):
            raise UserError(f"{name} contains macros: save it as .xlsx without them")
        for part in parts:
            if part.filename.endswith((".xml", ".rels")):
                with archive.open(part) as content:
                    if _declares_a_type(content):
                        raise UserError(f"{name} is not a workbook of a spreadsheet program: save it as .csv")
    file.seek(0)
