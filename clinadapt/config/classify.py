"""Settings of a classify run (note -> label)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from clinadapt.config.base import Lora, Precision, ProfileBase, Quantization, Section, outcome_settings
from clinadapt.config.feedback import Feedback
from clinadapt.config.gate import GateThresholds
from clinadapt.config.origin import ORIGIN, TestNotes, check_columns
from clinadapt.config.phi import Phi
from clinadapt.config.uri_credentials import Uri

Pooling = Literal["model", "mean"]
LABELLED_COLUMNS = {"text": "transcription", "label": "medical_specialty"}  # as in the Kaggle file of MTSamples
POOLED_LAYERS = 4  # concatenated by mean pooling (Devlin et al. 2019, arXiv:1810.04805, section 5.3)


class Notes(Section):
    """download: the columns to read and the rows to keep.

    Attributes:
        columns: field -> column name, where it differs from LABELLED_COLUMNS: text, label; patient, encounter, date,
            sex and age are found by their usual names (clinadapt.config.origin), or not at all with an empty name here.
            The report tells by sex and age for whom an adapter is worse.
        labels: labels to keep; all when empty.
        top_labels: number of most frequent labels to keep; all when 0.
        max_note_characters: longer notes are quarantined (the longest in MTSamples has about 33,000 characters).
    """

    columns: dict[str, str] = Field(default_factory=dict)
    labels: list[str] = []
    top_labels: int = Field(default=0, ge=0)
    max_note_characters: int = Field(default=200_000, ge=1)

    @model_validator(mode="after")
    def _check_columns(self) -> Notes:
        check_columns(self.columns, [*LABELLED_COLUMNS, *ORIGIN], "classify")
        return self

    def column(self, field: str) -> str:
        """Column name of the text or the label."""
        return self.columns.get(field, LABELLED_COLUMNS[field])


class Split(Section):
    """format: near-duplicate detection and the split.

    Attributes:
        near_duplicate_threshold: Jaccard similarity of word 4-grams from which two notes are near duplicates.
        min_notes_per_label: labels of fewer different notes are left out; when 0, a label of too few to split is an
            error.
        test: which notes are the test: `random`, 20 % of each label, or the newest, as in `newest 10%`.
        seed: seed of a random split.
    """

    near_duplicate_threshold: float = Field(default=0.3, gt=0, le=1)
    min_notes_per_label: int = Field(default=0, ge=0)
    test: TestNotes = "random"
    seed: int = Field(default=0, ge=0, lt=2**32)


class Windows(Section):
    """How a long note is read: in windows of `max_length` tokens (special tokens included), at most `max_windows` of
    them, whose logits are averaged with their token counts as weights. Tokens beyond are reported as unseen."""

    max_length: int = Field(default=256, ge=16)
    max_windows: int = Field(default=16, ge=1)


class ClassifyTraining(Section):
    """train: the base model and the hyperparameters, by the names of transformers where it has them.

    Attributes:
        windows: how a long note is read.
        pooling: input of the classification head. `model`: the state that the architecture pools (BERT's first token,
            a decoder's last). `mean`: mean token states of the last four layers, over the whole note and over its first
            window. The head starts as a linear probe on them (Kumar et al. 2022, arXiv:2202.10054), and the published
            weights are halfway between the probe and the trained ones (Wortsman et al. 2022, arXiv:2109.01903).
        train_windows: windows sampled from each note in each epoch.
        min_notes_per_label_set: notes that must share a label set for it to become a class of its own
            (clinadapt.models.label_sets).
        class_weights: `balanced` weights a label by the inverse of its share of rows.
        warmup_steps: linear warmup, as a fraction of all steps; the learning rate then decays along a cosine.
        early_stopping_patience: epochs without a lower validation loss after which training stops.
        checkpoint_minutes: at most, between checkpoints; fewer where saving takes little time.
        seed: seed of the head's weights, the order of the notes and the sampled windows.
    """

    base_model: Uri
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


class ClassifyEvaluation(Section):
    """evaluate: what is asked of the candidate besides its predictions.

    Attributes:
        counterfactual_notes: held-out notes, for each kind at most, that are changed in what must not change the label
            (sex, age, names) and that the candidate predicts again; 0 for none.
        sure_accuracy: share of right predictions, chosen on the validation notes, that those reach whose probability is
            high enough; below it the adapter answers `unsure`. 0 for an adapter that always answers.
    """

    counterfactual_notes: int = Field(default=200, ge=0)
    sure_accuracy: float = Field(default=0.9, ge=0, lt=1)


class ClassifyGate(GateThresholds):
    """gate: what must be shown before a candidate is published, in accuracy over rows; shares, 0.05 is 5 points.

    Attributes:
        gain_over_base, gain_over_majority, gain_over_tfidf: that the lower end of the gain over the base model with an
            untrained head, the majority class, and TF-IDF with logistic regression must exceed.
        min_any_label_accuracy: that the lower end of the share of predictions among a note's labels must reach.
        group_margin: by which the share of predictions among a note's labels may at most be lower in a group of notes
            (length, sex, age) than over all; 1 for no check by group.
        champion_margin: by which a candidate that was trained on other data than the champion may at most be worse.
    """

    gain_over_base: float = Field(default=0.05, ge=-1, le=1)
    gain_over_majority: float = Field(default=0.0, ge=-1, le=1)
    gain_over_tfidf: float = Field(default=0.0, ge=-1, le=1)
    min_any_label_accuracy: float = Field(default=0.5, ge=0, le=1)
    group_margin: float = Field(default=0.15, ge=0, le=1)
    champion_margin: float = Field(default=0.02, ge=0, le=1)


class ClassifyProfile(ProfileBase):
    """A classify run: data, base model, hyperparameters and resources."""

    recipe: Literal["classify"]
    source: Uri = Field(description="data source, a URI")
    notes: Notes = Notes()
    feedback: Feedback = Feedback()
    phi: Phi = Phi()
    split: Split = Split()
    train: ClassifyTraining
    evaluation: ClassifyEvaluation = ClassifyEvaluation()
    gate: ClassifyGate = ClassifyGate()

    @property
    def training(self) -> ClassifyTraining:
        """The training stage whose settings are on the run form."""
        return self.train

    @model_validator(mode="after")
    def _check_change_control(self) -> ClassifyProfile:
        self.change_control.check_names(outcome_settings(self.train))
        return self
