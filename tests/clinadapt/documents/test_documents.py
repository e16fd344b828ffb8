"""Governance documents: every field from a record of the version or left to a named person, in a published version and
in a folder; what earlier releases, hostile labels and full disks do to them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import document_checks as checks
import pytest
from approvals import NAME, approve, await_approval, people, policy, publish, refuse
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import ROOT, Run
from typer.testing import CliRunner

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.documents.definition import NAMES, PLACEHOLDER, document
from clinadapt.documents.facts import RECORDS, Facts
from clinadapt.documents.filling import fill
from clinadapt.documents.forms import FORMS
from clinadapt.documents.rendering import to_html, to_markdown, to_xml
from clinadapt.documents.writing import export_documents, write_version_documents
from clinadapt.errors import UserError
from clinadapt.feedback.marks import Judgement, add_mark
from clinadapt.feedback.settled import read_reviews
from clinadapt.registry.adapters import download_adapter
from clinadapt.registry.promotion import promote_manually
from clinadapt.registry.versions import verify
from clinadapt.storage import open_store
from pipelines.cli.main import app

HOSTILE = '<script>alert("1")</script> & ]]> --> | `x` *b* \x0b\ud800\n# end'
NEW = ("data.json", "verdict.json", "conformance.json")  # records that earlier releases did not write


@pytest.fixture(scope="module")
def exported(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes."""
    folder = tmp_path_factory.mktemp("documents") / "out"
    version = f"specialty/{demo_run.result['run_key']}"
    done = CliRunner().invoke(
        app, ["registry", "documents", version, "--to", str(folder), "--store", str(demo_run.store)]
    )
    assert done.exit_code == 0, done.output
    for name in checks.DOCUMENTS:
        assert re.search(
            rf"^{name}: \d+ of \d+ fields that a run can know \(\d+ %\); left to people: ", done.output, re.M
        )
    return folder


@pytest.fixture
def copy(demo_run: Run, tmp_path: Path) -> Path:
    """A store with a copy of the version, its champion among it."""
    shutil.copytree(demo_run.version, tmp_path / "store/adapters/specialty" / demo_run.version.name)
    store = open_store((tmp_path / "store").as_uri())
    promote_manually(store, "specialty", demo_run.version.name)
    return tmp_path / "store"


def reseal(store: Path, change: Callable[[Path], None]) -> None:
    """Change the files of the only version of a store and write its manifest anew."""
    (folder,) = (path for path in (store / "adapters/specialty").iterdir() if path.is_dir())
    fields = {k: v for k, v in read_json(folder / MANIFEST).items() if k not in ("files", "digest", "chain")}
    change(folder)
    write_manifest(folder, fields)


@pytest.mark.parametrize("kind", ["published", "exported"])
def test_every_document_of_a_real_version(demo_run: Run, exported: Path, kind: str) -> None:
    folder, records = (
        (demo_run.version / "documents", demo_run.version) if kind == "published" else (exported, exported / "records")
    )
    checks.check_complete(folder)
    assert checks.check_values(folder, records) > 200
    checks.check_same_texts(folder)
    checks.check_chai(folder / "chai-applied-model-card.xml")


def test_the_card_is_valid_against_its_public_schema(exported: Path) -> None:
    checks.validate_chai(exported / "chai-applied-model-card.xml")


def test_documents_are_files_of_the_version_like_any_other(demo_run: Run) -> None:
    store = open_store(demo_run.store.as_uri())
    assert verify(store, "specialty", demo_run.version.name) == []
    manifest = read_json(demo_run.version / MANIFEST)
    endings = {path.removeprefix("documents/") for path in manifest["files"] if path.startswith("documents/")}
    assert endings == {f"{name}.{end}" for name in checks.DOCUMENTS for end in ("html", "md", "json")} | {
        "chai-applied-model-card.xml"
    }
    assert manifest["documents"] == {
        name: each["share"] for name, each in checks.documents(demo_run.version / "documents").items()
    }
    folder, _ = download_adapter("specialty", store.uri)
    assert (folder / "documents/tripod-llm.html").is_file()
    shutil.rmtree(folder)


