"""`clinadapt`: run, phi, purge, monitor, compile, submit, estimate, predict, review, mirror, registry and others."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated

import typer

from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError, one_line
from pipelines.cli import accounts as accounts_cli
from pipelines.cli import cluster as cluster_cli
from pipelines.cli import metrics as metrics_cli
from pipelines.cli import monitor as monitor_cli
from pipelines.cli import phi as phi_cli
from pipelines.cli import purge as purge_cli
from pipelines.cli import registry as registry_cli
from pipelines.cli import run as run_cli
from pipelines.cli import runs as runs_cli
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit

app = typer.Typer(
    help="Train, evaluate and publish clinical LLM adapters on Kubeflow Pipelines.\n\n"
    "Start with: clinadapt run instruct",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(registry_cli.app, name="registry")
app.add_typer(phi_cli.app, name="phi")
app.command("purge")(purge_cli.purge)
app.command("metrics")(metrics_cli.metrics)
app.command("review-account")(accounts_cli.review_account)
app.command("monitor")(monitor_cli.monitor)

PROFILE_HELP = "Name of a profile, or path of a .yaml file."
AdapterName = Annotated[
    str,
    typer.Option(
        "--adapter",
        "-a",
        help="NAME for its champion, NAME/VERSION, or the URI of a version.",
        envvar="CLINADAPT_ADAPTER",
    ),
]
COMPILED = Path("pipelines/compiled")  # in the repository, for the default cluster


def main() -> None:
    """Entry point. A UserError becomes one line on standard error, with --json also a line of JSON, and exit status 2.

    Without --json, Typer reports invalid options itself.
    """
    _silence_libraries()
    as_json = "--json" in sys.argv
    try:
        raise SystemExit(app(standalone_mode=not as_json))
    except (UserError, typer.TyperException) as error:
        message = str(error) if isinstance(error, UserError) else error.format_message()
        print(f"error: {one_line(message)}", file=sys.stderr)
        if as_json:
            emit({"error": message})
        raise SystemExit(EXIT_BAD_INPUT) from None


def _silence_libraries() -> None:
    """Hide progress bars and warnings of model libraries; steps inherit it. The environment can override it."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read by transformers too
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore", FutureWarning)
    warnings.filterwarnings("ignore", module=r"(bitsandbytes|huggingface_hub|peft|torch|transformers)(\.|$)")


