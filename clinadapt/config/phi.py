"""Settings of what identifies a patient (protected health information): what becomes of it where it is found."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from clinadapt.config.base import Section
from clinadapt.config.uri_credentials import Uri

# Types of identifiers. Where two are found at the same place, the type is the one that stands first
TYPES = (
    "EMAIL", "URL", "IP", "SSN", "DATE", "PHONE", "FAX", "ZIP", "MRN", "ACCOUNT", "PLAN", "LICENSE", "DEVICE",
    "VEHICLE", "OTHERID", "AGE90", "STREET", "HOSPITAL", "EMPLOYER", "CITY", "NAME", "INITIALS",
)  # fmt: skip

Action = Literal["report", "quarantine", "redact", "surrogate"]


class Phi(Section):
    """screen: identifiers in notes, instructions and answers of sources that are not built in.

    Patients are told apart by the column `patient` of a source (clinadapt.config.origin).

    Attributes:
        policy: `report` only counts; `quarantine` leaves out the rows; `redact` writes the type instead, as `[NAME]`;
            `surrogate` writes an invented one, the same wherever the same stands in texts of a patient, with dates
            moved by one number of weeks per patient (key: CLINADAPT_PHI_KEY); `off` looks for nothing.
        reason: why it is off; it stands on the model card.
        types: type of identifier (TYPES) -> what becomes of it, where that is not the policy.
        known_columns: columns of a source with what the hospital knows of the patient, such as name, record number,
            birth date: looked for in all texts of the patient.
        staff_file: URI of a text file, one name a line, that are looked for in all texts.
        protect_file: URI of a text file, one term a line, that are never identifiers.
        second_opinion: URI of a token classifier (`hf://`, `s3://`, `file://`) whose finds are united with the
            detector's in texts of sources, not in what an LLM teacher writes about them.
        second_opinion_labels: label of that model, without B- or I- -> type of identifier, empty for none; those of
            i2b2 and of common models are known.
        seconds_per_note: a text that takes longer is quarantined.
    """

    policy: Literal["report", "quarantine", "redact", "surrogate", "off"] = "redact"
    reason: str = Field(default="", max_length=200)
    types: dict[str, Action] = {}
    known_columns: list[str] = []
    staff_file: Uri = ""
    protect_file: Uri = ""
    second_opinion: Uri = Field(default="", pattern="^((hf|s3|file)://.+)?$")
    second_opinion_labels: dict[str, str] = {}
    seconds_per_note: float = Field(default=30.0, gt=0, le=3600)

    @field_validator("types")
    @classmethod
    def _check_types(cls, types: dict[str, Action]) -> dict[str, Action]:
        if unknown := sorted(types.keys() - set(TYPES)):
            raise ValueError(f"'{unknown[0][:40]}' is no type of identifier: use {', '.join(TYPES)}")
        return types

    @field_validator("second_opinion_labels")
    @classmethod
    def _check_second_types(cls, labels: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(labels.values()) - {"", *TYPES}):
            raise ValueError(f"'{unknown[0][:40]}' is no type of identifier: use '' or {', '.join(TYPES)}")
        return labels

    @model_validator(mode="after")
    def _labels_have_a_model(self) -> Self:
        if self.second_opinion_labels and not self.second_opinion:
            raise ValueError("second_opinion_labels are those of second_opinion, which is missing")
        return self

    @model_validator(mode="after")
    def _off_has_a_reason(self) -> Self:
        if (self.policy == "off") != bool(self.reason.strip()):
            raise ValueError("policy off needs a reason, which stands on the model card, and no other policy takes one")
        looks_for = ("types", "known_columns", "staff_file", "protect_file", "second_opinion")
        if self.policy == "off" and any(getattr(self, name) for name in looks_for):
            raise ValueError(f"policy off looks for nothing: leave out {', '.join(looks_for)}")
        return self

    def action(self, kind: str) -> Action:
        """What becomes of an identifier of a type. Not for policy off."""
        assert self.policy != "off"
        return self.types.get(kind, self.policy)

    @property
    def invents(self) -> bool:
        """Whether any identifier becomes an invented one, which needs the key."""
        return self.policy != "off" and "surrogate" in (self.policy, *self.types.values())


class InstructPhi(Phi):
    """The same for a recipe whose adapters write text.

    Attributes:
        audit: whether canaries, invented phrases in about 500 examples, are trained along, so that evaluate shows what
            the adapter remembers of them; the gate refuses one that does. It takes about 50,000 readings of a short
            answer, minutes on a GPU and an hour or more without.
    """

    audit: bool = False
