"""The report of a classification run: what was decided, on which numbers and data, as one HTML file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from components.evaluate.report import html
from components.evaluate.report.html import COLOURS, SERIES, count, decimal, duration, percent
from components.evaluate.report.shared import Metric, comparison, difference, measured, points, training_figure

METRICS = {
    "accuracy": Metric(
        "Accuracy",
        percent,
        False,
        "How often the predicted label is the one in the row. A note listed under two labels has a row for "
        "each, so no model can be right on all of them; hence the ceiling of {ceiling}.",
    ),
    "own_set_accuracy": Metric(
        "Accuracy within the note’s own label set",
        percent,
        False,
        "How often the predicted label is one of those under which this very note is listed, be it in this "
        "row or in another. Here nothing but errors stands between a model and 100 %.",
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        percent,
        False,
        "The accuracy in each class, averaged: a rare class counts as much as a frequent one. Always naming "
        "the same class gives {chance}.",
    ),
    "macro_f1": Metric(
        "Macro F1",
        decimal,
        False,
        "F1 of each class, averaged. F1 is high only if few notes of the class are missed and few others are "
        "taken for it; 1 is perfect.",
    ),
    "log_loss": Metric(
        "Log loss",
        decimal,
        True,
        "A penalty that grows when the model is sure and wrong. 0 is perfect; giving every label the same "
        "probability costs {blind}.",
    ),
    "ece": Metric(
        "Calibration error",
        percent,
        True,
        "How far the confidence that the model states is from how often it is right, on average (expected "
        "calibration error). At 0 its confidence can be taken at its word.",
    ),
    "ece_scaled": Metric(
        "Calibration error, scaled",
        percent,
        True,
        "The same after temperature scaling: one number, fitted on the validation notes, that tones the "
        "confidence down or up. It never changes which label is predicted. The adapter's is corrected by what the "
        "training notes say out of fold, where it began as a linear probe; that of TF-IDF is not.",
    ),
}

BARS = (("precision", "precision", "blue"), ("recall", "recall", "orange"), ("f1", "F1 × 100", "muted"))


def render(facts: Mapping[str, Any]) -> str:
    """The report as one HTML page: no script, nothing loaded, the same bytes for the same facts.

    `facts` holds title, created, verdict, evaluation, training, data and provenance; a full example is in
    tests/unit/test_report.py. Of evaluation.models only "candidate", the adapter, must be there, with its
    accuracy and own_set_accuracy; other models may lack all but title and accuracy. The first entry of
    provenance names the version.
    """
    evaluation, training = facts["evaluation"], facts["training"]
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in training["settings"].items()
    }
    seconds = {"Training": training["seconds"]} | {
        f"Scoring: {model['title']}": model["seconds"] for model in evaluation["models"].values() if "seconds" in model
    }
    template = html.environment().get_template("classify.html.j2")
    return template.render(
        facts,
        adapter=evaluation["models"]["candidate"],
        figures=figures(evaluation, training),
        metrics=metrics_table(evaluation),
        explanations=explanations(evaluation),
        comparisons=comparisons_table(evaluation),
        confusions=confusions(evaluation),
        classes=classes_table(facts["data"]["splits"]),
        settings=settings,
        timings={name: duration(time) for name, time in seconds.items()},
    )


def figures(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Markup]:
    """The charts by name; those that the adapter has no numbers for are left out."""
    adapter = evaluation["models"]["candidate"]
    made = {"accuracy": accuracy_figure(evaluation), "training": training_figure(training)}
    if "confusion" in adapter:
        made["confusion"] = confusion_figure(evaluation["labels"], adapter["confusion"])
    if "per_class" in adapter:
        made["classes"] = classes_figure(adapter["per_class"])
    if "reliability" in adapter:
        made["reliability"] = reliability_figure(adapter)
    if "roc" in adapter:
        made["roc"] = roc_figure(adapter["roc"])
    return made


def metrics_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of models x metrics; the best of each column, as far as its digits tell, is bold."""
    models = evaluation["models"].values()
    shown = measured(evaluation, METRICS)
    best = {}
    for name, metric in shown.items():
        values = [model["metrics"][name]["value"] for model in models if name in model["metrics"]]
        best[name] = metric.form(min(values) if metric.lower_is_better else max(values))
    rows = []
    for model in models:
        row = [model["title"]]
        for name, metric in shown.items():
            if number := model["metrics"].get(name):
                row.append(html.estimate(number, metric.form, metric.form(number["value"]) == best[name]))
            else:
                row.append("–")
        rows.append(row)
    return {"head": ["Model"] + [metric.title for metric in shown.values()], "rows": rows}


