"""Settings of an instruct run (note + instruction -> answer)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from clinadapt.config.base import Lora, Precision, ProfileBase, Quantization, Section, outcome_settings
from clinadapt.config.feedback import MOST_PEOPLE, feedback_place
from clinadapt.config.gate import GateThresholds
from clinadapt.config.origin import ORIGIN, TestNotes, check_columns
from clinadapt.config.phi import InstructPhi
from clinadapt.config.uri_credentials import Uri

Kind = Literal["cases", "notes", "triples", "chat", "alpaca", "pairs", "preferences", "feedback"]
Teacher = Literal["rules", "llm"]
Decimal = Literal["auto", "point", "comma"]
Stage = Literal["pretrain", "instruct"]  # training stages that can run on several nodes

BUILTIN_LLAMA = "builtin://llama"  # a small Llama that pretrain trains from random weights

ANY_HOST = "*"  # among allowed hosts


def _check_host(host: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9a-fA-F:]{2,45}", host):
        raise ValueError(
            "write the name or address of a host, without scheme, port or path, as in llm.hospital.example"
        )
    return host.lower()


HostName = Annotated[str, AfterValidator(_check_host)]

COLUMNS: dict[Kind, dict[str, str]] = {
    "cases": {"text": "transcription", "description": "description"},
    "notes": {"text": "transcription", "description": "description"},
    "triples": {"note": "note", "instruction": "question", "answer": "answer", "task": "task"},
    "chat": {"messages": "messages"},
    "alpaca": {"instruction": "instruction", "note": "input", "answer": "output"},
    "pairs": {"note": "dialogue", "answer": "section_text"},
    "preferences": {"note": "note", "instruction": "question", "chosen": "chosen", "rejected": "rejected"},
    "feedback": {},
}
SPECIALTY_COLUMNS = ("medical_specialty", "specialty")  # usual names of the column of a note's specialty


def source_fields(kind: Kind) -> list[str]:
    """The fields of a kind of source whose column can be named."""
    about_notes = ["specialty"] if kind not in ("preferences", "feedback") else []
    return [*COLUMNS[kind], *about_notes, *(ORIGIN if kind != "feedback" else ())]


class Source(Section):
    """download: one source of text or of instruction data.

    Attributes:
        kind: layout of a row. `cases`: a case report, which synthesize turns into a note. `notes`: a real note.
            `triples`: note, question, answer and, if any, task (Asclepius). `chat`: `messages` of role and content.
            `alpaca`: instruction, input, output. `pairs`: note and answer columns with one `instruction` for all rows.
            `preferences`: a chosen and a rejected answer, for DPO. `feedback`: what people corrected, for both.
        uri: file://, s3://, https://, hf:// or builtin://cases; a folder of files as file:///folder or
            s3://bucket/folder/; of `feedback`, `flagged/` of a store or `flagged/NAME/` for one adapter.
        columns: field name -> column name, where it differs from COLUMNS[kind]; patient, encounter, date, sex and age
            are found by their usual names (clinadapt.config.origin), or not at all with an empty name here. The report
            tells by sex, age and `specialty`, which may be any group of notes, such as wards, for whom an adapter is
            worse.
        instruction: of `pairs`; `{section_header}` is replaced by the row's value in that column.
        task: task under which the report lists rows of `pairs`, `chat`, `alpaca` and `feedback`, and those of
            `triples` that have no such column.
        decimal: decimal separator of its numbers: with `comma`, 0,125 mg is not 125 mg. `auto`: as the numbers of the
            source show that can be read in one way only.
        private: whether the texts of this source are kept out of the examples that people are shown; set it to false
            only for texts that identify nobody.
        send_to: hosts of LLM endpoints (teacher, judge) that texts of this source may be sent to; none unless named.
        agree: of `feedback`, as in clinadapt.config.feedback.Feedback.
    """

    kind: Kind
    uri: Uri
    columns: dict[str, str] = Field(default_factory=dict)
    instruction: str = ""
    task: str = "Other"
    decimal: Decimal = "auto"
    private: bool = True
    send_to: list[HostName] = []
    agree: int = Field(default=1, ge=1, le=MOST_PEOPLE)

    @model_validator(mode="after")
    def _check_fields(self) -> Source:
        if self.kind == "feedback":
            feedback_place(self.uri)
            if self.columns or self.send_to or not self.private:
                raise ValueError("feedback has no columns, is sent nowhere and is shown nowhere: leave these out")
        elif self.agree != 1:
            raise ValueError("`agree` belongs to a source of kind feedback")
        check_columns(self.columns, source_fields(self.kind), self.kind)
        if (self.kind == "pairs") != bool(self.instruction):
            raise ValueError("`instruction` belongs to a source of kind pairs, and pairs need it")
        return self

    def column(self, field: str) -> str:
        """Column name of a field."""
        return self.columns.get(field, COLUMNS[self.kind][field])

    @property
    def synthetic(self) -> bool:
        """Whether the texts are built in, so that they identify nobody."""
        return self.uri.startswith("builtin://")

    @property
    def withheld(self) -> bool:
        """Whether the texts are kept out of the examples that people are shown."""
        return self.private and not self.synthetic


def allowed_hosts(sources: Sequence[Source]) -> list[str]:
    """Hosts that texts of all these sources may be sent to, but for feedback, which is not sent; ANY_HOST alone where
    all texts are built in."""
    consents = [set(source.send_to) for source in sources if not (source.synthetic or source.kind == "feedback")]
    return sorted(set.intersection(*consents)) if consents else [ANY_HOST]


class Synthesis(Section):
    """synthesize: generation of notes and triples.

    Attributes:
        teacher: `rules` (offline) or `llm`, an OpenAI-compatible endpoint (CLINADAPT_TEACHER_URL,
            CLINADAPT_TEACHER_KEY, CLINADAPT_TEACHER_MODEL).
        triples_per_note: upper bound.
        concurrency: requests in flight (llm).
        token_budget: prompt and completion tokens after which no request is sent (llm); unlimited when 0.
        seed: seed of all random choices.
    """

    teacher: Teacher = "rules"
    triples_per_note: int = Field(default=8, ge=1, le=64)
    concurrency: int = Field(default=8, ge=1, le=256)
    token_budget: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Examples(Section):
    """format: tokenization of triples and the split of notes.

    Attributes:
        max_length: tokens of an example; in a longer one the note is trimmed.
        near_duplicate_threshold: Jaccard similarity of word 4-grams from which two notes are near duplicates.
        test: which notes are the test: `random`, or the newest, as in `newest 10%`; patients are kept whole.
        test_share, validation_share: fractions of the note clusters; test_share of a random test.
        max_note_characters: longer notes are quarantined.
        seed: seed of the split.
    """

    max_length: int = Field(default=1024, ge=64)
    near_duplicate_threshold: float = Field(default=0.3, gt=0, le=1)
    test: TestNotes = "random"
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    validation_share: float = Field(default=0.05, gt=0, lt=0.5)
    max_note_characters: int = Field(default=200_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)


class TrainingSettings(Section):
    """Hyperparameters that all training stages share, by the names of transformers where it has them.

    Attributes:
        max_length: tokens of a pack.
        per_device_train_batch_size: packs in one forward pass of a process.
        warmup_steps: linear warmup, as a fraction of all steps; the learning rate then decays along a cosine.
        gradient_checkpointing: `auto` uses it where the memory estimate requires it.
        checkpoint_minutes: at most, between checkpoints of the training state; fewer where saving takes little time.
    """

    precision: Precision = "auto"
    max_length: int = Field(default=1024, ge=64)
    num_train_epochs: int = Field(default=1, ge=1)
    per_device_train_batch_size: int = Field(default=1, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: float = Field(default=0.03, ge=0, lt=1)
    gradient_checkpointing: Literal["auto", "always", "never"] = "auto"
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Llama(Section):
    """Shape of builtin://llama, which pretrain trains from random weights with a tokenizer of its own; by the names of
    transformers' LlamaConfig."""

    vocab_size: int = Field(default=4096, ge=300)
    hidden_size: int = Field(default=256, ge=16)
    intermediate_size: int = Field(default=704, ge=16)
    num_hidden_layers: int = Field(default=6, ge=1)
    num_attention_heads: int = Field(default=8, ge=1)
    num_key_value_heads: int = Field(default=8, ge=1)


