"""What the review tabs show and take, without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from review_cases import NAME, VERSION, a_queue, an_answer

pytest.importorskip("gradio")
import gradio as gr

from clinadapt.errors import UserError
from clinadapt.feedback.cases import Reason
from clinadapt.feedback.marks import Judgement, add_mark
from clinadapt.feedback.settled import read_reviews
from clinadapt.feedback.worklist import Worklist
from clinadapt.review import case_html
from clinadapt.review.case_html import case_form, reason_words
from clinadapt.review.queue_tab import _read_ahead, _said, _with_case, review_tabs, summary_html
from clinadapt.storage.folder_store import FolderStore

HOSTILE = "<img src=x onerror=alert(1)> & \"quoted\" 'text' </p>"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.words: dict[tuple[int, int], str] = {}
        self._open: tuple[int, int] | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        given = {name: value or "" for name, value in attrs}
        if given.get("class", "").startswith("word"):
            self._open = int(given["data-start"]), int(given["data-end"])

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open:
            self.words[self._open] = data
            self._open = None


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_nothing_in_a_case_becomes_markup(tmp_path: Path) -> None:
    case = an_answer(
        1, note=HOSTILE, instruction=HOSTILE, answer=HOSTILE, reasons=(Reason("margin", 0.1), Reason(HOSTILE, 1))
    )
    store = FolderStore(tmp_path.as_uri())
    mark = add_mark(store, case, HOSTILE, Judgement(verdict="wrong", spans=((0, 4),), comment=HOSTILE))
    tags = parsed(case_form(case, HOSTILE, [HOSTILE], [mark]))
    assert "img" not in tags.names and tags.text.count("onerror=alert(1)") >= 6
    assert {HOSTILE[start:end]: word for (start, end), word in tags.words.items()} == {
        word: word for word in HOSTILE.split()
    }
    labelled = an_answer(1, recipe="classify", instruction="", answer="Urology")
    tags = parsed(case_form(labelled, "", [HOSTILE, "Urology"]))
    assert "img" not in tags.names and tags.names.count("option") == 2 and not tags.words


def test_a_form_that_is_only_shown_has_no_button() -> None:
    assert "button" not in case_form(an_answer(1), "", [], editable=False)
    assert "drawn at random" in case_form(an_answer(1, reasons=()), "", [])
    assert reason_words(Reason("margin", 0.07)) == "close call (margin 0.07)"


@pytest.mark.parametrize(
    "data",
    [
        None,
        "x",
        [],
        {},
        {"verdict": "perfect"},
        {"verdict": ["right"]},
        {"verdict": "right", "spans": "0-3"},
        {"verdict": "wrong", "spans": [[0]]},
        {"verdict": "wrong", "spans": [[0, "3"]]},
        {"verdict": "wrong", "spans": [[0, True]]},
        {"verdict": "wrong", "correction": {"a": 1}},
        {"verdict": "wrong", "case": 7},
        {"verdict": "wrong", "comment": "half a character \ud83d"},
    ],
    ids=range(13),
)
def test_what_is_no_judgement_is_refused(data: Any) -> None:
    with pytest.raises(UserError) as caught:
        _said(gr.EventData(None, data))
    assert "\n" not in str(caught.value)


def test_a_judgement_is_taken_as_it_was_sent() -> None:
    sent = {"case": "a", "content": "b", "verdict": "wrong", "spans": [[0, 3]], "correction": "", "fault": "wrong"}
    assert _said(gr.EventData(None, sent)) == ("a", "b", Judgement(verdict="wrong", spans=((0, 3),), fault="wrong"))


def test_a_session_remembers_so_many_skipped_cases() -> None:
    cases: list[str] = []
    for number in range(1500):
        cases = _with_case(cases, gr.EventData(None, {"case": f"{number}" * 20}))
    assert len(cases) == 1000 and max(map(len, cases)) == 32


def test_who_has_judged_nothing_sees_no_names(tmp_path: Path) -> None:
    store = FolderStore(tmp_path.as_uri())
    for number, case in enumerate(a_queue(store, risky=4, withheld=3, population=4)):
        add_mark(store, case, "rita", Judgement(verdict="wrong"))
        add_mark(store, case, "omar", Judgement(verdict="wrong" if number else "right"))
    store.put(f"reviews/{NAME}/{VERSION}/marks/x.json", b"{}")
    reviews = read_reviews(store, NAME, VERSION)
    shown, hidden = (re.sub("<[^>]+>", " ", summary_html(reviews, seen)) for seen in (True, False))
    for text in (shown, hidden):
        assert "4 cases: 3 settled, 1 in disagreement, 0 waiting for another reviewer, 0 not judged yet." in text
        assert "Not queued: 3 about private notes" in text and "Records that do not count: 1 broken." in text
        assert (
            "among 4 held-out answers: open until the riskiest cases are settled (95\u202f% interval 75.0% to 100.0%"
            in text
        )
    assert "omar and rita" in shown and "75%" in shown
    assert "rita" not in hidden and "kappa" not in hidden


def test_the_first_click_neither_reads_the_queue_nor_checks_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore((tmp_path / "store").as_uri())
    a_queue(store)
    worklist = Worklist(store, NAME, VERSION)
    case_html.checked_claims.cache_clear()
    _read_ahead(worklist)
    monkeypatch.setattr(case_html, "check", None)
    monkeypatch.setattr(FolderStore, "get", None)
    turn = worklist.turn("rita")
    assert turn.case and "word contradicted" in case_form(turn.case.case, "1", [])


def test_a_page_is_built_though_its_queue_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise UserError("cannot read: no permission")

    monkeypatch.setattr(FolderStore, "entries", refuse)
    worklist = Worklist(FolderStore(tmp_path.as_uri()), NAME, VERSION)
    with gr.Blocks():
        review_tabs(worklist)
    _read_ahead(worklist)
