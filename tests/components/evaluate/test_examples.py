"""Which answers a report shows: the worst first, by what is wrong with them, then a random draw."""

from __future__ import annotations

from typing import Any

from components.evaluate.answer_checks import check_answers
from components.evaluate.examples import FAULTS, examples

NOTE = "A 61-year-old man takes metoprolol 50 mg twice daily for hypertension. The left knee is swollen."


def row(instruction: str, task: str = "a", answerable: bool = True, private: bool = False) -> dict[str, Any]:
    return {"note_text": NOTE, "instruction": instruction, "answer": "50 mg", "task": task, "answerable": answerable,
            "private": private, "decimal_comma": False, "check": "none"}  # fmt: skip


def drawn_of(rows: list[dict[str, Any]], answers: dict[str, list[str]], seed: int) -> list[dict[str, Any]]:
    return examples(rows, answers, check_answers(rows, answers)["candidate"], seed)


def test_the_gravest_fault_comes_first_and_private_rows_never() -> None:
    asked = {
        "What is the dose of metoprolol?": "50 mg twice daily.",
        "What dose of metoprolol is given?": "The note does not mention metoprolol.",
        "Which knee is swollen?": "The right knee.",
        "Which drugs does he take?": "Metoprolol and warfarin.",
        "What was the potassium?": "It was normal on admission.",
        "How much metoprolol?": "100 mg.",
    }
    rows = [row(instruction, answerable="potassium" not in instruction) for instruction in asked]
    rows.append(row("Private?", private=True))
    shown = drawn_of(rows, {"candidate": [*asked.values(), "200 mg."], "base": [""] * len(rows)}, 0)
    assert [example["drawn"] for example in shown] == [False] * 5 + [True]
    assert [example["fault"] for example in shown] == [FAULTS[0], FAULTS[0], FAULTS[1], FAULTS[2], FAULTS[3], None]
    knee, dose, drugs = (
        next(example for example in shown if example["instruction"] == instruction)
        for instruction in ("Which knee is swollen?", "How much metoprolol?", "Which drugs does he take?")
    )
    assert shown[-1]["instruction"] == "What is the dose of metoprolol?" and shown[-1]["claims"] == []
    (claim,) = knee["claims"]
    assert knee["answers"]["candidate"][claim["start"] : claim["end"]] == "right"
    assert claim["outcome"] == "contradicted" and knee["note"][slice(*claim["evidence"])] == "left"
    (claim,) = dose["claims"]
    assert claim["outcome"] == "contradicted" and dose["note"][slice(*claim["evidence"])] == "50 mg"
    (claim,) = drugs["claims"]
    assert (claim["outcome"], claim["evidence"]) == ("not found", None)


def test_what_can_be_checked_says_whether_it_is_right() -> None:
    asked = {
        "How much?": "50 mg",
        "Which dose?": "twice",
        "Which drug?": "50 mg twice daily.",
        "The potassium?": "Not stated.",
    }
    rows = [row(instruction) | {"check": "exact"} for instruction in asked]
    rows[2]["check"], rows[3] = "none", row("The potassium?", answerable=False)
    shown = drawn_of(rows, {"candidate": list(asked.values())}, 0)
    found = {example["instruction"]: (example["fault"], example["right"], example["drawn"]) for example in shown}
    assert found == {
        "How much?": (None, "equals the reference answer", True),
        "Which dose?": (FAULTS[4], None, False),
        "Which drug?": (None, None, True),
        "The potassium?": (None, "rightly says that the note does not tell", True),
    }


def test_a_text_that_is_cut_says_so() -> None:
    (example,) = drawn_of([row("What? " * 1000)], {"candidate": ["100 mg. " * 1000], "base": ["Short."]}, 0)
    texts = example["instruction"], example["answers"]["candidate"]
    assert all(len(text) == 4002 and text.endswith(" …") for text in texts)
    assert example["answers"]["base"] == "Short."


def test_then_others_are_drawn_whatever_their_fault() -> None:
    rows = [row(f"Question {number}", task=str(number % 7)) for number in range(60)]
    answers = ["100 mg" if number % 2 else "50 mg" for number in range(60)]
    first, again, other = (drawn_of(rows, {"candidate": answers}, seed) for seed in (1, 1, 2))
    drawn = [example for example in first if example["drawn"]]
    assert len(first) == len({example["instruction"] for example in first}) and len(drawn) == 8
    assert {example["fault"] for example in drawn} == {None, FAULTS[1]}
    assert first == again and first[:6] == other[:6] and first != other
