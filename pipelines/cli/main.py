"""`clinadapt`: run, compile, submit, schedule, trainjob, estimate, predict, review, mirror, registry."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinadapt.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_GATE_SAID_NO, EXIT_INTERRUPTED, UserError
from pipelines.cli import cluster as cluster_cli
from pipelines.cli import registry as registry_cli
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from clinadapt.config.profile import AnyProfile

app = typer.Typer(
    help="Train, judge and publish clinical LLM adapters on Kubeflow Pipelines.\n\nBegin with: clinadapt run instruct",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(registry_cli.app, name="registry")

ProfileName = Annotated[str, typer.Option("--profile", "-p", help="A profile's name, or the path of a .yaml file.")]
AdapterName = Annotated[
    str,
    typer.Option(
        "--adapter",
        "-a",
        help="A name (its champion answers), name/version, or the URI of a version.",
        envvar="CLINADAPT_ADAPTER",
    ),
]
COMPILED = Path("pipelines/compiled")  # kept, for the default cluster


def main() -> None:
    """Entry point: a user's error is one line on standard error and exit status 2; with --json also one of JSON.

    Without --json Typer itself shows what is wrong with the options, in a box.
    """
    as_json = "--json" in sys.argv
    try:
        raise SystemExit(app(standalone_mode=not as_json))
    except (UserError, typer.TyperException) as error:
        message = str(error) if isinstance(error, UserError) else error.format_message()
        print(f"error: {message}", file=sys.stderr)
        if as_json:
            emit({"error": message})
        raise SystemExit(EXIT_BAD_INPUT) from None


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
            help="Data: a file or folder, by path or file://, https://, s3://, hf://org/name, builtin://cases. For "
            "instruct one or more, each with its kind: cases=, notes= (the default), triples=, chat=, alpaca=, pairs= "
            "or preferences=.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", "-p", help="A profile's name, or the path of a .yaml file.", show_default="the recipe's demo"
        ),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the text of the note.")] = None,
    instruction: Annotated[
        str | None, typer.Option(help="instruct: what to do with each of the pairs; may name columns in {braces}.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="instruct: rules (offline), or llm at CLINADAPT_TEACHER_URL.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the label.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Keep only this label; repeat for more.")] = None,
    top_labels: Annotated[int | None, typer.Option(help="Keep only the so many most frequent labels.")] = None,
    base_model: Annotated[str | None, typer.Option(help="builtin://minilm, a folder, s3:// or hf://org/name.")] = None,
    quantization: Annotated[str | None, typer.Option(help="none, or nf4 for a 4-bit base (QLoRA).")] = None,
    num_train_epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over the training notes, at most.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the head and the order of the notes.")] = None,
    adapter_name: Annotated[str | None, typer.Option(help="Publish under this name.")] = None,
    store: StoreUri = DEFAULT_STORE,
    home: Annotated[Path, typer.Option(help="Outputs, caches and logs of local runs.")] = HOME,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that Kubeflow Pipelines prints.")] = False,
    as_json: Json = False,
) -> None:
    """Run a whole pipeline on this machine: the same components that run on a cluster.

    Exit status: 0 published, or nothing new since; 2 bad input, 3 the gate said no, 75 interrupted (the same command
    goes on).

        clinadapt run instruct                                   # built-in cases, a few minutes

        clinadapt run instruct notes=notes.csv --profile t4-phi2

        clinadapt run classify notes.csv --profile cpu-minilm --top-labels 5

    Every option not given comes from the profile.
    """
    from pipelines.named_settings import DEMO_PROFILES, load_profile

    profile = profile or DEMO_PROFILES.get(recipe, recipe)
    settings = load_profile(profile)
    if recipe != settings.recipe:
        raise UserError(
            f"profile '{profile}' is for recipe '{settings.recipe}', not '{recipe}': choose another profile"
        )
    form = {
        **_data(recipe, sources or [], text_column, instruction),
        "teacher": teacher,
        "label_column": label_column,
        "labels": label or None,
        "top_labels": top_labels,
        "base_model": as_uri(base_model) if base_model else None,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
        "adapter_name": adapter_name,
        "store": as_uri(store),
    }
    given = {name: value for name, value in form.items() if value is not None}
    from pipelines import local_run as local

    status, summary = local.run(settings, given, home, verbose)
    _tell(status, summary, settings, adapter_name or settings.adapter_name, store)
    if as_json:
        emit(_result(summary))
    raise typer.Exit(status)


def _result(summary: dict[str, Any]) -> dict[str, Any]:
    judged = summary["steps"].get("gate") or summary["steps"].get("lookup") or {}
    facts = judged.get("outputs", {})
    keys = ("run", "state", "error", "verdict", "sentence", "adapter_uri", "report_uri", "log")
    return {
        "run_key": facts.get("version"),
        **{key: summary[key] for key in keys},
        "metrics": facts.get("metrics", {}),
    }


def _data(recipe: str, sources: list[str], text_column: str | None, instruction: str | None) -> dict[str, Any]:
    """What the run form of a recipe calls its data."""
    if recipe == "classify":
        if len(sources) > 1:
            raise UserError("classify reads one source: put the notes into one file or folder")
        return {"source": as_uri(sources[0]) if sources else None, "text_column": text_column}
    from clinadapt.config.instruct import COLUMNS

    read = []
    for source in sources:
        named, _, place = source.partition("=")
        kind = next((kind for kind in COLUMNS if kind == named), None)
        entry: dict[str, Any] = {"kind": kind or "notes", "uri": as_uri(place if kind else source)}
        if text_column and entry["kind"] in ("cases", "notes"):
            entry["columns"] = {"text": text_column}
        if kind == "pairs":
            entry["instruction"] = instruction or ""
        read.append(entry)
    return {"sources": read or None}


def _tell(status: int, summary: dict[str, Any], settings: AnyProfile, name: str, store: str) -> None:
    """The outcome and the next step, for a person."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print()
    if status in (EXIT_DONE, EXIT_GATE_SAID_NO):
        console.print(summary["sentence"], style="bold green" if status == EXIT_DONE else "bold yellow", markup=False)
        console.print(f"report   {summary['report_uri']}", markup=False)
    if status == EXIT_DONE:
        console.print(f"adapter  {summary['adapter_uri']}", markup=False)
        place = f"--adapter {name} --store {store}"
        console.print(f"next     clinadapt review {place}", markup=False)
        if settings.recipe == "instruct":
            ask = f'clinadapt predict {place} --note FILE --ask "Which drugs does the patient take?"'
            console.print(f"or       {ask}", markup=False)
    elif status == EXIT_INTERRUPTED:
        console.print("interrupted: run the same command again, finished steps are kept", style="bold yellow")
    elif status == EXIT_BAD_INPUT:
        console.print(f"error: {summary['error']}", style="bold red", markup=False)
    elif status != EXIT_GATE_SAID_NO:
        console.print(f"a step failed, which is a bug of ours: see {summary['log']}", style="bold red", markup=False)


