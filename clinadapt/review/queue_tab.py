"""The tabs where reviewers judge answers one by one, and where they see how far they agree and settle the rest."""

from __future__ import annotations

import threading
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from clinadapt.errors import UserError
from clinadapt.feedback.agreement import Agreement, agreements, error_rate
from clinadapt.feedback.marks import Judgement, NoLongerOpen, person
from clinadapt.feedback.settled import Reviews
from clinadapt.feedback.worklist import Turn, Worklist
from clinadapt.review.case_html import VERDICTS, case_form, checked_claims
from clinadapt.review.widgets import reviewer, status_line

_SCRIPT = (Path(__file__).parent / "queue.js").read_text(encoding="utf-8")
STYLE = (Path(__file__).parent / "queue.css").read_text(encoding="utf-8")
# A click is answered at once, not in Gradio's queue, where one reviewer would wait for another
_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_READ_AHEAD = 100  # cases: about a second
_MOST_SKIPPED = 1000  # cases that a session remembers
NOBODY = "Sign in to judge: this page does not know who you are."


def review_tabs(worklist: Worklist) -> None:
    """Lay out the tabs and connect their forms. The queue is read meanwhile, for which the first clicks would wait."""
    threading.Thread(target=_read_ahead, args=(worklist,), daemon=True).start()
    with gr.Tab("Review queue") as queue:
        line, panel, skipped = gr.HTML(), _panel(), gr.State([])
    with gr.Tab("Agreement") as agreement:
        summary, settled_line, settling = gr.HTML(), gr.HTML(), _panel()
        passed = gr.State([])

    def show(skipped: list[str], request: gr.Request) -> tuple[Any, ...]:
        return _next(worklist, request, skipped, "")

    def save(skipped: list[str], event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        who = reviewer(request)
        try:
            case, content, judgement = _said(event)
            worklist.mark(who or "", case, content, judgement)
        except NoLongerOpen as error:
            return _next(worklist, request, skipped, f"Not stored – {error}.", fresh=True)
        except UserError as error:
            return status_line(f"Not stored – {error}.", "wrong"), gr.skip(), skipped
        return _next(worklist, request, skipped, f"Stored: {VERDICTS[judgement.verdict].lower()}.")

    def skip(skipped: list[str], event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        return _next(worklist, request, _with_case(skipped, event), "Skipped: it comes last.")

    def overview(passed: list[str], request: gr.Request) -> tuple[Any, ...]:
        return _agreement(worklist, request, passed, "")

    def settle(passed: list[str], event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        try:
            case, content, judgement = _said(event)
            worklist.settle(reviewer(request) or "", case, content, judgement)
        except NoLongerOpen as error:
            return _agreement(worklist, request, passed, f"Not stored – {error}.")
        except UserError as error:
            return gr.skip(), status_line(f"Not stored – {error}.", "wrong"), gr.skip(), passed
        return _agreement(worklist, request, passed, "Settled.")

    def pass_by(passed: list[str], event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        return _agreement(worklist, request, _with_case(passed, event), "")

    of_queue, of_agreement = [line, panel, skipped], [summary, settled_line, settling, passed]
    queue.select(show, skipped, of_queue, **_AT_ONCE)
    panel.save(save, skipped, of_queue, **_AT_ONCE)
    panel.skip(skip, skipped, of_queue, **_AT_ONCE)
    agreement.select(overview, passed, of_agreement, **_AT_ONCE)
    settling.save(settle, passed, of_agreement, **_AT_ONCE)
    settling.skip(pass_by, passed, of_agreement, **_AT_ONCE)


def _read_ahead(worklist: Worklist) -> None:
    """Read the queue, and check the answers that are shown first."""
    with suppress(UserError):  # whoever clicks is told
        for each in worklist.reviews().cases[:_READ_AHEAD]:
            checked_claims(each.case)


def _panel() -> gr.HTML:
    return gr.HTML(js_on_load=_SCRIPT, apply_default_css=False)


def _said(event: gr.EventData) -> tuple[str, str, Judgement]:
    """(case, content, judgement) as the browser sends them, which may be anything. Raises UserError."""
    data = event._data if isinstance(event._data, dict) else {}
    texts: dict[str, Any] = {
        name: data.get(name) or "" for name in ("case", "content", "verdict", "correction", "fault", "comment")
    }
    spans = data.get("spans") or []
    if not all(map(_is_text, texts.values())) or not _are_spans(spans):
        raise UserError("the page sent what is no judgement: reload it")
    if texts["verdict"] not in VERDICTS:
        raise UserError("choose right, wrong or unsafe first: R, W or U")
    return (
        texts["case"],
        texts["content"],
        Judgement(
            verdict=texts["verdict"],
            spans=tuple((start, end) for start, end in spans),
            correction=texts["correction"] or None,
            fault=texts["fault"] or None,
            comment=texts["comment"] or None,
        ),
    )


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be stored: half of a character cannot."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _are_spans(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span) for span in value
    )


def _with_case(cases: list[str], event: gr.EventData) -> list[str]:
    """Cases that come last, the one of an event at the end."""
    data = event._data if isinstance(event._data, dict) else {}
    case = str(data.get("case", ""))[:32]
    return [*(each for each in cases if each != case), case][-_MOST_SKIPPED:]


def _next(
    worklist: Worklist, request: gr.Request, skipped: list[str], done: str, fresh: bool = False
) -> tuple[Any, ...]:
    """Status line, panel and skipped cases of a reviewer's next turn; `fresh` after what others stored."""
    who = reviewer(request)
    if who is None:
        return status_line(NOBODY, "wrong"), "", skipped
    try:
        worklist.reviews(fresh)
        turn = worklist.turn(who, skipped)
        labels = worklist.labels()
    except UserError as error:
        return status_line(f"The queue cannot be read – {error}.", "wrong"), gr.skip(), skipped
    if turn.case is None:
        return status_line(_nothing(turn), "done"), "", skipped
    case = turn.case.case
    heading = f"Case {case.place} · judged by you: {turn.marked} · left for you: {turn.left}"
    return status_line(done, "done"), case_form(case, heading, labels), skipped


def _nothing(turn: Turn) -> str:
    if turn.left:
        return f"Others judge the last {turn.left} cases at this moment: come back in ten minutes."
    return f"Nothing is left for you to judge: you have judged {turn.marked}. See the tab Agreement."


def _agreement(worklist: Worklist, request: gr.Request, passed: list[str], done: str) -> tuple[Any, ...]:
    """Summary, status line and panel of the tab Agreement, and the disagreements that come last."""
    who = reviewer(request)
    if who is None:
        return "", status_line(NOBODY, "wrong"), "", passed
    try:
        reviews = worklist.reviews(fresh=True)
        open_cases = worklist.disagreements(who)
        labels = worklist.labels()
    except UserError as error:
        return gr.skip(), status_line(f"The queue cannot be read – {error}.", "wrong"), gr.skip(), passed
    mine = any(person(mark.reviewer) == person(who) for each in reviews.cases for mark in each.marks)
    summary = summary_html(reviews, mine)
    if not open_cases:
        return summary, status_line(done, "done"), "", passed
    ranked = sorted(open_cases, key=lambda each: passed.index(each.case.case) if each.case.case in passed else -1)
    judged = ranked[0]
    own = person(who) in {person(mark.reviewer) for mark in judged.marks}
    heading = f"Disagreement, 1 of {len(open_cases)}: " + ("somebody else settles it" if own else "you settle it")
    form = case_form(judged.case, heading, labels, judged.marks, editable=not own)
    return summary, status_line(done, "done"), form, passed


def summary_html(reviews: Reviews, with_pairs: bool) -> str:
    """How many cases are judged, how often the adapter is wrong, and how far reviewers agree.

    Args:
        reviews: of a version.
        with_pairs: whether names and agreement are shown: to those who have judged.
    """
    lines = [_progress(reviews), _error_rate(reviews)]
    if reviews.left_out:
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(reviews.left_out.items()))
        lines.append(f"Records that do not count: {reasons}.")
    if not with_pairs:
        lines.append("How far reviewers agree is shown once you have judged a case.")
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="agreement">{text}{_pairs(reviews) if with_pairs else ""}</div>'


def _progress(reviews: Reviews) -> str:
    states: list[str] = [each.state for each in reviews.cases]
    counts = ", ".join(
        f"{states.count(state)} {words}"
        for state, words in (
            ("settled", "settled"),
            ("disagreement", "in disagreement"),
            ("waiting", "waiting for another reviewer"),
            ("unmarked", "not judged yet"),
        )
    )
    withheld = reviews.queue.withheld if reviews.queue else 0
    private = f" Not queued: {withheld} about private notes (review.private_notes)." if withheld else ""
    return f"{len(states)} cases: {counts}.{private}"


def _error_rate(reviews: Reviews) -> str:
    if not reviews.queue or not reviews.queue.population:
        return "Error rate: there is no queue of held-out answers."
    rate = error_rate(reviews.queue, reviews.cases)
    value = f"{rate.value:.1%}" if rate.value is not None else "open until the riskiest cases are settled"
    return (
        f"Wrong or unsafe among {rate.population} held-out answers: {value} (95\u202f% interval {rate.low:.1%} to "
        f"{rate.high:.1%}, from {rate.settled} settled cases)."
    )


def _pairs(reviews: Reviews) -> str:
    total, pairs = agreements(reviews.cases)
    rows = "".join(f"<tr><td>{escape(' and '.join(each.reviewers))}</td>{_numbers(each)}</tr>" for each in pairs)
    everyone = f"<tr><td>all reviewers</td>{_numbers(total)}</tr>" if len(pairs) != 1 else ""
    head = "".join(f"<th>{name}</th>" for name in ("Reviewers", "Cohen's kappa (95\u202f% interval)", "Agree", "Cases"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{everyone}{rows}</tbody></table>"


def _numbers(agreement: Agreement) -> str:
    kappa = "–" if agreement.kappa is None else f"{agreement.kappa:.2f} ({agreement.low:.2f} to {agreement.high:.2f})"
    observed = "–" if agreement.observed is None else f"{agreement.observed:.0%}"
    return "".join(f'<td class="number">{escape(text)}</td>' for text in (kappa, observed, str(agreement.pairs)))