def test_a_repeated_publication_writes_the_same_bytes(demo_run: Run, tmp_path: Path) -> None:
    """Under another name and at another time, as after a kill: the files of a version must not differ then."""
    written = []
    for number in ("1", "2"):
        folder = tmp_path / number
        shutil.copytree(demo_run.version, folder, ignore=shutil.ignore_patterns("documents"))
        fields = read_json(folder / MANIFEST) | {"published_by": number, "created": number, "started": number}
        write_version_documents(folder, fields)
        written.append({path.name: path.read_bytes() for path in (folder / "documents").iterdir()})
    assert written[0] == written[1]


def test_a_margin_that_is_switched_off_is_no_rule() -> None:
    assert FORMS["margin"](0.1) == "10.0\u202f%" and "does not require it" in FORMS["margin"](1)


def test_an_object_without_entries_is_shown_as_none() -> None:
    """As is a setting that the champion did not have."""
    assert (FORMS["text"]({}), FORMS["text"]({"a": {}}), FORMS["settings"]({})) == ("none", "a: none", ["none"])
    changed = {"field": "gate approval", "rule": "not looser", "before": {}, "now": {"signers": 2}, "within": True}
    assert FORMS["conformance"]([changed]) == ["within the plan: gate approval (not looser), none -> signers: 2"]


def test_numbers_stand_behind_pointers_only() -> None:
    for definition in map(document, NAMES):
        for field in definition.fields:
            for line in field.lines:
                assert not re.search(r"\d", PLACEHOLDER.sub("", line.text)), line.text
                pointers = PLACEHOLDER.findall(line.text)
                assert pointers and all(form in ("", *FORMS) for _, _, form in pointers), line.text
                assert "{" not in PLACEHOLDER.sub("", line.text), line.text


def test_the_schemes_are_whole() -> None:
    ids = {name: [field.id for field in document(name).fields] for name in NAMES}
    attributes = [4, 4, 2, 4, 2, 4, 5, 4, 2]
    romans = ["i", "ii", "iii", "iv", "v"]
    assert ids["hti1"] == [f"(B)({i})({r})" for i, number in enumerate(attributes, 1) for r in romans[:number]]
    assert len(ids["hti1"]) == 31
    parts = {"3": "ab", "5": "abcde", "6": "abcde", "7": "abcde", "8": "abc", "9": "ab", "14": "abcdef", "16": "abcd",
             "19": "abcdefg"}  # fmt: skip
    assert ids["tripod_llm"] == [f"{i}{part}" for i in range(1, 20) for part in parts.get(str(i), [""])]
    points = [f"1({x})" for x in "abcdefgh"] + [f"2({x})" for x in "abcdefgh"]
    assert ids["annex_iv"][:16] == points and set("456789") <= set(ids["annex_iv"])
    assert all(len(set(each)) == len(each) for each in ids.values())


def test_a_version_of_an_earlier_release_shows_its_gaps(copy: Path, tmp_path: Path) -> None:
    def forget(folder: Path) -> None:
        for name in NEW:
            (folder / name).unlink()
        shutil.rmtree(folder / "documents")

    reseal(copy, forget)
    result = export_documents("specialty", copy.as_uri(), tmp_path / "out")
    gaps = [
        field for each in checks.documents(tmp_path / "out").values() for field in each["fields"] if field["unresolved"]
    ]
    assert {pointer.partition("#")[0] for field in gaps for pointer in field["unresolved"]} >= {
        "data.json",
        "verdict.json",
    }
    assert all(field["state"] == "missing" for field in gaps)
    assert all(any(text.startswith("Not recorded by this version") for text in field["texts"]) for field in gaps)
    assert result["documents"]["hti-1-source-attributes"]["filled"] > 0
    checks.check_values(tmp_path / "out", tmp_path / "out/records")
    checks.check_chai(tmp_path / "out/chai-applied-model-card.xml")


@pytest.mark.parametrize("value", [None, [], "text", 7, {"models": None}, {"models": {"candidate": {"metrics": [1]}}}])
def test_a_record_in_another_layout_is_a_gap(demo_run: Run, value: Any) -> None:
    records = {file: read_json(demo_run.version / file) for file in (MANIFEST, *RECORDS)}
    for file in RECORDS:
        filled = [fill(document(name), Facts(records | {file: value}), "specialty", "1") for name in NAMES]
        assert any(field.unresolved for each in filled for field in each.fields)
    assert all(to_html(each, "") and to_markdown(each, "") for each in filled)


