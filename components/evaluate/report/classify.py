"""The report of a classify run as one HTML file: verdict, metrics, charts, training and data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clinadapt.documents import charts
from clinadapt.documents.charts import SERIES
from clinadapt.documents.page import COLOURS, count, decimal, duration, environment, percent
from components.evaluate.report.abstention import abstention_figure
from components.evaluate.report.groups import counterfactuals_table, groups_figure, groups_table
from components.evaluate.report.shared import (
    Metric,
    comparison,
    corrections_tables,
    difference,
    joined_rows,
    measured,
    points,
    training_figure,
)

METRICS = {
    "accuracy": Metric(
        "Accuracy",
        percent,
        False,
        "The share of rows for which the model predicts the row’s label. A note listed under two labels has one row "
        "for each, and no model can be right on both; hence the ceiling of {ceiling}.",
    ),
    "any_label_accuracy": Metric(
        "Accuracy, any listed label",
        percent,
        False,
        "The share of rows for which the prediction is one of the labels under which the note is listed, in this row "
        "or in another. The maximum is 100\u202f%.",
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        percent,
        False,
        "The mean of the recall of all classes: a rare class counts as much as a frequent one. Predicting always the "
        "same class gives {chance}.",
    ),
    "macro_f1": Metric(
        "Macro F1",
        decimal,
        False,
        "The mean of the F1 of all classes. F1 is high only if both precision and recall are high; 1 is perfect.",
    ),
    "log_loss": Metric(
        "Log loss",
        decimal,
        True,
        "Penalises confident errors most. 0 is perfect; equal probabilities for all labels give {uniform}.",
    ),
    "ece": Metric(
        "Calibration error",
        percent,
        True,
        "Expected calibration error: the mean gap between the confidence of a prediction and the share of correct "
        "predictions at that confidence, less what chance adds to it in so few rows. At 0\u202f%, predictions made "
        "with 80\u202f% confidence are right 80\u202f% of the time.",
    ),
    "ece_scaled": Metric(
        "Calibration error, scaled",
        percent,
        True,
        "The same after temperature scaling: one factor, fitted on the validation notes, that raises or lowers all "
        "confidences without changing the predicted labels. Where training started from a linear probe, the "
        "adapter’s factor is corrected by the probe’s out-of-fold predictions on the training notes; that of TF-IDF is "
        "not corrected.",
    ),
}


def render(report: Mapping[str, Any]) -> str:
    """Render the report as one HTML page that loads nothing, runs no script and is the same for the same input.

    Args:
        report: title, created, verdict, evaluation, training, data and provenance, whose first entry is the version;
            the `report` fixture in tests/components/evaluate/test_report_classify.py is a full one.
    """
    evaluation, training = report["evaluation"], report["training"]
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in training["settings"].items()
    }
    seconds = {"Training": training["seconds"]} | {
        f"Scoring: {model['title']}": model["seconds"] for model in evaluation["models"].values() if "seconds" in model
    }
    template = environment("components.evaluate.report").get_template("classify.html.j2")
    return template.render(
        report,
        adapter=evaluation["models"]["candidate"],
        figures=figures(evaluation, training),
        metrics=metrics_table(evaluation),
        explanations=explanations(evaluation),
        comparisons=comparisons_table(evaluation),
        confusions=confusions(evaluation),
        classes=classes_table(report["data"]["splits"]),
        label=report["data"].get("label_column", "label").replace("_", " "),
        never=never_recognised(evaluation),
        unequal=unequal_classes(evaluation),
        by_group=groups_table(evaluation, METRICS, ("any_label_accuracy",), "Rows"),
        counterfactuals=counterfactuals_table(evaluation["counterfactuals"]),
        settings=settings,
        joined=joined_rows(report["data"]),
        corrections=corrections_tables(report["data"], evaluation),
        timings={name: duration(time) for name, time in seconds.items()},
    )


def figures(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Markup]:
    """Charts by name, without those that the adapter has no numbers for."""
    adapter = evaluation["models"]["candidate"]
    drawn = {"accuracy": accuracy_figure(evaluation), "training": training_figure(training)}
    drawn["abstention"] = abstention_figure(evaluation["abstention"])
    if "confusion" in adapter:
        drawn["confusion"] = confusion_figure(evaluation["labels"], adapter["confusion"])
    if "per_class" in adapter:
        drawn["classes"] = classes_figure(adapter["per_class"])
    if "reliability" in adapter:
        drawn["reliability"] = reliability_figure(adapter)
    if evaluation["subgroups"]:
        drawn["groups"] = groups_figure(evaluation, "any_label_accuracy", "predictions among a note’s labels")
    if "roc" in adapter:
        drawn["roc"] = roc_figure(adapter["roc"])
    return drawn


def metrics_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of models x metrics; the adapter, which the others are held against, is bold."""
    shown = measured(evaluation, METRICS)
    rows = []
    for name, model in evaluation["models"].items():
        title = Markup("<b>{}</b>").format(model["title"]) if name == "candidate" else model["title"]
        numbers = [(model["metrics"].get(metric), each.form) for metric, each in shown.items()]
        rows.append(
            [title, *(charts.estimate(number, form, counts=False) if number else "–" for number, form in numbers)]
        )
    return {"head": ["Model"] + [metric.title for metric in shown.values()], "rows": rows}


