"""The report of a classification run: complete, self-contained, escaped, the same bytes every time."""

import copy
import math
import random
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from clinadapt.config.classify import ClassifyGate
from clinadapt.documents import page
from components.evaluate.gate.checks import not_required
from components.evaluate.gate.loosened import loosened_rows
from components.evaluate.report.classify import metrics_table, never_recognised, render, unequal_classes

LABELS = ["Cardiovascular / Pulmonary", "Consult - History and Phy.", "Orthopedic", "Radiology", "Surgery"]
CONFUSION = [[58, 5, 1, 7, 4], [4, 94, 3, 1, 1], [2, 6, 52, 5, 6], [8, 3, 9, 31, 4], [24, 4, 32, 7, 154]]
FIGURES = ("abstention", "accuracy", "groups", "confusion", "classes", "reliability", "roc", "training")
VOID = {"meta", "br", "hr", "img", "link"}


def estimate(value: float, half: float) -> dict[str, float]:
    return {
        "value": value,
        "low": max(0.0, value - half),
        "high": value + half if value > 1 else min(1.0, value + half),
    }


def metrics(*shares: float, loss: float, ece: float) -> dict[str, dict[str, float]]:
    named = zip(("accuracy", "any_label_accuracy", "balanced_accuracy", "macro_f1"), shares, strict=True)
    return {name: estimate(share, 0.034) | {"of": 525} for name, share in named} | {
        "log_loss": estimate(loss, 0.06),
        "ece": estimate(ece, 0.02),
        "ece_scaled": estimate(ece / 3, 0.009),
    }


def model(title: str, numbers: dict[str, Any]) -> dict[str, Any]:
    draw = random.Random(title)
    bins = [0.25 + 0.1 * step for step in range(8)]
    grid = [x / 60 for x in range(61)]
    scores = {"precision": 0.9, "recall": 0.8, "f1": 0.84}
    return {
        "title": title,
        "metrics": numbers,
        "per_class": [
            {"label": label, "support": sum(CONFUSION[i]), "intervals": dict.fromkeys(scores, (0.4, 0.98))}
            | {name: s - 0.06 * i for name, s in scores.items()}
            for i, label in enumerate(LABELS)
        ],
        "confusion": CONFUSION,
        "reliability": [{"confidence": c, "accuracy": c**1.5, "weight": c**4} for c in bins],
        "reliability_scaled": [
            {"confidence": c, "accuracy": c + draw.uniform(-0.04, 0.04), "weight": c**4} for c in bins
        ],
        "temperature": 1.37,
        "temperature_ratio": 1.1,
        "roc": [
            {"label": label, "fpr": grid, "tpr": [x**power for x in grid], "auc": 1 / (1 + power)}
            for label, power in zip(LABELS, (0.08, 0.13, 0.18, 0.23, 0.28), strict=True)
        ],
        "seconds": 12.3,
    }