def test_labels_cannot_break_out(demo_run: Run, tmp_path: Path) -> None:
    records = {file: read_json(demo_run.version / file) for file in (MANIFEST, *RECORDS)}
    for file, field in (("clinadapt.json", "labels"), ("evaluation.json", "labels"), ("data.json", "labels")):
        records[file][field] = [HOSTILE, "{manifest.json#/name}"]
    records["evaluation.json"]["models"]["candidate"]["per_class"][0]["label"] = HOSTILE
    records[MANIFEST]["chain"][0]["inputs"] = {HOSTILE: HOSTILE}
    for name in NAMES:
        filled = fill(document(name), Facts(records), "specialty", "1")
        page, markdown = to_html(filled, ""), to_markdown(filled, "")
        assert "<script" not in page and "<script" not in markdown and "&lt;script&gt;" in page
        assert "\n# end" not in markdown and not {"\x0b", "\ud800"} & {*page, *markdown}
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in markdown.splitlines() if row.startswith("| **"))
        assert name == "change_plan" or "{manifest.json" in page  # a label is not filled in
    card = fill(document("chai"), Facts(records), "specialty", "1")
    (tmp_path / "card.xml").write_text(to_xml(card), encoding="utf-8")
    checks.check_chai(tmp_path / "card.xml")


