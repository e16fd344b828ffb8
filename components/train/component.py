"""KFP face of train."""

from kfp import dsl

from components.common.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_classifier(
    splits: dsl.Input[dsl.Dataset],
    base_model: str,
    base_digest: str,
    code_version: str,
    quantization: str,
    epochs: int,
    learning_rate: float,
    seed: int,
    train: dict,
    store: str,
    adapter: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a LoRA adapter with a classification head. Digest and code version make the cache follow them."""
    from pathlib import Path

    from components.common.recipe import Train
    from components.common.steps import say, step
    from components.common.store import open_store
    from components.train.classify import check_gpu, run

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("train", store) as facts:
        check_gpu()
        settings = Train.model_validate({**train, **form})
        result = run(Path(splits.path), Path(adapter.path), settings, open_store(store))
        best = min(entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry)
        facts |= {"best_validation_loss": best, "base_digest": base_digest}
        facts |= {
            key: result[key]
            for key in ("seconds", "peak_memory_bytes", "tokens_per_second", "trainable_parameters", "checkpoints",
                        "checkpoint_blocked_ms")
        }  # fmt: skip
        for name, value in facts.items():
            if not isinstance(value, str):
                metrics.log_metric(name, value)
        Path(metrics.path).touch()  # kfp.local takes an artifact without a file for lost, and would train again
        adapter.metadata.update(facts)
        say("train", f"{result['trainable_parameters']:,} of {result['total_parameters']:,} parameters trained, "
            f"validation loss {best:.4f}, {result['peak_memory_bytes'] / 2**30:.1f} GiB at the peak")  # fmt: skip
