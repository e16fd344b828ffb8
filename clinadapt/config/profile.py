"""The profile of either recipe."""

from clinadapt.config.classify import Profile
from clinadapt.config.instruct import InstructProfile

AnyProfile = Profile | InstructProfile


RECIPES: dict[str, type[AnyProfile]] = {"classify": Profile, "instruct": InstructProfile}
