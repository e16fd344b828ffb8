"""KFP faces of evaluate and of the gate."""

from kfp import dsl

from clinadapt.config.image import IMAGE


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

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from components.evaluate.champion import Champion
    from components.evaluate.classify import run

    with step("evaluate", store) as facts:
        champion = Champion(store, adapter_name, champion_version, champion_etag)
        result = run(Path(splits.path), Path(adapter.path), Path(evaluation.path), champion, seed)
        after = result["models"]["candidate"]
        facts |= {name: entry["value"] for name, entry in after["metrics"].items()} | {"ceiling": result["ceiling"]}
        log_metrics(metrics, facts)
        classification.log_confusion_matrix(result["labels"], after["confusion"])
        curve = max(after["roc"], key=lambda entry: len(entry["fpr"]))
        classification.log_roc_curve(curve["fpr"], curve["tpr"], curve["thresholds"])
        Path(classification.path).touch()  # kfp.local takes an artifact without a file for lost, and would score again
        evaluation.metadata.update(facts)
        for name, model in result["models"].items():
            log("evaluate", f"{name:9} accuracy {model['metrics']['accuracy']['value']:.3f}, "
                f"any listed label {model['metrics']['any_label_accuracy']['value']:.3f}")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_instruct(
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    code_version: str,
    adapter_name: str,
    champion_version: str,
    champion_etag: str,
    evaluation_settings: dict,
    seed: int,
    store: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Ask base, adapter and champion the same held-out instructions. The cache follows the code version."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.instruct import Evaluation
    from components.evaluate.champion import Champion
    from components.evaluate.instruct import run

    with step("evaluate", store) as facts:
        champion = Champion(store, adapter_name, champion_version, champion_etag)
        settings = Evaluation.model_validate(evaluation_settings)
        result = run(Path(splits.path), Path(adapter.path), Path(evaluation.path), champion, settings, seed)
        facts |= {name: entry["value"] for name, entry in result["models"]["candidate"]["metrics"].items()}
        facts["minimum_detectable_difference"] = result["minimum_detectable_difference"]
        log_metrics(metrics, facts)
        evaluation.metadata.update(facts)
        for name, model in result["models"].items():
            log("evaluate", f"{name:9} token F1 {model['metrics']['token_f1']['value']:.3f}, "
                f"answers with unsupported facts {model['metrics']['unsupported']['value']:.1%}")  # fmt: skip


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
    """Decide whether the adapter may be published, by the rules of its recipe, and write the report."""
    import shutil
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from components.evaluate.gate.step import run

    with step("gate", store) as facts:
        result = run(
            Path(splits.path),
            Path(adapter.path),
            Path(evaluation.path),
            Path(verdict.path),
            thresholds,
            store,
            adapter_name,
        )
        facts |= result
        shutil.copyfile(Path(verdict.path) / "report.html", report.path)
        log("gate", result["sentence"])
    return result["decision"]
