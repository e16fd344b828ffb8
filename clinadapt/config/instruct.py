"""Every knob of an instruct run, validated. No torch here, as in recipe.py."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from clinadapt.config.base import Lora, Precision, ProfileBase, Quantization, Section

Kind = Literal["cases", "notes", "triples", "chat", "alpaca", "pairs", "preferences"]
Teacher = Literal["rules", "llm"]
Stage = Literal["pretrain", "instruct"]  # of training, which several nodes can share

BUILTIN_LLAMA = "builtin://llama"  # a base model that pretrain makes

COLUMNS: dict[Kind, dict[str, str]] = {
    "cases": {"text": "transcription", "description": "description"},
    "notes": {"text": "transcription", "description": "description"},
    "triples": {"note": "note", "instruction": "question", "answer": "answer", "task": "task"},
    "chat": {"messages": "messages"},
    "alpaca": {"instruction": "instruction", "note": "input", "answer": "output"},
    "pairs": {"note": "dialogue", "answer": "section_text"},
    "preferences": {"note": "note", "instruction": "question", "chosen": "chosen", "rejected": "rejected"},
}


class Source(Section):
    """download: one source of text or of ready-made instruction data.

    Attributes:
        kind: what a row is. `cases`: a case report, of which synthesize makes a note. `notes`: a real note. `triples`:
            the Asclepius layout. `chat`: `messages` of role and content. `alpaca`: instruction, input, output. `pairs`:
            two columns and an `instruction`. `preferences`: a chosen and a rejected answer, for DPO.
        uri: file://, s3://, https://, hf:// or builtin://cases; of a folder of files file:///folder or s3://bucket/folder/.
        columns: our name -> the source's column, where it differs from COLUMNS[kind].
        instruction: of `pairs`; `{section_header}` stands for the row's value in that column.
        task: what the report counts the rows of `pairs`, `chat` and `alpaca` under.
        private: no text of it is shown in a report.
    """

    kind: Kind
    uri: str
    columns: dict[str, str] = Field(default_factory=dict)
    instruction: str = ""
    task: str = "Other"
    private: bool = False

    @model_validator(mode="after")
    def _known(self) -> Source:
        if unknown := self.columns.keys() - COLUMNS[self.kind].keys():
            raise ValueError(f"{self.kind} has no field '{min(unknown)}': it has {', '.join(COLUMNS[self.kind])}")
        if (self.kind == "pairs") != bool(self.instruction):
            raise ValueError("an instruction belongs to pairs, and pairs need one")
        return self

    def column(self, field: str) -> str:
        """What the source calls one of our fields."""
        return self.columns.get(field, COLUMNS[self.kind][field])


class Synthesis(Section):
    """synthesize: how notes and triples are made.

    Attributes:
        teacher: `rules` (offline) or `llm` (an OpenAI-compatible endpoint: CLINADAPT_TEACHER_URL, CLINADAPT_TEACHER_KEY
            and CLINADAPT_TEACHER_MODEL).
        triples_per_note: at most.
        concurrency: requests in flight (llm).
        token_budget: tokens, in and out, after which no more is asked (llm); no bound when 0.
        seed: of what is drawn.
    """

    teacher: Teacher = "rules"
    triples_per_note: int = Field(default=8, ge=1, le=64)
    concurrency: int = Field(default=8, ge=1, le=256)
    token_budget: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Examples(Section):
    """format: how triples become tokens, and notes are split.

    Attributes:
        max_length: tokens of the longest example; of a longer one the note is trimmed.
        near_duplicate_threshold: 8-gram Jaccard similarity from which two notes are near duplicates.
        test_share, validation_share: of the clusters of notes.
        max_note_characters: characters; a longer one is quarantined.
        seed: of the split.
    """

    max_length: int = Field(default=1024, ge=64)
    near_duplicate_threshold: float = Field(default=0.3, gt=0, le=1)
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    validation_share: float = Field(default=0.05, gt=0, lt=0.5)
    max_note_characters: int = Field(default=200_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)


class TrainingSettings(Section):
    """What the stages of training share; a batch is `per_device_train_batch_size` packs of `max_length` tokens.

    Attributes:
        per_device_train_batch_size: packs in a forward pass of one process.
        warmup_steps: share of all steps; the learning rate then falls along a cosine.
        gradient_checkpointing: `auto` where the estimate says that it is needed.
        checkpoint_minutes: the state of training is saved this often; a killed training loses no more than that.
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
    """The shape of a small Llama that pretrain makes from nothing, with a tokenizer of its own (builtin://llama)."""

    vocab_size: int = Field(default=4096, ge=300)
    hidden_size: int = Field(default=256, ge=16)
    intermediate_size: int = Field(default=704, ge=16)
    num_hidden_layers: int = Field(default=6, ge=1)
    num_attention_heads: int = Field(default=8, ge=1)
    num_key_value_heads: int = Field(default=8, ge=1)


