"""Files that are made once: in the folder of an image, or in the user's cache."""

from pathlib import Path

import pytest

from clinadapt.artifacts import built_files
from clinadapt.artifacts.built_files import built_file
from clinadapt.errors import UserError


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(built_files, "_IMAGE_FOLDER", tmp_path / "image")
    return tmp_path / "cache/clinadapt"


def test_a_file_is_made_once(cache: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("made")

    assert [built_file("list-1.json", make).read_text() for _ in range(2)] == ["made", "made"]
    assert made == [cache / "list-1.json"]


def test_the_file_of_an_image_comes_first(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image/list-1.json").write_text("image")
    assert built_file("list-1.json", Path.touch).read_text() == "image"
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.write_text("no folder")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        built_file("list-1.json", Path.touch)
