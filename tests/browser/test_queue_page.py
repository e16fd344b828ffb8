"""The tabs of the review queue in a real browser: cases judged by keyboard, and a disagreement settled."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, WAIT, Page, Shot, visiting
from ports import free_ports
from review_cases import NAME, VERSION, a_flag, a_queue

pytest.importorskip("selenium.webdriver")
pytest.importorskip("gradio")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from clinadapt.feedback.marks import Judgement, add_mark
from clinadapt.feedback.settled import read_reviews, settled_cases
from clinadapt.feedback.worklist import Worklist
from clinadapt.registry.champion import actor
from clinadapt.storage.folder_store import FolderStore

pytestmark = MARKS
CASES = 20


@dataclass
class Site:
    """A served queue."""

    store: FolderStore
    url: str


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The tabs alone, without a model, as `clinadapt review` serves them on this machine."""
    import gradio as gr

    from clinadapt.review.protection import Access
    from clinadapt.review.queue_tab import review_tabs
    from clinadapt.review.server import _launch, warm_up

    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    warm_up()  # as serve() does
    store = FolderStore((tmp_path / "store").as_uri())
    a_queue(store, risky=CASES - 4, drawn=4, population=100)
    with gr.Blocks(title=NAME, analytics_enabled=False) as page:
        gr.HTML(f"<h1>{NAME}</h1>")
        review_tabs(Worklist(store, NAME, VERSION))
    port = free_ports()
    _launch(page, "127.0.0.1", port, None, Access.from_environment(False))
    yield Site(store, f"http://127.0.0.1:{port}/")
    page.close(verbose=False)


def press(browser: Any, *keys: str) -> int:
    """Press keys, each character of a text one; how many."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()
    return sum(map(len, keys))


def case(page: Page, number: int) -> str:
    """Wait for a case by its place in the queue; its id."""
    page.see(f"//p[@class='case-heading'][starts-with(., 'Case {number} ')]")
    return page.browser.find_element(By.CSS_SELECTOR, ".case").get_attribute("data-case")


def test_twenty_cases_by_keyboard(browser: Any, site: Site, shot: Shot, record_property: Callable[..., None]) -> None:
    seconds, keys = [], []
    with visiting(browser, site.url, NAME) as page:
        page.tab("Review queue")
        for number in range(1, CASES + 1):
            case(page, number)
            start = time.monotonic()
            if number == 1:  # the dose is wrong, and could harm
                pressed = press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, " ", "u", "c")
                pressed += press(browser, "lisinopril 20 mg")
                shot("queue")
            elif number % 4:
                pressed = press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, " ")
            else:
                pressed = press(browser, "r")
            keys.append(pressed + press(browser, Keys.ENTER))
            if number < CASES:
                case(page, number + 1)
            else:
                page.status("Nothing is left for you to judge: you have judged 20")
            seconds.append(time.monotonic() - start)
    record_property("seconds of a case", statistics.median(seconds))
    print(f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s a case; keys {keys}")
    reviews = read_reviews(site.store, NAME, VERSION)
    marks = [mark for each in reviews.cases for mark in each.marks]
    assert [len(each.marks) for each in reviews.cases] == [1] * CASES and {mark.reviewer for mark in marks} == {actor()}
    assert (marks[0].verdict, marks[0].spans, marks[0].correction) == ("unsafe", ((11, 13),), "lisinopril 20 mg")
    assert {mark.correction for mark in marks[1:]} == {None}, "a field is empty again"
    assert [mark.verdict for mark in marks[1:5]] == ["wrong", "wrong", "right", "wrong"]


def test_what_is_not_stored_stays_on_the_page(browser: Any, site: Site, shot: Shot) -> None:
    with visiting(browser, site.url, NAME) as page:
        page.tab("Review queue")
        first = case(page, 1)
        press(browser, Keys.ENTER)
        page.status("choose right, wrong or unsafe first")
        time.sleep(1.1)  # until it can be sent again
        press(browser, "w", "c")
        press(browser, "x" * 150)
        press(browser, Keys.ENTER)
        page.status("the correction is longer than the note")
        field = browser.find_element(By.CSS_SELECTOR, ".case [name=correction]")
        assert field.get_attribute("value") == "x" * 150 and case(page, 1) == first
        shot("queue-refused")
        time.sleep(1.1)
        press(browser, Keys.ESCAPE, "s")
        case(page, 2)
    assert read_reviews(site.store, NAME, VERSION).cases[0].marks == ()


def test_a_third_settles_what_two_disagree_about(browser: Any, site: Site, shot: Shot) -> None:
    cases = [each.case for each in read_reviews(site.store, NAME, VERSION).cases]
    for number, each in enumerate(cases[:12]):
        wrong = Judgement(verdict="wrong", correction="lisinopril 20 mg", spans=((11, 16),), comment="See the plan.")
        add_mark(site.store, each, "rita", wrong if number % 3 else Judgement(verdict="right"))
        add_mark(site.store, each, "omar", wrong if number % 3 or number == 0 else Judgement(verdict="right"))
    a_flag(site.store, "zoe")
    with visiting(browser, site.url, NAME) as page:
        page.tab("Agreement")
        page.see("//p[contains(., 'is shown once you have judged a case')]")
        assert not browser.find_elements(By.XPATH, "//*[contains(text(), 'rita')]")
        page.tab("Review queue")
        case(page, 1)
        press(browser, "w", Keys.ENTER)
        page.status("Stored: wrong")
        page.tab("Agreement")
        page.see("//td[normalize-space()='omar and rita']")
        page.see("//p[contains(@class, 'case-mark')][contains(., 'rita: right')]")
        shot("agreement")
        page.see("//p[@class='case-heading'][contains(., 'you settle it')]")
        press(browser, "w", "c")
        press(browser, "lisinopril 20 mg")
        press(browser, Keys.ENTER)
        page.status("Settled.")
        WebDriverWait(browser, WAIT).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".case-mark"))
    (third,) = [each for each in settled_cases(site.store, NAME) if each.how == "third"]
    assert (third.verdict, third.correction, third.reviewers) == ("wrong", "lisinopril 20 mg", (actor(),))


def test_a_judgement_that_no_page_sends_is_refused(browser: Any, site: Site) -> None:
    """Sent by hand: spans that are none, a case of another version."""
    with visiting(browser, site.url, NAME) as page:
        page.tab("Review queue")
        case(page, 1)
        browser.execute_script("document.querySelector('.case').dataset.case = 'elsewhere'")
        press(browser, "r", Keys.ENTER)
        page.status("this case is no longer there")
    assert not any(each.marks for each in read_reviews(site.store, NAME, VERSION).cases)
    assert "elsewhere" not in json.dumps(site.store.list())