class Pretrain(TrainingSettings):
    """pretrain: next-token training on the training notes, before instruction tuning.

    Attributes:
        method: `lora` (merged into the 16-bit base at the end) or `full`.
        llama: what builtin://llama is.
    """

    method: Literal["lora", "full"] = "lora"
    lora: Lora = Lora(r=16, lora_alpha=32)
    quantization: Quantization = "none"
    llama: Llama = Llama()


class Preference(TrainingSettings):
    """DPO from preference pairs, as a last stage (Rafailov et al. 2023, arXiv:2305.18290)."""

    learning_rate: float = Field(default=5e-6, gt=0, allow_inf_nan=False)
    beta: float = Field(default=0.1, gt=0)


class Instruct(TrainingSettings):
    """instruct: QLoRA on the answers.

    Attributes:
        base_model: a URI; `builtin://llama` is made by pretrain.
        early_stopping_patience: epochs without a better validation loss after which training stops.
    """

    base_model: str
    lora: Lora = Lora(r=16, lora_alpha=32)
    quantization: Quantization = "nf4"
    early_stopping_patience: int = Field(default=2, ge=1)


class NodesTask(Section):
    """A stage of training that several nodes run together, with splits by URI: a TrainJob hands it to its pods.

    Attributes:
        splits: the folder that format wrote, file:// or s3://.
        store: where the state of training is kept, and what it comes to.
        base_model: that pretrain begins from; of instruct it is among the settings.
        settings: the stage.
    """

    splits: str
    store: str
    base_model: str = ""
    settings: Instruct | Pretrain


class Evaluation(Section):
    """evaluate: what is asked of base, candidate and champion.

    Attributes:
        rows_per_task: held-out triples of each task that are answered, at most.
        max_new_tokens: of an answer, at most.
        batch_size: prompts that are answered together.
        judge: whether an OpenAI-compatible model scores answers too (CLINADAPT_JUDGE_URL, _KEY, _MODEL).
    """

    rows_per_task: int = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=16, ge=1)
    judge: bool = False


class InstructGate(Section):
    """gate: what a candidate needs, in mean token F1 over held-out answers.

    Attributes:
        gain_over_base: at least so much better than its base model, by the lower end of the interval of the paired
            difference.
        unsupported: the share of answers with a fact that the note does not hold may be so much above that of the
            champion (of the base model where there is none), by the lower end of the interval.
        worse_than_champion: p below which it counts as worse than the champion (one-sided paired permutation test).
    """

    gain_over_base: float = 0.0
    unsupported: float = 0.0
    worse_than_champion: float = Field(default=0.05, gt=0, lt=1)


class InstructProfile(ProfileBase):
    """A named instruct run: its sources, teacher, base model, hyperparameters and cluster resources."""

    recipe: Literal["instruct"]
    sources: list[Source] = Field(min_length=1)
    synthesis: Synthesis = Synthesis()
    examples: Examples = Examples()
    pretrain: Pretrain | None = None
    instruct: Instruct
    preference: Preference | None = None
    evaluation: Evaluation = Evaluation()
    gate: InstructGate = InstructGate()

    @property
    def training(self) -> Instruct:
        """The stage whose base model, quantisation and epochs are on the run form."""
        return self.instruct

    @property
    def pretraining(self) -> Pretrain | None:
        """The section pretrain as it will be run: a model that starts from nothing is trained in full."""
        if self.pretrain and self.instruct.base_model == BUILTIN_LLAMA:
            return self.pretrain.model_copy(update={"method": "full"})
        return self.pretrain

    @model_validator(mode="after")
    def _sections_belong_together(self) -> InstructProfile:
        if self.instruct.base_model == BUILTIN_LLAMA and self.pretrain is None:
            raise ValueError("builtin://llama is made by pretrain: add the section pretrain")
        if (self.preference is not None) != any(source.kind == "preferences" for source in self.sources):
            raise ValueError("the section preference and a source of kind preferences belong together")
        return self
