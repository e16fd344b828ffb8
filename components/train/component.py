# mypy: disable-error-code="valid-type"
"""KFP components of pretrain, train and prefer."""

from typing import NamedTuple

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_classify(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a LoRA adapter with a classification head.

    Args:
        settings: Of train, as preflight resolves them: training, base_digest.
        splits: Output of format.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        adapter: Adapter and head as safetensors, with a manifest.
        metrics: Loss, time and memory of the training.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.classify import ClassifyTraining
    from components.train.start import train
    from components.train.summary import step_summary

    with step("train", store) as outputs:
        training = ClassifyTraining.model_validate(settings["training"])
        result = train("classify", input_folder(splits, store), Path(adapter.path), training, store)
        outputs |= step_summary(result) | {"base_digest": settings["base_digest"]}
        log_metrics(metrics, outputs)
        adapter.metadata.update(outputs)
        record_output(adapter, "train", settings, store)
        log("train", f"{result['trainable_parameters']:,} of {result['total_parameters']:,} parameters trained, "
            f"validation loss {outputs['best_validation_loss']:.4f}, "
            f"{result['peak_memory_bytes'] / 2**30:.1f} GiB at the peak")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain(settings: dict, splits: dsl.Input[dsl.Dataset], store: str, curve: dsl.Output[dsl.Artifact]) -> NamedTuple(
    "Base", uri=str, digest=str
):
    """Next-token training on the notes. The base model goes to the store, from where later steps stream it.

    Args:
        settings: Of pretrain, as preflight resolves them: training, base_model, base_digest.
        splits: Output of format.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        curve: Loss by step.
        uri: Of the base model in the store.
        digest: Of the base model.
    """
    from collections import namedtuple
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_place
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Pretraining
    from components.train.start import train
    from components.train.summary import step_summary

    with step("pretrain", store) as outputs:
        training = Pretraining.model_validate(settings["training"])
        result = train(
            "pretrain", input_folder(splits, store), Path(curve.path), training, store, settings["base_model"]
        )
        base = {name: result[name] for name in ("uri", "digest")}
        outputs |= step_summary(result) | base | {"base_digest": settings["base_digest"]}
        curve.metadata.update(outputs)
        record_place(base["uri"], base["digest"], "pretrain", settings, store)
        log("pretrain", f"{result['uri']}, validation loss {outputs['best_validation_loss']:.4f}, "
            f"{result['tokens_per_second']:,.0f} tokens a second")  # fmt: skip
    return namedtuple("Base", base)(**base)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_instruct(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    base_model: str = "",
    base_digest: str = "",
) -> None:
    """Train a LoRA adapter on the answers to instructions, on the base model of the settings or the one given, which
    pretrain made.

    Args:
        settings: Of train, as preflight resolves them: training, base_digest.
        splits: Output of format.
        store: URI of the object store, such as s3://clinadapt.
        base_model: URI of the base model that pretrain made; that of the settings when empty.
        base_digest: Its digest.

    Returns:
        adapter: Adapter as safetensors, with a manifest.
        metrics: Loss, time and memory of the training.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_base, input_folder, record_output
    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.instruct import InstructTraining
    from components.train.start import train
    from components.train.summary import step_summary

    with step("train", store) as outputs:
        input_base(base_model, base_digest, store)
        training = InstructTraining.model_validate(
            settings["training"] | ({"base_model": base_model} if base_model else {})
        )
        result = train("instruct", input_folder(splits, store), Path(adapter.path), training, store)
        outputs |= step_summary(result) | {"base_digest": base_digest or settings["base_digest"]}
        log_metrics(metrics, outputs)
        adapter.metadata.update(outputs)
        record_output(adapter, "train", settings, store)
        log(
            "train",
            f"{result['trainable_parameters']:,} of {result['total_parameters']:,} parameters trained, "
            f"validation loss {outputs['best_validation_loss']:.4f}, "
            f"{result['tokens_per_second']:,.0f} tokens a second, "
            f"{result['peak_memory_bytes'] / 2**30:.1f} GiB at the peak",
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prefer(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    sft_adapter: dsl.Input[dsl.Model],
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Continue to train an adapter on preference pairs (DPO).

    Args:
        settings: Of prefer, as preflight resolves them: training.
        splits: Output of format.
        sft_adapter: Output of train.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        adapter: Adapter as safetensors, with a manifest.
        metrics: Accuracy and margin of the preferences.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_base, input_folder, record_output
    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.instruct import PreferenceTraining
    from clinadapt.models.adapter_card import InstructCard
    from components.train.start import train

    with step("prefer", store) as outputs:
        training = PreferenceTraining.model_validate(settings["training"])
        before = input_folder(sft_adapter, store)
        card = InstructCard.read(before)
        input_base(card.base_model, card.base_digest, store)
        result = train("prefer", input_folder(splits, store), Path(adapter.path), training, store, adapter=before)[
            "preference"
        ]
        outputs |= {"pairs": result["pairs"], "seconds": result["seconds"]}
        if result["curve"]:  # empty where nobody has corrected an answer yet
            last = result["curve"][-1]
            outputs |= {"accuracy": last["accuracy"], "margin": last["margin"]}
            log("prefer", f"{result['pairs']:,} pairs, the chosen answer is the likelier one in {last['accuracy']:.0%}")
        log_metrics(metrics, outputs)
        adapter.metadata.update(outputs)
        record_output(adapter, "prefer", settings, store)
