"""The review page of an instruct adapter in a real browser: headless Chromium, a real adapter, a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, WAIT, Page, Shot, serving, visiting
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from support import make_adapter

from clinadapt.feedback.flags import FAULTS
from clinadapt.review.instruct_tab import INSTRUCTIONS
from clinadapt.review.widgets import EXAMPLES

pytestmark = MARKS

NOTE = "INDICATION: Gross haematuria. Aspirin 100 mg was stopped."
ASK = "Which drug was stopped?"
VERSION = "0123456789abcdef"


def publish(folder: Path, base: Path, name: str, max_new_tokens: int) -> Path:
    """A store with a random instruct adapter that writes so many tokens, as champion of its name."""
    from clinadapt.artifacts.hashing import write_json
    from clinadapt.artifacts.manifest import MANIFEST, write_manifest
    from clinadapt.artifacts.signing import sign_manifest
    from clinadapt.registry.champion import promote
    from clinadapt.storage import open_store
    from clinadapt.storage.transfer import upload_folder

    adapter = make_adapter(folder / "adapter", base, seed=1)
    card = adapter / "clinadapt.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"max_length": 2048, "max_new_tokens": max_new_tokens}))
    write_json(adapter / MANIFEST, sign_manifest(write_manifest(adapter, {"name": name, "version": VERSION})))
    store = open_store((folder / "store").as_uri())
    upload_folder(store, adapter, f"adapters/{name}/{VERSION}")
    promote(store, name, VERSION, "", {})
    return folder / "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    return publish(tmp_path_factory.mktemp("assistant"), tiny_llama, "assistant", 40)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server writes what it writes."""
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def url(store: Path, served: Path) -> Iterator[str]:
    with serving(store, "assistant", served) as address:
        yield address


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    with visiting(browser, url, "assistant") as shown:
        yield shown