class Pretraining(TrainingSettings):
    """pretrain: next-token training on the training notes, before instruction tuning.

    Attributes:
        method: `lora` (merged into the 16-bit base at the end) or `full`.
        llama: shape of builtin://llama.
    """

    method: Literal["lora", "full"] = "lora"
    lora: Lora = Lora(r=16, lora_alpha=32)
    quantization: Quantization = "none"
    llama: Llama = Llama()


class PreferenceTraining(TrainingSettings):
    """prefer: DPO on preference pairs, after instruction tuning (Rafailov et al. 2023, arXiv:2305.18290).

    Attributes:
        precision: without effect, as it computes in that of the adapter.
        own_answers: training questions that the adapter answers first; its mistakes and the right answers are pairs
            too, beside those of the sources.
    """

    own_answers: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=5e-6, gt=0, allow_inf_nan=False)
    beta: float = Field(default=0.1, gt=0)


class InstructTraining(TrainingSettings):
    """train: LoRA or QLoRA on the answers.

    Attributes:
        base_model: URI of the base model; builtin://llama is trained by pretrain first.
        early_stopping_patience: epochs without a lower validation loss after which training stops.
    """

    base_model: Uri
    lora: Lora = Lora(r=16, lora_alpha=32)
    quantization: Quantization = "nf4"
    early_stopping_patience: int = Field(default=2, ge=1)


class JudgeMarks(Section):
    """Answers that people marked, for the judge to mark too.

    Attributes:
        uri: of a table with the columns note, instruction, answer and severity (1 no risk, 2 low, 3 moderate, 4 high).
        send_to: hosts of a judge that these texts may be sent to; none unless named.
    """

    uri: Uri
    send_to: list[HostName] = []