@pytest.mark.parametrize(
    "name", ["..", "../../etc", "specialty/..", "specialty/../specialty", "specialty/0000", "none", "."]
)
def test_a_version_that_is_not_there(copy: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="adapter"):
        export_documents(name, copy.as_uri(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unsigned_version_is_refused_where_a_key_is_set(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    public = Ed25519PrivateKey.generate().public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", str(key))
    version = next(path.name for path in (copy / "adapters/specialty").iterdir() if path.is_dir())
    for name in ("specialty", f"specialty/{version}"):
        with pytest.raises(UserError, match="signed"):
            export_documents(name, copy.as_uri(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_that_was_changed_is_refused(copy: Path, tmp_path: Path) -> None:
    (folder,) = (path for path in (copy / "adapters/specialty").iterdir() if path.is_dir())
    write_json(folder / "data.json", {"notes": 1_000_000})
    with pytest.raises(UserError, match=r"data.json is not what was published"):
        export_documents("specialty", copy.as_uri(), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_a_folder_that_is_taken(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("taken", "file", "file/below"):
        with pytest.raises(UserError):
            export_documents("specialty", copy.as_uri(), tmp_path / name)
    export_documents("specialty", copy.as_uri(), tmp_path / "empty")
    assert (tmp_path / "taken/mine.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "store", "taken"]


def test_a_full_disk_leaves_nothing(copy: Path, tmp_path: Path, mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=128k")
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        export_documents("specialty", copy.as_uri(), disk / "out")
    assert list(disk.iterdir()) == []


def test_the_plan_shows_who_approved(demo_run: Run) -> None:
    """As the champion's history names them."""
    records = {file: read_json(demo_run.version / file) for file in (MANIFEST, *RECORDS)}
    records[MANIFEST]["gate"]["approval"] = {"signers": 1, "of": ["anna"], "days": 14}
    given = {"by": "anna", "when": "2026-01-31T09:30:00Z", "reason": "checked on our ward", "decision": "approval"}
    records["registry.json"] = {"champion": None, "history": [], "runs": [], "approvals": [given]}
    filled = fill(document("change_plan"), Facts(records), "specialty", "1")
    (field,) = (field for field in filled.fields if field.field.id == "approvals")
    items = [item for line in field.lines for item in line.items]
    assert items == ["signers: 1", "of: anna", "days: 14", "31 January 2026, 09:30 UTC: anna; checked on our ward"]


def test_a_version_that_waits_or_was_refused_says_so(tmp_path: Path) -> None:
    """And who may approve is no goal of a metric."""
    store, (anna, ben) = open_store((tmp_path / "store").as_uri()), people("anna", "ben")
    version = publish(store, tmp_path, 1, policy([anna.entry, ben.entry]))
    await_approval(store, version)
    approve(store, version, anna)
    export_documents(f"{NAME}/{version}", store.uri, tmp_path / "waits")
    refuse(store, version, ben)
    export_documents(f"{NAME}/{version}", store.uri, tmp_path / "refused")
    for folder, sentence in (
        ("waits", "awaiting approval: 1 of 2, until 20"),
        ("refused", "refused by ben: worse for"),
    ):
        plan, card = (
            {field["id"]: field["texts"] for field in read_json(tmp_path / folder / f"{name}.json")["fields"]}
            for name in ("change-control-plan", "chai-applied-model-card")
        )
        assert any(text.startswith(f"Where the version stands: {sentence}") for text in plan["approvals"])
        assert any(f"People who have to approve it: {sentence}" in text for text in card["ReleaseInfo/ReleaseStage"])
        goals = [text for name, texts in card.items() if name.endswith("MetricGoal") for text in texts]
        assert "champion_margin: 0.02" in goals and "anna" not in "".join([*goals, *plan["performance"]])


def test_groups_and_counterfactual_notes(demo_run: Run) -> None:
    records = {file: read_json(demo_run.version / file) for file in (MANIFEST, *RECORDS)}
    metric = {"value": 0.75, "low": 0.5, "high": 1.0, "clusters": 9}
    records["evaluation.json"] |= {
        "subgroups": [{"by": "sex", "group": "female", "rows": 12, "clusters": 9, "metrics": {"accuracy": metric}}],
        "counterfactuals": {"sex": {"notes": 8, "unchanged": metric}, "age": {"notes": 0}},
    }
    filled = fill(document("hti1"), Facts(records), "specialty", "1")
    (field,) = (field for field in filled.fields if field.field.id == "(B)(7)(ii)")
    items = [item for line in field.lines for item in line.items]
    assert items[:3] == [
        "sex, female: rows 12, accuracy 0.750 (0.500 to 1.000)",
        "sex: notes 8, unchanged 0.750 (0.500 to 1.000)",
        "age: notes 0",
    ]


def test_the_registry_is_as_of_now(copy: Path, tmp_path: Path) -> None:
    """The copy in the version is as of its publication; the folder shows what became of it."""
    export_documents("specialty", copy.as_uri(), tmp_path / "out")
    (version,) = (path.name for path in (copy / "adapters/specialty").iterdir() if path.is_dir())
    registry = read_json(tmp_path / "out/records/registry.json")
    assert registry["champion"] == version and [entry["version"] for entry in registry["history"]] == [version]
    assert registry["runs"] == [{"version": version, "compared_with": None, "within": None, "outside": []}]
    assert registry["approvals"] == [] and registry["reviews"] is None
    plan = json.loads((tmp_path / "out/change-control-plan.json").read_text())
    runs = next(field for field in plan["fields"] if field["id"] == "runs")
    assert runs["texts"] == [f"{version}, compared with none: first version, to be reviewed as a whole"]


def test_what_people_say_of_its_answers(demo_run: Run, copy: Path, tmp_path: Path) -> None:
    """In numbers alone, without who marked an answer."""
    version = demo_run.version.name
    shutil.copytree(demo_run.store / "reviews", copy / "reviews")
    store = open_store(copy.as_uri())
    first, second, *_ = read_reviews(store, "specialty", version).cases
    for reviewer in ("anna", "berta"):
        add_mark(store, first.case, reviewer, Judgement(verdict="wrong"), [])
    add_mark(store, second.case, "anna", Judgement(verdict="right"), [])
    export_documents("specialty", copy.as_uri(), tmp_path / "out")
    registry = read_json(tmp_path / "out/records/registry.json")
    numbers = {name: registry["reviews"][name] for name in ("marked", "settled", "disagreements", "reviewers")}
    assert numbers == {"marked": 2, "settled": 1, "disagreements": 0, "reviewers": 2}
    assert registry["reviews"]["kappa"]["pairs"] == 1
    checks.check_values(tmp_path / "out", tmp_path / "out/records")
    checklist = checks.documents(tmp_path / "out")["tripod-llm"]
    (item,) = (field for field in checklist["fields"] if field["id"] == "7d")
    assert item["state"] == "filled" and "People have marked 2 of " in item["texts"][0]
    written = " ".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not re.search(r"\banna\b|\bberta\b", written)


def test_no_page_breaks_a_line_between_a_number_and_its_unit() -> None:
    templates = [path for folder in ("clinadapt", "components") for path in (ROOT / folder).rglob("*.j2")]
    assert templates
    for path in templates:
        apart = re.findall(r"[\d}] (?:%|GiB)(?!})", path.read_text(encoding="utf-8"))
        assert not apart, f"{path.name}: write U+202F between number and unit"
