# mypy: disable-error-code="valid-type"
"""KFP components of preflight: the run form comes in, the settings of each step go out."""

from typing import NamedTuple

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preflight_classify(
    profile: dict,
    source: str,
    feedback: str,
    columns: dict,
    labels: list,
    top_labels: int,
    min_notes_per_label: int,
    test: str,
    base_model: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    adapter_name: str,
    started_by: str,
    store: str,
) -> NamedTuple(
    "Steps", download=dict, screen=dict, format=dict, lookup=dict, train=dict, evaluate=dict, gate=dict, publish=dict
):  # fmt: skip
    """Check store, data, base model and memory; resolve the settings of every step.

    Args:
        profile: The profile, whose values the other parameters replace.
        source: URI of the notes.
        feedback: URI of `flagged/` of a store, or of `flagged/NAME/`: corrected labels to train on; none when empty.
        columns: Field -> column name of the source.
        labels: Labels to keep; all when empty.
        top_labels: Number of most frequent labels to keep; all when 0.
        min_notes_per_label: Labels of fewer different notes are left out.
        test: Notes of the test: random, or the newest, as in `newest 10%`.
        base_model: URI of the base model.
        quantization: none or nf4 (4 bits, QLoRA).
        num_train_epochs: Passes over the training data.
        learning_rate: The highest, after warm-up.
        seed: Of split and training.
        adapter_name: Name under which the adapter is published.
        started_by: Name of whoever starts the run, and so must not approve what it publishes.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        download: Settings of download.
        screen: Settings of screen.
        format: Settings of format.
        lookup: Settings of lookup.
        train: Settings of train.
        evaluate: Settings of evaluate.
        gate: Settings of gate.
        publish: Settings of publish.
    """
    from collections import namedtuple

    from clinadapt.artifacts.step_record import step
    from clinadapt.config.classify import ClassifyProfile
    from components.preflight.classify import run

    form = {
        "source": source, "feedback": feedback, "columns": columns, "labels": labels, "top_labels": top_labels,
        "min_notes_per_label": min_notes_per_label, "test": test, "base_model": base_model,
        "quantization": quantization, "num_train_epochs": num_train_epochs, "learning_rate": learning_rate,
        "seed": seed, "adapter_name": adapter_name,
    }  # fmt: skip
    with step("preflight", store) as outputs:
        outputs["adapter_name"] = adapter_name
        steps = run(ClassifyProfile.model_validate(profile), form, store, started_by)
        outputs |= {"base_digest": steps["train"]["base_digest"]}
        outputs |= {name: steps["evaluate"][name] for name in ("champion_version", "champion_etag")}
    return namedtuple("Steps", steps)(**steps)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preflight_instruct(
    profile: dict,
    sources: list,
    teacher: str,
    test: str,
    base_model: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    adapter_name: str,
    started_by: str,
    store: str,
) -> NamedTuple(
    "Steps", download=dict, screen=dict, synthesize=dict, format=dict, lookup=dict, pretrain=dict, train=dict,
    prefer=dict, evaluate=dict, gate=dict, publish=dict,
):  # fmt: skip
    """As preflight_classify; the settings of pretrain and prefer are empty where the profile has no such stage.

    Args:
        profile: The profile, whose values the other parameters replace.
        sources: Sources of notes, each with kind and uri.
        teacher: rules (offline) or llm.
        test: Notes of the test: random, or the newest, as in `newest 10%`.
        base_model: URI of the base model.
        quantization: none or nf4 (4 bits, QLoRA).
        num_train_epochs: Passes over the training data.
        learning_rate: The highest, after warm-up.
        seed: Of split and training.
        adapter_name: Name under which the adapter is published.
        started_by: Name of whoever starts the run, and so must not approve what it publishes.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        download: Settings of download.
        screen: Settings of screen.
        synthesize: Settings of synthesize.
        format: Settings of format.
        lookup: Settings of lookup.
        pretrain: Settings of pretrain.
        train: Settings of train.
        prefer: Settings of prefer.
        evaluate: Settings of evaluate.
        gate: Settings of gate.
        publish: Settings of publish.
    """
    from collections import namedtuple

    from clinadapt.artifacts.step_record import step
    from clinadapt.config.instruct import InstructProfile
    from components.preflight.instruct import run

    form = {
        "sources": sources, "teacher": teacher, "test": test, "base_model": base_model, "quantization": quantization,
        "num_train_epochs": num_train_epochs, "learning_rate": learning_rate, "seed": seed,
        "adapter_name": adapter_name,
    }  # fmt: skip
    with step("preflight", store) as outputs:
        outputs["adapter_name"] = adapter_name
        steps = {"pretrain": {}, "prefer": {}, **run(InstructProfile.model_validate(profile), form, store, started_by)}
        outputs |= {"base_digest": steps["train"]["base_digest"]}
        outputs |= {name: steps["evaluate"][name] for name in ("champion_version", "champion_etag")}
    return namedtuple("Steps", steps)(**steps)
