"""The report of an instruct run as one HTML file: verdict, metrics, example answers, training and data."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from clinadapt.documents import charts
from clinadapt.documents.page import count, decimal, duration, environment, percent
from clinadapt.evaluation.claims_accuracy import measured_accuracy
from components.evaluate.report.groups import by_task, counterfactuals_table, groups_figure, groups_table
from components.evaluate.report.memory import memory_table
from components.evaluate.report.model_charts import outcomes_figure, tasks_figure
from components.evaluate.report.shared import (
    Metric,
    comparison,
    corrections_tables,
    joined_rows,
    measured,
    of_100,
    points,
    training_figure,
)


def _perplexity(value: float) -> str:
    return decimal(value, 2) if value < 1000 else f"{value:.1e}"


METRICS = {
    "exact_match": Metric(
        "Exactly right answers",
        percent,
        False,
        "Among answers that can be checked word by word (a list, a date, an expansion), the share that equals the "
        "reference answer. Another wording counts as wrong, even where it means the same.",
    ),
    "contradicted": Metric(
        "Answers with a contradicted claim",
        percent,
        True,
        "The share of answers with at least one claim of which the note says something else: another dose, the other "
        "side, a finding that it denies.",
    ),
    "unsupported": Metric(
        "Answers with an unsupported claim",
        percent,
        True,
        "The share of answers with at least one claim that the note contradicts or does not contain: a drug, its dose, "
        "route, frequency or status, a test result, a date, a duration, an age, the sex, a finding, its negation, side "
        "or certainty, or whose it is. Answers with a contradicted claim are among them.",
    ),
    "omitted": Metric(
        "Omitted claims",
        percent,
        True,
        "Of the claims in the reference answers that the note supports, the share that the model's answer lacks.",
    ),
    "wrong_refusals": Metric(
        "Wrong refusals",
        percent,
        True,
        "Among questions that the note does answer, the share where the model states that the note lacks the "
        "information.",
    ),
    "correct_refusals": Metric(
        "Correct refusals",
        percent,
        False,
        "Among questions that the note does not answer, the share where the model states that the note lacks the "
        "information.",
    ),
    "finished": Metric(
        "Complete answers",
        percent,
        False,
        "The share of answers that the model ended by itself, before they reached the length limit.",
    ),
    "token_f1": Metric(
        "Token F1",
        of_100,
        False,
        "The overlap between the words of the answer and those of the reference answer, in any order, from 0 to 100 "
        "(as in SQuAD). The gate compares models by this metric.",
    ),
    "rouge_l": Metric(
        "ROUGE-L",
        of_100,
        False,
        "The same, but only words in the same order as in the reference answer count.",
    ),
    "perplexity": Metric(
        "Perplexity",
        _perplexity,
        True,
        "How unexpected the reference answer is to the model; 1 is the minimum. Comparable only between models with "
        "the same tokenizer.",
    ),
}
_CLAIMS = ("exact_match", "contradicted", "unsupported", "omitted", "wrong_refusals")
_BY_GROUP = ("exact_match", "contradicted", "unsupported", "wrong_refusals", "token_f1")


def render(report: Mapping[str, Any]) -> str:
    """Render the report as one HTML page that loads nothing, runs no script and is the same for the same input.

    Args:
        report: title, created, verdict, evaluation, training, data, provenance and examples; the `report` function in
            tests/components/evaluate/test_report_instruct.py builds a full one.
    """
    evaluation, training = report["evaluation"], report["training"]
    seconds = {"Training": training["seconds"]} | {
        f"Generation: {model['title']}": model["seconds"] for model in evaluation["models"].values()
    }
    template = environment("components.evaluate.report").get_template("instruct.html.j2")
    return template.render(
        report,
        models=evaluation["models"],
        figures=figures(evaluation, training),
        metrics=metrics_table(evaluation),
        explanations=[(metric.title, metric.meaning) for metric in measured(evaluation, METRICS).values()],
        by_task=tasks_table(evaluation),
        claims_by_task=groups_table(by_task(evaluation), METRICS, _CLAIMS, each="task"),
        by_group=groups_table(evaluation, METRICS, _BY_GROUP),
        counterfactuals=counterfactuals_table(evaluation["counterfactuals"]),
        examples=[marked_example(example) for example in report["examples"]],
        comparisons=comparisons_table(evaluation),
        speeds=speeds_table(evaluation),
        splits=splits_table(report["data"]),
        synthesis=synthesis_rows(report["data"]["synthesis"]),
        settings=settings_rows(training["settings"]),
        joined=joined_rows(report["data"]),
        corrections=corrections_tables(report["data"], evaluation),
        timings={name: duration(time) for name, time in seconds.items()},
        judge_marks=judge_table(evaluation),
        memory=memory_table(evaluation),
        of_100=of_100,
        accuracy=measured_accuracy(),
    )


def figures(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Markup]:
    """Charts by name; one of pretraining only where the base model was pretrained."""
    drawn = {"outcomes": outcomes_figure(evaluation), "tasks": tasks_figure(evaluation)}
    drawn |= {"training": training_figure(training)}
    unsupported = "unsupported", "answers with an unsupported claim"
    drawn["task_claims"] = groups_figure(by_task(evaluation), *unsupported, "task_claims", "task")
    if evaluation["subgroups"]:
        drawn["groups"] = groups_figure(evaluation, *unsupported)
    if training["pretraining"]:
        drawn["pretraining"] = training_figure(training["pretraining"], "pretraining")
    return drawn


def metrics_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of metrics x models. The last column has the reference answers' rate, where they were checked."""
    models, reference = evaluation["models"].values(), evaluation["reference"]
    rows = []
    for name, metric in measured(evaluation, METRICS).items():
        cells = [charts.estimate(model["metrics"][name], metric.form) for model in models]
        cells.append(charts.estimate(reference[name], metric.form) if name in reference else Markup("–"))
        rows.append([metric.title, *cells])
    return {"head": ["", *(model["title"] for model in models), "Reference answers"], "rows": rows}


