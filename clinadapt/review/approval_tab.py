"""The tab on which people approve or refuse the versions of an adapter that wait for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from clinadapt.artifacts.hashing import sha256_file
from clinadapt.artifacts.manifest import DamagedFolder
from clinadapt.artifacts.step_record import log
from clinadapt.documents import verdict as words
from clinadapt.errors import UserError
from clinadapt.registry.approval.decisions import decide
from clinadapt.registry.approval.records import LONGEST_REASON, Proposal
from clinadapt.registry.approval.standing import Standing, proposed, read_standing, waits
from clinadapt.registry.champion import champion
from clinadapt.registry.kubeflow_model_registry import register_if_configured
from clinadapt.registry.versions import problem_line, read_verdict, read_version, version_folder
from clinadapt.review.protection import USER_HEADER
from clinadapt.review.widgets import PRIVATE_INPUT, reviewer, status, status_line
from clinadapt.storage import open_store
from clinadapt.storage.object_store import CorruptObject, Store

REPORT = "report.html"
_OF_ITS_BASE = {"perplexity"}  # metrics by token, which those of another base model are not comparable with
_NONE = "No version of this adapter waits for approval."
_LATER = (
    "<p>This is what the gate said when it was published. A later run has compared it with another champion and passed "
    "it again: see the report.</p>"
)
_ANONYMOUS = (
    "this page does not know who you are: open it through its proxy or with a login, or use clinadapt registry approve "
    "with your own key"
)


def approval_tab(uri: str, folder: Path) -> None:
    """Lay out the tab and connect its buttons.

    Args:
        uri: of the version that the page has loaded; the tab is about all versions of its adapter.
        folder: for the reports that people open.
    """
    root, _, path = uri.rpartition("/adapters/")
    versions = _Versions(open_store(root), path.partition("/")[0], folder)
    with gr.Tab("Approval") as tab:
        version = gr.Radio([], label="Versions that wait for approval", visible=False)
        with gr.Row():
            with gr.Column(scale=3):
                details = gr.HTML()
                report = gr.DownloadButton("Open the report", size="md", visible=False)
            with gr.Column(scale=2, visible=False) as form:
                reason = gr.Textbox(
                    label="Reason", lines=4, max_length=LONGEST_REASON, html_attributes=PRIVATE_INPUT,
                    info="It stays in the store for good: write nothing about a patient.",
                )  # fmt: skip
                with gr.Row():
                    no = gr.Button("Refuse", variant="stop", size="md")
                    yes = gr.Button("Approve", variant="primary", size="md")
        outcome = status()

    def approve(chosen: str | None, text: str, request: gr.Request) -> tuple[Any, ...]:
        return versions.decided("approval", chosen, text, _signed_in(request))

    def refuse(chosen: str | None, text: str, request: gr.Request) -> tuple[Any, ...]:
        return versions.decided("refusal", chosen, text, _signed_in(request))

    view = [version, details, report, form]
    tab.select(versions.refresh, version, view, api_visibility="private")
    version.input(versions.shown, version, view[1:], api_visibility="private")
    results = [*view, reason, outcome]
    yes.click(approve, [version, reason], results, api_visibility="private")
    no.click(refuse, [version, reason], results, api_visibility="private")


class NoReport(UserError):
    """The report that a version was proposed with is gone."""


@dataclass(frozen=True)
class _Versions:
    """The versions of an adapter, and what the tab shows of them; `folder` is for the reports that people open."""

    store: Store
    name: str
    folder: Path

    def refresh(self, chosen: str | None) -> tuple[Any, ...]:
        """The list of versions that wait, and the one that is chosen, or else the newest."""
        try:
            waiting = _waiting(self.store, self.name)
        except UserError as error:
            return gr.Radio(visible=False), *_nothing(f"Not read – {error}.", "wrong")
        chosen = chosen if chosen in waiting else next(iter(waiting), None)
        return gr.Radio(waiting, value=chosen, visible=bool(waiting)), *self.shown(chosen)

    def shown(self, chosen: str | None) -> tuple[Any, ...]:
        """A version, its report and the form to decide about it."""
        if not chosen:
            return _nothing(_NONE, "")
        try:
            standing = read_standing(self.store, self.name, chosen)
            html = _details(self.store, self.name, chosen, standing) if standing else ""
            report = gr.DownloadButton(visible=False)
            try:
                path = _report(self.store, self.name, chosen, self.folder, standing.proposal if standing else None)
                report = gr.DownloadButton(value=path, visible=True)
            except NoReport as error:
                html += status_line(f"Without the report – {error}.", "wrong")
        except UserError as error:
            return _nothing(f"Not read – {error}.", "wrong")
        return html, report, gr.Column(visible=True)

    def decided(
        self, kind: Literal["approval", "refusal"], chosen: str | None, reason: str, login: str | None
    ) -> tuple[Any, ...]:
        """What the tab shows after a decision; a reason that is not stored stays in its field."""
        try:
            line = _decide(self.store, self.name, chosen, kind, reason, login)
        except UserError as error:
            return *self.refresh(chosen), reason, status(f"Not stored – {error}.", "wrong")
        return *self.refresh(chosen), "", status(line, "done")


def _signed_in(request: gr.Request) -> str | None:
    """Name of the user by the proxy or the login; None where neither says who it is: a decision needs more than that
    somebody is at this machine."""
    return reviewer(request) if os.environ.get(USER_HEADER) or request.username else None


def _nothing(line: str, tone: str) -> tuple[Any, ...]:
    return status_line(line, tone), gr.DownloadButton(visible=False), gr.Column(visible=False)


def _waiting(store: Store, name: str) -> list[str]:
    """The versions of an adapter that people may still make the champion, the one proposed last first; one that is gone
    or broken cannot become it."""
    versions = proposed(store, f"approvals/{name}/")
    newest_first = sorted(versions, key=lambda key: max(each.modified for each in versions[key]), reverse=True)
    waiting = []
    for _, version in newest_first:
        with suppress(UserError):
            if version_folder(store, name, version).exists() and waits(store, name, version):
                waiting.append(version)
    return waiting


def _decide(
    store: Store, name: str, version: str | None, kind: Literal["approval", "refusal"], reason: str, login: str | None
) -> str:
    """Store a decision; return what came of it. Raises UserError where it is not stored, or says what it lacks."""
    if not version:
        raise UserError("choose a version")
    if not login:
        raise UserError(_ANONYMOUS)
    standing = decide(store, name, version, kind, reason, login)
    register_if_configured(store, name, version, partial(log, "review"))
    return f"Stored. {name}/{version}: {standing.sentence()}."


def _report(store: Store, name: str, version: str, folder: Path, proposal: Proposal | None) -> Path:
    """The verified report that a version was proposed with, in a new folder: its own, or that of a later run, which has
    compared it with another champion.

    Raises:
        NoReport: the later run's is gone, as purge deletes reports of runs.
        UserError: the version is not what was published, or the later run's report not what it was.
    """
    sealed, manifest = version_folder(store, name, version), read_version(store, name, version)
    place = Path(tempfile.mkdtemp(dir=folder))
    if proposal and _is_of_later_run(proposal, manifest):
        key = f"runs/{proposal.run}/{REPORT}"
        proposed_with = f"{key}, with which {name}/{version} was proposed,"
        try:
            store.download(key, place / REPORT)
        except KeyError as error:
            raise NoReport(
                f"{proposed_with} is gone, as after a purge: decide by the figures above, or restore it from a backup"
            ) from error
        except CorruptObject as error:
            raise UserError(f"{proposed_with} is damaged: restore it from a backup") from error
        if sha256_file(place / REPORT) != proposal.report:
            raise UserError(f"{proposed_with} was altered: find out who did, and restore it from a backup")
        return place / REPORT
    try:
        return sealed.fetch_file(REPORT, place, manifest)
    except DamagedFolder as error:
        raise UserError(problem_line(sealed, error.file, error.problem)) from error


def _is_of_later_run(proposal: Proposal, manifest: dict[str, Any]) -> bool:
    """Whether a version was proposed with the report of a later run than the one that published it."""
    return proposal.report not in ("", manifest["files"][REPORT]["sha256"])


def _details(store: Store, name: str, version: str, standing: Standing) -> str:
    """A version, what the gate said of it, its figures beside the champion's, and what people have decided, as HTML."""
    manifest, current = read_version(store, name, version), (champion(store, name) or ("", ""))[0]
    compared = {version: manifest}
    if current:
        compared[f"{current} (champion)"] = read_version(store, name, current)
    people, sentence = ", ".join(each.label for each in standing.policy.of), standing.sentence()
    lines = [
        f"<h3>{escape(f'{name}/{version}')}</h3>",
        f"<p>{escape(sentence[:1].upper() + sentence[1:])}. {standing.policy.signers} of: {escape(people)}.</p>",
        f"<p>Published {escape(manifest['created'])} by {escape(manifest['published_by'])}"
        f"{escape(_started(standing))}.</p>",
        *_verdict(read_verdict(store, manifest)),
        _LATER if standing.proposal and _is_of_later_run(standing.proposal, manifest) else "",
        _comparison(list(compared.values()), list(compared)),
    ]
    votes = [vote for vote in standing.votes if vote.decision]
    if votes:
        rows = [
            [f"{vote.stored.time:%Y-%m-%d %H:%M}", vote.label, *_words(vote.decision.kind, vote.problem),
             vote.decision.reason]
            for vote in votes if vote.decision
        ]  # fmt: skip
        lines.append(_table(["UTC", "who", "decision", "reason"], rows))
    return f'<div class="approval">{"".join(lines)}</div>'


