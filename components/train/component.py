# mypy: disable-error-code="valid-type"
"""KFP faces of train, pretrain and prefer."""

from typing import NamedTuple

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_classifier(
    splits: dsl.Input[dsl.Dataset],
    base_model: str,
    base_digest: str,
    code_version: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    train: dict,
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a LoRA adapter with a classification head. Digest and code version make the cache follow them."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.classify import Train
    from clinadapt.storage import open_store
    from components.train.classify import run
    from components.train.progress import check_gpu, step_summary

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("train", store) as facts:
        check_gpu()
        settings = Train.model_validate({**train, **form})
        result = run(Path(splits.path), Path(adapter.path), settings, open_store(store))
        facts |= step_summary(result) | {"base_digest": base_digest}
        log_metrics(metrics, facts)
        adapter.metadata.update(facts)
        log("train", f"{result['trainable_parameters']:,} of {result['total_parameters']:,} parameters trained, "
            f"validation loss {facts['best_validation_loss']:.4f}, "
            f"{result['peak_memory_bytes'] / 2**30:.1f} GiB at the peak")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain(
    splits: dsl.Input[dsl.Dataset],
    base_model: str,
    base_digest: str,
    code_version: str,
    pretrain: dict,
    seed: int,
    store: str,
    curve: dsl.Output[dsl.Artifact],
) -> NamedTuple("Base", uri=str, digest=str):
    """Next-token training on the notes. The base model goes to the store, from where later steps stream it."""
    from collections import namedtuple
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Pretrain
    from clinadapt.storage import open_store
    from components.train.distributed import train_distributed
    from components.train.pretrain import run
    from components.train.progress import check_gpu, gpus, step_summary

    with step("pretrain", store) as facts:
        check_gpu()
        settings = Pretrain.model_validate({**pretrain, "seed": seed})
        places = Path(splits.path), Path(curve.path)
        if (processes := gpus()) > 1:
            result = train_distributed(processes, "pretrain", *places, settings, store, base_model)
        else:
            result = run(*places, settings, base_model, open_store(store))
        base = {name: result[name] for name in ("uri", "digest")}
        facts |= step_summary(result) | base | {"base_digest": base_digest}
        curve.metadata.update(facts)
        log("pretrain", f"{result['uri']}, validation loss {facts['best_validation_loss']:.4f}, "
            f"{result['tokens_per_second']:,.0f} tokens a second")  # fmt: skip
    return namedtuple("Base", base)(**base)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_instruct(
    splits: dsl.Input[dsl.Dataset],
    base_model: str,
    base_digest: str,
    code_version: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    instruct: dict,
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a LoRA adapter on the answers to instructions. Digest and code version make the cache follow them."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.instruct import Instruct
    from clinadapt.storage import open_store
    from components.train.distributed import train_distributed
    from components.train.instruct import run
    from components.train.progress import check_gpu, gpus, step_summary

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("train", store) as facts:
        check_gpu()
        settings = Instruct.model_validate({**instruct, **form})
        places = Path(splits.path), Path(adapter.path)
        if (processes := gpus()) > 1:
            result = train_distributed(processes, "instruct", *places, settings, store)
        else:
            result = run(*places, settings, open_store(store))
        facts |= step_summary(result) | {"base_digest": base_digest}
        log_metrics(metrics, facts)
        adapter.metadata.update(facts)
        log("train", f"{result['trainable_parameters']:,} of {result['total_parameters']:,} parameters trained, "
            f"validation loss {facts['best_validation_loss']:.4f}, {result['tokens_per_second']:,.0f} tokens a second, "
            f"{result['peak_memory_bytes'] / 2**30:.1f} GiB at the peak")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prefer(
    splits: dsl.Input[dsl.Dataset],
    before: dsl.Input[dsl.Model],
    code_version: str,
    preference: dict,
    seed: int,
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train an adapter on from preference pairs. The cache follows the code version."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.instruct import Preference
    from clinadapt.storage import open_store
    from components.train.dpo import run
    from components.train.progress import check_gpu

    with step("prefer", store) as facts:
        check_gpu()
        settings = Preference.model_validate({**preference, "seed": seed})
        result = run(Path(splits.path), Path(before.path), Path(adapter.path), settings, open_store(store))[
            "preference"
        ]
        last = result["curve"][-1]
        facts |= {"pairs": result["pairs"], "seconds": result["seconds"], "accuracy": last["accuracy"],
                  "margin": last["margin"]}  # fmt: skip
        log_metrics(metrics, facts)
        adapter.metadata.update(facts)
        log("prefer", f"{result['pairs']:,} pairs, the chosen answer is the likelier one in {last['accuracy']:.0%}")
