"""The steps that both pipelines share: the lookup in the registry before training, the gate and publish after it."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from components.evaluate.component import gate
from components.publish.component import lookup, publish
from pipelines.placement import Placement
from pipelines.run_progress import PROPOSED


def if_new(place: Placement, splits: Any, settings: Mapping[str, Any], store: Any) -> dsl.If:
    """Add the lookup; the steps within the condition, all that may need a GPU, run only where the registry does not
    have the version that this run would train.

    Args:
        place: puts resources on tasks.
        splits: output of format.
        settings: outputs of preflight, by step.
        store: parameter of the pipeline.
    """
    known = lookup(settings=settings["lookup"], splits=splits, store=store)
    place(known, "lookup")
    return dsl.If(known.output == "new", name="there is something new")


def gate_and_publish(
    place: Placement, splits: Any, adapter: Any, evaluation: Any, settings: Mapping[str, Any], store: Any
) -> None:
    """Add the gate, and publish where it passes. Arguments as in `if_new`; adapter and evaluation are outputs."""
    decided = gate(
        settings=settings["gate"], splits=splits, adapter=adapter, evaluation=evaluation, store=store
    )  # fmt: skip
    place(decided, "gate")
    with dsl.If(decided.outputs["Output"] == "pass", name="the gate says yes"):
        published = publish(
            settings=settings["publish"],
            splits=splits,
            adapter=adapter,
            evaluation=evaluation,
            verdict=decided.outputs["verdict"],
            store=store,
        )
        place(published, "publish")
        if place.profile.gate.approval:
            published.set_display_name(PROPOSED)  # by which `runs list` knows what became of the run
