"""What is counted of a note and of an answer."""

from __future__ import annotations

import time

import pytest

from clinadapt.monitoring.language import language, languages
from clinadapt.monitoring.observations import FIGURES, of_answer, of_latency, of_note, of_prediction
from clinadapt.monitoring.tasks import TASKS, task_of
from clinadapt.review.instruct_tab import INSTRUCTIONS
from clinadapt.review.widgets import EXAMPLES

NOTES = {
    "de": "Der Patient wurde mit Fieber in die Klinik aufgenommen. Kein Hinweis auf eine Pneumonie bei der Aufnahme.",
    "fr": "Le patient est admis pour une douleur du genou, sans fièvre. Pas de traumatisme, il est traité par AINS.",
    "es": "Paciente de 60 años con dolor en el pecho, sin fiebre. No se observa edema en las piernas.",
    "it": "La paziente è stata ricoverata per dolore toracico con una storia di ipertensione, non fumatrice.",
    "pt": "Doente internada por dor torácica, sem febre, com uma história de hipertensão e não fumadora do bairro.",
    "nl": "De patiënt is opgenomen met een pneumonie. Geen koorts bij opname, wordt niet met antibiotica behandeld.",
    "sv": "Patienten har haft feber och hosta i en vecka. Inte rökare, är på väg till röntgen med ambulans.",
    "pl": "Pacjent przyjęty z powodu bólu w klatce, bez gorączki. Nie pali, jest po zawale i ma cukrzycę od lat.",
    "ru": "Пациент поступил с болью в груди, температура нормальная.",
    "el": "Ο ασθενής εισήχθη με πόνο στο στήθος.",
    "ja": "患者は胸の痛みで入院した。発熱はない。",
    "zh": "患者因胸痛入院，无发热。",
    "unknown": "BP 148/86, HR 78. Na 140, K 4.2.",
}


@pytest.mark.parametrize("code", NOTES)
def test_the_language_of_a_note(code: str) -> None:
    assert language(NOTES[code]) == code in languages()


def test_the_language_of_examples_of_nothing_and_of_anything() -> None:
    assert {language(text) for text in EXAMPLES.values()} == {"en"}
    for text in ("", "   ", "\x00\ud800\U0010ffff", "a" * 200_000, "٣ ٤", "🙂"):
        assert language(text) in languages()


def test_the_task_of_an_instruction() -> None:
    wrong = {text: task_of(text) for task, text in INSTRUCTIONS.items() if task_of(text) != task}
    assert wrong == {}
    assert task_of("") == task_of("Hallo") == "Other"
    assert set(TASKS) == set(FIGURES["task"].cells)


def test_a_long_instruction_takes_no_time() -> None:
    """A regular expression holds the interpreter, and with it the gateway."""
    start = time.monotonic()
    assert task_of("list of " * 100_000) == "Other"
    assert time.monotonic() - start < 1


def test_an_answer() -> None:
    seen = of_answer("Which drugs were given?", "The note does not mention any drug.", True, ["supported", "not found"])
    assert seen["refusals"] == "yes" and seen["unsupported"] == "yes" and seen["contradicted"] == "no"
    assert seen["cut_off"] == "no"
    seen = of_answer("Which drugs were given?", "Aspirin 100 mg", False, ["contradicted"])
    assert {seen[name] for name in ("unsupported", "contradicted", "cut_off")} == {"yes"} and seen["refusals"] == "no"
    assert of_answer("x", "y", True, [])["unsupported"] == "no"


@pytest.mark.parametrize(
    ("observation", "cell"),
    [
        (of_note(""), "under 250"),
        (of_note("x" * 250), "250 to 500"),
        (of_note("x" * 20_000), "16000 and more"),
        (of_prediction("Urology", 0.0), "0 to 0.1"),
        (of_prediction("Urology", 1.0), "0.9 to 1"),
        (of_prediction("Urology", 0.55), "0.5 to 0.6"),
        (of_latency(0.0), "under 0.1"),
        (of_latency(0.1), "0.1 to 0.3"),
        (of_latency(1e9), "100 and more"),
    ],
)
def test_bands(observation: dict[str, str], cell: str) -> None:
    assert cell in observation.values()
    assert all(cell in FIGURES[name].cells for name, cell in observation.items() if FIGURES[name].cells)
