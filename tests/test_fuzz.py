"""Generated and damaged input for every reader, URI, name and manifest parser: a result or a UserError of one line,
which shows nothing of the content. `pytest -s` prints how many inputs were tried."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clinadapt.artifacts.hashing import sha256_json, to_json
from clinadapt.artifacts.manifest import DamagedFolder, parse_manifest, with_digest
from clinadapt.clinical.dates import dates
from clinadapt.config.phi import Phi
from clinadapt.config.uri_credentials import refuse_credentials
from clinadapt.data.date_values import read_date
from clinadapt.data.encodings import likely_encoding
from clinadapt.data.fhir import fhir_rows
from clinadapt.data.patients import normal_identifier
from clinadapt.data.readers import read_rows
from clinadapt.data.sources import redacted_uri, source_files
from clinadapt.errors import UserError, one_line
from clinadapt.llm_client.replies import without_thoughts
from clinadapt.models.base_model import describe
from clinadapt.privacy.second_opinion import described
from clinadapt.privacy.term_files import read_terms
from clinadapt.registry.adapters import locate_adapter
from clinadapt.registry.champion import read_pointer
from clinadapt.review.inputs import decode
from clinadapt.storage import open_store
from clinadapt.storage.uris import parse_uri
from pipelines.named_settings import load_cluster, load_profile

SECRET = "Velnadal-99431010"  # stands in every file; no error may show it
ROWS = [{"text": f"{SECRET} slept", "label": "a", "mrn": 7}, {"text": f"seen {SECRET}", "label": "b", "mrn": None}]
FHIR = {"resourceType": "Bundle", "entry": [{"resource": {
    "resourceType": "DocumentReference", "id": SECRET, "date": "2019-03-04",
    "content": [{"attachment": {"contentType": "text/plain", "data": "VmVsbmFkYWw="}}]}}]}  # fmt: skip
TRIED: Counter[str] = Counter()
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def counts() -> Iterator[None]:
    yield
    print("\n" + ", ".join(f"{name} {number}" for name, number in sorted(TRIED.items())))


def survives(name: str, work: Callable[[], Any], also: tuple[type[Exception], ...] = ()) -> None:
    """Run something on hostile input: it may refuse it in one line without showing it, and do nothing else."""
    TRIED[name] += 1
    try:
        work()
    except UserError as error:
        message = one_line(str(error))  # as it is printed
        assert SECRET not in message and "\n" not in message and len(message) < 1000, message
    except also as error:
        assert SECRET not in str(error)


@cache
def valid_files() -> dict[str, bytes]:
    """A readable file of each format, by name."""
    table = "text,label,mrn\n" + "".join(f"{row['text']},{row['label']},{row['mrn'] or ''}\n" for row in ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    parquet, book, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    workbook = openpyxl.Workbook()
    for values in (list(ROWS[0]), *(list(row.values()) for row in ROWS)):
        workbook.active.append(values)
    workbook.save(book)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("rows.csv", table)
    return {
        "rows.csv": table.encode(), "rows.tsv": table.replace(",", "\t").encode(), "rows.jsonl": lines.encode(),
        "rows.json": json.dumps(ROWS).encode(), "fhir.json": json.dumps(FHIR).encode(),
        "rows.csv.gz": gzip.compress(table.encode(), mtime=0), "rows.jsonl.xz": lzma.compress(lines.encode()),
        "rows.parquet": parquet.getvalue(), "rows.xlsx": book.getvalue(), "rows.csv.zip": archive.getvalue(),
    }  # fmt: skip


edits = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 40)), min_size=1, max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def damaged(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    """Bytes with a few pieces replaced by others."""
    for place, new, length in changes:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + length :]
    return data


@pytest.mark.parametrize("name", sorted(valid_files()))
@quick
@given(changes=edits)
def test_a_damaged_file_is_read_or_refused(name: str, changes: list[tuple[int, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(damaged(valid_files()[name], changes))
        survives(f"reader of {name}", lambda: list(read_rows(path, name)))


@quick
@given(data=st.binary(max_size=200), name=st.sampled_from(sorted(valid_files())))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        survives("bytes as a file", lambda: list(read_rows(path, name)))
        survives("file of terms", lambda: read_terms(path.as_uri()))
    survives("bytes of a note", lambda: decode(data, "the note"))
    survives("encoding", lambda: likely_encoding(data))


def replaced(value: Any, new: Any, at: Iterator[bool]) -> Any:
    """A value with parts of it replaced."""
    if next(at):
        return new
    if isinstance(value, dict):
        return {key: replaced(each, new, at) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, new, at) for each in value]
    return value


@quick
@given(new=json_values, where=st.lists(st.booleans(), min_size=40, max_size=40))
def test_any_fhir_resource_is_read_or_refused(new: Any, where: list[bool]) -> None:
    resource = replaced(FHIR, new, iter([False, *where]))
    survives("FHIR resource", lambda: list(fhir_rows(resource)))


texts = st.text(max_size=60) | st.from_regex(
    r"[a-z0-9]{0,5}(://)?[^/\s]{0,12}(/[^/]{0,12}){0,3}[?#@:%\[\]]{0,4}.{0,8}", fullmatch=True
)


@quick
@given(uri=texts)
@example("A://[]")
@example("A://[")
def test_any_uri_is_used_or_refused(uri: str) -> None:
    survives("URI", lambda: parse_uri(uri))
    survives("URI with credentials", lambda: refuse_credentials(uri))
    survives("URI that is shown", lambda: redacted_uri(uri))
    if parse_uri(uri).scheme not in ("http", "https", "s3", "hf", "file"):  # nothing is fetched or written here
        survives("URI of a source", lambda: source_files(uri))
        survives("URI of a store", lambda: open_store(uri) if "://" in uri else None)


@quick
@given(name=texts)
def test_any_name_is_found_or_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if "://" not in name:
            survives("name of an adapter", lambda: locate_adapter(name, Path(folder).as_uri()))
        assert not list(Path(folder).iterdir())
    survives("name of a profile", lambda: load_profile(name.removesuffix(".yaml").removesuffix(".yml")))
    survives("name of a cluster", lambda: load_cluster(name.removesuffix(".yaml").removesuffix(".yml")))
    survives("date", lambda: (read_date(name), dates(name)))
    survives("identifier", lambda: normal_identifier(name))
    survives("reply of a model", lambda: without_thoughts(name))


def manifest() -> dict[str, Any]:
    files = {"notes.parquet": {"size": 3, "sha256": "0" * 64}}
    return with_digest({"step": "download", "files": files, "digest": sha256_json(files), "chain": []})


@quick
@given(new=json_values, where=st.lists(st.booleans(), min_size=20, max_size=20), changes=edits)
def test_any_manifest_is_intact_or_refused(new: Any, where: list[bool], changes: list[tuple[int, bytes, int]]) -> None:
    whole = manifest()
    assert parse_manifest(to_json(whole).encode()) == whole
    for data in (json.dumps(replaced(whole, new, iter(where))).encode(), damaged(to_json(whole).encode(), changes)):
        survives("manifest", lambda data=data: parse_manifest(data), also=(DamagedFolder,))


POINTER = {"version": "0" * 16, "counter": 1, "history": [
    {"id": "a", "version": "0" * 16, "previous": None, "by": "x", "when": "2024-01-01T00:00:00Z", "rollback": False}
]}  # fmt: skip


@quick
@given(new=json_values, where=st.lists(st.booleans(), min_size=20, max_size=20), changes=edits)
def test_any_pointer_and_record_is_read_or_refused(
    new: Any, where: list[bool], changes: list[tuple[int, bytes, int]]
) -> None:
    for data in (
        json.dumps(replaced(POINTER, new, iter(where))).encode(),
        damaged(json.dumps(POINTER).encode(), changes),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "adapters/a/champion.json")
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            survives("champion pointer", lambda folder=folder: read_pointer(open_store(Path(folder).as_uri()), "a"))


TENSOR = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
HEADER = {"__metadata__": {"format": "pt"}, "classifier.weight": TENSOR}
CONFIG = {"model_type": "bert", "architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-NAME"}}
INDEX = {"weight_map": {"classifier.weight": "model.safetensors"}}


@quick
@given(new=json_values, where=st.lists(st.booleans(), min_size=30, max_size=30), changes=edits)
@example(new=True, where=[number == 13 for number in range(30)], changes=[])  # {"architectures": true}
def test_any_base_model_is_described_or_refused(
    new: Any, where: list[bool], changes: list[tuple[int, bytes, int]]
) -> None:
    at = iter(where)
    header = json.dumps(replaced(HEADER, new, at)).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(8)
    files = {"config.json": json.dumps(replaced(CONFIG, new, at)).encode(),
             "model.safetensors.index.json": json.dumps(replaced(INDEX, new, at)).encode()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        settings = Phi(second_opinion=Path(folder).as_uri())
        for model in (weights, damaged(weights, changes)):
            for name, data in {**files, "model.safetensors": model}.items():
                Path(folder, name).write_bytes(data)
            survives("base model", lambda settings=settings: describe(settings.second_opinion))
            survives("second opinion", lambda settings=settings: described(settings))


@quick
@given(changes=edits, recipe=st.sampled_from(("cpu-demo", "cpu-instruct")))
def test_any_profile_is_valid_or_refused(changes: list[tuple[int, bytes, int]], recipe: str) -> None:
    import pipelines

    source = Path(pipelines.__file__).with_name("profiles") / f"{recipe}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "own.yaml")
        path.write_bytes(damaged(source.read_bytes(), changes))
        survives("profile", lambda: load_profile(str(path)))


def test_of_a_hundred_thousand_malformed_rows_none_is_lost_and_none_shown(tmp_path: Path) -> None:
    """Every line of the file is a row that is used or one that is refused, by its number."""
    kinds = [
        f'{{"text": "{SECRET}"',
        f"[{SECRET}]",
        f'"{SECRET}"',
        "{}",
        f'{{"text": {{"a": "{SECRET}"}}}}',
        "nul",
        f'{{"text": "{SECRET}", "text": "twice"}}',
        '{"text": NaN}',
        "\u2028",
        f"\x00{SECRET}",
        "[" * 200,
    ]
    path, number = tmp_path / "rows.jsonl", 100_000
    path.write_text("".join(kinds[i * 7919 % len(kinds)] + "\n" for i in range(number)), encoding="utf-8")
    seen = list(read_rows(path, path.name))
    refused = Counter(row for row in seen if isinstance(row, str))
    TRIED["malformed rows"] += number
    blank = sum(not kinds[i * 7919 % len(kinds)].strip() for i in range(number))
    assert len(seen) == number - blank
    assert not any(SECRET in reason for reason in refused) and refused.total() > number // 2
