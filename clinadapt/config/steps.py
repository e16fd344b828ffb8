"""The steps of the pipelines, in the order in which they run; monitor is the one of a pipeline of its own."""

from typing import Literal, get_args

Step = Literal[
    "preflight", "download", "screen", "synthesize", "format", "lookup", "pretrain", "train", "prefer", "evaluate",
    "gate", "publish", "summarise", "monitor",
]  # fmt: skip

STEPS: tuple[Step, ...] = get_args(Step)