def tasks_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of tasks x models: instructions, token F1 of each model, difference between adapter and base."""
    models = evaluation["models"].values()
    gains = {c["task"]: c for c in evaluation["comparisons"] if c["b"] == "base" and c["metric"] == "token_f1"}
    rows = []
    for task, instructions in evaluation["tasks"].items():
        cells = [charts.estimate(model["per_task"][task]["token_f1"], of_100) for model in models]
        rows.append([task, count(instructions), *cells, points(gains[task])])
    head = ["Task", "Instructions", *(model["title"] for model in models), "Adapter − base"]
    return {"head": head, "rows": rows}


def judge_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of the judge's marks x models: mean severity, share of unsafe answers, share of each category."""
    models = evaluation.get("judge", {}).get("models", {})
    titles = [evaluation["models"][name]["title"] for name in models]
    rows: list[list[Any]] = [
        [title, *(charts.estimate(entry[name], form) for entry in models.values())]
        for name, title, form in (("severity", "Mean risk (1 to 4)", _two_digits), ("unsafe", "Risk 3 or 4", percent))
    ]
    categories = next(iter(models.values()))["errors"] if models else {}
    for category in categories:
        shares = [entry["errors"][category] for entry in models.values()]
        if any(shares):
            rows.append([category.capitalize(), *map(percent, shares)])
    return {"head": ["", *titles], "rows": rows if models else []}


def _two_digits(value: float) -> str:
    return decimal(value, 2)