def _verdict(verdict: dict[str, Any] | None) -> list[str]:
    """What the gate said, in the words of the report: the decision, what the profile loosened, and the checks that did
    not pass."""
    if verdict is None:
        return [f"<p><b>Verdict of the gate.</b> {words.UNRECORDED}</p>"]
    lines = [f"<p><b>{escape(words.headline(verdict))}.</b> {escape(words.reasons(verdict))}</p>"]
    if rows := words.loosened(verdict):
        lines.append(_table(["What is checked", "By default", "In this run"], rows))
    if rows := [check for check in words.checks(verdict) if check.result != "passed"]:
        lines.append(_table(["Check", "Result", "Measured, and required"], rows))
    return lines


def _started(standing: Standing) -> str:
    by = standing.proposal.started_by if standing.proposal else ""
    return f", a run that {by.partition(' sha256:')[0]} started" if by else ""


def _words(kind: str, problem: str) -> list[str]:
    return [f"{'approved' if kind == 'approval' else 'refused'}{f' (does not count: {problem})' if problem else ''}"]


def _comparison(manifests: Sequence[dict[str, Any]], titles: Sequence[str]) -> str:
    """Base model and figures of a version, and of the champion beside it where there is one, as far as they can be
    compared."""
    first, *others = manifests
    rows = [["base model", *(f"{each['base_model']} ({each['base_digest'][7:15]})" for each in manifests)]]
    for name in first["metrics"]:
        entries = [
            each["metrics"].get(name)
            if name not in _OF_ITS_BASE or each["base_digest"] == first["base_digest"]
            else None
            for each in manifests
        ]
        rows.append([name.replace("_", " "), *map(_cell, entries)])
    line = ""
    if any(each["splits_digest"] != first["splits_digest"] for each in others):
        line = "The champion's figures are of other held-out notes: the report compares both on the same ones."
    return _table(["", *titles], rows) + (f"<p>{line}</p>" if line else "")


def _cell(metric: dict[str, float] | None) -> str:
    """A metric with its interval."""
    return f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})" if metric else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
