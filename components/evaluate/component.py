"""KFP faces of evaluate and of the gate."""

from kfp import dsl

from components.common.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_classifier(
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    code_version: str,
    adapter_name: str,
    champion_version: str,
    champion_etag: str,
    seed: int,
    store: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Score base, adapter, champion and baselines on the same held-out notes. The cache follows the code version."""
    from pathlib import Path

    from components.common.steps import say, step
    from components.evaluate.classify import Champion, run

    with step("evaluate", store) as facts:
        champion = Champion(store, adapter_name, champion_version, champion_etag)
        result = run(Path(splits.path), Path(adapter.path), Path(evaluation.path), champion, seed)
        after = result["models"]["after"]
        facts |= {name: entry["value"] for name, entry in after["metrics"].items()} | {"ceiling": result["ceiling"]}
        for name, value in facts.items():
            metrics.log_metric(name, value)
        classification.log_confusion_matrix(result["labels"], after["confusion"])
        curve = max(after["roc"], key=lambda entry: len(entry["fpr"]))
        classification.log_roc_curve(curve["fpr"], curve["tpr"], curve["thresholds"])
        for artifact in (metrics, classification):
            Path(artifact.path).touch()  # kfp.local takes an artifact without a file for lost, and would score again
        evaluation.metadata.update(facts)
        for name, model in result["models"].items():
            say("evaluate", f"{name:9} accuracy {model['metrics']['accuracy']['value']:.3f}, "
                f"within the own label set {model['metrics']['own_set_accuracy']['value']:.3f}")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    adapter_name: str,
    thresholds: dict,
    store: str,
    verdict: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Decide whether the adapter may be published, and write the report."""
    import shutil
    from pathlib import Path

    from components.common.recipe import Gate
    from components.common.steps import say, step
    from components.evaluate.verdict import run

    with step("gate", store) as facts:
        result = run(
            Path(splits.path),
            Path(adapter.path),
            Path(evaluation.path),
            Path(verdict.path),
            Gate.model_validate(thresholds),
            store,
            adapter_name,
        )
        facts |= result
        shutil.copyfile(Path(verdict.path) / "report.html", report.path)
        say("gate", result["sentence"])
    return result["decision"]
