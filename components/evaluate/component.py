"""KFP components of evaluate and of the gate."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_classify(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    store: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Score base, candidate, champion and baselines on the same held-out notes.

    Args:
        settings: Of evaluate, as preflight resolves them: evaluation, adapter_name, champion_version,
            champion_etag, seed, review, private.
        splits: Output of format.
        adapter: Output of train.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        evaluation: Metrics of all models with 95 % intervals, and predictions.
        metrics: The candidate's metrics.
        classification: Confusion matrix and ROC curve of the candidate.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.base import Review
    from clinadapt.config.classify import ClassifyEvaluation
    from components.evaluate.champion import Champion
    from components.evaluate.classify import run
    from components.evaluate.corrections import describe

    with step("evaluate", store) as outputs:
        champion = Champion(
            store, settings["adapter_name"], settings["champion_version"], settings["champion_etag"]
        )  # fmt: skip
        folders = input_folder(splits, store), input_folder(adapter, store), Path(evaluation.path)
        review, options = (
            Review.model_validate(settings["review"]),
            ClassifyEvaluation.model_validate(settings["evaluation"]),
        )
        result = run(*folders, champion, options, int(settings["seed"]), review, settings["private"])
        candidate = result["models"]["candidate"]
        outputs |= {name: entry["value"] for name, entry in candidate["metrics"].items()}
        outputs["ceiling"] = result["ceiling"]
        log_metrics(metrics, outputs)
        classification.log_confusion_matrix(result["labels"], candidate["confusion"])
        curve = max(candidate["roc"], key=lambda entry: len(entry["fpr"]))
        classification.log_roc_curve(curve["fpr"], curve["tpr"], curve["thresholds"])
        Path(classification.path).touch()  # kfp.local takes an artifact without a file for lost, and would score again
        evaluation.metadata.update(outputs)
        record_output(evaluation, "evaluate", settings, store)
        for name, model in result["models"].items():
            log("evaluate", f"{name:9} accuracy {model['metrics']['accuracy']['value']:.3f}, "
                f"any listed label {model['metrics']['any_label_accuracy']['value']:.3f}")  # fmt: skip
        if "feedback" in result:
            log("evaluate", describe(result["feedback"]))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_instruct(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    store: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Ask base, candidate and champion the same held-out instructions.

    Args:
        settings: Of evaluate, as preflight resolves them: evaluation, allowed_hosts, adapter_name,
            champion_version, champion_etag, seed, review.
        splits: Output of format.
        adapter: Output of train or prefer.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        evaluation: Metrics of all models with 95 % intervals, and answers.
        metrics: The candidate's metrics.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_base, input_folder, record_output
    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.config.base import Review
    from clinadapt.config.instruct import Evaluation
    from clinadapt.models.adapter_card import InstructCard
    from components.evaluate.champion import Champion
    from components.evaluate.corrections import describe
    from components.evaluate.instruct import run

    with step("evaluate", store) as outputs:
        champion = Champion(
            store, settings["adapter_name"], settings["champion_version"], settings["champion_etag"]
        )  # fmt: skip
        folders = input_folder(splits, store), input_folder(adapter, store), Path(evaluation.path)
        card = InstructCard.read(folders[1])
        input_base(card.base_model, card.base_digest, store)
        options = Evaluation.model_validate(settings["evaluation"])
        review = Review.model_validate(settings["review"])
        result = run(*folders, champion, options, int(settings["seed"]), settings["allowed_hosts"], review)
        outputs |= {name: entry["value"] for name, entry in result["models"]["candidate"]["metrics"].items()}
        outputs["minimum_detectable_difference"] = result["minimum_detectable_difference"]
        log_metrics(metrics, outputs)
        evaluation.metadata.update(outputs)
        record_output(evaluation, "evaluate", settings, store)
        for name, model in result["models"].items():
            log("evaluate", f"{name:9} token F1 {model['metrics']['token_f1']['value']:.3f}, "
                f"answers with unsupported facts {model['metrics']['unsupported']['value']:.1%}")  # fmt: skip
        if "feedback" in result:
            log("evaluate", describe(result["feedback"]))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    store: str,
    verdict: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Decide whether the candidate may be published, by the rules of its recipe, and write the report.

    Args:
        settings: Of gate, as preflight resolves them: thresholds, adapter_name and change_control.
        splits: Output of format.
        adapter: Output of train or prefer.
        evaluation: Output of evaluate.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        verdict: Decision, sentence and checks.
        report: The report of the run, without text of notes.
        Output: pass, fail, or not enough evidence.
    """
    import shutil
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.registry.mlflow_tracking import log_verdict
    from components.evaluate.gate.step import report_uri, run

    with step("gate", store) as outputs:
        folders = (
            input_folder(splits, store),
            input_folder(adapter, store),
            input_folder(evaluation, store),
            Path(verdict.path),
        )
        outputs |= run(*folders, settings["thresholds"], store, settings["adapter_name"], settings["change_control"])
        shutil.copyfile(Path(verdict.path) / "report.html", report.path)
        log("gate", outputs["sentence"])
        log_verdict(outputs, Path(report.path), report_uri(store))
    return outputs["decision"]
