"""The tab of an instruct adapter: a note, an instruction, the answer as it is generated, and a form to flag it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from clinadapt.errors import UserError
from clinadapt.feedback.flags import FAULTS, NoteAndAnswer, flag_answer
from clinadapt.review.explanation import page_list
from clinadapt.review.inputs import read_note
from clinadapt.review.instruct import InstructService, remarks
from clinadapt.review.widgets import PRIVATE_INPUT, example_notes, reviewer, status

# One per task, worded as in training, for the first of the example notes
INSTRUCTIONS = {
    "Named Entity Recognition": "List all drugs that the note mentions, separated by semicolons.",
    "Abbreviation Expansion": "Expand these abbreviations of the note: BP; ECG. Separate them by semicolons.",
    "Relation Extraction": "What dose of aspirin does the note give?",
    "Temporal Information Extraction": "When is the patient to be seen again?",
    "Coreference Resolution": 'Which person does "he" refer to in the sentence "For three weeks he has had a pressure '
    'behind the sternum on climbing stairs, relieved by rest within five minutes."?',
    "Paraphrasing": 'Say this in plainer words: "No murmur, lungs clear, no oedema."',
    "Summarization": "Summarize the note in one or two sentences.",
    "Question Answering": "Which blood pressure does the note give?",
}


class _Question(NamedTuple):
    """The left column: the note, the instruction and the buttons."""

    note: gr.Textbox
    upload: gr.UploadButton
    upload_status: gr.HTML
    example: gr.Dropdown
    instruction: gr.Textbox
    clear: gr.Button
    stop: gr.Button
    submit: gr.Button


class _Answer(NamedTuple):
    """The right column: the answer and the form to flag it."""

    text: gr.Textbox
    status: gr.HTML
    claims: gr.HTML
    fault: gr.Dropdown
    correction: gr.Textbox
    comment: gr.Textbox
    flag: gr.Button
    flag_status: gr.HTML


def instruct_tab(service: InstructService) -> None:
    """Lay out the tab and connect its buttons."""
    answered = gr.State()
    with gr.Row():
        with gr.Column(scale=3):
            question = _question_column()
        with gr.Column(scale=2):
            answer = _answer_column()
    question.upload.upload(
        _read_upload, question.upload, [question.note, question.upload_status], api_visibility="private"
    )
    question.example.input(lambda chosen: chosen, question.example, question.instruction, api_visibility="private")
    _connect_buttons(service, answered, question, answer)
    form = [answer.fault, answer.correction, answer.comment]

    def flag_it(
        answered: NoteAndAnswer | None, fault: str | None, correction: str, comment: str, request: gr.Request
    ) -> tuple[Any, ...]:
        try:
            uri = flag_answer(answered, fault, correction, comment, reviewer(request))
        except UserError as error:
            return fault, correction, comment, status(f"Not flagged – {error}.", "wrong")
        if service.recorder:
            service.recorder.flagged()
        return None, "", "", status(f"Flagged, thank you. Stored as {uri}", "done")

    answer.flag.click(flag_it, [answered, *form], [*form, answer.flag_status], api_visibility="private")


def _question_column() -> _Question:
    note = gr.Textbox(label="Clinical note", lines=12, max_lines=12, autofocus=True, html_attributes=PRIVATE_INPUT)
    upload = gr.UploadButton("Open a text file", file_types=[".txt", "text"], size="sm")
    upload_status = status()
    example = gr.Dropdown(
        [(f"{task}: {text}", text) for task, text in INSTRUCTIONS.items()],
        value=None,
        label="Example instructions",
        info="One per task, for the first example note below; edit it as you like.",
    )
    instruction = gr.Textbox(label="Instruction", lines=2, max_lines=6, html_attributes=PRIVATE_INPUT)
    with gr.Row():
        clear = gr.Button("Clear", size="md")
        stop = gr.Button("Stop", size="md", interactive=False)
        submit = gr.Button("Submit", variant="primary", size="md")
    example_notes(note)
    return _Question(note, upload, upload_status, example, instruction, clear, stop, submit)


def _answer_column() -> _Answer:
    text = gr.Textbox(label="Answer", lines=8, max_lines=20, interactive=False)
    answer_status = status()
    claims = gr.HTML(visible=False)
    with gr.Group():
        fault = gr.Dropdown([(words, key) for key, words in FAULTS.items()], value=None, label="What is wrong?")
        correction = gr.Textbox(label="What should it say? (optional)", lines=2, html_attributes=PRIVATE_INPUT)
        comment = gr.Textbox(label="Comment (optional)", lines=2, html_attributes=PRIVATE_INPUT)
    flag = gr.Button("Flag", size="md")
    return _Answer(text, answer_status, claims, fault, correction, comment, flag, status())


def _connect_buttons(service: InstructService, answered: gr.State, question: _Question, answer: _Answer) -> None:
    """Connect Submit, Stop and Clear."""

    def stream(note: str, instruction: str) -> Iterator[tuple[Any, ...]]:
        written = ""
        try:
            for part in service.stream(note, instruction):
                if isinstance(part, str):
                    written += part
                    yield None, written, gr.skip(), gr.skip()
                else:
                    claims = page_list(part["claims"])
                    shown = gr.HTML(claims, visible=bool(claims))
                    yield (note, part), part["answer"], status("\n".join(remarks(part)), "wrong"), shown
        except UserError as error:
            yield None, "", status(f"Not answered – {error}.", "wrong"), gr.skip()

    def buttons(busy: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(interactive=busy), gr.Button(interactive=not busy)

    def empty(line: str = "") -> tuple[Any, ...]:
        return None, "", status(line), gr.HTML(visible=False), None, "", "", status()

    result = [answered, answer.text, answer.status, answer.claims]
    column = [*result, answer.fault, answer.correction, answer.comment, answer.flag_status]
    started = gr.on(
        [question.submit.click, question.instruction.submit],
        lambda: (*empty("Answering …"), *buttons(busy=True)),
        None,
        [*column, question.stop, question.submit],
        api_visibility="private",
    )
    run = started.then(
        stream, [question.note, question.instruction], result, show_progress="hidden", api_visibility="private"
    )
    # Only the end of a run enables Submit: Gradio loses what is submitted while it is cancelling a run
    run.then(lambda: buttons(busy=False), None, [question.stop, question.submit], api_visibility="private")
    question.stop.click(None, cancels=run).then(
        lambda: status("Stopped: the answer is not complete."), None, answer.status, api_visibility="private"
    )
    question.clear.click(None, cancels=run).then(
        lambda: ("", None, "", status(), *empty()),
        None,
        [question.note, question.example, question.instruction, question.upload_status, *column],
        api_visibility="private",
    )


def _read_upload(path: str) -> tuple[Any, gr.HTML]:
    try:
        return read_note(Path(path)), status()
    except UserError as error:
        return gr.skip(), status(f"Not read – {error}.", "wrong")
    finally:
        Path(path).unlink()  # notes are not left on disk
