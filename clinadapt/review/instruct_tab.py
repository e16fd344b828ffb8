"""The tab of an instruct adapter: a note, an instruction, the answer as it is written, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from clinadapt.errors import UserError
from clinadapt.review.flags import FAULTS, Asked, flag_instructed
from clinadapt.review.inputs import read_note
from clinadapt.review.instruct import Asker, remarks
from clinadapt.review.widgets import PLAIN, offer_examples, tell

# One of each task, worded as in training, for the first example note; to be changed by the reader.
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


def ask_about_a_note(asker: Asker) -> None:
    """Lay out the tab and say what its buttons do."""
    asked = gr.State()
    with gr.Row():
        with gr.Column(scale=3):
            note = gr.Textbox(label="Clinical note", lines=12, max_lines=12, autofocus=True, html_attributes=PLAIN)
            upload = gr.UploadButton("Open a text file", file_types=[".txt", "text"], size="sm")
            opened = tell()
            example = gr.Dropdown(
                [(f"{task}: {text}", text) for task, text in INSTRUCTIONS.items()],
                value=None,
                label="Example instructions",
                info="One of each task, for the first example below; change it as you like.",
            )
            instruction = gr.Textbox(label="Instruction", lines=2, max_lines=6, html_attributes=PLAIN)
            with gr.Row():
                clear = gr.Button("Clear", size="md")
                stop = gr.Button("Stop", size="md", interactive=False)
                submit = gr.Button("Submit", variant="primary", size="md")
            offer_examples(note)
        with gr.Column(scale=2):
            text = gr.Textbox(label="Answer", lines=8, max_lines=20, interactive=False)
            told = tell()
            with gr.Group():
                fault = gr.Dropdown([(words, key) for key, words in FAULTS.items()], value=None, label="What is wrong?")
                correction = gr.Textbox(label="What should it say? (optional)", lines=2, html_attributes=PLAIN)
                comment = gr.Textbox(label="Comment (optional)", lines=2, html_attributes=PLAIN)
            flag_it = gr.Button("Flag", size="md")
            flagged = tell()

    def read(path: str) -> tuple[Any, gr.HTML]:
        try:
            return read_note(Path(path)), tell()
        except UserError as error:
            return gr.skip(), tell(f"Not read – {error}.", "wrong")
        finally:
            Path(path).unlink()  # a note stays in memory

    def answer(note: str, instruction: str) -> Iterator[tuple[Any, ...]]:
        written = ""
        try:
            for part in asker.stream(note, instruction):
                if isinstance(part, str):
                    written += part
                    yield None, written, gr.skip()
                else:
                    yield (note, part), part["answer"], tell("\n".join(remarks(part)), "wrong")
        except UserError as error:
            yield None, "", tell(f"Not answered – {error}.", "wrong")

    def flag_answer(
        asked: Asked | None, fault: str | None, correction: str, comment: str, request: gr.Request
    ) -> tuple[Any, ...]:
        try:
            uri = flag_instructed(asked, fault, correction, comment, request.username)
        except UserError as error:
            return fault, correction, comment, tell(f"Not flagged – {error}.", "wrong")
        return None, "", "", tell(f"Flagged, thank you. Stored as {uri}", "done")

    def buttons(busy: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(interactive=busy), gr.Button(interactive=not busy)

    verdict = [fault, correction, comment, flagged]
    whole = [asked, text, told, *verdict]

    def blank(line: str = "") -> tuple[Any, ...]:
        return None, "", tell(line), None, "", "", tell()

    upload.upload(read, upload, [note, opened], api_visibility="private")
    example.input(lambda chosen: chosen, example, instruction, api_visibility="private")
    begin = gr.on(
        [submit.click, instruction.submit],
        lambda: (*blank("Answering …"), *buttons(busy=True)),
        None,
        [*whole, stop, submit],
        api_visibility="private",
    )
    run = begin.then(answer, [note, instruction], [asked, text, told], show_progress="hidden", api_visibility="private")
    # Only the end of a run frees Submit: Gradio loses what is submitted before it is done with a run that it cancels
    run.then(lambda: buttons(busy=False), None, [stop, submit], api_visibility="private")
    stop.click(None, cancels=run).then(
        lambda: tell("Stopped: the answer is not complete."), None, told, api_visibility="private"
    )
    clear.click(None, cancels=run).then(
        lambda: ("", None, "", tell(), *blank()),
        None,
        [note, example, instruction, opened, *whole],
        api_visibility="private",
    )
    flag_it.click(flag_answer, [asked, fault, correction, comment], verdict, api_visibility="private")
