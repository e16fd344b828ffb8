"""What every pipeline shares: it trains only what the registry does not have; the gate decides, and what passes is
published."""

from typing import Any

from kfp import dsl

from components.evaluate.component import gate
from components.publish.component import lookup, publish
from pipelines.placement import Place


def something_new(place: Place, splits: Any, found: Any, adapter_name: Any, store: Any) -> dsl.If:
    """Add the lookup in the registry to the pipeline that is being built. What is added within the condition is done
    where the registry lacks what this run would make: all that may need a GPU.

    Args:
        found: the outputs of preflight.
    """
    known = lookup(
        splits=splits,
        settings=found["settings"],
        base_digest=found["base_digest"],
        adapter_name=adapter_name,
        store=store,
    )
    place(known, "lookup")
    return dsl.If(known.output == "new")


def gate_and_publish(
    place: Place, splits: Any, adapter: Any, evaluation: Any, adapter_name: Any, thresholds: dict[str, Any], store: Any
) -> None:
    """Add both steps to the pipeline that is being built; what is no dictionary is a channel of it."""
    decided = gate(
        splits=splits,
        adapter=adapter,
        evaluation=evaluation,
        adapter_name=adapter_name,
        thresholds=thresholds,
        store=store,
    )
    place(decided, "gate")
    with dsl.If(decided.outputs["Output"] == "pass"):
        published = publish(
            splits=splits,
            adapter=adapter,
            evaluation=evaluation,
            verdict=decided.outputs["verdict"],
            adapter_name=adapter_name,
            store=store,
        )
        place(published, "publish")
