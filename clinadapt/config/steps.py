"""The steps of both pipelines, in the order in which they run."""

from typing import Literal, get_args

Step = Literal[
    "preflight", "download", "screen", "synthesize", "format", "lookup", "pretrain", "train", "prefer", "evaluate",
    "gate", "publish", "summarise",
]  # fmt: skip

STEPS: tuple[Step, ...] = get_args(Step)