@app.command("compile")
def compile_pipelines(
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", help="Only this profile; repeat for more.")
    ] = None,
    cluster: cluster_cli.ClusterName = "default",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the .yaml files.", show_default="pipelines/compiled, or below .clinadapt"
        ),
    ] = None,
) -> None:
    """Compile pipelines for a cluster, one file per pipeline and profile; upload them in the KFP UI."""
    from pipelines.compile import compile_profile
    from pipelines.named_settings import load_cluster, load_profile, profile_names

    settings = load_cluster(cluster)
    output = output or (COMPILED if cluster == "default" else HOME / "compiled" / settings.name)
    output.mkdir(parents=True, exist_ok=True)
    for name in profile or profile_names():
        print(compile_profile(load_profile(name), settings, output), file=sys.stderr)


app.command("submit")(cluster_cli.submit)
app.add_typer(cluster_cli.schedule, name="schedule")
app.command("trainjob")(cluster_cli.trainjob)
app.command("mirror-list")(cluster_cli.mirror_list)


@app.command()
def estimate(
    profile: ProfileName = "cpu-demo",
    base_model: Annotated[str | None, typer.Option(help="Another base model than the profile's.")] = None,
    labels: Annotated[int, typer.Option(help="How many labels the head has (classify).")] = 5,
    as_json: Json = False,
) -> None:
    """How much memory training needs, by part: full fine-tuning, LoRA and QLoRA side by side.

    Reads configuration and safetensors headers only; the weights are not downloaded.
    """
    from pipelines.cli.estimate import of_profile
    from pipelines.named_settings import load_profile

    result = of_profile(load_profile(profile), as_uri(base_model) if base_model else None, labels)
    if as_json:
        emit(result)


@app.command()
def predict(
    adapter: AdapterName,
    note: Annotated[
        Path | None, typer.Option(help="A text file with one note; - for standard input.", allow_dash=True)
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Many notes: .csv, .jsonl or .parquet (also compressed).")] = None,
    text_column: Annotated[str, typer.Option(help="Column of --file with the note.")] = "transcription",
    ask: Annotated[str | None, typer.Option(help="What an instruct adapter shall do with the note.")] = None,
    ask_column: Annotated[str | None, typer.Option(help="Column of --file with what to ask, not --ask.")] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Ask a published adapter: one note, or a file row by row as CSV on standard output (JSON lines with --json).

    clinadapt predict --adapter demo-specialty --note note.txt

    clinadapt predict --adapter demo-specialty --file notes.csv > answers.csv

    An instruct adapter writes its answer as it comes:

    clinadapt predict --adapter demo-instruct --note note.txt --ask "Which drugs were given?"
    """
    if (note is None) == (file is None):
        raise UserError("give either --note FILE or --file FILE")
    if ask_column is not None and (note or ask is not None):
        raise UserError("--ask-column belongs to --file and stands in place of --ask: give one of them")
    from pipelines.cli import predict as answers

    try:
        answers.predict(adapter, as_uri(store), note, file, text_column, ask, ask_column, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command()
def review(
    adapter: AdapterName,
    store: StoreUri = DEFAULT_STORE,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than localhost asks for a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7860,
) -> None:
    """Open the page where people try an adapter: paste a note, see what it answers, flag what is wrong.

    An instruct adapter is asked in the reader's own words or with an example, and answers as it writes.

    On another address than localhost, set CLINADAPT_REVIEW_USER and CLINADAPT_REVIEW_PASSWORD first.
    """
    from clinadapt.review.server import serve

    serve(adapter, as_uri(store), host, port)


@app.command()
def mirror(
    source: Annotated[str, typer.Argument(help="A base model: hf://org/name[@revision], a folder, file:// or s3://.")],
    target: Annotated[str, typer.Argument(help="Where to: s3://bucket/models/name, a folder or file://.")],
    as_json: Json = False,
) -> None:
    """Copy a base model into the store, for clusters without internet: safetensors, tokenizer and configuration only.

    The same command goes on where it was cut. Every file is verified; the manifest is written last.

        clinadapt mirror hf://org/name s3://bucket/models/name

        clinadapt run classify notes.csv --base-model s3://bucket/models/name
    """
    from clinadapt.models.mirror import mirror as copy

    result = copy(as_uri(source), as_uri(target))
    print(f"mirrored: --base-model {result['uri']}", file=sys.stderr)
    if as_json:
        emit(result)


if __name__ == "__main__":
    main()