def explanations(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and meaning of every metric, in the words of a reader who is no statistician."""
    labels = len(evaluation["labels"])
    numbers = {
        "ceiling": percent(evaluation["ceiling"]),
        "chance": percent(1 / labels),
        "blind": decimal(math.log(labels)),
    }
    return [(metric.title, metric.meaning.format(**numbers)) for metric in measured(evaluation, METRICS).values()]


def comparisons_table(evaluation: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of pair, metric, difference with its interval, p and what that says."""
    rows = []
    for pair in evaluation["comparisons"]:
        metric = METRICS[pair["metric"]]
        cell = points(pair) if metric.form is percent else difference(pair, 1, 3, "")
        rows.append(comparison(evaluation, pair, metric, cell))
    return rows


def confusions(evaluation: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """The three most frequent errors of the adapter: rows, true label, predicted label."""
    labels = evaluation["labels"]
    wrong = [
        (rows, labels[true], labels[predicted])
        for true, line in enumerate(evaluation["models"]["candidate"].get("confusion", []))
        for predicted, rows in enumerate(line)
        if true != predicted and rows
    ]
    return sorted(wrong, key=lambda error: -error[0])[:3]


def classes_table(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of counts x splits: clusters, notes, rows, then the rows of each label."""
    rows = [
        [name.capitalize(), *(count(split[name]) for split in splits.values())]
        for name in ("clusters", "notes", "rows")
    ]
    labels = dict.fromkeys(label for split in splits.values() for label in split["per_label"])
    rows += [[label, *(count(split["per_label"].get(label, 0)) for split in splits.values())] for label in labels]
    return {"head": ["", *(name.capitalize() for name in splits)], "rows": rows}


def accuracy_figure(evaluation: Mapping[str, Any]) -> Markup:
    """Accuracy, against its ceiling, and accuracy within the own label set of every model."""
    models = evaluation["models"].values()
    panels = [
        (METRICS[name].title, [model["metrics"].get(name) for model in models], ceiling)
        for name, ceiling in (("accuracy", evaluation["ceiling"]), ("own_set_accuracy", None))
    ]
    text = "; ".join(f"{model['title']} {percent(model['metrics']['accuracy']['value'])}" for model in models)
    return html.svg(
        "accuracy",
        "Accuracy of every model with its interval",
        f"Accuracy: {text}; ceiling {percent(evaluation['ceiling'])}.",
        (html.WIDTH, 100 + 46 * len(models)),
        lambda figure: html.draw_intervals(figure, [model["title"] for model in models], panels),
    )


def confusion_figure(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    """True labels as rows, predicted ones as columns; the shade is the share of the row."""
    side = max(17, min(96, 640 // len(labels)))
    right = "; ".join(
        f"{label} {line[row]} of {sum(line)}" for row, (label, line) in enumerate(zip(labels, matrix, strict=True))
    )
    return html.svg(
        "confusion",
        "Confusion matrix of the adapter",
        f"Right: {right}.",
        (min(html.WIDTH, 340 + side * len(labels)), 190 + max(20, 0.62 * side) * len(labels)),
        lambda figure: draw_confusion(figure.subplots(), labels, matrix, side),
    )


def draw_confusion(axes: Axes, labels: Sequence[str], matrix: Sequence[Sequence[int]], side: float) -> None:
    """Counts, with the share of the row below where a cell, `side` pixels wide, has room for it."""
    names = [html.short(label) for label in labels]
    html.row_axis(axes, names)
    slant: Any = {"rotation": 28} if side > 30 else {"rotation": 90, "va": "center"}
    axes.set_xticks(range(len(labels)), names, rotation_mode="anchor", ha="left", color=COLOURS["ink"], **slant)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlim=(-0.5, len(labels) - 0.5), xlabel="predicted label", ylabel="true label")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    size, roomy = min(14, side / 2.4), side > 60
    for row, line in enumerate(matrix):
        for column, rows in enumerate(line):
            share = rows / max(sum(line), 1)
            corner, alpha = (column - 0.49, row - 0.485), 0.04 + 0.71 * share
            axes.add_patch(Rectangle(corner, 0.98, 0.97, facecolor=COLOURS["shade"], linewidth=0, alpha=alpha))
            if rows:
                style: Any = {"ha": "center", "va": "center"}
                axes.text(column, row - 0.15 * roomy, str(rows), size=size, weight="bold", **style)
                if roomy:
                    axes.text(column, row + 0.22, f"{100 * share:.0f}\u202f%", size=size - 2.5, **style)


def classes_figure(classes: Sequence[Mapping[str, Any]]) -> Markup:
    """Precision, recall and F1 of each class."""
    text = "; ".join(
        f"{c['label']} {percent(c['precision'])}, {percent(c['recall'])}, {decimal(c['f1'])}" for c in classes
    )
    return html.svg(
        "classes",
        "Precision, recall and F1 of each class",
        f"Precision, recall, F1: {text}.",
        (html.WIDTH, 80 + 72 * len(classes)),
        lambda figure: draw_classes(figure.subplots(), classes),
    )


def draw_classes(axes: Axes, classes: Sequence[Mapping[str, Any]]) -> None:
    """Three bars a class."""
    html.row_axis(axes, [f"{html.short(c['label'], 28)} ({count(c['support'])})" for c in classes])
    html.percent_axis(axes.xaxis)
    axes.set_xlim(0, 1.02)
    style: Any = {"textcoords": "offset points", "va": "center", "size": 11.5, "color": COLOURS["muted"]}
    for place, (name, title, colour) in enumerate(BARS):
        rows = [row + 0.25 * (place - 1) for row in range(len(classes))]
        values = [c[name] for c in classes]
        axes.barh(rows, values, height=0.2, color=COLOURS[colour], label=title)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(decimal(100 * value, 0), (value, row), (5, 0), **style)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3)


def reliability_figure(adapter: Mapping[str, Any]) -> Markup:
    """How often the adapter is right at each confidence, before and after temperature scaling."""
    metrics = adapter["metrics"]
    panels = [
        (f"{title}: error {percent(metrics[metric]['value'])}", adapter[bins], colour)
        for title, metric, bins, colour in (
            ("Before scaling", "ece", "reliability", "vermillion"),
            ("After scaling", "ece_scaled", "reliability_scaled", "blue"),
        )
        if bins in adapter
    ]
    text = "; ".join(title for title, *_ in panels)
    return html.svg(
        "reliability",
        "Reliability diagram of the adapter",
        f"{text}. Temperature {decimal(adapter['temperature'], 2)}.",
        (html.WIDTH, 460),
        lambda figure: draw_reliability(figure, panels),
    )


def draw_reliability(figure: Figure, panels: Sequence[tuple[str, Sequence[Mapping[str, float]], str]]) -> None:
    """A panel a (title, bins, colour); the area of a dot is the share of the predictions in its bin."""
    style: Any = {"color": COLOURS["muted"], "size": 12}
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, bins, colour) in zip(grid, panels, strict=True):
        square(axes)
        axes.set(title=title, xlabel="confidence that the model states", ylabel="share that is right")
        seen = [point for point in bins if point["weight"] > 0]
        total = sum(point["weight"] for point in seen)
        x, y = ([point[name] for point in seen] for name in ("confidence", "accuracy"))
        areas = [30 + 900 * point["weight"] / total for point in seen]
        axes.plot(x, y, color=COLOURS[colour], linewidth=1.5)
        axes.scatter(x, y, areas, COLOURS[colour], alpha=0.75, linewidths=0, zorder=3, clip_on=False)
        axes.text(0.04, 0.93, "right more often than it says", **style)
        axes.text(0.96, 0.04, "right less often than it says", ha="right", **style)


def square(axes: Axes) -> None:
    """Make both axes shares from 0 to 100 %, with the diagonal dashed."""
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=1.5)
    html.percent_axis(axes.xaxis)
    html.percent_axis(axes.yaxis)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


def roc_figure(curves: Sequence[Mapping[str, Any]]) -> Markup:
    """One ROC curve a class, that class against all others."""
    areas = "; ".join(f"{curve['label']} {decimal(curve['auc'])}" for curve in curves)
    return html.svg(
        "roc",
        "ROC curve of each class",
        f"Area under the curve: {areas}.",
        (780, max(450, 60 + 24 * len(curves))),
        lambda figure: draw_roc(figure.subplots(), curves),
    )


def draw_roc(axes: Axes, curves: Sequence[Mapping[str, Any]]) -> None:
    """Lines told apart by colour and, from the ninth on, by their dashes."""
    square(axes)
    axes.set(xlabel="others wrongly taken for the class", ylabel="notes of the class that are found")
    lines = []
    for place, curve in enumerate(curves):
        dashes, hue = divmod(place, len(SERIES))
        style: Any = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)))[dashes % 5]
        colour = COLOURS[SERIES[hue]]
        lines += axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=style, clip_on=False)
    names = [f"{html.short(curve['label'])}: {decimal(curve['auc'])}" for curve in curves]
    beside: Any = {"loc": "upper left", "bbox_to_anchor": (1.03, 1), "labelspacing": 0.8, "borderpad": 1.2}
    axes.legend(lines, names, title="Class: area under its curve", alignment="left", **beside)
    axes.set_anchor("NW")