@pytest.fixture(scope="module")
def long_url(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of an adapter that writes for many seconds."""
    folder = tmp_path_factory.mktemp("review-long")
    with serving(publish(tmp_path_factory.mktemp("talker"), tiny_llama, "talker", 1000), "talker", folder) as address:
        yield address


def ask(page: Page, note: str = NOTE, instruction: str = ASK) -> None:
    page.write("Clinical note", note)
    page.write("Instruction", instruction)
    page.press("Submit")


def value(page: Page, label: str) -> str:
    return page.field(label).get_attribute("value")


def wait_for(page: Page, label: str, text: str) -> None:
    WebDriverWait(page.browser, WAIT).until(lambda _: value(page, label) == text, f"{label}: {text}")


def test_an_answer_is_what_the_adapter_answers_with_its_remarks(page: Page, store: Path, shot: Shot) -> None:
    from clinadapt.review.instruct import InstructService, remarks

    page.see("//button[@role='tab' and normalize-space()='Instruct']")
    page.see(f"//p[contains(., '/adapters/assistant/{VERSION}')]")
    page.see("//p[starts-with(., 'Not a medical device')]")
    shot("instruct-empty")
    wanted = InstructService("assistant", store.as_uri()).answer(NOTE * 100, ASK)
    assert len(remarks(wanted)) >= 2, "cut off, and a note too long"
    ask(page, NOTE * 100)
    assert page.status("did not see").split("\n") == remarks(wanted)
    assert value(page, "Answer") == wanted["answer"]
    shot("instruct-answer")
    page.press("Clear")
    wait_for(page, "Clinical note", "")
    wait_for(page, "Answer", "")


def test_an_example_fills_the_instruction(page: Page, shot: Shot) -> None:
    page.press("Chest pain on exertion")
    wait_for(page, "Clinical note", EXAMPLES["Chest pain on exertion"])
    page.see("//input[@aria-label='Example instructions']").click()
    page.see("//ul[@role='listbox']")
    shot("instruct-choices")
    task, text = "Summarization", INSTRUCTIONS["Summarization"]
    page.see(f"//ul[@role='listbox']/li[@aria-label='{task}: {text}']").click()
    wait_for(page, "Instruction", text)
    page.press("Submit")
    page.status("cut off")
    shot("instruct-example")


def test_a_text_file_is_opened_and_deleted(page: Page, served: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "note.txt", tmp_path / "latin.txt"
    good.write_text(NOTE)
    bad.write_bytes("gross hématurie".encode("latin-1"))
    upload = page.browser.find_element(By.CSS_SELECTOR, "input[type=file]")
    upload.send_keys(str(good))
    wait_for(page, "Clinical note", NOTE)
    upload.send_keys(str(bad))
    assert page.status("Not read").startswith("Not read – latin.txt is not UTF-8")
    assert value(page, "Clinical note") == NOTE
    assert not [path for path in served.rglob("*") if path.name in (good.name, bad.name)]


@pytest.mark.parametrize(
    ("note", "instruction", "reason"),
    [("  ", ASK, "the note has no text"), (NOTE, "", "the instruction has no text"), (NOTE, "x" * 4_001, "4,000")],
)
def test_an_unusable_question_is_an_error_line(page: Page, note: str, instruction: str, reason: str) -> None:
    ask(page, note, instruction)
    assert page.status(reason).startswith("Not answered – the ")
    page.press("Flag")
    page.status("there is no answer to flag")


def test_a_flag_is_stored_with_what_is_wrong(page: Page, store: Path, shot: Shot) -> None:
    ask(page)
    page.status("cut off")
    page.press("Flag")
    page.status("choose what is wrong")
    page.choose("What is wrong?", FAULTS["invented"])
    page.write("What should it say?", "Aspirin.")
    page.press("Flag")
    path = Path(page.status("Stored as file://").partition("file://")[2])
    shot("instruct-flagged")
    assert path.parent == store / f"flagged/assistant/{VERSION}"
    record = json.loads(path.read_text())
    assert (record["note"], record["answer"]["instruction"]) == (NOTE, ASK)
    assert (record["fault"], record["correction"], record["comment"]) == ("invented", "Aspirin.", None)
    page.press("Flag")
    page.status("choose what is wrong")


def grow(page: Page) -> None:
    """Wait until an answer has been seen in five lengths."""
    seen = set()
    WebDriverWait(page.browser, WAIT, 0.05).until(lambda _: seen.add(value(page, "Answer")) or len(seen) > 4)


def wait_for_submit(page: Page) -> None:
    page.see("//button[normalize-space()='Submit' and not(@disabled)]")
    page.see("//button[normalize-space()='Stop' and @disabled]")


def test_an_answer_appears_as_it_is_written_and_can_be_stopped(browser: Any, long_url: str, shot: Shot) -> None:
    with visiting(browser, long_url, "talker") as page:
        for _ in range(3):  # the next would wait for the last, were it still written
            ask(page)
            grow(page)
            page.status("Answering")
            shot("instruct-writing")
            page.press("Stop")
            page.status("Stopped: the answer is not complete.")
            wait_for_submit(page)
        shot("instruct-stopped")
        stopped = value(page, "Answer")
        page.press("Flag")
        page.status("there is no answer to flag")
        assert value(page, "Answer") == stopped
        ask(page)
        grow(page)
        page.press("Clear")
        wait_for_submit(page)
        wait_for(page, "Answer", "")


def test_who_waits_for_another_reader_can_stop_too(browser: Any, long_url: str) -> None:
    with visiting(browser, long_url, "talker") as first:
        ask(first)
        grow(first)
        writing = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(long_url)
        second = Page(browser, "talker")
        ask(second)
        second.status("Answering")
        second.press("Stop")
        second.status("Stopped")
        wait_for_submit(second)
        assert not value(second, "Answer")
        browser.close()
        browser.switch_to.window(writing)
        first.status("cut off")


def test_stopping_the_server_stops_an_answer(browser: Any, tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(publish(tmp_path, tiny_llama, "talker", 1900), "talker", folder) as url:
        browser.get(url)
        page = Page(browser, "talker")
        ask(page)
        WebDriverWait(browser, WAIT).until(lambda _: len(value(page, "Answer")) > 20)
    browser.get("about:blank")
