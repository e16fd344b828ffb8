"""The instruct report: one file that loads nothing and shows what was measured."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from support import SYNTHESIS, TRAINING

from clinadapt.data.schemas.instruct import TASKS
from components.evaluate.answer_checks import check_answers
from components.evaluate.examples import examples
from components.evaluate.report.groups import by_task, groups_table
from components.evaluate.report.instruct import (
    _BY_GROUP,
    METRICS,
    comparisons_table,
    metrics_table,
    render,
    synthesis_rows,
    tasks_table,
)

OF = {"exact_match": 400, "correct_refusals": 90, "wrong_refusals": 622}  # rows that a metric applies to


def around(value: float, of: int = 712) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - 0.04), "high": value + 0.04, "of": of}


def model(title: str, f1: float, invented: float) -> dict[str, Any]:
    values = {
        "token_f1": f1, "rouge_l": f1 - 0.05, "exact_match": f1 - 0.1, "unsupported": invented,
        "contradicted": invented / 2,
        "omitted": 1 - f1, "correct_refusals": f1,
        "wrong_refusals": 0.04, "finished": 0.97, "perplexity": 1 + invented * 40,
    }  # fmt: skip
    per_task = {
        task: {
            "token_f1": around(max(0.05, f1 + 0.05 * (i % 3 - 1))) | {"clusters": 9 if i else 80},
            "unsupported": around(invented + 0.02 * i), "contradicted": around(invented / 3),
        }
        for i, task in enumerate(TASKS)
    }  # fmt: skip
    return {
        "title": title, "per_task": per_task,
        "metrics": {name: around(value, OF.get(name, 712)) for name, value in values.items()},
        "seconds": 71.0, "tokens": 30_000, "tokens_per_second": 422.5, "first_token_seconds": 0.21,
    }  # fmt: skip


def compared(other: str, metric: str, difference: float, task: str | None = None) -> dict[str, Any]:
    return {
        "a": "candidate", "b": other, "metric": metric, "task": task, "difference": difference,
        "low": difference - 0.05, "high": difference + 0.05, "p": 0.0001, "p_worse": 0.9,
    }  # fmt: skip


def report(champion: bool = True) -> dict[str, Any]:
    models = {"candidate": model("Adapter", 0.62, 0.06), "base": model("Base model", 0.11, 0.31)}
    comparisons = [compared("base", "token_f1", 0.51), compared("base", "unsupported", -0.25)]
    comparisons += [compared("base", "token_f1", 0.5, task) for task in TASKS]
    if champion:
        models["champion"] = model("Champion", 0.6, 0.08)
        comparisons += [compared("champion", "token_f1", 0.02), compared("champion", "unsupported", -0.02)]
    sides = ("train", "validation", "test")
    tokens = {"total": 812_345, "median": 410.0, "p90": 700.0, "max": 1024, "answer_tokens": 90_000}
    tokens |= {"trimmed_rows": 31, "trimmed_tokens": 4210}
    note = (
        "CHIEF COMPLAINT: Chest pain for two days.\n\nMEDICATIONS: Aspirin 81 mg daily, lisinopril 10 mg daily.\n\n"
        "HISTORY OF PRESENT ILLNESS: The patient is a 61-year-old man with <b>COPD</b> who comes in with chest pain."
    )
    example = {
        "task": "Named Entity Recognition",
        "answerable": True,
        "instruction": "List the drugs that the patient takes.",
        "note": note,
        "reference": "aspirin; lisinopril",
        "fault": "contradicts the note",
        "right": None,
        "drawn": False,
        "shortened": True,
        "claims": [
            {"start": 0, "end": 7, "outcome": "contradicted", "evidence": (39, 50)},
            {"start": 9, "end": 19, "outcome": "not found", "evidence": None},
        ],
        "answers": {"candidate": "aspirin; lisinopril", "base": "the the the pain of the patient was"}
        | ({"champion": "aspirin"} if champion else {}),
    }
    silent = {
        "task": "Question Answering",
        "answerable": False,
        "instruction": "When was the last colonoscopy?",
        "note": note,
        "reference": "The note does not say.",
        "fault": None,
        "right": "rightly says that the note does not tell",
        "drawn": True,
        "shortened": False,
        "claims": [],
        "answers": {"candidate": "The note does not say.", "base": ""},
    }
    return {
        "title": "instruct · answers",
        "created": "2026-03-01T09:30:00Z",
        "verdict": {
            "decision": "pass",
            "result": "The adapter answered 712 questions about 120 held-out notes.",
            "outcome": "Passed the gate.",
            "next": "Read the figures below.",
            "caveats": [],
            "checks": [
                {"name": "higher token F1 than the base model", "passed": True, "detail": "+51.0", "judged": True},
                {"name": "few unsupported claims", "passed": False, "detail": "−25.0 points", "judged": True},
            ],
            "loosened": {},
        },
        "evaluation": {
            "rows": 712, "notes": 120, "clusters": 118, "held_out_rows": 1904, "unanswerable": 90, "checkable": 400,
            "tasks": dict.fromkeys(TASKS, 89), "confidence": 0.95, "max_new_tokens": 256, "batch_size": 16,
            "trimmed_tokens": 1234, "trimmed_rows": 9, "models": models, "comparisons": comparisons,
            "reference": {"unsupported": around(0.03), "contradicted": around(0.01)},
            "counterfactuals": {
                "sex": {"rows": 40, "notes": 9, "unchanged": around(0.9), "same_words": around(0.8)},
                "age": {"rows": 12, "notes": 3, "unchanged": around(0.7), "same_words": around(0.5)},
                "names": {"rows": 0, "notes": 0},
            },
            "subgroups": [
                {"by": "sex of the patient", "group": "female", "rows": 400, "clusters": 60,
                 "metrics": {"token_f1": around(0.6), "unsupported": around(0.05)}},
                {"by": "sex of the patient", "group": "male", "rows": 12, "clusters": 4,
                 "metrics": {"token_f1": around(0.5), "unsupported": around(0.2), "contradicted": around(0.1)}},
            ],
            "minimum_detectable_difference": 0.031, "champion_version": "v1" if champion else "",
        },
        "training": TRAINING,
        "data": {
            "notes": 2310, "clusters": 2250, "shared_clusters": 0, "tasks": list(TASKS),
            "task_mix": {side: dict.fromkeys(TASKS, 1000) for side in sides},
            "answerable": dict.fromkeys(sides, 0.88), "dropped": {"the answer is empty": 3, "the note is too long": 1},
            "tokens": dict.fromkeys(sides, tokens),
            "synthesis": SYNTHESIS,
            "phi": {"policy": "off", "reason": "<b>screened</b> elsewhere", "builtin_rows": 0, "found": {}},
            "origin": {"rows": 2300, "patient": 2100, "encounter": 0, "date": 0, "unreadable dates": 0, "keyed": True,
                       "columns": {"patient": ["mrn"], "encounter": [], "date": []}, "found": ["mrn"]},
            "patients": 700, "joined": [{"reason": "same patient", "pairs": 1400, "notes": 2000, "alone": 1300}],
            "by_time": None,
            "question_check": {"rows": 900, "unanswerable": 110, "auc": 0.537, "auc_by_source": {},
                               "auc_by_task": {TASKS[0]: 0.512}},
        },
        "provenance": {"version (run key)": "0123456789abcdef", "run": "by hand", "data source": "cases"},
        "examples": [example, silent],
    }  # fmt: skip


class Reader(HTMLParser):
    """Tags that load or run something, and whether every opened tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "iframe", "link", "img", "object") or given.keys() & {"src", "onclick", "onload"}:
            self.loads.append(tag)
        if tag not in ("meta", "br", "img", "link", "path", "use", "rect", "circle", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect", "circle", "line"):
            assert self.open.pop() == tag


@pytest.mark.parametrize("champion", [True, False])
def test_it_is_one_whole_file_that_loads_nothing(champion: bool) -> None:
    page = render(report(champion))
    assert page == render(report(champion))
    reader = Reader()
    reader.feed(page)
    assert (reader.loads, reader.open) == ([], [])
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", page)


def test_a_note_is_no_markup() -> None:
    page = render(report())
    assert "&lt;b&gt;COPD&lt;/b&gt;" in page and "<b>COPD</b>" not in page


def test_what_an_answer_gets_wrong_is_marked_in_answer_and_note() -> None:
    page = render(report())
    assert '<mark class="contradicted">aspirin</mark>; <mark class="not-found">lisinopril</mark>' in page
    assert re.search(r'<div class="text whole">[^<]*<mark class="contradicted">', page)
    page = page[page.index("Example answers") :]
    parts = ["The worst", "contradicts the note", "Drawn at random", "rightly says that the note does not tell"]
    assert sorted(parts, key=page.index) == parts


def test_a_page_with_long_texts_stays_small() -> None:
    row = {
        "note_text": "Metoprolol 50 mg daily. " * 400, "instruction": "How much? " * 9000, "answer": "50 mg " * 9000,
        "task": TASKS[0], "answerable": True, "private": False, "decimal_comma": False, "check": "none",
    }  # fmt: skip
    answers = {name: ["100 mg of metoprolol. " * 300] * 20 for name in ("candidate", "base", "champion")}
    shown = examples([row] * 20, answers, check_answers([row] * 20, answers)["candidate"], 0)
    page = render({**report(), "examples": shown})
    assert len(shown) == 14 and page.count('<mark class="contradicted">100 mg') > 1000
    assert len(page.encode()) < 2_000_000


def test_groups_of_few_notes_are_marked_where_others_have_more() -> None:
    given = report()
    table = groups_table(given["evaluation"], METRICS, _BY_GROUP)
    assert ["few notes" in row[0] for row in table["rows"]] == [False, True]
    assert table["few"].startswith("A group marked “few notes” has fewer than ten clusters")
    assert "For whom it is worse" in render(given)
    for entry in given["evaluation"]["subgroups"]:
        entry["clusters"] = 9
    table = groups_table(given["evaluation"], METRICS, _BY_GROUP)
    assert table["few"].startswith("No group has ten clusters") and not any("few" in row[0] for row in table["rows"])
    for entry in given["evaluation"]["subgroups"]:
        entry["clusters"] = 10
    assert groups_table(given["evaluation"], METRICS, _BY_GROUP)["few"] == ""
    given["evaluation"]["subgroups"] = []
    assert "For whom it is worse" not in render(given)


def test_the_figures_that_a_clinician_asks_for_are_on_the_page() -> None:
    words = " ".join(re.sub(r"<[^>]+>", " ", render(report())).split())
    words = words.replace("\u202f", " ")
    contradicted = "21 of 712 of the adapter’s answers contain one that the note contradicts, 43 of 712 one that it"
    assert contradicted in words and "(base model: 110 of 712 and 221 of 712)" in words
    assert "finds fault with 21 of 712 of the reference answers" in words
    assert "90 of the instructions ask for information that is not in the note" in words
    assert "difference in token F1 of 3.1 points or more with 80 % power" in words
    assert "712 of 1,904 held-out instructions were evaluated" in words
    assert "3 dropped: the answer is empty; 1 dropped: the note is too long." in words


def test_it_says_how_well_refusals_can_be_guessed_without_the_note() -> None:
    text = re.sub(r"<[^>]+>", "", render(report()))
    assert "guessed without the note" in text and "AUC 0.54" in text and "By source" not in text
    given = report()
    given["data"]["question_check"]["auc_by_source"] = {"0": 0.4, "2": 0.91}
    assert "By source: 1 0.40, 3 0.91." in re.sub(r"<[^>]+>", "", render(given))
    given["data"]["question_check"] |= {"auc": None, "unanswerable": 7}
    assert "answers 893 and does not answer 7" in " ".join(re.sub(r"<[^>]+>", "", render(given)).split())


def test_it_shows_how_the_base_model_was_pretrained() -> None:
    given = report()
    plain = render(given)
    before = {name: TRAINING[name] for name in ("curve", "best_step", "seconds")}
    given["training"] = TRAINING | {"pretraining": before | {"useful_tokens": 54_321, "trainable_parameters": 190_000}}
    page = render(given)
    assert "Pretraining and validation loss" in page and "190,000 parameters, 54,321 tokens per" in page
    assert "Pretraining" not in plain and "Pretraining of the base model" not in plain


def test_without_unanswerable_instructions_or_examples_it_says_so() -> None:
    given = report()
    for entry in given["evaluation"]["models"].values():
        del entry["metrics"]["correct_refusals"]
    assert "this copy of the report shows texts of notes" in render(given)
    given["examples"] = []
    assert "shows texts of notes" not in render(given)
    page = render(given)
    assert "refusals were not evaluated" in page
    assert "Example answers" not in page


def test_what_a_clinician_asks_comes_before_token_f1_and_no_baseline_is_bold() -> None:
    table = metrics_table(report()["evaluation"])
    assert table["head"] == ["", "Adapter", "Base model", "Champion", "Reference answers"]
    rows = {row[0]: row[1:] for row in table["rows"]}
    assert list(rows) == [metric.title for metric in METRICS.values()]
    titles = ["Exactly right answers", "Answers with a contradicted claim", "Wrong refusals", "Token F1"]
    assert sorted(titles, key=list(rows).index) == titles
    assert not any("<b>" in cell for cells in rows.values() for cell in cells)
    assert rows["Perplexity"][-1] == "–" and "3.0" in rows["Answers with an unsupported claim"][-1]


def test_shares_are_told_as_counts() -> None:
    given = report()
    given["evaluation"]["models"]["candidate"]["metrics"]["correct_refusals"] = around(0.625, 8)
    given["evaluation"]["models"]["candidate"]["metrics"]["wrong_refusals"] = around(0.08, 622)
    rows = {row[0]: row[1] for row in metrics_table(given["evaluation"])["rows"]}
    assert rows["Correct refusals"] == "5 of 8<small>62\u202f% (58 – 66\u202f%)</small>"
    assert rows["Answers with an unsupported claim"] == "43 of 712<small>6.0\u202f% (2.0 – 10.0\u202f%)</small>"
    words = " ".join(re.sub(r"<[^>]+>", " ", render(given)).split()).replace("\u202f", " ")
    assert "exactly right 208 of 400" in words
    assert "wrongly refused 50 of 622 8.0 % (4.0 % to 12.0 %). Worse than the base model: 25." in words
    assert "rightly refused 5 of 8 62.5 % (58.5 % to 66.5 %). Base model: 10." in words


def test_a_difference_is_read_the_right_way_round() -> None:
    rows = {(pair, metric): reading for pair, metric, _, _, reading in comparisons_table(report()["evaluation"])}
    assert "Adapter" in rows["Adapter vs. Base model", "Token F1"]
    assert "Adapter" in rows["Adapter vs. Base model", "Answers with an unsupported claim"]
    assert "no significant difference" in rows["Adapter vs. Champion", "Answers with an unsupported claim"]


def test_every_task_has_its_row() -> None:
    table = tasks_table(report()["evaluation"])
    assert [row[0] for row in table["rows"]] == list(TASKS)
    assert all("+50.0" in row[-1] for row in table["rows"])


def test_claims_by_task_and_the_error_of_their_check_stand_with_intervals() -> None:
    table = groups_table(by_task(report()["evaluation"]), METRICS, ("unsupported", "contradicted"))
    first, second = table["rows"][:2]
    assert first[2] == "43 of 712<small>6.0\u202f% (2.0 – 10.0\u202f%)</small>"
    assert first[0] == TASKS[0] and second[0] == f"{TASKS[1]}<small>few notes</small>"
    page = render(report())
    assert "Answers with an unsupported claim in each task, with intervals" in page
    assert "<td>100 % (91 to 100)</td>" in page  # noticed of 40 altered doses


def test_a_judge_stands_beside_its_agreement_with_reviewers() -> None:
    given = report(champion=False)
    marks = {"severity": around(1.4), "unsafe": around(0.1), "errors": {"fabricated claim": 0.1, "other": 0.0}}
    kappa = {"value": 0.62, "low": 0.41, "high": 0.8}
    reviewers = {"answers": 84, "threshold": 0.4, "kappa": kappa}
    shown = {"judge": "llama", "marked": 700, "parse_failures": 10, "refused": 2, "models": {"candidate": marks}}

    def words(judge: dict[str, Any]) -> str:
        given["evaluation"]["judge"] = judge
        return " ".join(re.sub(r"<[^>]+>", " ", render(given)).split())

    page = words(shown | {"reviewers": reviewers})
    assert (
        "10 instructions with an unreadable reply and 2 that the judge refused" in page and "Fabricated claim" in page
    )
    assert "On 84 answers that reviewers settled, its agreement with them (3 or 4 against less) is kappa 0.62" in page
    assert "no agreement with them is shown" in words(shown | {"reviewers": {"answers": 0, "threshold": 0.4}})
    off = words({"judge": "llama", "host": "h", "reviewers": reviewers, "unused": "its agreement is low"})
    assert "The model llama was not used: its agreement is low." in off and "Fabricated claim" not in off
    agreed = {"answers": 60, "exact": 0.5, "kappa": kappa, "weighted_kappa": kappa, "unsafe_kappa": kappa}
    page = words({"judge": "llama", "host": "h", "agreement": agreed})
    assert "for 3 or 4 against less 0.62 (0.41 to 0.80)" in page
    assert "none of its replies could be read" in words(shown | {"agreement": {"answers": 0}})


def test_the_yield_of_the_synthesis_leaves_out_what_did_not_happen() -> None:
    assert synthesis_rows(SYNTHESIS | {"decimal_comma": [0, 2]}) == {
        "Teacher": "rules",
        "Generated instructions": "7,800",
        "Instructions supplied with the data": "1,200",
        "Notes without an instruction": "3",
        "Quarantined: empty text": "2",
        "Not used: values of keywords": "40",
        "Sources whose numbers have a decimal comma": "2",
        "Dropped: no answer that can be checked": "4,321",
    }


def test_the_report_tells_what_became_of_corrections() -> None:
    shown = report()
    shown["data"]["feedback"] = {
        "judged": 9, "agree": 2, "used": {"invented": 2, "unsafe": 1}, "pairs": 3,
        "left_out": {"the note is held out": 4}, "quarantined": {"wrong signature": 1},
    }  # fmt: skip
    right = {"title": "Adapter", "right": 2, "right_share": around(2 / 3, 3), "token_f1": around(0.9)}
    shown["evaluation"]["feedback"] = {"rows": 3, "models": {"candidate": right}}
    page = " ".join(render(shown).split())
    for text in (
        "What people corrected", "People judged 9 questions", "3 corrections were trained on", "2 people made it",
        "Trained on: invented", "Not trained on: the note is held out", "Quarantined: wrong signature", "2 of 3",
        "The adapter was trained on these very rows",
    ):  # fmt: skip
        assert text in page, text
    assert "What people corrected" not in render(report()), "nothing of it in a run without feedback"
