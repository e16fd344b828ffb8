"""The tabs of a classify adapter: predict the label of one note and flag it, or predict those of a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from clinadapt.errors import UserError
from clinadapt.feedback.flags import NONE_OF_THESE, NoteAndAnswer, flag_label
from clinadapt.review.batch_file import COLUMNS, PREVIEW_ROWS, answer_file, column_names
from clinadapt.review.classify import ClassifyService
from clinadapt.review.widgets import PRIVATE_INPUT, example_notes, reviewer, status

TEXT_COLUMN = "transcription"
FILE_TYPES = [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".gz", ".bz2", ".xz", ".zip"]


def one_note_tab(service: ClassifyService) -> None:
    """Lay out the tab for one note and connect its buttons."""
    answered = gr.State()
    with gr.Row():
        with gr.Column(scale=3):
            note = gr.Textbox(
                label="Clinical note", lines=16, max_lines=16, autofocus=True, html_attributes=PRIVATE_INPUT
            )
            output = gr.Radio(["Text", "JSON"], value="Text", label="Output")
            with gr.Row():
                clear = gr.Button("Clear", size="md")
                submit = gr.Button("Submit", variant="primary", size="md")
            example_notes(note)
        with gr.Column(scale=2):
            label = gr.Label(label="Answer and calibrated probabilities")
            data = gr.JSON(label="Answer", open=True, visible=False)
            remark = status()
            with gr.Group():
                correction = gr.Dropdown([*service.labels, NONE_OF_THESE], value=None, label="What should it be?")
                comment = gr.Textbox(label="Comment (optional)", lines=2, html_attributes=PRIVATE_INPUT)
            flag = gr.Button("Flag", size="md")
            flagged = status()

    def answer(note: str) -> tuple[Any, ...]:
        try:
            result = service.answer(note)
        except UserError as error:
            return None, None, None, status(f"Not answered – {error}.", "wrong"), None, "", status()
        heading = result["label"] == result["most_likely"]  # none where the adapter is unsure
        probabilities = gr.Label(value=result["probabilities"], show_heading=heading)
        return (note, result), probabilities, result, status(service.remark(result)), None, "", status()

    results = [answered, label, data, remark, correction, comment, flagged]
    gr.on([submit.click, note.submit], answer, note, results, api_visibility="private")
    clear.click(
        lambda: ("", None, None, None, status(), None, "", status()), None, [note, *results], api_visibility="private"
    )
    output.change(
        lambda kind: (gr.Label(visible=kind == "Text"), gr.JSON(visible=kind == "JSON")),
        output,
        [label, data],
        api_visibility="private",
    )

    def flag_it(
        answered: NoteAndAnswer | None, correction: str | None, comment: str, request: gr.Request
    ) -> tuple[Any, ...]:
        try:
            uri = flag_label(answered, correction, comment, reviewer(request))
        except UserError as error:
            return correction, comment, status(f"Not flagged – {error}.", "wrong")
        if service.recorder:
            service.recorder.flagged()
        return None, "", status(f"Flagged, thank you. Stored as {uri}", "done")

    flag.click(flag_it, [answered, correction, comment], [correction, comment, flagged], api_visibility="private")


def many_notes_tab(service: ClassifyService, folder: Path) -> None:
    """Lay out the tab for a file of notes and connect its buttons; answers are written below `folder`."""
    with gr.Row():
        with gr.Column(scale=2):
            file = gr.File(label="Notes: .csv, .jsonl, .parquet or .xlsx", file_types=FILE_TYPES, height=160)
            column = gr.Dropdown([TEXT_COLUMN], value=TEXT_COLUMN, label="Column with the text of the note")
            with gr.Row():
                stop = gr.Button("Stop", size="md", interactive=False)
                start = gr.Button("Answer all", variant="primary", size="md")
        with gr.Column(scale=3):
            progress_line = status(
                "Choose a file with one note per row. You get the answers as a CSV file, without the text of the notes."
            )
            download = gr.DownloadButton("Download all answers as CSV", size="md", visible=False)
            table = gr.Dataframe(
                headers=COLUMNS, label=f"First {PREVIEW_ROWS} answers", max_height=430, interactive=False, visible=False
            )

    def answer_all(path: str | None, column: str | None) -> Iterator[tuple[Any, ...]]:
        nothing = gr.DownloadButton(visible=False), gr.Dataframe(visible=False)
        if not path or not column:
            yield status("Choose a file and the column with the text of the note.", "wrong"), *nothing
            return
        output = Path(tempfile.mkdtemp(dir=folder)) / "answers.csv"
        try:
            for progress in answer_file(service, Path(path), column, output):
                line = status(f"{progress.done:,} of {progress.rows:,} rows", share=progress.done / progress.rows)
                yield line, gr.DownloadButton(visible=False), gr.Dataframe(progress.preview, visible=True)
        except UserError as error:
            yield status(f"Not answered – {error}.", "wrong"), *nothing
            return
        yield status(progress.summary(), "done"), gr.DownloadButton(value=output, visible=True), gr.skip()

    file.upload(_choose, file, [column, progress_line], api_visibility="private")
    started = start.click(lambda: gr.Button(interactive=True), None, stop, api_visibility="private")
    run = started.then(
        answer_all, [file, column], [progress_line, download, table], show_progress="hidden", api_visibility="private"
    )
    run.then(lambda: gr.Button(interactive=False), None, stop, api_visibility="private")
    stop.click(None, cancels=run).then(
        lambda: (status("Stopped: no file of answers was written."), gr.Button(interactive=False)),
        None,
        [progress_line, stop],
        api_visibility="private",
    )


def _choose(path: str) -> tuple[Any, Any]:
    """Offer the columns of an uploaded file."""
    try:
        names = column_names(Path(path))
    except UserError as error:
        return gr.skip(), status(f"Not read – {error}.", "wrong")
    return gr.Dropdown(choices=names, value=TEXT_COLUMN if TEXT_COLUMN in names else None), status()
