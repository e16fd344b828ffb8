"""The instruct pipeline: preflight -> download -> screen -> synthesize -> format -> lookup -> pretrain -> train ->
prefer -> evaluate -> gate -> publish; pretrain and prefer where the profile has them."""

from typing import get_args

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.base import Quantization
from clinadapt.config.instruct import InstructProfile, Teacher
from clinadapt.config.resolve import form_defaults
from clinadapt.kubernetes.cluster import Cluster
from components.download.component import download_instruct
from components.evaluate.component import evaluate_instruct
from components.format.component import format_instruct
from components.preflight.component import preflight_instruct
from components.publish.component import summarise
from components.screen.component import screen_instruct
from components.synthesize.component import synthesize
from components.train.component import prefer, pretrain, train_instruct
from pipelines.placement import Placement, add_choices, pipeline_config
from pipelines.shared_steps import gate_and_publish, if_new

CHOICES = {"teacher": get_args(Teacher), "quantization": get_args(Quantization)}  # drop-downs on the run form


def build(profile: InstructProfile, cluster: Cluster | None = None, caching: bool = True) -> GraphComponent:
    """The pipeline with a profile's values as defaults; its parameters are the run form, in the order of the steps.

    Args:
        profile: the profile.
        cluster: where it will run; None for this machine.
        caching: whether Kubeflow Pipelines may reuse outputs of earlier runs.
    """
    default = form_defaults(profile)
    sources = [source.model_dump(exclude_defaults=True) for source in profile.sources]
    place = Placement(profile, cluster, caching)

    @dsl.pipeline(
        name=f"instruct-{profile.name}", description=profile.description, pipeline_config=pipeline_config(cluster)
    )
    def instruct(
        sources: list = sources,
        teacher: str = default["teacher"],
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
            preflight = preflight_instruct(
                profile=profile.model_dump(exclude_none=True),
                sources=sources,
                teacher=teacher,
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
            dataset = download_instruct(settings=settings["download"], store=store)
            place(dataset, "download")
            screened = screen_instruct(settings=settings["screen"], dataset=dataset.output, store=store)
            place(screened, "screen")
            triples = synthesize(settings=settings["synthesize"], dataset=screened.output, store=store)
            place(triples, "synthesize")
            if profile.synthesis.token_budget:
                triples.set_caching_options(False)  # the next run continues where the token budget stopped this one
            splits = format_instruct(settings=settings["format"], triples=triples.output, store=store)
            place(splits, "format")
            with if_new(place, splits.output, settings, store):
                pretrained = {}
                if profile.pretrain:
                    base = pretrain(settings=settings["pretrain"], splits=splits.output, store=store)
                    place(base, "pretrain")
                    pretrained = {"base_model": base.outputs["uri"], "base_digest": base.outputs["digest"]}
                trained = train_instruct(settings=settings["train"], splits=splits.output, store=store, **pretrained)
                place(trained, "train")
                if profile.preference:
                    trained = prefer(
                        settings=settings["prefer"],
                        splits=splits.output,
                        sft_adapter=trained.outputs["adapter"],
                        store=store,
                    )
                    place(trained, "prefer")
                adapter = trained.outputs["adapter"]
                scored = evaluate_instruct(
                    settings=settings["evaluate"], splits=splits.output, adapter=adapter, store=store
                )
                place(scored, "evaluate")
                gate_and_publish(place, splits.output, adapter, scored.outputs["evaluation"], settings, store)

    return add_choices(instruct, CHOICES)
