"""The profile of either recipe."""

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile

AnyProfile = ClassifyProfile | InstructProfile
RECIPES: dict[str, type[AnyProfile]] = {"classify": ClassifyProfile, "instruct": InstructProfile}
