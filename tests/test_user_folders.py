"""Where the user's settings, caches and state are, also without a home."""

from pathlib import Path

import pytest

from ltxfilter.jobs.index import known_job, note_job
from ltxfilter.user_folders import user_folder


def homeless(path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_environment_goes_before_the_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_folder("CACHE", {"XDG_CACHE_HOME": "/c"}) == Path("/c")
    assert user_folder("CACHE", {}) == Path("/somewhere/.cache")


def test_without_a_home_there_is_no_folder_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert user_folder("STATE", {}) is None
    note_job(str(tmp_path / "o.mkv"), tmp_path, {})
    assert known_job(str(tmp_path / "o.mkv")) is None


def test_encoded_prompts_need_a_home(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    pytest.importorskip("ltx_core")
    from ltxfilter.engines.ltx.prompts import cache_folder
    from ltxfilter.errors import OutputError

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        cache_folder()
