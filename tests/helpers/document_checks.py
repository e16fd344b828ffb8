"""What must hold of the governance documents of every version."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support import ROOT

from clinadapt.artifacts.hashing import read_json

DOCUMENTS = ("chai-applied-model-card", "hti-1-source-attributes", "eu-ai-act-annex-iv", "tripod-llm",
             "change-control-plan")  # fmt: skip
NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
# Elements of the CHAI applied model card v0.2 in their order, from its schema; those with `?` may be left out
_METRIC = "MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification"
CHAI = {
    "AppliedModelCard": "BasicInfo ReleaseInfo ModelSummary UsesAndDirections Warnings TrustIngredients KeyMetrics "
    "Resources Bibliography",
    "BasicInfo": "ModelName ModelDeveloper DeveloperContact",
    "ReleaseInfo": "ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability EHRCompatibility? RegulatoryApproval?",
    "ModelSummary": "Summary Keywords",
    "UsesAndDirections": "IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation "
    "CautionedOutOfScopeSettings",
    "Warnings": "KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel",
    "TrustIngredients": "AISystemFacts TransparencyInformation",
    "AISystemFacts": "OutcomesAndOutputs ModelType FoundationModels? InputDataSource OutputAndInputDataTypes "
    "DevelopmentDataCharacterization BiasMitigationApproaches OngoingMaintenance Security? Transparency?",
    "TransparencyInformation": "FundingSource ThirdPartyInformation? StakeholdersConsulted",
    "KeyMetrics": "UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability",
    "UsefulnessUsabilityEfficacy": _METRIC,
    "FairnessEquity": _METRIC,
    "SafetyReliability": _METRIC,
    "MetricResult": "Label ValueJson",
    "Resources": "EvaluationReferences? ClinicalTrial? PeerReviewedPublications ReimbursementStatus? "
    "PatientConsentOrDisclosure",
}
# The public schema, where it lies beside the repository or at the path in CHAI_XSD: it is not ours to commit
SCHEMA = Path(os.environ.get("CHAI_XSD", ROOT.parent / "shared/data/chai/v0.2/schema.xsd"))


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Document -> its JSON."""
    return {name: read_json(folder / f"{name}.json") for name in DOCUMENTS}


def check_complete(folder: Path) -> None:
    """Nothing that a run can know is unresolved, and at least four fifths of it are filled."""
    for name, document in documents(folder).items():
        assert [field["unresolved"] for field in document["fields"] if field["unresolved"]] == [], name
        share = document["share"]
        print(f"{name}: {share['filled']} of {share['knowable']} filled; left to people: {share['people']}")
        assert share["filled"] >= 0.8 * share["knowable"] > 0, name


def check_values(folder: Path, records: Path) -> int:
    """Every value is the one at its pointer, and every number of a text is a number there. Returns how many were."""
    count = 0
    for document in documents(folder).values():
        for field in document["fields"]:
            values = {pointer: at(records, pointer) for pointer in field["sources"]}
            assert values == field["sources"]
            known = {form for value in values.values() for form in _forms(value)}
            for text in field["texts"]:
                if not text.startswith(("To be filled in by", "Not recorded by this")):
                    numbers = _numbers(text)
                    assert numbers <= known, (field["id"], text, numbers - known)
                    count += len(numbers)
    return count


def at(records: Path, pointer: str) -> Any:
    """The value at a pointer into the records of a folder."""
    file, _, path = pointer.partition("#")
    value = read_json(records / file)
    for token in path.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _numbers(text: str) -> set[str]:
    """The numbers of a text that stand alone: not those within a name, a digest or a URI."""
    plain = text.replace("\N{MINUS SIGN}", "-").replace("\u202f", " ")
    found = re.findall(r"(?<![\w.:/?=#&+-])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/=-]|\.\d|,\d)", plain)
    return {number.lstrip("+").rstrip(",") for number in found}


def _forms(value: Any) -> Iterator[str]:
    """How the numbers in a value may be written."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _forms(key)
            yield from _forms(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _forms(inner)
    elif isinstance(value, str):
        yield from _numbers(value)
        for part in re.findall(r"\d+", value):  # of a time
            yield from (part, part.lstrip("0") or "0")
        yield from re.findall(r"\d\d:\d\d", value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        minutes, seconds = divmod(round(value), 60)
        yield from (f"{value:.6g}", f"{value:,.0f}", f"{value:z.3f}", f"{100 * value:z.1f}", f"{value / 2**30:.2f}")
        yield from (f"{value:.1f}", str(minutes), str(seconds), str(minutes // 60), str(minutes % 60))


def check_same_texts(folder: Path) -> None:
    """HTML and Markdown say what JSON says, with the pointers beside it."""
    for name, document in documents(folder).items():
        page = html.unescape(re.sub(r"<[^>]+>", " ", (folder / f"{name}.html").read_text(encoding="utf-8")))
        markdown = html.unescape((folder / f"{name}.md").read_text(encoding="utf-8").replace("\\", ""))
        for shown in (" ".join(page.split()), " ".join(markdown.split())):
            for field in document["fields"]:
                for text in (field["title"], *field["texts"], *field["sources"]):
                    assert " ".join(text.replace("\\", "").split()) in shown, (name, field["id"], text)


def check_chai(path: Path) -> None:
    """The XML has the elements of the schema, in their order, each once and with a text."""
    root = ElementTree.parse(path).getroot()
    for element in root.iter():
        name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
        assert element.tag == f"{{{NAMESPACE}}}{name}"
        children = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
        if name in CHAI:
            expected = [part for part in CHAI[name].split() if not part.endswith("?") or part[:-1] in children]
            assert children == [part.rstrip("?") for part in expected]
        elif name == "Results":
            assert set(children) == {"MetricResult"}
        elif name == "Keywords":
            assert set(children) == {"Keyword"}
        else:
            assert not children and (element.text or "").strip(), name
    values = [json.loads(each.text or "") for each in root.iter(f"{{{NAMESPACE}}}ValueJson")]
    assert values and all({"kind"} < value.keys() for value in values)


def validate_chai(path: Path) -> None:
    """Validate against the public schema. Skips where it is not there."""
    xmlschema = pytest.importorskip("xmlschema")
    if not SCHEMA.is_file():
        pytest.skip("the schema of the CHAI applied model card is not beside the repository: set CHAI_XSD")
    xmlschema.XMLSchema(str(SCHEMA), allow="local").validate(str(path))  # it brings the schema of signatures along
