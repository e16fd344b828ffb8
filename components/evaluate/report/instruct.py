"""The report of an instruct run: what was decided, on which answers and data, as one HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.evaluate.report import html
from components.evaluate.report.html import COLOURS, count, decimal, duration, percent
from components.evaluate.report.shared import Metric, comparison, measured, points, training_figure


def of_100(share: float) -> str:
    """0.5423 -> 54.2"""
    return decimal(100 * share, 1)


def _perplexity(value: float) -> str:
    return decimal(value, 2) if value < 1000 else f"{value:.1e}"


METRICS = {
    "token_f1": Metric(
        "Token F1",
        of_100,
        False,
        "How far the words of the answer and those of the right one are the same, from 0 to 100, whatever their order "
        "(as in SQuAD). This is what the gate goes by.",
    ),
    "rouge_l": Metric(
        "ROUGE-L",
        of_100,
        False,
        "The same, but only for words that stand in the same order in both.",
    ),
    "match": Metric(
        "Exactly right",
        percent,
        False,
        "Of the answers that can be checked (a list, a date, an expansion), the share that is right to the letter.",
    ),
    "perplexity": Metric(
        "Perplexity",
        _perplexity,
        True,
        "How surprised the model is by the right answer; 1 would be no surprise at all. Comparable only between models "
        "that cut text into the same tokens.",
    ),
    "unsupported": Metric(
        "Invented facts",
        percent,
        True,
        "The share of answers with at least one number, dose, date or drug that stands neither in the note nor in the "
        "instruction.",
    ),
    "refused_rightly": Metric(
        "Says so when the note is silent",
        percent,
        False,
        "Of the instructions that the note cannot answer, the share to which the model says that it does not.",
    ),
    "refused_wrongly": Metric(
        "Says so when it is not",
        percent,
        True,
        "Of the instructions that the note does answer, the share to which the model says that it does not.",
    ),
    "ended": Metric(
        "Comes to an end",
        percent,
        False,
        "The share of answers that end by themselves, before they are cut at the limit.",
    ),
}
HUES = {"candidate": "blue", "base": "muted", "champion": "orange"}


def render(facts: Mapping[str, Any]) -> str:
    """The report as one HTML page: no script, nothing loaded, the same bytes for the same facts.

    `facts` holds title, created, verdict, evaluation, training, data, provenance and examples; a full example is in
    tests/unit/test_instruct_report.py.
    """
    evaluation, training = facts["evaluation"], facts["training"]
    seconds = {"Training": training["seconds"]} | {
        f"Answers of: {model['title']}": model["seconds"] for model in evaluation["models"].values()
    }
    template = html.environment().get_template("instruct.html.j2")
    return template.render(
        facts,
        models=evaluation["models"],
        figures=figures(evaluation, training),
        metrics=metrics_table(evaluation),
        explanations=[(metric.title, metric.meaning) for metric in measured(evaluation, METRICS).values()],
        by_task=tasks_table(evaluation),
        comparisons=comparisons_table(evaluation),
        speeds=speeds_table(evaluation),
        splits=splits_table(facts["data"]),
        synthesis=synthesis_rows(facts["data"]["synthesis"]),
        settings=settings_rows(training["settings"]),
        timings={name: duration(time) for name, time in seconds.items()},
        of_100=of_100,
    )


def figures(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Markup]:
    """The charts by name; that of pretraining where the run began with it."""
    made = {"tasks": tasks_figure(evaluation), "training": training_figure(training)}
    if training["pretraining"]:
        made["pretraining"] = training_figure(training["pretraining"], "pretraining")
    return made


def metrics_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of metrics x models; the best of each row, as far as its digits tell, is bold."""
    models = evaluation["models"].values()
    rows = []
    for name, metric in measured(evaluation, METRICS).items():
        values = [model["metrics"][name]["value"] for model in models]
        best = metric.form(min(values) if metric.lower_is_better else max(values))
        cells = [_cell(model["metrics"][name], metric, best) for model in models]
        rows.append([metric.title, *cells])
    return {"head": ["", *(model["title"] for model in models)], "rows": rows}


def tasks_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of tasks x models in token F1, with how many instructions, and what the difference to the base
    says."""
    models = evaluation["models"].values()
    gains = {c["task"]: c for c in evaluation["comparisons"] if c["b"] == "base" and c["metric"] == "token_f1"}
    rows = []
    for task, instructions in evaluation["tasks"].items():
        estimates = [model["per_task"][task]["token_f1"] for model in models]
        best = of_100(max(entry["value"] for entry in estimates))
        cells = [_cell(entry, METRICS["token_f1"], best) for entry in estimates]
        rows.append([task, count(instructions), *cells, points(gains[task])])
    head = ["Task", "Instructions", *(model["title"] for model in models), "Adapter − base"]
    return {"head": head, "rows": rows}


def comparisons_table(evaluation: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of pair, metric, difference over all tasks with its interval, p and what that says."""
    return [
        comparison(evaluation, pair, METRICS[pair["metric"]], points(pair))
        for pair in evaluation["comparisons"]
        if pair["task"] is None
    ]


