"""The README tells the truth: its Python runs, its commands exist, its arithmetic holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_python_of_the_readme_runs(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word, but for the weights, which are those that a test machine has."""
    shutil.copy(speech, tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    code = blocks("python")
    assert len(code) == 3
    for block in code:
        block = block.replace('"kyutai/mimi"', '"mimi-tiny"')
        call = 'encode_audio("talk.wav", "tokens.npz"'
        block = block.replace(call, f'{call}, "mimi-tiny"')
        exec(compile(block, str(README), "exec"), names)
    assert capsys.readouterr().out.startswith("32 121 4.4")
    live, offline = names["live"], names["samples"]
    assert isinstance(live, np.ndarray)
    assert isinstance(offline, np.ndarray)
    np.testing.assert_allclose(live, offline, atol=1e-5 * np.abs(offline).max())
    assert (tmp_path / "back.wav").stat().st_size > 44


def test_every_file_the_readme_shows_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    assert targets
    for target in targets:
        assert target.startswith("http") or (README.parent / target).exists(), target


def test_the_size_of_a_token_file_is_as_told(speech: Path) -> None:
    from mimi_gui.codes import CodecInfo

    text = README.read_text()
    per_second = CodecInfo().frame_rate * 2
    assert f"{per_second * 32:.0f} bytes at K = 32, {per_second * 8:.0f} at K = 8" in text
