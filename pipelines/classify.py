"""The classify pipeline: preflight -> download -> screen -> format -> lookup -> train -> evaluate -> gate ->
publish."""

from typing import get_args

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.base import Quantization
from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.resolve import form_defaults
from clinadapt.kubernetes.cluster import Cluster
from components.download.component import download_classify
from components.evaluate.component import evaluate_classify
from components.format.component import format_classify
from components.preflight.component import preflight_classify
from components.publish.component import summarise
from components.screen.component import screen_classify
from components.train.component import train_classify
from pipelines.placement import Placement, add_choices, pipeline_config
from pipelines.shared_steps import gate_and_publish, if_new

CHOICES = {"quantization": get_args(Quantization)}  # drop-downs on the run form


def build(profile: ClassifyProfile, cluster: Cluster | None = None, caching: bool = True) -> GraphComponent:
    """The pipeline with a profile's values as defaults; its parameters are the run form, in the order of the steps.

    Args:
        profile: the profile.
        cluster: where it will run; None for this machine.
        caching: whether Kubeflow Pipelines may reuse outputs of earlier runs.
    """
    default = form_defaults(profile)
    place = Placement(profile, cluster, caching)

    @dsl.pipeline(
        name=f"classify-{profile.name}", description=profile.description, pipeline_config=pipeline_config(cluster)
    )
    def classify(
        source: str = default["source"],
        feedback: str = default["feedback"],
        columns: dict = default["columns"],
        labels: list = default["labels"],
        top_labels: int = default["top_labels"],
        min_notes_per_label: int = default["min_notes_per_label"],
        test: str = default["test"],
        base_model: str = default["base_model"],
        quantization: str = default["quantization"],
        num_train_epochs: int = default["num_train_epochs"],
        learning_rate: float = default["learning_rate"],
        seed: int = default["seed"],
        adapter_name: str = default["adapter_name"],
        started_by: str = "",
        store: str = "s3://clinadapt",
    ) -> None:
        summary = summarise(store=store)
        place(summary, "summarise")
        with dsl.ExitHandler(summary, name="adapt"):
            preflight = preflight_classify(
                profile=profile.model_dump(exclude_none=True),
                source=source,
                feedback=feedback,
                columns=columns,
                labels=labels,
                top_labels=top_labels,
                min_notes_per_label=min_notes_per_label,
                test=test,
                base_model=base_model,
                quantization=quantization,
                num_train_epochs=num_train_epochs,
                learning_rate=learning_rate,
                seed=seed,
                adapter_name=adapter_name,
                started_by=started_by,
                store=store,
            )
            place(preflight, "preflight")
            settings = preflight.outputs
            dataset = download_classify(settings=settings["download"], store=store)
            place(dataset, "download")
            screened = screen_classify(settings=settings["screen"], dataset=dataset.output, store=store)
            place(screened, "screen")
            splits = format_classify(settings=settings["format"], dataset=screened.output, store=store)
            place(splits, "format")
            with if_new(place, splits.output, settings, store):
                trained = train_classify(settings=settings["train"], splits=splits.output, store=store)
                place(trained, "train")
                adapter = trained.outputs["adapter"]
                scored = evaluate_classify(
                    settings=settings["evaluate"], splits=splits.output, adapter=adapter, store=store
                )
                place(scored, "evaluate")
                gate_and_publish(place, splits.output, adapter, scored.outputs["evaluation"], settings, store)

    return add_choices(classify, CHOICES)