class Evaluation(Section):
    """evaluate: held-out instructions for base, candidate and champion.

    Attributes:
        rows_per_task: maximum of held-out triples for each task.
        max_new_tokens: maximum length of an answer.
        batch_size: notes whose instructions are answered together.
        counterfactual_rows: held-out triples of each kind, at most, whose notes are changed in what must not change the
            answer (sex, age, names), for the candidate to answer again; 0 for none.
        judge: whether an OpenAI-compatible model marks the answers too (CLINADAPT_JUDGE_URL, _KEY, _MODEL).
        judge_marks: answers that people marked, by which the judge itself is judged.
        judge_kappa: agreement with people, about settled answers or judge_marks, as Cohen's kappa (3 or 4 against
            less), below which it marks none.
    """

    rows_per_task: int = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=8, ge=1)
    counterfactual_rows: int = Field(default=40, ge=0)
    judge: bool = False
    judge_marks: JudgeMarks | None = None
    judge_kappa: float = Field(default=0.4, ge=-1, le=1)

    @model_validator(mode="after")
    def _marks_need_a_judge(self) -> Evaluation:
        if self.judge_marks and not self.judge:
            raise ValueError("judge_marks are for a judge: set judge to true, or leave them out")
        return self


class InstructGate(GateThresholds):
    """gate: what must be shown before a candidate is published; shares, 0.05 is 5 points or 5 %.

    Attributes:
        gain_over_base: that the lower end of the gain in token F1 over the base model must exceed.
        task_margin: by which a task's token F1 may at most be below the base model's; 1 for no check by task.
        max_contradicted, max_unsupported: that the upper end of the share of answers with a claim that the note
            contradicts, or does not support, must not exceed.
        max_wrong_refusals, max_missed_refusals: the same of questions that the note answers and that were refused, and
            of those that it does not answer and that were not.
        min_exact_match: that the lower end of the share exactly right, where an answer can be checked, must reach.
        group_margin: by which the share of answers with a claim that the note does not support may at most be larger
            in a group of notes (task, source, length, sex, age) than over all; 1 for no check by group.
        champion_margin: by which a candidate that was trained on other data than the champion may at most be worse in
            token F1.
        audited_repeats: of an audit (phi.audit), canaries that stand more often than this in training may be
            remembered.
    """

    gain_over_base: float = Field(default=0.0, ge=-1, le=1)
    task_margin: float = Field(default=0.05, ge=0, le=1)
    max_contradicted: float = Field(default=0.05, ge=0, le=1)
    max_unsupported: float = Field(default=0.1, ge=0, le=1)
    max_wrong_refusals: float = Field(default=0.05, ge=0, le=1)
    max_missed_refusals: float = Field(default=0.2, ge=0, le=1)
    min_exact_match: float = Field(default=0.5, ge=0, le=1)
    group_margin: float = Field(default=0.1, ge=0, le=1)
    champion_margin: float = Field(default=0.02, ge=0, le=1)
    audited_repeats: Literal[1, 4, 16] = 16


class InstructProfile(ProfileBase):
    """An instruct run: sources, teacher, base model, hyperparameters and resources."""

    recipe: Literal["instruct"]
    sources: list[Source] = Field(min_length=1)
    phi: InstructPhi = InstructPhi()
    synthesis: Synthesis = Synthesis()
    examples: Examples = Examples()
    pretrain: Pretraining | None = None
    instruct: InstructTraining
    preference: PreferenceTraining | None = None
    evaluation: Evaluation = Evaluation()
    gate: InstructGate = InstructGate()

    @property
    def training(self) -> InstructTraining:
        """The training stage whose settings are on the run form."""
        return self.instruct

    @property
    def pretraining(self) -> Pretraining | None:
        """The section pretrain as it will be run: a model that starts from nothing is trained in full."""
        if self.pretrain and self.instruct.base_model == BUILTIN_LLAMA:
            return self.pretrain.model_copy(update={"method": "full"})
        return self.pretrain

    @model_validator(mode="after")
    def _sections_belong_together(self) -> InstructProfile:
        if self.instruct.base_model == BUILTIN_LLAMA and self.pretrain is None:
            raise ValueError("builtin://llama is trained by pretrain: add the section pretrain")
        kinds = {source.kind for source in self.sources}
        if kinds == {"feedback"}:
            raise ValueError("feedback alone has nothing to hold out: name a source of notes too")
        if "preferences" in kinds and self.preference is None:
            raise ValueError("a source of kind preferences needs the section preference")
        if self.preference and not (self.preference.own_answers or kinds & {"preferences", "feedback"}):
            raise ValueError("the section preference needs `own_answers`, or a source of kind preferences or feedback")
        preference = outcome_settings(self.preference) if self.preference else None
        self.change_control.check_names(outcome_settings(self.instruct) | {"preference": preference})
        return self