def explanations(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and meaning of every metric, for a reader who is not a statistician."""
    labels = len(evaluation["labels"])
    numbers = {
        "ceiling": percent(evaluation["ceiling"]),
        "chance": percent(1 / labels),
        "uniform": decimal(math.log(labels)),
    }
    return [(metric.title, metric.meaning.format(**numbers)) for metric in measured(evaluation, METRICS).values()]


def comparisons_table(evaluation: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of pair, metric, difference with its interval, p and interpretation."""
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


def never_recognised(evaluation: Mapping[str, Any]) -> list[str]:
    """Labels of held-out rows that the adapter never gets right, with their number of rows: `Urology (3 rows)`."""
    classes = evaluation["models"]["candidate"].get("per_class", [])
    return [f"{c['label']} ({count(c['support'])} rows)" for c in classes if c["support"] and not c["recall"]]


def unequal_classes(evaluation: Mapping[str, Any]) -> bool:
    """Whether the most frequent label of the held-out rows has twice the rows of the rarest, or more."""
    sizes = [c["support"] for c in evaluation["models"]["candidate"].get("per_class", []) if c["support"]]
    return bool(sizes) and max(sizes) >= 2 * min(sizes)


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
    """Chart of both accuracies of every model, with the ceiling of the first."""
    models = evaluation["models"].values()
    panels = [
        (METRICS[name].title, [model["metrics"].get(name) for model in models], ceiling)
        for name, ceiling in (("accuracy", evaluation["ceiling"]), ("any_label_accuracy", None))
    ]
    text = "; ".join(f"{model['title']} {percent(model['metrics']['accuracy']['value'])}" for model in models)
    return charts.svg(
        "accuracy",
        "Accuracy of every model with its interval",
        f"Accuracy: {text}; ceiling {percent(evaluation['ceiling'])}.",
        (charts.WIDTH, 100 + 46 * len(models)),
        lambda figure: charts.draw_intervals(figure, [model["title"] for model in models], panels),
    )


def confusion_figure(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    """Confusion matrix with true labels as rows, predicted labels as columns, shaded by the share of the row."""
    side = max(17, min(96, 640 // len(labels)))
    correct = "; ".join(
        f"{label} {line[row]} of {sum(line)}" for row, (label, line) in enumerate(zip(labels, matrix, strict=True))
    )
    return charts.svg(
        "confusion",
        "Confusion matrix of the adapter",
        f"Correct: {correct}.",
        (min(charts.WIDTH, 340 + side * len(labels)), 190 + max(20, 0.62 * side) * len(labels)),
        lambda figure: draw_confusion(figure.subplots(), labels, matrix, side),
    )


def draw_confusion(axes: Axes, labels: Sequence[str], matrix: Sequence[Sequence[int]], side: float) -> None:
    """Draw counts, and below them the share of the row where a cell, `side` pixels wide, has room for it."""
    names = [charts.short(label) for label in labels]
    charts.row_axis(axes, names)
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
    """Chart of precision and recall of each class, with intervals."""
    text = "; ".join(f"{c['label']} {percent(c['precision'])}, {percent(c['recall'])}" for c in classes)
    return charts.svg(
        "classes",
        "Precision and recall of each class, with intervals",
        f"Precision, recall: {text}.",
        (charts.WIDTH, 90 + 54 * len(classes)),
        lambda figure: draw_classes(figure.subplots(), classes),
    )


def draw_classes(axes: Axes, classes: Sequence[Mapping[str, Any]]) -> None:
    """Draw a dot and an interval for precision and for recall of each class that has rows of them."""
    charts.row_axis(axes, [f"{charts.short(c['label'], 28)} ({count(c['support'])})" for c in classes])
    charts.percent_axis(axes.xaxis)
    axes.set_xlim(0, 1.08)
    for position, (name, colour) in enumerate((("precision", "blue"), ("recall", "orange"))):
        axes.plot([], [], "o", color=COLOURS[colour], markersize=8, label=name)
        for row, entry in enumerate(classes):
            if name in entry["intervals"]:
                (low, high), y = entry["intervals"][name], row + 0.36 * (position - 0.5)
                line: Any = {"color": COLOURS[colour], "linewidth": 4, "alpha": 0.55, "solid_capstyle": "butt"}
                axes.plot([low, high], [y, y], **line)
                axes.plot(entry[name], y, "o", color=COLOURS[colour], markersize=8, markeredgecolor=COLOURS["paper"])
                beside: Any = {"textcoords": "offset points", "va": "center", "size": 11.5, "color": COLOURS["muted"]}
                axes.annotate(decimal(100 * entry[name], 0), (high, y), (6, 0), **beside)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2)


def reliability_figure(adapter: Mapping[str, Any]) -> Markup:
    """Reliability diagrams of the adapter before and after temperature scaling."""
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
    return charts.svg(
        "reliability",
        "Reliability diagram of the adapter",
        f"{text}. Temperature {decimal(adapter['temperature'], 2)}.",
        (charts.WIDTH, 460),
        lambda figure: draw_reliability(figure, panels),
    )


def draw_reliability(figure: Figure, panels: Sequence[tuple[str, Sequence[Mapping[str, float]], str]]) -> None:
    """Draw a panel for each (title, bins, colour); the area of a dot is the share of predictions in its bin."""
    style: Any = {"color": COLOURS["muted"], "size": 12}
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, bins, colour) in zip(grid, panels, strict=True):
        square(axes)
        axes.set(title=title, xlabel="confidence", ylabel="accuracy")
        filled = [point for point in bins if point["weight"] > 0]
        total = sum(point["weight"] for point in filled)
        x, y = ([point[name] for point in filled] for name in ("confidence", "accuracy"))
        areas = [30 + 900 * point["weight"] / total for point in filled]
        axes.plot(x, y, color=COLOURS[colour], linewidth=1.5)
        axes.scatter(x, y, areas, COLOURS[colour], alpha=0.75, linewidths=0, zorder=3, clip_on=False)
        axes.text(0.04, 0.93, "underconfident", **style)
        axes.text(0.96, 0.04, "overconfident", ha="right", **style)


def square(axes: Axes) -> None:
    """Make both axes shares from 0 to 100 %, with the diagonal dashed."""
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=1.5)
    charts.percent_axis(axes.xaxis)
    charts.percent_axis(axes.yaxis)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


def roc_figure(curves: Sequence[Mapping[str, Any]]) -> Markup:
    """Chart of one ROC curve per class, one-vs-rest."""
    areas = "; ".join(f"{curve['label']} {decimal(curve['auc'])}" for curve in curves)
    return charts.svg(
        "roc",
        "ROC curve of each class",
        f"Area under the curve: {areas}.",
        (780, max(450, 60 + 24 * len(curves))),
        lambda figure: draw_roc(figure.subplots(), curves),
    )


def draw_roc(axes: Axes, curves: Sequence[Mapping[str, Any]]) -> None:
    """Draw one line per class; colours repeat from the ninth on, with other dashes."""
    square(axes)
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    lines = []
    for number, curve in enumerate(curves):
        dashes, hue = divmod(number, len(SERIES))
        style: Any = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)))[dashes % 5]
        colour = COLOURS[SERIES[hue]]
        lines += axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=style, clip_on=False)
    names = [f"{charts.short(curve['label'])}: {decimal(curve['auc'])}" for curve in curves]
    beside: Any = {"loc": "upper left", "bbox_to_anchor": (1.03, 1), "labelspacing": 0.8, "borderpad": 1.2}
    axes.legend(lines, names, title="Class: area under the curve", alignment="left", **beside)
    axes.set_anchor("NW")
