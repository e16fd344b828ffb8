"""The classify pipeline: preflight -> download -> format -> train -> evaluate -> gate -> publish."""

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent

from components.common.recipe import Profile, Resources
from components.common.steps import RUN
from components.download.component import download
from components.evaluate.component import evaluate_classifier, gate
from components.format.component import format_notes
from components.preflight.component import preflight
from components.publish.component import publish, summarise
from components.train.component import train_classifier

STORE_SECRET = "clinadapt-store"
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")


def build(profile: Profile) -> GraphComponent:
    """The pipeline with a profile's values as defaults; its parameters are the run form, in the order of the steps."""
    notes, train = profile.notes, profile.train
    train_section = train.model_dump()

    @dsl.pipeline(name=f"classify-{profile.name}", description=profile.description)
    def classify(
        source: str = profile.source,
        text_column: str = notes.text_column,
        label_column: str = notes.label_column,
        labels: list = notes.labels,
        top_labels: int = notes.top_labels,
        base_model: str = train.base_model,
        quantization: str = train.quantization,
        epochs: int = train.epochs,
        learning_rate: float = train.learning_rate,
        seed: int = train.seed,
        adapter_name: str = profile.adapter_name,
        store: str = "s3://clinadapt",
    ) -> None:
        summary = summarise(store=store)
        _place(summary, profile.resources, cached=False)
        with dsl.ExitHandler(summary):
            found = preflight(
                source=source,
                base_model=base_model,
                quantization=quantization,
                adapter_name=adapter_name,
                train=train_section,
                resources=profile.train_resources.model_dump(),
                store=store,
            )
            _place(found, profile.resources, cached=False)
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
            _place(dataset, profile.resources)
            splits = format_notes(
                dataset=dataset.output,
                code_version=found.outputs["code_version"],
                split=profile.split.model_dump(),
                seed=seed,
                store=store,
            )
            _place(splits, profile.resources)
            trained = train_classifier(
                splits=splits.output,
                base_model=base_model,
                base_digest=found.outputs["base_digest"],
                code_version=found.outputs["code_version"],
                quantization=quantization,
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                train=train_section,
                store=store,
            )
            _place(trained, profile.train_resources)
            trained.set_retry(num_retries=5, backoff_duration="30s")  # an evicted pod's training goes on
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
            _place(scored, profile.train_resources)
            decided = gate(
                splits=splits.output,
                adapter=trained.outputs["adapter"],
                evaluation=scored.outputs["evaluation"],
                adapter_name=adapter_name,
                thresholds=profile.gate.model_dump(),
                store=store,
            )
            _place(decided, profile.resources, cached=False)
            with dsl.If(decided.outputs["Output"] == "pass"):
                published = publish(
                    splits=splits.output,
                    adapter=trained.outputs["adapter"],
                    evaluation=scored.outputs["evaluation"],
                    verdict=decided.outputs["verdict"],
                    adapter_name=adapter_name,
                    store=store,
                )
                _place(published, profile.train_resources, cached=False)

    return classify


def _place(task: dsl.PipelineTask, resources: Resources, cached: bool = True) -> None:
    """Give a task its share of the cluster, the store's keys, and its run's name (the pod's workflow label)."""
    task.set_caching_options(cached)
    task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpu)
        task.set_env_variable("CLINADAPT_GPU", "1")
    kubernetes.use_secret_as_env(task, STORE_SECRET, {name: name for name in STORE_KEYS}, optional=True)
    kubernetes.use_field_path_as_env(task, RUN, "metadata.labels['workflows.argoproj.io/workflow']")
