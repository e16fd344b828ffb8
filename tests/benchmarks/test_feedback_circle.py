"""The whole circle on real parts, Chromium and Ceph's RADOS Gateway, signed throughout: a run; two answers flagged on
the page; two reviewers judge them, and a third settles what they disagree about; the same command again, as a schedule
gives it, trains on the corrections and does better on those very questions asked in other words; two people approve it,
neither of whom started it; champion; documents.

A model that trains in a minute on a CPU answers no question rightly. Better means that the right answers to the
reworded questions are likelier than before, and by more than right answers of the same kind about notes that nobody
has flagged.

python -m pytest tests/benchmarks/test_feedback_circle.py --benchmarks -s
CLINADAPT_SCREENSHOTS names a folder for pictures of the pages.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import document_checks as checks
import pytest
import yaml
from approvals import Person, people, policy
from browsing import MARKS, WAIT, Page, Shot, serving, visiting
from review_cases import keys
from s3_support import a_store
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from support import LENIENT_INSTRUCT, instruct_profile, quiet_environment

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.signing import APPROVER_KEY, SIGNING_KEY, VERIFY_KEY
from clinadapt.feedback.corrections import REDACTED
from clinadapt.feedback.flags import FAULTS
from clinadapt.feedback.settled import settled_cases
from clinadapt.models.chat_template import Question
from clinadapt.registry.adapters import download_adapter
from clinadapt.registry.champion import champion, history
from clinadapt.review.protection import PROXIES, USER_HEADER
from clinadapt.storage.object_store import Store

pytestmark = MARKS
NAME = "answers"
LLAMA = {"vocab_size": 600, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip


@dataclass(frozen=True)
class Flagged:
    """A question that the adapter answers wrongly, the right answer, and the same question in other words."""

    note: str
    question: str
    right: str
    reworded: str


FLAGGED = [
    Flagged(
        "MEDICATIONS: Lisinopril 20 mg daily, metformin 500 mg twice daily. HISTORY: A dry cough since the first drug "
        "was begun. No fever. PLAN: Stop lisinopril. Begin losartan 50 mg daily.",
        "Which drug is stopped?",
        "Lisinopril is stopped.",
        "What does the patient no longer take?",
    ),
    Flagged(
        "INDICATION: Visible haematuria for two days. PROCEDURE: Cystoscopy. A papillary tumour of the bladder, beside "
        "the left ureter. PLAN: Resection next week.",
        "Where is the tumour?",
        "In the bladder, beside the left ureter.",
        "At which place was the papillary growth seen?",
    ),
]
# Of the same kinds, about notes that nobody has flagged
UNTOUCHED = [
    Flagged(
        "MEDICATIONS: Warfarin 5 mg daily, aspirin 81 mg daily. HISTORY: Bruises of both arms. No fall. PLAN: Stop "
        "aspirin. INR in one week.",
        "Which drug is stopped?",
        "Aspirin is stopped.",
        "What does the patient no longer take?",
    ),
    Flagged(
        "INDICATION: Cough for two months. PROCEDURE: Bronchoscopy. A polypoid tumour of the right upper lobe, beside "
        "the carina. PLAN: Await histology.",
        "Where is the tumour?",
        "In the right upper lobe, beside the carina.",
        "At which place was the polypoid growth seen?",
    ),
]


@dataclass(frozen=True)
class Hospital:
    """A store, the registry's keys, a profile and the people who may approve; Carl starts the runs."""

    store: Store
    profile: Path
    folder: Path
    registry: dict[str, str]
    anna: Person
    ben: Person
    carl: Person

    def clinadapt(self, *arguments: str | Path, approver: Person | None = None) -> subprocess.CompletedProcess[str]:
        """Run the installed command with the registry's keys, and perhaps with a person's own."""
        environment = quiet_environment() | self.registry | ({APPROVER_KEY: approver.private} if approver else {})
        command = [Path(sys.executable).with_name("clinadapt"), *arguments, "--store", self.store.uri]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=self.folder
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """The scheduled run: always the same command. Returns what it prints as JSON."""
        start = time.monotonic()
        done = self.clinadapt(
            "run", "instruct", "--profile", self.profile, "--home", self.folder / "home", "--json", approver=self.carl
        )
        assert done.returncode == 0, done.stderr
        print(f"run: {time.monotonic() - start:.0f} s")
        return dict(json.loads(done.stdout))

    def decide(self, version: str, person: Person) -> subprocess.CompletedProcess[str]:
        return self.clinadapt(
            "registry", "approve", f"{NAME}/{version}", "--reason", "report read, no worse for anybody",
            approver=person,
        )  # fmt: skip

    def champion(self) -> str | None:
        return (champion(self.store, NAME) or (None,))[0]


