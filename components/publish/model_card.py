"""The model card of a published version, filled in by the run."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from clinadapt.documents.verdict import loosened
from clinadapt.evaluation.claims_accuracy import measured_accuracy
from clinadapt.models.adapter_card import AdapterCard, InstructCard
from clinadapt.models.builtin_models import BUILTIN_MODELS
from clinadapt.registry.approval.standing import policy_of


def model_card(
    fields: dict[str, Any],
    card: AdapterCard,
    evaluation: dict[str, Any],
    splits: dict[str, Any],
    verdict: dict[str, Any],
) -> ModelCard:
    """A Hugging Face model card (https://huggingface.co/docs/hub/model-cards) with the metrics in its metadata.

    Args:
        fields: of the version's manifest.
        card: the adapter's.
        evaluation: content of evaluation.json.
        splits: manifest of the splits.
        verdict: of the gate, content of verdict.json.
    """
    metrics = evaluation["models"]["candidate"]["metrics"]
    instruct = isinstance(card, InstructCard)
    task = "text-generation" if instruct else "text-classification"
    builtin = BUILTIN_MODELS.get(card.base_model)
    header = ModelCardData(
        base_model=builtin.hub_name if builtin else None,
        model_name=fields["name"],
        library_name="peft",
        pipeline_tag=task,
        language="en",
        tags=["clinical", "lora", "clinadapt"],
        eval_results=[
            EvalResult(
                task_type=task,
                dataset_type="held-out notes",
                dataset_name=f"held-out notes of {fields['dataset_digest']}",
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
        fields=fields,
        card=card,
        evaluation=evaluation,
        splits=splits,
        base_origin=builtin.origin() if builtin else None,
        accuracy=measured_accuracy(),
        verdict=verdict,
        loosened=loosened(verdict),
        label=splits.get("label_column", "label").replace("_", " "),
        approval=policy.sentence().replace(" it ", " this version ", 1) if (policy := policy_of(fields)) else "",
    )