@app.callback(invoke_without_command=True)
def clinadapt(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(package_version("clinadapt"))
        raise typer.Exit


@app.command()
def run(
    recipe: Annotated[
        str,
        typer.Argument(help="What to train: instruct (note + instruction -> answer) or classify (note -> specialty)."),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Data: a path, file://, https://, s3://, hf://org/name or builtin://cases. classify takes one source. "
            "instruct takes several, as KIND=SOURCE: cases, notes (default), triples, chat, alpaca, pairs or "
            "preferences. Both also take feedback=STORE/flagged/, what people corrected.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", help=PROFILE_HELP, show_default="the recipe's demo"),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the sources, as FIELD=COLUMN,...: text=note,description=summary. Fields are text, label, "
            "description, note, instruction, answer, patient, encounter, date, sex, age and others, as the kind of "
            "source has."
        ),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the note text.")] = None,
    patient: Annotated[
        str | None,
        typer.Option(help="Column with the patient, where it has no usual name; '' for none.", show_default="by name"),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            help="Column with the date of a note, also with its format: 'visit_date %d/%m/%Y'; '' for none.",
            show_default="by name",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Notes of the test: random, or the newest, as in 'newest 10%'.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="instruct: the instruction for pairs= sources; {column} inserts a column.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="instruct: rules (offline) or llm (at CLINADAPT_TEACHER_URL).")
    ] = None,
    send_to: Annotated[
        list[str] | None,
        typer.Option(
            help="instruct: host of a teacher or judge that may get these notes (default: none). Can be repeated."
        ),
    ] = None,
    show_texts: Annotated[
        bool,
        typer.Option("--show-texts", help="instruct: show texts of these sources in a report in restricted/."),
    ] = False,
    decimal: Annotated[
        str | None,
        typer.Option(
            help="instruct: decimal separator of the numbers of these sources, comma or point.",
            show_default="by number",
        ),
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="classify: column with the label.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="classify: use only this label. Can be repeated.")] = None,
    top_labels: Annotated[int | None, typer.Option(help="classify: use only the N most frequent labels.")] = None,
    min_notes_per_label: Annotated[
        int | None, typer.Option(help="classify: leave out labels of fewer different notes.", min=0)
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="Base model: builtin://smollm2, builtin://minilm, a folder, s3:// or hf://org/name."),
    ] = None,
    quantization: Annotated[str | None, typer.Option(help="Of the base model: none or nf4 (4 bits, QLoRA).")] = None,
    num_train_epochs: Annotated[int | None, typer.Option("--epochs", help="Maximum number of training epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of split, initialization and order.")] = None,
    adapter_name: Annotated[str | None, typer.Option(help="Name to publish the adapter under.")] = None,
    store: StoreUri = DEFAULT_STORE,
    home: Annotated[Path, typer.Option(help="Folder for outputs, caches and logs of local runs.")] = HOME,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the complete output of Kubeflow Pipelines.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a complete pipeline on this machine.

    The components are the same as on a cluster. Options override the profile. Exit status: 0 published, awaiting
    approval or nothing new, 2 invalid input, 3 refused by the gate, 75 interrupted (run the same command again to
    resume).

        clinadapt run instruct                                   # demo, a few minutes

        clinadapt run instruct notes=notes.csv --profile t4-phi2

        clinadapt run classify notes.csv --profile cpu-minilm --top-labels 5

        clinadapt run instruct feedback=.clinadapt/store/flagged/  # the demo again, with what people corrected
    """
    from clinadapt.registry.approval.decisions import starter
    from pipelines.named_settings import DEMO_PROFILES, load_profile

    profile = profile or DEMO_PROFILES.get(recipe, recipe)
    settings = load_profile(profile)
    if recipe != settings.recipe:
        raise UserError(
            f"profile '{profile}' is for recipe '{settings.recipe}', not '{recipe}': choose another profile"
        )
    options = run_cli.DataOptions(
        columns, text_column, label_column, patient, date, instruction, send_to or [], show_texts, decimal
    )
    form = {
        **run_cli.data_parameters(settings, sources or [], options),
        "test": test,
        "teacher": teacher,
        "labels": label or None,
        "top_labels": top_labels,
        "min_notes_per_label": min_notes_per_label,
        "base_model": as_uri(base_model) if base_model else None,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
        "adapter_name": adapter_name,
        "started_by": starter(),
        "store": as_uri(store),
    }
    given = {name: value for name, value in form.items() if value is not None}
    from pipelines import local_run

    status, summary = local_run.run(settings, given, home, verbose)
    run_cli.print_outcome(status, summary, settings, adapter_name or settings.adapter_name, store)
    if as_json:
        emit(run_cli.result(summary))
    raise typer.Exit(status)


@app.command("compile")
def compile_pipelines(
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", help="Compile this profile only. Can be repeated.")
    ] = None,
    cluster: cluster_cli.ClusterName = "default",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the .yaml files.",
            show_default="pipelines/compiled or .clinadapt/compiled",
        ),
    ] = None,
) -> None:
    """Compile the pipelines for a cluster.

    Writes for each profile its pipeline and the one that watches its adapter, for upload in the KFP UI.
    """
    from clinadapt.storage.local_files import os_errors
    from pipelines.compile import compile_profile
    from pipelines.monitor import compile_monitor
    from pipelines.named_settings import load_cluster, load_profile, profile_names

    settings = load_cluster(cluster)
    output = output or (COMPILED if cluster == "default" else HOME / "compiled" / settings.name)
    with os_errors(f"cannot write to {output}"):
        output.mkdir(parents=True, exist_ok=True)
        for name in profile or profile_names():
            for compile_one in (compile_profile, compile_monitor):
                print(compile_one(load_profile(name), settings, output), file=sys.stderr)


app.command("submit")(cluster_cli.submit)
app.add_typer(cluster_cli.schedule, name="schedule")
app.add_typer(runs_cli.app, name="runs")
app.command("trainjob")(cluster_cli.trainjob)
app.command("mirror-list")(cluster_cli.mirror_list)


@app.command()
def estimate(
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help=PROFILE_HELP, show_default="cpu-demo; with --gpu none")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Base model to use instead of the profile's, such as microsoft/phi-2.")
    ] = None,
    labels: Annotated[int, typer.Option(help="classify: number of labels.")] = 5,
    gpu: Annotated[
        str | None, typer.Option(help="Which base models fit a GPU of this many GiB, or nvidia.com/mig-3g.20gb.")
    ] = None,
    cluster: cluster_cli.ClusterName = "default",
    as_json: Json = False,
) -> None:
    """Estimate the memory that training needs.

    Compares full fine-tuning, LoRA and QLoRA. Reads only configuration and safetensors headers; no weights are
    downloaded, and models that are often asked for need no model hub: `--gpu` lists them.

        clinadapt estimate --profile t4-phi2

        clinadapt estimate --gpu 24
    """
    from pipelines.cli.estimate import for_gpu, of_profile
    from pipelines.named_settings import load_cluster, load_profile

    if gpu is not None and cluster != "default":
        raise UserError("give either --gpu or --cluster")
    if gpu is not None:
        result = for_gpu(gpu, load_profile(profile) if profile else None, base_model)
    else:
        chosen = load_cluster(cluster).adapted(load_profile(profile or "cpu-demo"))
        result = of_profile(chosen, base_model, labels)
    if as_json:
        emit(result)


@app.command()
def predict(
    adapter: AdapterName,
    note: Annotated[
        Path | None, typer.Option(help="Text file with one note, or - for standard input.", allow_dash=True)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="File with one note per row: .csv, .jsonl, .parquet or .xlsx.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of --file with the note text.")] = "transcription",
    ask: Annotated[
        list[str] | None,
        typer.Option(help="Instruction for an instruct adapter. Can be repeated with --note."),
    ] = None,
    ask_column: Annotated[
        str | None, typer.Option(help="Column of --file with the instruction, instead of --ask.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --ask: the words of the note that support each claim of the answer.")
    ] = False,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Run a published adapter on a note or a file of notes.

    Prints the answer, for a file a CSV, to standard output; with --json, lines of JSON.

        clinadapt predict --adapter demo-specialty --note note.txt

        clinadapt predict --adapter demo-specialty --file notes.csv > answers.csv

        clinadapt predict --adapter demo-instruct --note note.txt --ask "Which drugs were given?"
    """
    if (note is None) == (file is None):
        raise UserError("give either --note FILE or --file FILE")
    if ask_column is not None and (note or ask):
        raise UserError("--ask-column needs --file and replaces --ask: give one of the two")
    if file and ask and len(ask) > 1:
        raise UserError("--file takes one --ask: give the instructions in a column, with --ask-column")
    if explain and (file or not ask):
        raise UserError("--explain needs --note and --ask: it shows which words of the note support an answer")
    from pipelines.cli import predict as prediction

    try:
        prediction.predict(adapter, as_uri(store), note, file, text_column, ask or [], ask_column, as_json, explain)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command()
def review(
    adapter: AdapterName,
    store: StoreUri = DEFAULT_STORE,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any other than localhost requires accounts.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7860,
) -> None:
    """Serve the review page of an adapter.

    There clinicians paste a note, see the prediction or ask for an answer, flag errors and judge held-out answers. To
    listen on another address than localhost, name a file of accounts with CLINADAPT_REVIEW_ACCOUNTS first (`clinadapt
    review-account`), or set CLINADAPT_REVIEW_USER and CLINADAPT_REVIEW_PASSWORD for one person.
    """
    from clinadapt.review.server import serve

    serve(adapter, as_uri(store), host, port)


@app.command()
def mirror(
    source: Annotated[str, typer.Argument(help="Base model: hf://org/name[@revision], a folder, file:// or s3://.")],
    target: Annotated[str, typer.Argument(help="Target: s3://bucket/models/name, a folder or file://.")],
    as_json: Json = False,
) -> None:
    """Copy a base model into the store.

    For clusters without internet access. Copies safetensors, tokenizer and configuration, and verifies every file. Run
    the same command again to resume.

        clinadapt mirror hf://org/name s3://bucket/models/name

        clinadapt run classify notes.csv --base-model s3://bucket/models/name
    """
    from clinadapt.models.mirror import mirror as copy

    result = copy(as_uri(source), as_uri(target))
    print(f"mirrored; use it with --base-model {result['uri']}", file=sys.stderr)
    if as_json:
        emit(result)


if __name__ == "__main__":
    main()