def circle_profile(store: Store, approvers: Sequence[Person]) -> dict[str, Any]:
    """A model and a run as small as they can be, on built-in cases and on what people said."""
    small = {"max_length": 320, "learning_rate": 0.003}
    return instruct_profile(
        sources=[
            {"kind": "cases", "uri": "builtin://cases?rows=60&seed=7"},
            {"kind": "feedback", "uri": f"{store.uri}/flagged/"},
        ],
        synthesis={"triples_per_note": 3},
        examples={"max_length": 320, "test_share": 0.15, "validation_share": 0.1},
        pretrain={"method": "full", "llama": LLAMA, "per_device_train_batch_size": 4, "num_train_epochs": 6, **small},
        instruct={
            "base_model": "builtin://llama", "lora": {"r": 16, "lora_alpha": 32}, "per_device_train_batch_size": 2,
            "num_train_epochs": 6, **small,
        },
        preference={"learning_rate": 1e-3, "num_train_epochs": 4, "max_length": 320, "beta": 0.1},
        evaluation={"rows_per_task": 2, "max_new_tokens": 16, "counterfactual_rows": 0},
        review={"riskiest": 6, "random": 4, "reviewers": 3},
        gate=LENIENT_INSTRUCT | {"approval": policy([person.entry for person in approvers])},
    )  # fmt: skip


@pytest.fixture
def hospital(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    private, public = keys()
    registry = {SIGNING_KEY: private, VERIFY_KEY: public}
    for name, value in registry.items() | {("no_proxy", "localhost,127.0.0.1"), ("NO_PROXY", "localhost,127.0.0.1")}:
        monkeypatch.setenv(name, value)
    store = a_store("rgw", request)
    anna, ben, carl = people("anna", "ben", "carl")
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(circle_profile(store, [anna, ben, carl])), encoding="utf-8")
    yield Hospital(store, path, tmp_path, registry, anna, ben, carl)


def served(hospital: Hospital, adapter: str, folder: str) -> Any:
    """The review page behind a proxy that names the user."""
    (hospital.folder / folder).mkdir()
    proxy = {USER_HEADER: "X-Forwarded-User", PROXIES: "127.0.0.1"}
    return serving(hospital.store.uri, adapter, hospital.folder / folder, **hospital.registry, **proxy)


def sign_in(browser: Any, user: str) -> None:
    """Let the proxy name another user."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"X-Forwarded-User": user}})


def press(browser: Any, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def flag(page: Page, case: Flagged) -> str:
    """Ask on a page that has just been opened, and flag the answer with the right one; the wrong answer."""

    def value(label: str) -> str:
        return str(page.field(label).get_attribute("value"))

    page.write("Clinical note", case.note)
    page.write("Instruction", case.question)
    page.press("Submit")
    empty = "//p[@role='status'][contains(., 'The adapter wrote no answer')]"
    WebDriverWait(page.browser, WAIT).until(lambda b: value("Answer") or b.find_elements(By.XPATH, empty))
    page.see("//button[normalize-space()='Stop' and @disabled]")
    answer = value("Answer")
    page.choose("What is wrong?", FAULTS["wrong"])
    page.write("What should it say? (optional)", case.right)
    page.press("Flag")
    page.status("Flagged, thank you")
    return answer


def judge(page: Page, judgements: Sequence[tuple[Flagged | None, Sequence[str]]]) -> None:
    """Judge the first cases of the queue by keyboard; each is about the note of a flag, or about any."""
    page.tab("Review queue")
    for number, (case, typed) in enumerate(judgements):
        page.see(f"//p[@class='case-heading'][contains(., 'judged by you: {number} ')]")
        if case:
            note = page.browser.find_element(By.CSS_SELECTOR, ".case-note").text
            assert case.note[:40] in note, "what was flagged comes first"
        for part in typed:
            press(page.browser, part)
        press(page.browser, Keys.ENTER)
        page.status("Stored: ")
        page.see(f"//p[@class='case-heading'][contains(., 'judged by you: {number + 1} ')]")


def judge_what_was_flagged(browser: Any, url: str, shot: Shot) -> list[str]:
    """Nina flags two answers; Rita and Omar judge them; Zoe settles what they disagree about. The wrong answers."""
    first, second = FLAGGED
    sign_in(browser, "nina")
    wrong = []
    for case in FLAGGED:
        with visiting(browser, url, NAME) as page:
            wrong.append(flag(page, case))
            shot("circle-flagged")
    sign_in(browser, "rita")
    with visiting(browser, url, NAME) as page:
        judge(page, [(first, ["w", "c", first.right]), (second, ["u", "c", second.right])])
        shot("circle-queue")
    sign_in(browser, "omar")
    with visiting(browser, url, NAME) as page:
        judge(page, [(first, ["w"]), (second, ["r"])])
    sign_in(browser, "zoe")
    with visiting(browser, url, NAME) as page:
        judge(page, [(None, ["r"])])
        page.tab("Agreement")
        page.see("//p[@class='case-heading'][contains(., 'Disagreement, 1 of 1: you settle it')]")
        page.see("//p[contains(@class, 'case-mark')][contains(., 'omar: right')]")
        shot("circle-agreement")
        press(browser, "w", "c")
        press(browser, second.right)
        press(browser, Keys.ENTER)
        page.status("Settled.")
    return wrong


def losses(version: str, store: Store, cases: Sequence[Flagged]) -> list[float]:
    """-log p in nats of the right answers to the questions in other words, by a published version."""
    from clinadapt.models.generator import Generator

    folder, _ = download_adapter(f"{NAME}/{version}", store.uri)
    generator = Generator(folder)
    sums, _ = generator.answer_losses([Question(case.note, case.reworded) for case in cases], [c.right for c in cases])
    return [float(each) for each in sums]


def test_what_people_correct_is_trained_approved_and_documented(hospital: Hospital, browser: Any, shot: Shot) -> None:
    store = hospital.store
    first = hospital.run()
    assert first["state"] == "awaiting approval" and hospital.champion() is None
    for person in (hospital.anna, hospital.ben):
        assert hospital.decide(first["run_key"], person).returncode == 0
    assert hospital.champion() == first["run_key"]

    with served(hospital, NAME, "page") as url:
        wrong = judge_what_was_flagged(browser, url, shot)
        browser.get("about:blank")
    check_settled(store)

    second = hospital.run()
    check_second(hospital, first, second)
    check_better(first["run_key"], second["run_key"], store, wrong)
    check_approval(hospital, browser, first["run_key"], second["run_key"], shot)
    check_documents(hospital, second["run_key"])


def check_settled(store: Store) -> None:
    """What two said alike is settled, and what a third decided."""
    settled = {each.case.note: each for each in settled_cases(store, NAME) if each.correction}
    assert {case.note: case.right for case in FLAGGED} == {note: each.correction for note, each in settled.items()}
    assert [settled[case.note].how for case in FLAGGED] == ["agreed", "third"]


def check_second(hospital: Hospital, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Nobody touched the command: both corrections are trained on, as answers and as pairs for DPO."""
    assert second["state"] == "awaiting approval" and second["run_key"] != first["run_key"]
    version = f"adapters/{NAME}/{second['run_key']}"
    data, training, evaluation = (
        json.loads(hospital.store.get(f"{version}/{file}.json")[0]) for file in ("data", "training", "evaluation")
    )
    assert (data["feedback"]["judged"], sum(data["feedback"]["used"].values())) == (3, 2)
    redacted = data["feedback"]["quarantined"].get(REDACTED, 0)  # so small a model may write long numbers
    assert data["feedback"]["pairs"] == training["preference"]["pairs"] == 2 - redacted
    assert evaluation["feedback"]["rows"] == 2


