"""Parts of the review page that both recipes use: example notes and status lines."""

from __future__ import annotations

import os
from html import escape

import gradio as gr

from clinadapt.registry.champion import actor
from clinadapt.review.protection import USER_HEADER

# No spell checking or autocompletion, which may send a note to the browser's vendor
PRIVATE_INPUT = gr.InputHTMLAttributes(spellcheck=False, autocomplete="off", autocorrect="off")

# Invented notes, not medical advice
EXAMPLES = {
    "Chest pain on exertion": (
        "REASON FOR CONSULTATION: Chest pain.\n\n"
        "HISTORY: 63-year-old man with hypertension and hyperlipidaemia. For three weeks he has had a pressure behind "
        "the sternum on climbing stairs, relieved by rest within five minutes. No syncope, no palpitations.\n\n"
        "EXAMINATION: BP 148/86, pulse 78 and regular. No murmur, lungs clear, no oedema.\n\n"
        "ECG: Sinus rhythm, flat T waves in V5 and V6. Troponin negative twice.\n\n"
        "PLAN: Aspirin, beta blocker and statin. Stress echocardiogram, coronary angiography if positive."
    ),
    "Knee replacement": (
        "PREOPERATIVE DIAGNOSIS: Osteoarthritis of the right knee.\n"
        "PROCEDURE: Total knee arthroplasty, cemented.\n\n"
        "DESCRIPTION: Under spinal anaesthesia a midline incision with a medial parapatellar approach was made. The "
        "distal femur and the proximal tibia were cut with guides, trial components gave full extension and 125 "
        "degrees of flexion. The definitive components were cemented, the patella tracked centrally. Layered closure. "
        "Blood loss 150 mL, no complications.\n\n"
        "PLAN: Weight bearing as tolerated with a walker, enoxaparin, physiotherapy from today."
    ),
    "Colonoscopy": (
        "INDICATION: Iron deficiency anaemia in a 58-year-old woman, stool positive for occult blood.\n\n"
        "PROCEDURE: Colonoscopy with polypectomy under conscious sedation. The scope was passed to the caecum, the "
        "appendiceal orifice and the ileocaecal valve were seen. Preparation good.\n\n"
        "FINDINGS: An 8 mm pedunculated polyp of the sigmoid colon, removed with a hot snare and retrieved. A few "
        "diverticula of the left colon. Small internal haemorrhoids.\n\n"
        "PLAN: Await histology. High-fibre diet. Repeat colonoscopy in five years."
    ),
}


def example_notes(note: gr.Textbox) -> None:
    """Buttons that put an example into the note's text box."""
    gr.Examples(
        [[text] for text in EXAMPLES.values()],
        note,
        label="Examples (invented)",
        example_labels=list(EXAMPLES),
        api_visibility="private",
    )


def reviewer(request: gr.Request) -> str | None:
    """Name of the user: as the proxy gives it (clinadapt.review.protection), None where it gives none; or of the login;
    without a login, when only this machine reaches the page, of who started it."""
    if header := os.environ.get(USER_HEADER):
        return str(request.headers.get(header.lower(), ""))[:200] or None
    return request.username or actor()


def status(text: str = "", tone: str = "", share: float | None = None) -> gr.HTML:
    """A status line, announced by screen readers; hidden if `text` is empty.

    Args:
        text: one or several lines.
        tone: empty, `wrong` or `done`.
        share: progress from 0 to 1, drawn as a bar.
    """
    bar = "" if share is None else f'<div class="share"><div style="width: {share:.0%}"></div></div>'
    return gr.HTML(f"{status_line(text, tone)}{bar}", visible=bool(text))


def status_line(text: str, tone: str = "") -> str:
    """A status line as HTML, empty if `text` is. It changes the value of a component, which takes Gradio a third less
    time than another component in its place."""
    return f'<p role="status" class="status-line {tone}">{escape(text)}</p>' if text else ""
