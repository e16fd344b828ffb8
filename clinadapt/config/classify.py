"""Every setting of a classify run, validated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clinadapt.config.base import Lora, Precision, ProfileBase, Quantization, Section

Pooling = Literal["model", "mean"]


POOLED_LAYERS = 4  # read by mean pooling, side by side (Devlin et al. 2019, arXiv:1810.04805, section 5.3)


class Notes(Section):
    """download: what to read and which rows to keep.

    Attributes:
        text_column, label_column: names in the source; by default those of the Kaggle file of MTSamples.
        labels: keep only these; all when empty.
        top_labels: keep the most frequent so many of them; all when 0.
        max_note_characters: characters; a longer note is quarantined (the longest of MTSamples has about 33,000).
    """

    text_column: str = "transcription"
    label_column: str = "medical_specialty"
    labels: list[str] = []
    top_labels: int = Field(default=0, ge=0)
    max_note_characters: int = Field(default=200_000, ge=1)


class Split(Section):
    """format: how notes are told apart and split.

    Attributes:
        near_duplicate_threshold: 8-gram Jaccard similarity from which two notes are near duplicates.
        seed: of the split.
    """

    near_duplicate_threshold: float = Field(default=0.3, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Windows(Section):
    """How a long note is read: cut into windows of `max_length` tokens (special tokens included), of which at most
    `max_windows` are read; their logits are averaged, weighted by tokens. Tokens past that are counted as unseen."""

    max_length: int = Field(default=256, ge=16)
    max_windows: int = Field(default=16, ge=1)


class Train(Section):
    """train: the base model and how the adapter is trained.

    Attributes:
        windows: how a long note is read.
        pooling: what the head reads. `model`: of each window what the architecture gives (BERT its first token, a
            decoder its last). `mean`: the mean states of all tokens in the last four layers, of the whole note and of
            its first window, which says what the note is about; the head begins as a linear probe on them (Kumar et al.
            2022, arXiv:2202.10054), and what is published is half-way between that and what training made of it
            (Wortsman et al. 2022, arXiv:2109.01903).
        train_windows: windows of each note drawn at random for each epoch; all of them where a note has fewer.
        min_notes_per_label_set: notes that must share a set of labels for it to be a class of its own (see label_sets).
        class_weights: `balanced` weighs a label by the inverse of its share of rows.
        warmup_steps: share of all steps; the learning rate then falls along a cosine.
        early_stopping_patience: epochs without a better validation loss after which training stops.
        checkpoint_minutes: the state of training is saved this often, and after each epoch; a killed training loses no
            more than that.
        seed: of the head, the order of the notes and the windows drawn.
    """

    base_model: str
    lora: Lora = Lora()
    quantization: Quantization = "none"
    precision: Precision = "auto"
    windows: Windows = Windows()
    pooling: Pooling = "model"
    train_windows: int = Field(default=2, ge=1)
    num_train_epochs: int = Field(default=5, ge=1)
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: float = Field(default=0.1, ge=0, lt=1)
    min_notes_per_label_set: int = Field(default=5, ge=1)
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping_patience: int = Field(default=2, ge=1)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


class ClassifyGate(Section):
    """gate: what a candidate needs, in accuracy over rows.

    Attributes:
        gain_over_base: at least so much better than the base with its untrained head, by the lower end of the
            interval of the paired difference.
        gain_over_majority: the same against the majority class.
        worse_than_champion: p below which it counts as worse than the champion (one-sided paired permutation test).
    """

    gain_over_base: float = 0.05
    gain_over_majority: float = 0.0
    worse_than_champion: float = Field(default=0.05, gt=0, lt=1)


class ClassifyProfile(ProfileBase):
    """A named classify run: data, base model, hyperparameters and cluster resources."""

    recipe: Literal["classify"]
    source: str = Field(description="data source, a URI")
    notes: Notes = Notes()
    split: Split = Split()
    train: Train
    gate: ClassifyGate = ClassifyGate()

    @property
    def training(self) -> Train:
        """The stage whose base model, quantisation and epochs are on the run form."""
        return self.train
