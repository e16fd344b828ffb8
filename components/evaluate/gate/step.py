"""The gate step: apply the recipe's gate to an evaluation, write verdict, report and record of conformance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from clinadapt.artifacts.code_version import adapter_version
from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, joined_chain, write_manifest
from clinadapt.artifacts.step_record import RUN, utc_now
from clinadapt.config.base import ChangeControl
from clinadapt.config.classify import ClassifyGate
from clinadapt.config.gate import Approval
from clinadapt.config.instruct import InstructGate
from clinadapt.documents.facts import Facts
from clinadapt.documents.writing import CONFORMANCE, compared_with_champion
from clinadapt.models.adapter_card import CARD, AdapterCard, adapter_recipe
from clinadapt.privacy.written_texts import TooLongToScreen, is_screened, screened_texts
from clinadapt.registry.champion import history
from clinadapt.registry.pretrained_bases import base_manifest
from clinadapt.registry.versions import headline, read_version
from clinadapt.storage import open_store
from components.evaluate.gate import classify as classify_gate
from components.evaluate.gate import instruct as instruct_gate
from components.evaluate.gate.champion_checks import Standing
from components.evaluate.report import classify as classify_report
from components.evaluate.report import instruct as instruct_report

_EXAMPLE_TEXTS = ("note", "instruction", "reference")


class _Recipe(NamedTuple):
    settings: type[ClassifyGate] | type[InstructGate]
    decide: Callable[[dict[str, Any], Any, Standing | None], dict[str, Any]]
    render: Callable[[dict[str, Any]], str]


RECIPES = {
    "classify": _Recipe(ClassifyGate, classify_gate.decide, classify_report.render),
    "instruct": _Recipe(InstructGate, instruct_gate.decide, instruct_report.render),
}


def run(
    splits: Path,
    adapter: Path,
    evaluation: Path,
    output: Path,
    settings: ClassifyGate | InstructGate | dict[str, Any],
    store_uri: str,
    name: str,
    change_control: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write verdict.json, report.html and conformance.json, and upload the last two to `runs/<run>/` in the store.

    report.html shows no text of a note, so that it can be published. Where the evaluation has example answers, a report
    with them goes to `restricted/<run>/` and nowhere else.

    Args:
        splits, adapter, evaluation: output of format, train and evaluate.
        output: folder to write to.
        settings: thresholds of the gate, of the adapter's recipe.
        store_uri: of the store.
        name: of the adapter.
        change_control: section of the profile; without bounds when None.

    Returns:
        The verdict (decision, result, outcome, sentence of both, next, caveats, checks, loosened), version, metrics
        and, where there are example answers, examples_uri.

    Raises:
        ValidationError: the settings are of another recipe.
    """
    recipe = RECIPES[adapter_recipe(adapter)]
    thresholds = recipe.settings.model_validate(settings)
    data = read_json(splits / MANIFEST)
    scores = _scores(evaluation, data)
    decided = recipe.decide(scores, thresholds, _standing(store_uri, name, scores, splits))
    verdict = _completed(decided, data["origin"], thresholds.approval)
    version, training = adapter_version(splits, adapter, thresholds.model_dump()), read_json(adapter / "training.json")
    report = {
        "title": f"{adapter_recipe(adapter)} · {name}",
        "created": utc_now(),
        "verdict": verdict,
        "evaluation": scores,
        "training": training,
        "data": data,
        "provenance": _provenance(splits, adapter, version, scores["champion_version"]),
        "examples": [],
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.html").write_text(recipe.render(report), encoding="utf-8")
    fields = {"version": version, "code_version": training["code_version"], "evaluation": scores}
    record = {**verdict, **fields, "created": report["created"], "thresholds": thresholds.model_dump()}
    write_json(output / "verdict.json", record)
    facts = _facts(data, training, adapter, record, change_control or ChangeControl().model_dump())
    write_json(output / CONFORMANCE, compared_with_champion(open_store(store_uri), name, facts))
    evaluated = read_json(evaluation / MANIFEST)
    digest = evaluated["digest"]
    write_manifest(output, {"evaluation_digest": digest}, "gate", {"evaluation": digest}, [evaluated])
    result = {**verdict, "version": version, "metrics": scores["models"]["candidate"]["metrics"]}
    return result | _upload(output, evaluation, report, recipe, store_uri)


def _completed(verdict: dict[str, Any], origin: Mapping[str, Any], approval: Approval | None) -> dict[str, Any]:
    """The verdict with what is to be said of patients and of approval, and with `sentence`, all of it."""
    outcome, following, patients = verdict["outcome"], verdict["next"], patients_sentence(origin)
    if verdict["decision"] == "pass" and approval:
        outcome, following = (f"{text} {approval.sentence()}" for text in (outcome, following))
    result, caveats = f"{patients}{verdict['result']}", [*filter(None, [patients.strip()]), *verdict["caveats"]]
    said = {"outcome": outcome, "next": following, "result": result, "caveats": caveats}
    return verdict | said | {"sentence": f"{outcome} {result}"}


def _facts(
    data: dict[str, Any],
    training: dict[str, Any],
    adapter: Path,
    verdict: dict[str, Any],
    change_control: dict[str, Any],
) -> Facts:
    """What the change control plan is about, as the records of a version have it."""
    card = AdapterCard.read(adapter)
    base = base_manifest(card.base_model)
    manifest = {
        "version": verdict["version"],
        "recipe": adapter_recipe(adapter),
        "dataset_digest": data["dataset_digest"],
        "splits_digest": data["digest"],
        "base_digest": card.base_digest,
        "settings": training["settings"],
        "code_version": training["code_version"],
        "gate": verdict["thresholds"],
        "change_control": change_control,
        "chain": joined_chain([base, read_json(adapter / MANIFEST)]),
        **({"pretraining": base["settings"]} if "pretraining" in base else {}),
    }
    records = {"data.json": data, "verdict.json": verdict, "evaluation.json": verdict["evaluation"]}
    return Facts({MANIFEST: manifest, "clinadapt.json": read_json(adapter / CARD), **records})


def _scores(evaluation: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Content of evaluation.json. Where an audit was asked for, by the manifest of the splits, and has no figures, it
    is empty, and the check of memory does not pass."""
    scores: dict[str, Any] = read_json(evaluation / "evaluation.json")
    return ({"audit": {}} if "canaries" in data else {}) | scores


def report_uri(store_uri: str) -> str:
    """Where `run` uploads the report of this run."""
    return f"{store_uri.rstrip('/')}/runs/{os.environ.get(RUN, '')}/report.html"


def patients_sentence(origin: Mapping[str, Any]) -> str:
    """What the result begins with where rows do not name their patient; `origin` of download's manifest."""
    if not origin or origin["patient"] == origin["rows"]:
        return ""
    if not origin["columns"]["patient"]:
        which = "No source has a patient column"
    else:
        which = f"{1 - origin['patient'] / origin['rows']:.0%} of the rows name no patient"
    return f"{which}, so notes of one patient may be in training and in the test, and the figures too high. "


def _upload(output: Path, evaluation: Path, report: dict[str, Any], recipe: _Recipe, store_uri: str) -> dict[str, str]:
    """Upload the report of a run, and where there are example answers, apart from it, one with them: its
    examples_uri."""
    if not (run_name := os.environ.get(RUN)):
        return {}
    store = open_store(store_uri)
    for file in ("report.html", CONFORMANCE):
        store.upload(output / file, f"runs/{run_name}/{file}")
    if not (examples := screened_examples(evaluation, report["data"].get("phi", {}))):
        return {}
    key = f"restricted/{run_name}/report.html"
    store.put(key, recipe.render({**report, "examples": examples}).encode())
    return {"examples_uri": f"{store.uri}/{key}"}


def screened_examples(evaluation: Path, phi: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Example answers with their notes; empty where no source may be shown. Where notes were screened, what names
    somebody directly is redacted."""
    path = evaluation / "examples.json"
    examples = list(read_json(path)) if path.exists() else []
    return list(_screened(examples)) if is_screened(phi) and phi["rows"] else examples


def _screened(examples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Examples without direct identifiers; those that take too long to screen are left out."""
    for example in examples:
        with suppress(TooLongToScreen):
            yield _screened_example(example)


def _screened_example(example: dict[str, Any]) -> dict[str, Any]:
    """An example without direct identifiers, which a model may also have learned from other notes."""
    names = list(example["answers"])
    texts = [example[field] for field in _EXAMPLE_TEXTS] + [example["answers"][name] for name in names]
    note, *others = screened = screened_texts(texts, direct_only=True)
    answers = dict(zip(names, screened[len(_EXAMPLE_TEXTS) :], strict=True))
    claims = []
    for claim in example["claims"]:
        start, end = answers["candidate"].moved(claim["start"], claim["end"])
        evidence = claim["evidence"] and note.moved(*claim["evidence"])
        claims.append({**claim, "start": start, "end": end, "evidence": evidence})
    fields = {field: each.text for field, each in zip(_EXAMPLE_TEXTS, (note, *others), strict=False)}
    return {**example, **fields, "answers": {name: each.text for name, each in answers.items()}, "claims": claims}


def _standing(store_uri: str, name: str, evaluation: dict[str, Any], splits: Path) -> Standing | None:
    """What the registry knows of the champions of a name; None where there is none."""
    if not (version := evaluation["champion_version"]):
        return None
    store, metric = open_store(store_uri), headline(evaluation["models"]["candidate"]["metrics"])
    digest = evaluation["held_out_digest"]
    same_rows = [e for e in history(store, name) if e.get("held_out_digest") == digest and metric in e]
    dataset = read_version(store, name, version).get("dataset_digest")
    best = max((entry[metric]["value"] for entry in same_rows), default=None)
    return Standing(dataset != read_json(splits / MANIFEST)["dataset_digest"], best)


def _provenance(splits: Path, adapter: Path, version: str, champion_version: str) -> dict[str, str]:
    """The report's table of inputs: row title -> value; the version comes first."""
    data, card = read_json(splits / MANIFEST), AdapterCard.read(adapter)
    training = read_json(adapter / "training.json")
    return {
        "version (run key)": version,
        "run": os.environ.get(RUN, "started by hand"),
        "data source": _source(data["source"]),
        "dataset digest": data["dataset_digest"],
        "splits digest": data["digest"],
        "base model": card.base_model,
        "base model digest": card.base_digest,
        "adapter digest": read_json(adapter / MANIFEST)["digest"],
        "settings digest": sha256_json(training["settings"]),
        "code version": training["code_version"],
        "seeds": f"split {data['settings']['seed']}, training {card.seed}",
        "champion at the start of the run": champion_version or "none",
    }


def _source(source: str | list[dict[str, str]]) -> str:
    """One URI, or those of an instruct run: `notes file:///notes.csv; pairs s3://bucket/pairs.csv`."""
    return source if isinstance(source, str) else "; ".join(f"{entry['kind']} {entry['uri']}" for entry in source)
