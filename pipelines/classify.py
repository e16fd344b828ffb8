"""The classify pipeline: preflight -> download -> format -> lookup -> train -> evaluate -> gate -> publish."""

from typing import get_args

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.base import Quantization
from clinadapt.config.classify import ClassifyProfile
from clinadapt.kubernetes.cluster import Cluster
from components.download.component import download
from components.evaluate.component import evaluate_classifier
from components.format.component import format_notes
from components.preflight.component import preflight
from components.publish.component import summarise
from components.train.component import train_classifier
from pipelines.placement import Place, add_choices, config
from pipelines.shared_steps import gate_and_publish, something_new

CHOICES = {"quantization": get_args(Quantization)}  # drop-downs on the run form


def build(profile: ClassifyProfile, cluster: Cluster | None = None) -> GraphComponent:
    """The pipeline with a profile's values as defaults; its parameters are the run form, in the order of the steps.

    Args:
        profile: the profile.
        cluster: where it will run; None for this machine.
    """
    notes, train = profile.notes, profile.train
    train_section = train.model_dump()
    place = Place(profile, cluster)

    @dsl.pipeline(name=f"classify-{profile.name}", description=profile.description, pipeline_config=config(cluster))
    def classify(
        source: str = profile.source,
        text_column: str = notes.text_column,
        label_column: str = notes.label_column,
        labels: list = notes.labels,
        top_labels: int = notes.top_labels,
        base_model: str = train.base_model,
        quantization: str = train.quantization,
        num_train_epochs: int = train.num_train_epochs,
        learning_rate: float = train.learning_rate,
        seed: int = train.seed,
        adapter_name: str = profile.adapter_name,
        store: str = "s3://clinadapt",
    ) -> None:
        summary = summarise(store=store)
        place(summary, "summarise")
        with dsl.ExitHandler(summary):
            found = preflight(
                source=source,
                base_model=base_model,
                quantization=quantization,
                num_train_epochs=num_train_epochs,
                learning_rate=learning_rate,
                seed=seed,
                adapter_name=adapter_name,
                train=train_section,
                resources=profile.train_resources.model_dump(),
                store=store,
            )
            place(found, "preflight")
            dataset = download(
                source=source,
                source_digest=found.outputs["dataset_digest"],
                code_version=found.outputs["code_version"],
                text_column=text_column,
                label_column=label_column,
                labels=labels,
                top_labels=top_labels,
                notes=notes.model_dump(),
                store=store,
            )
            place(dataset, "download")
            splits = format_notes(
                dataset=dataset.output,
                code_version=found.outputs["code_version"],
                split=profile.split.model_dump(),
                seed=seed,
                store=store,
            )
            place(splits, "format")
            with something_new(place, splits.output, found.outputs, adapter_name, store):
                trained = train_classifier(
                    splits=splits.output,
                    base_model=base_model,
                    base_digest=found.outputs["base_digest"],
                    code_version=found.outputs["code_version"],
                    quantization=quantization,
                    num_train_epochs=num_train_epochs,
                    learning_rate=learning_rate,
                    seed=seed,
                    train=train_section,
                    store=store,
                )
                place(trained, "train")
                scored = evaluate_classifier(
                    splits=splits.output,
                    adapter=trained.outputs["adapter"],
                    adapter_name=adapter_name,
                    code_version=found.outputs["code_version"],
                    champion_version=found.outputs["champion_version"],
                    champion_etag=found.outputs["champion_etag"],
                    seed=seed,
                    store=store,
                )
                place(scored, "evaluate")
                gate_and_publish(
                    place,
                    splits.output,
                    trained.outputs["adapter"],
                    scored.outputs["evaluation"],
                    adapter_name,
                    profile.gate.model_dump(),
                    store,
                )

    return add_choices(classify, CHOICES)
