"""KFP component of monitor."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def monitor(
    adapter: str,
    days: int,
    start_run: bool,
    store: str,
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Compare what a published adapter is asked and answers with its evaluation.

    Args:
        adapter: NAME for its champion, or NAME/VERSION.
        days: That are read, up to today.
        start_run: Whether a run is to be started for what has moved; once, until nothing has moved for 14 days.
        store: URI of the object store with the adapter and the counts of its use.

    Returns:
        report: What moved, and every figure beside the evaluation, without text of notes.
        metrics: PSI of each figure, and the number of answers.
        Output: no use, not enough use, nothing moved, moved, or, where a run is to be started, start a run.
    """
    from functools import partial
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, log_metrics, step
    from clinadapt.documents.monitor_page import render
    from clinadapt.registry.monitor import check, claim_run
    from clinadapt.storage import open_store

    with step("monitor", store) as outputs:
        opened = open_store(store)
        result = check(opened, adapter, partial(log, "monitor"), int(days))
        Path(report.path).write_text(render(result), encoding="utf-8")
        document = result.to_json()
        outputs |= {name: document[name] for name in ("adapter", "state", "sentence", "answers")}
        psi = {f"psi_{figure}": value for figure, value in document["psi"].items()}
        log_metrics(metrics, {"answers": result.comparison.answers, "moved": len(document["moved"]), **psi})
        log("monitor", result.sentence)
        if result.moved:
            log("monitor", f"proposed: {result.command}")
        starts = start_run and claim_run(opened, result)
    return "start a run" if starts else result.state
