"""What a store in a folder writes is for its user only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clinadapt.errors import UserError
from clinadapt.storage.folder_store import FolderStore


def test_files_and_folders_are_for_the_user_alone(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        store = FolderStore((tmp_path / "a/store").as_uri())
        store.put("flagged/name/1.json", b"{}")
        (tmp_path / "file").write_text("x")
        store.upload(tmp_path / "file", "sources/1/rows")
        store.upload(tmp_path / "file", "sources/2/rows", if_absent=True)
    finally:
        os.umask(previous)
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_nul_in_a_key_is_no_bug(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NUL"):
        FolderStore(tmp_path.as_uri()).put("a\0b", b"")
    with pytest.raises(UserError, match="not an absolute path"):
        FolderStore("file:///a%00b")
