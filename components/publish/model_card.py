"""The model card of a published version, from the run's own facts."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from clinadapt.models.adapter_card import AdapterCard, InstructCard


def model_card(facts: dict[str, Any], card: AdapterCard, scores: dict[str, Any], data: dict[str, Any]) -> ModelCard:
    """A Hugging Face model card (https://huggingface.co/docs/hub/model-cards) whose metadata holds the metrics.

    Args:
        facts: of the version's manifest.
        card: the adapter's own facts.
        scores: evaluation.json.
        data: the manifest of the splits.
    """
    metrics = scores["models"]["candidate"]["metrics"]
    instruct = isinstance(card, InstructCard)
    task = "text-generation" if instruct else "text-classification"
    header = ModelCardData(
        model_name=facts["name"],
        library_name="peft",
        pipeline_tag=task,
        language="en",
        tags=["clinical", "lora", "clinadapt"],
        eval_results=[
            EvalResult(
                task_type=task,
                dataset_type="held-out notes",
                dataset_name=f"held-out notes of {facts['dataset_digest']}",
                metric_type=name,
                metric_value=round(entry["value"], 4),
            )
            for name, entry in metrics.items()
        ],
    )
    template = files("components.publish") / ("instruct_card.md.j2" if instruct else "classify_card.md.j2")
    return ModelCard.from_template(
        header,
        template_str=template.read_text(encoding="utf-8"),
        facts=facts,
        card=card,
        scores=scores,
        data=data,
    )