def speeds_table(evaluation: Mapping[str, Any]) -> list[list[str]]:
    """Rows of model, tokens a second, seconds to the first token, tokens of an answer."""
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
    """Head and rows of tasks x splits: how many instructions, then tokens and what was trimmed."""
    names = list(data["task_mix"])
    rows = [[task, *(count(data["task_mix"][name].get(task, 0)) for name in names)] for task in data["tasks"]]
    rows.append(["The note cannot answer", *(percent(1 - data["answerable"][name]) for name in names)])
    for title, key in (("Tokens", "total"), ("Tokens at the median", "median"), ("Tokens at most", "max")):
        rows.append([title, *(count(data["tokens"][name][key]) for name in names)])
    rows.append(["Trimmed notes", *(count(data["tokens"][name]["trimmed_rows"]) for name in names)])
    rows.append(["Tokens lost to that", *(count(data["tokens"][name]["trimmed_tokens"]) for name in names)])
    return {"head": ["", *(name.capitalize() for name in names)], "rows": rows}


def synthesis_rows(made: Mapping[str, Any]) -> dict[str, str]:
    """What the teacher was given, what it made, and what was dropped for which reason."""
    rows = {
        "Teacher": made["teacher"]["name"],
        "Notes made of case reports": f"{count(made['notes_from_cases'])} of {count(made['cases'])}",
        "Instructions made": count(made["triples"] - made["triples_ready"]),
        "Instructions that came ready-made": count(made["triples_ready"]),
        "Rows not asked about, as the token budget had ended": count(made["rows_skipped"]),
        "Tokens spent": count(made["teacher"]["tokens"]),
    }
    rows |= {f"Quarantined: {reason}": count(number) for reason, number in made["quarantined"].items()}
    rows |= {f"Dropped: {reason}": count(number) for reason, number in made["dropped"].items()}
    return {name: value for name, value in rows.items() if value not in ("0", "0 of 0")}


def settings_rows(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings in one level: lora r, lora alpha, ..."""
    rows: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows |= {f"{name} {inner}": text for inner, text in settings_rows(value).items()}
        else:
            rows[name] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return rows


def tasks_figure(evaluation: Mapping[str, Any]) -> Markup:
    """Token F1 of every model in each task, and over all, with intervals."""
    models = evaluation["models"]
    panels = [("All tasks", evaluation["rows"], {name: m["metrics"]["token_f1"] for name, m in models.items()})]
    panels += [
        (task, rows, {name: m["per_task"][task]["token_f1"] for name, m in models.items()})
        for task, rows in evaluation["tasks"].items()
    ]
    text = "; ".join(
        f"{task}: " + ", ".join(f"{models[name]['title']} {of_100(entry['value'])}" for name, entry in entries.items())
        for task, _, entries in panels
    )
    return html.svg(
        "tasks",
        "Token F1 of every model in each task with its interval",
        f"{text}.",
        (html.WIDTH, 110 + 52 * len(panels)),
        lambda figure: draw_tasks(figure, panels, {name: model["title"] for name, model in models.items()}),
    )


def draw_tasks(
    figure: Figure, panels: Sequence[tuple[str, int, Mapping[str, html.Estimate]]], titles: Mapping[str, str]
) -> None:
    """A row a task (name, instructions, model -> estimate); an arrow leads from the base to the adapter."""
    axes: Axes = figure.subplots()
    html.row_axis(axes, [f"{html.short(task)} ({count(rows)})" for task, rows, _ in panels])
    html.percent_axis(axes.xaxis)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
    axes.set(xlim=(0, 1.06), xlabel="token F1, of 100")
    order = [name for name in ("base", "champion", "candidate") if name in titles]
    for row, (_, _, entries) in enumerate(panels):
        start, end = entries["base"]["value"], entries["candidate"]["value"]
        if abs(end - start) > 0.03:
            arrow = {"arrowstyle": "->", "color": COLOURS["muted"], "linewidth": 1, "shrinkA": 6, "shrinkB": 7}
            axes.annotate("", (end, row + 0.2), (start, row - 0.2), arrowprops=arrow, zorder=0)
        for place, name in enumerate(order):
            entry, colour = entries[name], COLOURS[HUES[name]]
            y = row - 0.2 + 0.4 * place / (len(order) - 1)
            label = titles[name] if row == 0 else None
            axes.plot(
                [entry["low"], entry["high"]], [y, y], color=colour, linewidth=4, alpha=0.55, solid_capstyle="butt"
            )
            axes.plot(entry["value"], y, "o", color=colour, markersize=8, markeredgecolor=COLOURS["paper"], label=label)
            if name == "candidate":
                at: Any = {"textcoords": "offset points", "va": "center", "size": 12, "weight": "bold"}
                axes.annotate(of_100(entry["value"]), (entry["high"], y), (8, 0), color=colour, **at)
    axes.get_yticklabels()[0].set(weight="bold")
    if len(panels) > 1:
        axes.axhline(0.5, color=COLOURS["line"], linewidth=1)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3)


def _cell(entry: html.Estimate, metric: Metric, best: str) -> Markup:
    return html.estimate(entry, metric.form, metric.form(entry["value"]) == best)
