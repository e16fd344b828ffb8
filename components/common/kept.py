"""What a step keeps in the store for a later run; nothing fails where it is damaged or cannot be kept.

A kept object is the SHA-256 of what follows, and that.
"""

from __future__ import annotations

import hashlib

from components.common.errors import UserError
from components.common.steps import say
from components.common.store import Damaged, Store


def find(store: Store, key: str) -> bytes | None:
    """What was kept, as it was; None where there is none, or only a damaged one."""
    try:
        whole = store.get(key)[0]
    except (KeyError, Damaged):
        return None
    digest, data = whole[:32], whole[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def keep(store: Store, key: str, data: bytes, step: str) -> None:
    """Write it; a store that refuses is said in the log of the step."""
    try:
        store.put(key, hashlib.sha256(data).digest() + data)
    except UserError as error:
        say(step, f"{key.partition('/')[0]} could not be kept, the step goes on without that: {error}")
