"""What stands on the review page and what its buttons do. A note stays in memory; only flagging stores it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from clinadapt.errors import UserError
from clinadapt.review.batch_file import COLUMNS, SHOWN, answer_file, columns
from clinadapt.review.classify import Answerer
from clinadapt.review.flags import NONE_OF_THESE, Asked, flag
from clinadapt.review.instruct import Asker
from clinadapt.review.instruct_tab import ask_about_a_note
from clinadapt.review.widgets import PLAIN, offer_examples, tell

TEXT_COLUMN = "transcription"
KEPT = 3600  # seconds that an uploaded file and its answers stay on disk

CSS = """
.gradio-container { width: 100%; max-width: 1200px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.masthead h1 { margin: 8px 0 6px; font-size: 28px; line-height: 1.25; font-weight: 650; overflow-wrap: anywhere; }
.masthead p { margin: 0 0 2px; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.masthead p.caution { color: var(--body-text-color); font-weight: 600; }
.told { margin: 0; padding: 8px 14px; border-left: 4px solid #0072b2; background: #0072b214; overflow-wrap: anywhere;
  white-space: pre-line; }
.told.wrong { border-color: #c04f00; background: #c04f0014; }
.told.done { border-color: #00805e; background: #00805e14; }
.share { margin-top: 8px; background: var(--border-color-primary); }
.share div { height: 6px; background: #0072b2; }
.confidence-set, .table-container * { font-family: inherit !important; }
.json-holder { overflow-wrap: anywhere; }
"""
THEME = gr.themes.Default(
    primary_hue=gr.themes.Color(
        *("#f1f8fc", "#dcedf7", "#b6dbef", "#83c2e3", "#3f9fd8", "#0a84c6"),
        *("#0072b2", "#005f94", "#004d78", "#003e60", "#002a42"),
    ),
    neutral_hue="slate",
    font=["Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "DejaVu Sans", "sans-serif"],
    font_mono=["Consolas", "Menlo", "DejaVu Sans Mono", "monospace"],
).set(
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    body_text_color_subdued="*neutral_500",
    stat_background_fill="*primary_600",
    stat_background_fill_dark="*primary_500",
)


def build(answerer: Answerer | Asker, folder: Path) -> gr.Blocks:
    """The page of an adapter; files with answers are written below `folder`."""
    name = answerer.uri.split("/")[-2]
    masthead = (
        f"<h1>{escape(name)}</h1><p>Answers come from {escape(answerer.uri)}</p>"
        f"<p>on the base model {escape(answerer.base_model)}</p>"
        '<p class="caution">Not a medical device: for judging the model, not for the care of a patient.</p>'
    )
    with gr.Blocks(title=f"{name} · review", analytics_enabled=False, delete_cache=(60, KEPT)) as page:
        gr.HTML(masthead, elem_classes="masthead")
        if isinstance(answerer, Asker):
            with gr.Tab("Instruct"):
                ask_about_a_note(answerer)
        else:
            with gr.Tab("One note"):
                _one_note(answerer)
            with gr.Tab("Many notes"):
                _many_notes(answerer, folder)
    return page


def _one_note(answerer: Answerer) -> None:
    asked = gr.State()
    with gr.Row():
        with gr.Column(scale=3):
            note = gr.Textbox(label="Clinical note", lines=16, max_lines=16, autofocus=True, html_attributes=PLAIN)
            output = gr.Radio(["Text", "JSON"], value="Text", label="Output")
            with gr.Row():
                clear = gr.Button("Clear", size="md")
                submit = gr.Button("Submit", variant="primary", size="md")
            offer_examples(note)
        with gr.Column(scale=2):
            text = gr.Label(label="Answer and calibrated probabilities")
            data = gr.JSON(label="Answer", open=True, visible=False)
            told = tell()
            with gr.Group():
                correction = gr.Dropdown([*answerer.labels, NONE_OF_THESE], value=None, label="What should it be?")
                comment = gr.Textbox(label="Comment (optional)", lines=2, html_attributes=PLAIN)
            flag_it = gr.Button("Flag", size="md")
            flagged = tell()

    def ask(note: str) -> tuple[Any, ...]:
        try:
            answer = answerer.answer(note)
        except UserError as error:
            return None, None, None, tell(f"Not answered – {error}.", "wrong"), None, "", tell()
        unseen = answer["unseen_token_share"]
        seen = tell(f"The model did not see the last {unseen:.0%} of this note." if unseen else "")
        return (note, answer), answer["probabilities"], answer, seen, None, "", tell()

    def flag_answer(asked: Asked | None, correction: str | None, comment: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            uri = flag(asked, correction, comment, request.username)
        except UserError as error:
            return correction, comment, tell(f"Not flagged – {error}.", "wrong")
        return None, "", tell(f"Flagged, thank you. Stored as {uri}", "done")

    answers = [asked, text, data, told, correction, comment, flagged]
    gr.on([submit.click, note.submit], ask, note, answers, api_visibility="private")
    clear.click(
        lambda: ("", None, None, None, tell(), None, "", tell()), None, [note, *answers], api_visibility="private"
    )
    output.change(
        lambda kind: (gr.Label(visible=kind == "Text"), gr.JSON(visible=kind == "JSON")),
        output,
        [text, data],
        api_visibility="private",
    )
    flag_it.click(flag_answer, [asked, correction, comment], [correction, comment, flagged], api_visibility="private")


def _many_notes(answerer: Answerer, folder: Path) -> None:
    kinds = [".csv", ".jsonl", ".ndjson", ".parquet", ".gz", ".bz2", ".xz", ".zip"]
    with gr.Row():
        with gr.Column(scale=2):
            file = gr.File(label="Notes: .csv, .jsonl or .parquet, also compressed", file_types=kinds, height=160)
            column = gr.Dropdown([TEXT_COLUMN], value=TEXT_COLUMN, label="Column with the text of the note")
            with gr.Row():
                stop = gr.Button("Stop", size="md", interactive=False)
                start = gr.Button("Answer all", variant="primary", size="md")
        with gr.Column(scale=3):
            told = tell("Give a file with one note a row. The answers come back as CSV, without the text of the notes.")
            download = gr.DownloadButton("Download all answers as CSV", size="md", visible=False)
            table = gr.Dataframe(
                headers=COLUMNS, label=f"First {SHOWN} answers", max_height=430, interactive=False, visible=False
            )

    def choose(path: str) -> tuple[Any, Any]:
        try:
            names = columns(Path(path))
        except UserError as error:
            return gr.skip(), tell(f"Not read – {error}.", "wrong")
        return gr.Dropdown(choices=names, value=TEXT_COLUMN if TEXT_COLUMN in names else None), tell()

    def answer_all(path: str | None, column: str | None) -> Iterator[tuple[Any, ...]]:
        none = gr.DownloadButton(visible=False), gr.Dataframe(visible=False)
        if not path or not column:
            yield tell("Choose a file and the column with the text of the note.", "wrong"), *none
            return
        out = Path(tempfile.mkdtemp(dir=folder)) / "answers.csv"
        try:
            for work in answer_file(answerer, Path(path), column, out):
                far = tell(f"{work.done:,} of {work.rows:,} rows", share=work.done / work.rows)
                yield far, gr.DownloadButton(visible=False), gr.Dataframe(work.shown, visible=True)
        except UserError as error:
            yield tell(f"Not answered – {error}.", "wrong"), *none
            return
        yield tell(work.summary(), "done"), gr.DownloadButton(value=out, visible=True), gr.skip()

    file.upload(choose, file, [column, told], api_visibility="private")
    begin = start.click(lambda: gr.Button(interactive=True), None, stop, api_visibility="private")
    run = begin.then(
        answer_all, [file, column], [told, download, table], show_progress="hidden", api_visibility="private"
    )
    run.then(lambda: gr.Button(interactive=False), None, stop, api_visibility="private")
    stop.click(None, cancels=run).then(
        lambda: (tell("Stopped: no file of answers was made."), gr.Button(interactive=False)),
        None,
        [told, stop],
        api_visibility="private",
    )