def evaluation() -> dict[str, Any]:
    majority = {"accuracy": 0.421, "any_label_accuracy": 0.554, "balanced_accuracy": 0.2, "macro_f1": 0.118}
    pairs = [
        ("base", "accuracy", 0.558, 0.51, 0.604, 0.0001),
        ("tfidf", "accuracy", 0.012, -0.011, 0.034, 0.21),
        ("tfidf", "any_label_accuracy", -0.002, -0.015, 0.011, 0.79),
        ("champion", "log_loss", -0.047, -0.081, -0.013, 0.006),
    ]
    return {
        "labels": LABELS,
        "rows": 525,
        "notes": 398,
        "clusters": 390,
        "ceiling": 0.7598,
        "confidence": 0.95,
        "models": {
            "candidate": model("Adapter", metrics(0.741, 0.967, 0.702, 0.676, loss=0.684, ece=0.061)),
            "base": model("Untrained base", metrics(0.183, 0.294, 0.214, 0.121, loss=1.604, ece=0.092)),
            "majority": {
                "title": "Majority class",
                "metrics": {name: estimate(value, 0.03) for name, value in majority.items()},
            },
            "tfidf": model("TF-IDF + logistic regression", metrics(0.729, 0.969, 0.694, 0.644, loss=0.702, ece=0.049)),
            "champion": model("Champion 2025-11-02", metrics(0.722, 0.951, 0.68, 0.651, loss=0.731, ece=0.071)),
        },
        "comparisons": [
            {
                "a": "candidate",
                "b": b,
                "metric": metric,
                "difference": difference,
                "low": low,
                "high": high,
                "p": p,
            }
            for b, metric, difference, low, high, p in pairs
        ],
        "abstention": {
            "threshold": 0.62,
            "target": 0.9,
            "reached": True,
            "answered": estimate(0.71, 0.04) | {"of": 400},
            "right": estimate(0.92, 0.03) | {"of": 284},
            "right_if_unsure": estimate(0.55, 0.08) | {"of": 116},
            "curve": [{**estimate(1 - 0.25 * n / 20, 0.03), "answered": n / 20} for n in range(1, 21)],
        },
        "counterfactuals": {
            "sex": {"notes": 60, "unchanged": estimate(0.95, 0.04), "shift": estimate(0.03, 0.01)},
            "age": {"notes": 31, "unchanged": estimate(0.97, 0.05), "shift": estimate(0.02, 0.01)},
            "names": {"notes": 0},
        },
        "subgroups": [
            {
                "by": "sex of the patient",
                "group": group,
                "rows": rows,
                "clusters": clusters,
                "metrics": {"any_label_accuracy": estimate(value, 0.05)},
            }
            for group, rows, clusters, value in (("female", 180, 175, 0.97), ("male", 9, 8, 0.89))
        ],
        "champion_version": "v1",
        "unseen_token_share": 0.021,
        "tokens_mean": 712.0,
        "windows_mean": 3.1,
    }


def training() -> dict[str, Any]:
    curve: list[dict[str, float]] = []
    for step in range(5, 421, 5):
        point = {"step": step, "epoch": step / 105}
        loss = 0.62 + math.exp(-step / 60) + 0.06 * math.sin(step * 12.9)
        curve.append(point | {"loss": loss, "learning_rate": 4e-4 * min(step / 25, (420 - step) / 395)})
        if step % 60 == 0:
            loss = 0.7 + 0.8 * math.exp(-step / 70) + max(0, step - 360) * 5e-4
            curve.append(point | {"validation_loss": loss})
    return {
        "curve": curve,
        "best_step": 360,
        "seconds": 700.0,
        "peak_memory_bytes": 1.9e9,
        "trainable_parameters": 500_000,
        "total_parameters": 22_700_000,
        "precision": "bf16",
        "quantization": "none",
        "tokens_per_second": 4400.0,
        "unseen_token_share": 0.1,
        "stopped_early": True,
        "settings": {
            "learning_rate": 4e-4,
            "lora_rank": 16,
            "lora_targets": ["query", "value"],
            "pooling": "mean",
            "seed": 13,
        },
    }