def check_better(before: str, after: str, store: Store, wrong: Sequence[str]) -> None:
    """The right answers to the reworded questions are likelier than before, and by more than those of the same kind
    about notes that nobody has flagged."""
    cases = [*FLAGGED, *UNTOUCHED]
    pairs = list(zip(losses(before, store, cases), losses(after, store, cases), strict=True))
    for case, (earlier, later) in zip(cases, pairs, strict=True):
        what = "corrected" if case in FLAGGED else "untouched"
        print(f"{what}: {case.reworded} -> {case.right}  loss {earlier:.2f} -> {later:.2f} nats")
    print(f"answered before: {list(wrong)}")
    gains = [earlier - later for earlier, later in pairs]
    assert min(gains[:2]) > 0 and sum(gains[:2]) > sum(gains[2:])


def check_approval(hospital: Hospital, browser: Any, before: str, version: str, shot: Shot) -> None:
    """Anna approves on the page, Ben with his key; Carl, who started the run, cannot, nor Anna twice."""
    refused = hospital.decide(version, hospital.carl)
    assert refused.returncode == 2 and "started" in refused.stderr, refused.stderr
    with served(hospital, f"{NAME}/{version}", "approval") as url:
        sign_in(browser, "anna")
        with visiting(browser, url, NAME) as page:
            page.tab("Approval")
            page.see("//p[contains(., '2 of: anna, ben, carl')]")
            page.write("Reason", "report read, it learned from the corrections")
            shot("circle-approval")
            page.press("Approve")
            page.status(f"Stored. {NAME}/{version}: awaiting approval: 1 of 2")
            shot("circle-approved")
        browser.get("about:blank")
    twice = hospital.decide(version, hospital.anna)
    assert twice.returncode == 2 and "one person counts once" in twice.stderr
    assert hospital.champion() == before
    assert hospital.decide(version, hospital.ben).returncode == 0
    assert hospital.champion() == version
    last = history(hospital.store, NAME)[-1]
    assert last["by"] == "anna, ben" and [each["by"] for each in last["approvals"]] == ["anna", "ben"]


def check_documents(hospital: Hospital, version: str) -> None:
    """They say what the run and the registry know, the corrections and the approvals among it."""
    folder = hospital.folder / "documents"
    done = hospital.clinadapt("registry", "documents", NAME, "--to", folder)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    checks.check_complete(folder)
    assert checks.check_values(folder, folder / "records") > 200
    checks.check_same_texts(folder)
    checks.check_chai(folder / "chai-applied-model-card.xml")
    registry = read_json(folder / "records/registry.json")
    assert registry["champion"] == version and [each["by"] for each in registry["approvals"]] == ["anna", "ben"]
    assert [each["version"] for each in registry["runs"]][-1] == version
    assert registry["runs"][-1]["within"], registry["runs"][-1]["outside"]
