"""A classifier's review page and a run's report in a real browser: headless Chromium, a real adapter and server."""

from __future__ import annotations

import csv
import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from browsing import MARKS, WAIT, Page, Shot, serving, visiting
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from support import Run

pytestmark = MARKS

NOTE = "INDICATION: Gross haematuria. PROCEDURE: Cystoscopy. A papillary tumour of the bladder beside the left ureter."


@pytest.fixture(scope="module")
def url(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(demo_run.store, "specialty", tmp_path_factory.mktemp("review"), cold=True) as address:
        yield address


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    with visiting(browser, url, "specialty") as shown:
        yield shown


def test_the_page_says_who_answers(page: Page, shot: Shot) -> None:
    page.see("//p[contains(., '/adapters/specialty/')]")
    page.see("//p[starts-with(., 'Not a medical device')]")
    page.press("Chest pain on exertion")
    WebDriverWait(page.browser, WAIT).until(lambda _: page.field("Clinical note").get_attribute("value"))
    page.press("Submit")
    page.shares()
    shot("example")


def test_an_answer_as_text_and_as_json_is_what_the_adapter_answers(page: Page, demo_run: Run, shot: Shot) -> None:
    from clinadapt.review.classify import ClassifyService

    service = ClassifyService("specialty", demo_run.store.as_uri())
    wanted = service.answer(NOTE)
    page.write("Clinical note", NOTE)
    page.press("Submit")
    assert page.shares() == {label: pytest.approx(100 * p, abs=0.51) for label, p in wanted["probabilities"].items()}
    if wanted["label"] == "unsure":
        assert page.status("Unsure").split("\n")[0] == service.remark(wanted).split("\n")[0]
    else:
        assert page.see("//*[@data-testid='label-output-value']").text == wanted["label"]
    shot("answer-text")
    page.output("JSON")
    answer = page.json()
    shot("answer-json")
    assert answer.pop("probabilities") == pytest.approx(wanted.pop("probabilities"), abs=0.0002)
    assert answer == wanted
    page.press("Clear")
    assert WebDriverWait(page.browser, WAIT).until(lambda _: not page.field("Clinical note").get_attribute("value"))


def test_the_page_warns_of_a_part_that_the_model_did_not_see(page: Page, shot: Shot) -> None:
    page.write("Clinical note", NOTE * 200)
    page.press("Submit")
    assert page.status("did not see the last").endswith("% of this note.")
    shot("answer-unseen")


@pytest.mark.parametrize(
    "name, text, reason", [("empty", " \n ", "no text"), ("long", "a " * 100_001, "200,000 characters")]
)
def test_an_unusable_note_is_an_error_line(page: Page, shot: Shot, name: str, text: str, reason: str) -> None:
    page.write("Clinical note", text)
    page.press("Submit")
    assert page.status(reason).startswith("Not answered – the note has ")
    shot(f"note-{name}")
    page.press("Flag")
    page.status("there is no answer to flag")


def test_a_flag_is_stored_with_the_correction(page: Page, demo_run: Run, shot: Shot) -> None:
    page.press("Flag")
    page.status("there is no answer to flag: submit a note first")
    page.write("Clinical note", NOTE)
    page.press("Submit")
    page.shares()
    page.press("Flag")
    page.status("choose what it should be")
    page.choose("What should it be?", "none of these")
    page.write("Comment", "is dermatology")
    page.press("Flag")
    path = Path(page.status("Stored as file://").partition("file://")[2])
    shot("flagged")
    assert path.parent == demo_run.store / "flagged/specialty" / demo_run.result["run_key"]
    record = json.loads(path.read_text())
    assert record["answer"]["adapter"].endswith(f"/adapters/specialty/{demo_run.result['run_key']}")
    assert (record["note"], record["correction"], record["comment"]) == (NOTE, None, "is dermatology")
    assert record["reviewer"] == getpass.getuser(), "who started the page"
    page.press("Flag")
    page.status("choose what it should be")


def test_a_file_is_answered_and_its_empty_row_named(page: Page, downloads: Path, tmp_path: Path, shot: Shot) -> None:
    notes = tmp_path / "notes.csv"
    with notes.open("w", newline="") as file:
        rows = [[number, "x", "" if number == 3 else NOTE] for number in range(1, 41)]
        csv.writer(file).writerows([["", "id", "transcription"], *rows])
    page.tab("Many notes")
    page.see("//p[contains(., 'one note per row')]")
    shot("file-before")
    page.press("Answer all")
    page.status("Choose a file")
    page.upload(notes)
    page.press("Answer all")
    assert (
        page.status("rows answered")
        == "39 of 40 rows answered; 1 could not be used (row 3): the column error says why."
    )
    page.see("//*[normalize-space(text())='no text']")
    assert "haematuria" not in page.browser.find_element(By.TAG_NAME, "body").text
    shot("file-after")
    page.press("Download all answers as CSV")
    path = downloads / "answers.csv"
    WebDriverWait(path, WAIT).until(lambda p: p.exists() and p.stat().st_size)
    with path.open(newline="") as file:
        answers = list(csv.DictReader(file))
    assert [int(answer["row"]) for answer in answers] == list(range(1, 41))
    assert [answer["row"] for answer in answers if answer["error"]] == ["3"]
    assert all(answer["label"] and 0 < float(answer["probability"]) <= 1 for answer in answers if not answer["error"])


def test_a_long_file_shows_how_far_it_is_and_can_be_stopped(page: Page, tmp_path: Path, shot: Shot) -> None:
    notes = tmp_path / "notes.jsonl"
    notes.write_text(f"{json.dumps({'text': NOTE * 20})}\n" * 5000)
    page.tab("Many notes")
    page.upload(notes)
    page.press("Answer all")
    page.status("Choose a file and the column")
    page.choose("Column with the text of the note", "text")
    page.press("Answer all")
    page.status(" of 5,000 rows")
    shot("file-running")
    page.press("Stop")
    page.status("Stopped")
    shot("file-stopped")
    page.press("Answer all")
    page.status(" of 5,000 rows")
    page.press("Stop")
    page.status("Stopped")


def test_a_broken_file_is_an_error_line(page: Page, tmp_path: Path, shot: Shot) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text('transcription\nfirst\n"never closed\n')
    page.tab("Many notes")
    page.upload(broken)
    page.press("Answer all")
    page.status("a quote opened after line 2 is never closed")
    shot("file-broken")


def log_in(browser: Any, user: str, password: str) -> None:
    for kind, text in (("text", user), ("password", password)):
        css = f"input[type={kind}]"
        field = WebDriverWait(browser, WAIT).until(lambda b, css=css: b.find_element(By.CSS_SELECTOR, css))
        field.clear()
        field.send_keys(text)
    browser.find_element(By.XPATH, "//button[normalize-space()='Login']").click()


def test_others_have_to_log_in_and_are_named_in_the_flag(
    demo_run: Run, browser: Any, tmp_path: Path, shot: Shot
) -> None:
    login = {"CLINADAPT_REVIEW_USER": "rita", "CLINADAPT_REVIEW_PASSWORD": "correct horse"}
    folder = tmp_path / "server"  # apart from the screenshots
    folder.mkdir()
    with serving(demo_run.store, "specialty", folder, "--host", "0.0.0.0", **login) as url:
        with urlopen(url) as answer:
            assert answer.status == 200, "what probes ask"
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{url}config")
        browser.get(url)
        log_in(browser, "rita", "wrong")
        WebDriverWait(browser, WAIT).until(lambda b: "Incorrect" in b.page_source)
        shot("login")
        log_in(browser, "rita", "correct horse")
        page = Page(browser, "specialty")
        page.write("Clinical note", NOTE)
        page.press("Submit")
        page.shares()
        page.choose("What should it be?", "none of these")
        page.press("Flag")
        flagged = Path(page.status("Stored as file://").partition("file://")[2])
        browser.get("about:blank")
    assert json.loads(flagged.read_text())["reviewer"] == "rita"


@pytest.mark.parametrize("option, value, reason", [("--host", "0.0.0.0", "_PASSWORD"), ("--port", "99999", "99999")])
def test_a_bad_option_is_an_error_line(clinadapt: Any, option: str, value: str, reason: str) -> None:
    done = clinadapt("review", "--adapter", "specialty", option, value)
    assert done.returncode == 2 and reason in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_report_of_the_run_shows(browser: Any, demo_run: Run, shot: Shot) -> None:
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(demo_run.result["report_uri"])
    heading = WebDriverWait(browser, WAIT).until(lambda b: b.find_element(By.TAG_NAME, "h1"))
    assert heading.is_displayed() and "specialty" in browser.find_element(By.TAG_NAME, "body").text
    charts = browser.find_elements(By.CSS_SELECTOR, "figure svg")
    assert charts and all(chart.is_displayed() and chart.size["height"] > 50 for chart in charts)
    assert browser.get_log("browser") == []
    shot("report")