def marked_example(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example whose note and whose candidate's answer are markup: unsupported claims of the answer are marked, and
    in the note the words that contradict them."""
    claims = example["claims"]
    against = [(*claim["evidence"], "contradicted") for claim in claims if claim["evidence"]]
    answers = dict(example["answers"])
    answers["candidate"] = marked(
        answers["candidate"], [(claim["start"], claim["end"], claim["outcome"].replace(" ", "-")) for claim in claims]
    )
    note = marked(example["note"], against) + (" …" if example["shortened"] else "")
    return {**example, "note": note, "answers": answers}


def marked(text: str, spans: Sequence[tuple[int, int, str]]) -> Markup:
    """Text as markup, with spans (start, end, class) marked; of spans that overlap, the first."""
    pieces, position = [], 0
    for start, end, kind in sorted(spans):
        if start >= position and end <= len(text):
            pieces += [escape(text[position:start]), Markup('<mark class="{}">{}</mark>').format(kind, text[start:end])]
            position = end
    return Markup("").join([*pieces, escape(text[position:])])


def comparisons_table(evaluation: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of pair, metric, difference over all tasks with its interval, p and interpretation."""
    return [
        comparison(evaluation, pair, METRICS[pair["metric"]], points(pair))
        for pair in evaluation["comparisons"]
        if pair["task"] is None
    ]


def speeds_table(evaluation: Mapping[str, Any]) -> list[list[str]]:
    """Rows of model, tokens per second, seconds to the first token, tokens per answer."""
    return [
        [
            model["title"],
            decimal(model["tokens_per_second"], 1),
            f"{decimal(model['first_token_seconds'], 2)}\u202fs",
            decimal(model["tokens"] / evaluation["rows"], 1),
        ]
        for model in evaluation["models"].values()
    ]


def splits_table(data: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of tasks x splits: instructions of each task, then tokens and truncated notes."""
    names = list(data["task_mix"])
    rows = [[task, *(count(data["task_mix"][name].get(task, 0)) for name in names)] for task in data["tasks"]]
    rows.append(["Not answerable from the note", *(percent(1 - data["answerable"][name]) for name in names)])
    for title, key in (("Tokens, total", "total"), ("Tokens, median", "median"), ("Tokens, maximum", "max")):
        rows.append([title, *(count(data["tokens"][name][key]) for name in names)])
    rows.append(["Truncated notes", *(count(data["tokens"][name]["trimmed_rows"]) for name in names)])
    rows.append(["Tokens removed by truncation", *(count(data["tokens"][name]["trimmed_tokens"]) for name in names)])
    return {"head": ["", *(name.capitalize() for name in names)], "rows": rows}


def synthesis_rows(synthesis: Mapping[str, Any]) -> dict[str, str]:
    """What the teacher received and generated, and what was dropped for which reason."""
    rows = {
        "Teacher": synthesis["teacher"]["name"],
        "Notes written from case reports": f"{count(synthesis['notes_from_cases'])} of {count(synthesis['cases'])}",
        "Generated instructions": count(synthesis["triples"] - synthesis["triples_ready"]),
        "Instructions supplied with the data": count(synthesis["triples_ready"]),
        "Notes without an instruction": count(synthesis["notes_without_triples"]),
        "Rows skipped when the token budget was used up": count(synthesis["rows_skipped"]),
        "Tokens used by the teacher": count(synthesis["teacher"]["tokens"]),
    }
    rows |= {f"Quarantined: {reason}": count(number) for reason, number in synthesis["quarantined"].items()}
    rows |= {f"Not used: values of {column}": count(number) for column, number in synthesis["unused"].items()}
    if commas := synthesis["decimal_comma"]:
        rows["Sources whose numbers have a decimal comma"] = count(len(commas))
    rows |= {f"Dropped: {reason}": count(number) for reason, number in synthesis["dropped"].items()}
    return {name: value for name, value in rows.items() if value not in ("0", "0 of 0")}


def settings_rows(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as flat rows: lora r, lora lora_alpha, ..."""
    rows: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows |= {f"{name} {inner}": text for inner, text in settings_rows(value).items()}
        else:
            rows[name] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return rows
