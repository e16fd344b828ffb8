"""The review page of an adapter: its masthead, the tabs of its recipe, and its style.

A note stays in memory; only flagging stores it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from clinadapt.feedback.worklist import Worklist
from clinadapt.review.approval_tab import approval_tab
from clinadapt.review.classify import ClassifyService
from clinadapt.review.classify_tab import many_notes_tab, one_note_tab
from clinadapt.review.instruct import InstructService
from clinadapt.review.instruct_tab import instruct_tab
from clinadapt.review.loading import caution
from clinadapt.review.queue_tab import STYLE, review_tabs
from clinadapt.storage import open_store

_FILE_SECONDS = 3600  # until an uploaded file and its answers are deleted from disk

CSS = (
    """
.gradio-container { width: 100%; max-width: 1200px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.masthead h1 { margin: 8px 0 6px; font-size: 28px; line-height: 1.25; font-weight: 650; overflow-wrap: anywhere; }
.masthead p { margin: 0 0 2px; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.masthead p.caution { color: var(--body-text-color); font-weight: 600; }
.status-line { margin: 0; padding: 8px 14px; border-left: 4px solid #0072b2; background: #0072b214;
  overflow-wrap: anywhere; white-space: pre-line; }
.claims { margin: 8px 0 0; padding: 0; list-style: none; font-size: 14px; }
.claims li { padding: 4px 12px; border-left: 4px solid #00805e; margin-top: 4px; overflow-wrap: anywhere; }
.claims li.contradicted { border-color: #c04f00; }
.claims li.not-found { border-color: #d48c00; }
.status-line.wrong { border-color: #c04f00; background: #c04f0014; }
.status-line.done { border-color: #00805e; background: #00805e14; }
.share { margin-top: 8px; background: var(--border-color-primary); }
.share div { height: 6px; background: #0072b2; }
.confidence-set, .table-container * { font-family: inherit !important; }
.approval { overflow-wrap: anywhere; }
.approval h3 { margin: 0 0 6px; }
.approval table { width: 100%; margin: 10px 0; border: none !important; border-collapse: collapse; font-size: 14px; }
.approval tr, .approval th, .approval td { padding: 4px 8px; text-align: left; border: none !important; }
.approval tbody tr { border-top: 1px solid var(--border-color-primary) !important; }
.json-holder { overflow-wrap: anywhere; }
"""
    + STYLE
)
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


def build_page(service: ClassifyService | InstructService, folder: Path) -> gr.Blocks:
    """Build the page of an adapter.

    Args:
        service: the loaded adapter.
        folder: for files with answers.
    """
    root, _, adapter = service.uri.rpartition("/adapters/")
    name, version = adapter.split("/")
    masthead = (
        f"<h1>{escape(name)}</h1><p>Adapter: {escape(service.uri)}</p>"
        f"<p>Base model: {escape(service.base_model)}</p>"
        '<p class="caution">Not a medical device: for evaluating the model, never for patient care.</p>'
    )
    with gr.Blocks(title=f"{name} · review", analytics_enabled=False, delete_cache=(60, _FILE_SECONDS)) as page:
        gr.HTML(masthead, elem_classes="masthead")
        if line := caution(service.uri):
            gr.HTML(f'<p class="status-line wrong">{escape(line)} (when this page was started)</p>')
        if isinstance(service, InstructService):
            with gr.Tab("Instruct"):
                instruct_tab(service)
        else:
            with gr.Tab("One note"):
                one_note_tab(service)
            with gr.Tab("Many notes"):
                many_notes_tab(service, folder)
        review_tabs(Worklist(open_store(root), name, version))
        approval_tab(service.uri, folder)
    return page