def data() -> dict[str, Any]:
    sizes = {"train": (1833, 1393, 1372), "validation": (261, 199, 198), "test": (525, 398, 390)}
    return {
        "source": "s3://notes/mtsamples-five/2026-01-01.parquet",
        "rows_read": 2622,
        "rows_kept": 2619,
        "rows_of_other_labels": 12,
        "label_column": "medical_specialty",
        "quarantined": {"empty text": 3},
        "unused": {"keywords": 2500, "columns with other names": 7},
        "notes": 1990,
        "exact_duplicate_rows": 629,
        "near_duplicate_notes": 61,
        "clusters": 1960,
        "cross_listed_notes": 620,
        "ceiling": 0.7598,
        "shared_clusters": 0,
        "phi": {
            "policy": "redact",
            "reason": "",
            "detector": "0.1.0+1a2b",
            "rows": 2619,
            "builtin_rows": 0,
            "rows_with_identifiers": 1204,
            "rows_quarantined": 0,
            "found": {"NAME": 3021, "DATE": 12},
            "done": {"NAME": "redact", "DATE": "surrogate"},
            "known_columns": ["surname"],
            "staff": True,
            "protected": False,
            "measured": {"notes": 400, "recall": 0.985, "low": 0.98, "high": 0.99},
        },
        "origin": {
            "rows": 2619,
            "patient": 0,
            "encounter": 0,
            "date": 2619,
            "unreadable dates": 0,
            "keyed": False,
            "columns": {"patient": [], "encounter": [], "date": ["charttime"]},
            "found": [],
        },
        "patients": 0,
        "joined": [{"reason": "near duplicates", "pairs": 40, "notes": 61, "alone": 30}],
        "by_time": {
            "test_from": "2025-11-01",
            "validation_from": "2025-10-01",
            "test": 0.2,
            "validation": 0.1,
            "without_date": 0,
            "older_in_test": 12,
        },
        "splits": {
            name: dict(zip(("rows", "notes", "clusters"), counts, strict=True))
            | {"per_label": dict.fromkeys(LABELS, counts[0] // 5)}
            for name, counts in sizes.items()
        },
        "words": {"median": 425.0, "p90": 919.0, "max": 4738.0},
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """Input of render: a run on five labels, with a champion, that passed the gate."""
    checks = {
        "more accurate than the base model with an untrained head": "accuracy 0.741 against 0.183 (needs +0.05)",
        "no worse than the champion": "difference +0.019, lower bound -0.006 (allowed -0.01)",
        "recall of every class": "lowest recall 0.56, Radiology (needs 0.30)",
        "no worse than TF-IDF": "difference +0.012, lower bound -0.011 (allowed -0.02)",
        "no leak": "0 clusters shared between splits; accuracy below the ceiling of 0.760",
    }
    digest = "sha256:" + "0123456789abcdef" * 4
    return {
        "title": "classify · mtsamples-five",
        "created": "2026-01-01T12:00:00Z",
        "verdict": {
            "decision": "pass",
            "result": "The adapter names the listed label in 389 of 525 held-out rows (74.1%; best possible 76.0%).",
            "outcome": "Passed the gate.",
            "next": "Read the figures below.",
            "caveats": [],
            "checks": [
                {"name": name, "passed": True, "detail": detail, "judged": True} for name, detail in checks.items()
            ],
            "loosened": {},
        },
        "evaluation": evaluation(),
        "training": training(),
        "data": data(),
        "provenance": {
            "version": "mtsamples-five/2026-01-01-3f9c2ab1",
            "run key": digest,
            "dataset digest": digest,
            "base model": "MiniLM-L6",
            "base model digest": digest,
            "settings digest": digest,
            "code version": "0.1.0+3f9c2ab",
            "seed": "13",
            "adapter": "s3://registry/classify/mtsamples-five/2026-01-01-3f9c2ab1/",
        },
    }


class Page(HTMLParser):
    """Every start tag with its attributes, all ids and the text; an unbalanced tag is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


def test_page_is_whole_and_loads_nothing(report: dict[str, Any]) -> None:
    text = render(report)
    assert len(text.encode()) < 1_500_000
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "image", "a"}
    assert not re.search(r"https?://|@import|javascript:", text)
    assert all(re.fullmatch(r"url\(#[\w-]+\)", url) for url in re.findall(r"url\([^)]*\)", text))


def test_every_figure_is_there_with_its_own_ids(report: dict[str, Any]) -> None:
    text = render(report)
    page = Page(text)
    drawn = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert {(attrs["aria-labelledby"] or "").split("-")[0] for attrs in drawn} == set(FIGURES)
    assert [name for name, times in Counter(page.ids()).items() if times > 1] == []
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    used += [(name, "") for attrs in drawn for name in (attrs["aria-labelledby"] or "").split()]
    assert {a or b for a, b in used} <= set(page.ids())


def test_charts_follow_the_colours_of_the_page(report: dict[str, Any]) -> None:
    text = render(report)
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}\b", drawn) == []
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+): #", text)) | {"--tone"}


def test_numbers_are_on_the_page(report: dict[str, Any]) -> None:
    text = " ".join("".join(Page(render(report)).text).split())
    for words in (
        "✓ Passed the gate All 5 checks passed.",
        "What to do: Read the figures below.",
        "74.1 %70.7 – 77.5 %",
        "No worse than TF-IDF ✓ passed",
        "Surgery predicted as Orthopedic (32); Surgery predicted as Cardiovascular / Pulmonary (24)",
        "1 January 2026, 12:00 UTC",
        "Adapter vs. TF-IDF + logistic regression",
        "no significant difference",
        "3 quarantined: empty text",
        "✓ No cluster is in more than one split",
        report["provenance"]["dataset digest"],
        "11 min 40 s",
    ):
        assert " ".join(words.split()) in text


def test_the_adapter_and_nothing_else_is_bold(report: dict[str, Any]) -> None:
    """A baseline in bold looks like the winner."""
    rows = metrics_table(report["evaluation"])["rows"]
    assert [str(row[0]).startswith("<b>") for row in rows] == [True] + [False] * (len(rows) - 1)
    assert not any("<b>" in str(cell) for row in rows for cell in row[1:])


def test_a_loosened_gate_is_no_green_verdict(report: dict[str, Any]) -> None:
    plain = render(report)
    assert '<div class="verdict pass">' in plain and "Passed a loosened gate" not in plain
    thresholds = ClassifyGate(gain_over_tfidf=-0.15, group_margin=1)
    report["verdict"]["loosened"] = loosened_rows(thresholds)
    report["verdict"]["checks"].append(not_required("in no group much worse")._asdict())
    text = render(report)
    words = " ".join("".join(Page(text).text).split())
    assert '<div class="verdict loosened">' in text and '<div class="verdict pass">' not in text
    assert "! Passed a loosened gate One of the default checks is switched off and one is weaker" in words
    assert "than over all group_margin at most 15 points switched off".replace(" ", "") in words.replace(" ", "")
    assert "more than 0 points at most 15 points behind".replace(" ", "") in words.replace(" ", "")
    assert "In no group much worse" not in words  # nothing was checked, so nothing passed


def test_number_formats() -> None:
    assert page.count(2619.0) == "2,619"
    assert [page.decimal(x) for x in (-0.0214, -0.0001, math.nan)] == ["−0.021", "0.000", "–"]
    assert page.decimal(0.5, 1, "+") == "+0.5"
    assert [page.duration(s).replace("\u202f", " ") for s in (9.87, 61, 3599.8)] == [
        "9.9 s",
        "1 min 1 s",
        "1 h 0 min",
    ]


@pytest.mark.parametrize(
    ("metric", "difference", "reading"),
    [
        ("accuracy", 0.1, "<b>Adapter</b> is better"),
        ("accuracy", -0.1, "<b>Majority class</b> is better"),
        ("log_loss", -0.1, "<b>Adapter</b> is better"),
        ("ece", 0.1, "<b>Majority class</b> is better"),
    ],
)
def test_reading_of_a_comparison(report: dict[str, Any], metric: str, difference: float, reading: str) -> None:
    low, high = difference - 0.05, difference + 0.05
    pair = {
        "a": "candidate",
        "b": "majority",
        "metric": metric,
        "difference": difference,
        "low": low,
        "high": high,
        "p": 0.01,
    }
    report["evaluation"]["comparisons"] = [pair]
    assert reading in render(report)


def test_same_input_same_bytes(report: dict[str, Any]) -> None:
    assert render(copy.deepcopy(report)) == render(report)


def test_text_is_escaped(report: dict[str, Any]) -> None:
    wild = "<b>x</b> & y $1 $2"
    plain = report["evaluation"]["labels"][2]

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {rename(key): rename(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rename(item) for item in value]
        return wild if value == plain else value

    report = rename(report)
    report["verdict"] |= {"next": wild, "caveats": [wild]}
    report["title"] = report["evaluation"]["models"]["tfidf"]["title"] = wild
    report["provenance"][wild] = wild
    text = render(report)
    assert "<b>x" not in text
    shown = "".join(Page(text).text)
    assert shown.count(wild) > 15
    assert "amp;" not in shown


def test_optional_parts_are_left_out(report: dict[str, Any]) -> None:
    models = report["evaluation"]["models"]
    del models["champion"], report["provenance"]["adapter"]
    for name in ("per_class", "confusion", "reliability", "reliability_scaled", "roc"):
        del models["candidate"][name]
    for name in ("log_loss", "ece", "ece_scaled"):
        for numbers in models.values():
            numbers["metrics"].pop(name, None)
    report["evaluation"]["comparisons"] = []
    report["data"]["quarantined"] = {}
    text = render(report)
    page = Page(text)
    assert sum(tag == "svg" for tag, _ in page.tags) == 4
    assert "Comparison with the other models" not in text and "s3://registry" not in text and "none quarantined" in text


def test_a_failed_run_says_so(report: dict[str, Any]) -> None:
    report["verdict"]["decision"] = "fail"
    report["verdict"]["checks"][1]["passed"] = False
    report["data"]["shared_clusters"] = 4
    text = render(report)
    assert '<div class="verdict fail">' in text and "✗ Failed the gate" in text and "✓ Passed" not in text
    assert text.count("✗ failed") == 1 and "Not published: of 5 checks, 1 failed." in text
    assert "4 clusters are in more than one split" in text


def test_what_lacks_evidence_is_not_called_failed(report: dict[str, Any]) -> None:
    report["verdict"] |= {"decision": "not enough evidence", "outcome": "Not enough evidence: 250 more notes."}
    report["verdict"]["checks"][1] |= {"passed": False, "more_notes": 250, "lacking": "held-out notes"}
    text = render(report)
    assert "✗ Not enough evidence" in text and "failed" not in text.lower()
    assert "Not published: of 5 checks, 1 needs more evidence." in text
    assert text.count("✗ not enough evidence") == 1 and "; 250 more held-out notes are needed</td>" in text


def test_many_classes_still_fit(report: dict[str, Any]) -> None:
    labels = [f"Specialty number {i} with a very long name indeed" for i in range(40)]
    evaluation = report["evaluation"]
    evaluation["labels"] = labels
    adapter = evaluation["models"]["candidate"]
    adapter["confusion"] = [[10 if i == j else 0 for j in range(40)] for i in range(40)]
    adapter["per_class"] = [adapter["per_class"][i % 5] | {"label": label} for i, label in enumerate(labels)]
    adapter["roc"] = [adapter["roc"][i % 5] | {"label": label} for i, label in enumerate(labels)]
    text = render(report)
    assert len(text.encode()) < 1_500_000
    Page(text)


def test_when_it_is_unsure_and_for_whom_it_is_worse(report: dict[str, Any]) -> None:
    words = " ".join(re.sub(r"<[^>]+>", " ", render(report)).split()).replace("\u202f", " ")
    assert "Below a probability of 62.0 % the adapter answers “unsure”" in words
    assert "It answers 284 of 400 held-out notes, of these 261 of 284 rightly (92.0 %; 95 % interval 89.0 %" in words
    assert "its most probable label is right for 64 of 116" in words and "asked for:" not in words
    assert "right medical specialty must not change" in words
    assert "The other sex 60 95.0 %" in words and "few notes" in words
    report["evaluation"]["abstention"] |= {"reached": False}
    del report["evaluation"]["abstention"]["right_if_unsure"]
    report["evaluation"]["abstention"]["right"]["value"] = 0.8
    assert "none reaches this there" in render(report) and "fewer than the 90.0\u202f% asked for" in render(report)


def test_labels_that_are_never_recognised_are_named(report: dict[str, Any]) -> None:
    evaluation = report["evaluation"]
    classes = evaluation["models"]["candidate"]["per_class"]
    assert never_recognised(evaluation) == [] and unequal_classes(evaluation)
    classes[3] |= {"recall": 0.0, "support": 4}
    text = render(report)
    assert "Never recognised (recall 0):</b> Radiology (4 rows)." in text and ">Macro F1</dt>" in text
    for entry in classes:
        entry["support"] = 40
    assert not unequal_classes(evaluation)
