"""The instruct pipeline: preflight -> download -> synthesize -> format -> lookup -> pretrain -> train -> prefer ->
evaluate -> gate -> publish; pretrain and prefer where the profile has them."""

from typing import get_args

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.base import Quantization
from clinadapt.config.instruct import InstructProfile, Teacher
from clinadapt.kubernetes.cluster import Cluster
from components.download.component import download_instructions
from components.evaluate.component import evaluate_instruct
from components.format.component import format_instructions
from components.preflight.component import preflight_instruct
from components.publish.component import summarise
from components.synthesize.component import synthesize
from components.train.component import prefer, pretrain, train_instruct
from pipelines.placement import Place, add_choices, config
from pipelines.shared_steps import gate_and_publish, something_new

CHOICES = {"teacher": get_args(Teacher), "quantization": get_args(Quantization)}  # drop-downs on the run form


def build(profile: InstructProfile, cluster: Cluster | None = None) -> GraphComponent:
    """The pipeline with a profile's values as defaults; its parameters are the run form, in the order of the steps.

    Args:
        profile: the profile.
        cluster: where it will run; None for this machine.
    """
    settings = profile.instruct
    sources = [source.model_dump(exclude_defaults=True) for source in profile.sources]
    place = Place(profile, cluster)

    @dsl.pipeline(name=f"instruct-{profile.name}", description=profile.description, pipeline_config=config(cluster))
    def instruct(
        sources: list = sources,
        teacher: str = profile.synthesis.teacher,
        base_model: str = settings.base_model,
        quantization: str = settings.quantization,
        num_train_epochs: int = settings.num_train_epochs,
        learning_rate: float = settings.learning_rate,
        seed: int = settings.seed,
        adapter_name: str = profile.adapter_name,
        store: str = "s3://clinadapt",
    ) -> None:
        summary = summarise(store=store)
        place(summary, "summarise")
        with dsl.ExitHandler(summary):
            found = preflight_instruct(
                sources=sources,
                teacher=teacher,
                base_model=base_model,
                quantization=quantization,
                num_train_epochs=num_train_epochs,
                learning_rate=learning_rate,
                seed=seed,
                adapter_name=adapter_name,
                instruct=settings.model_dump(),
                pretrain=profile.pretrain.model_dump() if profile.pretrain else {},
                preference=profile.preference.model_dump() if profile.preference else {},
                synthesis=profile.synthesis.model_dump(),
                resources=profile.train_resources.model_dump(),
                store=store,
            )
            place(found, "preflight")
            code_version = found.outputs["code_version"]
            dataset = download_instructions(
                sources=sources,
                source_digest=found.outputs["dataset_digest"],
                code_version=code_version,
                examples=profile.examples.model_dump(),
                store=store,
            )
            place(dataset, "download")
            triples = synthesize(
                dataset=dataset.output,
                code_version=code_version,
                synthesis=profile.synthesis.model_dump(),
                teacher=teacher,
                seed=seed,
                store=store,
            )
            place(triples, "synthesize")
            if profile.synthesis.token_budget:
                triples.set_caching_options(False)  # the next run goes on where the budget ended this one
            splits = format_instructions(
                triples=triples.output,
                code_version=code_version,
                examples=profile.examples.model_dump(),
                base_model=base_model,
                vocabulary=profile.pretrain.llama.vocab_size if profile.pretrain else 0,
                corpus=profile.pretrain is not None,
                seed=seed,
                store=store,
            )
            place(splits, "format")
            with something_new(place, splits.output, found.outputs, adapter_name, store):
                base = {"base_model": base_model, "base_digest": found.outputs["base_digest"]}
                if profile.pretrain:
                    made = pretrain(
                        splits=splits.output,
                        **base,
                        code_version=code_version,
                        pretrain=profile.pretrain.model_dump(),
                        seed=seed,
                        store=store,
                    )
                    place(made, "pretrain")
                    base = {"base_model": made.outputs["uri"], "base_digest": made.outputs["digest"]}
                adapted = train_instruct(
                    splits=splits.output,
                    **base,
                    code_version=code_version,
                    quantization=quantization,
                    num_train_epochs=num_train_epochs,
                    learning_rate=learning_rate,
                    seed=seed,
                    instruct=settings.model_dump(),
                    store=store,
                )
                place(adapted, "train")
                if profile.preference:
                    adapted = prefer(
                        splits=splits.output,
                        before=adapted.outputs["adapter"],
                        code_version=code_version,
                        preference=profile.preference.model_dump(),
                        seed=seed,
                        store=store,
                    )
                    place(adapted, "prefer")
                scored = evaluate_instruct(
                    splits=splits.output,
                    adapter=adapted.outputs["adapter"],
                    code_version=code_version,
                    adapter_name=adapter_name,
                    champion_version=found.outputs["champion_version"],
                    champion_etag=found.outputs["champion_etag"],
                    evaluation_settings=profile.evaluation.model_dump(),
                    seed=seed,
                    store=store,
                )
                place(scored, "evaluate")
                gate_and_publish(
                    place,
                    splits.output,
                    adapted.outputs["adapter"],
                    scored.outputs["evaluation"],
                    adapter_name,
                    profile.gate.model_dump(),
                    store,
                )

    return add_choices(instruct, CHOICES)
