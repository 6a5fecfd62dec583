"""Trust: what is reported where tokens differ. Oracle: the differences were put there by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui import cli, surgery
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.encoder import encode_audio
from mimi_gui.errors import MimiGuiError
from mimi_gui.verify import compare_codes, verify_tokens

INFO = CodecInfo(model_name="kyutai/mimi", digest="sha256:" + "a" * 64)
MADE = {
    "precision": "exact",
    "device": "cpu",
    "kernels": "compiled",
    "versions": {"torch": "2.13", "transformers": "5.23"},
}


def some(num_codebooks: int = 8, num_frames: int = 400, **changes: object) -> Codes:
    array = np.random.default_rng(0).integers(0, 2048, (num_codebooks, num_frames))
    return replace(Codes(array, num_frames * 1920, INFO, MADE), **changes)


def changed(codes: Codes, frames: list[int], codebook: int = 3, **changes: object) -> Codes:
    array = codes.array.copy()
    array[codebook, frames] = (array[codebook, frames] + 1) % 2048
    return replace(codes, array=array, **changes)


def test_equal() -> None:
    found = compare_codes(some(), some(metadata={}))
    assert found.is_equal
    assert found.share == 0
    assert found.text == "equal: 8 codebooks x 400 frames"


def test_where_and_how_much() -> None:
    found = compare_codes(some(), changed(some(), [50, 51, 300]))
    assert (found.num_different, found.num_different_frames, found.first_frame, found.first_s) == (3, 3, 50, 4.0)
    assert found.share_by_codebook == (0, 0, 0, 3 / 400, 0, 0, 0, 0)
    assert found.share == 3 / 3200
    assert "first in frame 50 (4.00 s)" in found.text
    assert "3: 0.75%" in found.text
    assert not found.is_equal


@pytest.mark.parametrize(
    ("a", "b", "field"),
    [
        (some(), changed(some(), [7], info=replace(INFO, digest="sha256:" + "b" * 64)), "checkpoint"),
        (some(), changed(some(), [7], metadata={**MADE, "precision": "fast"}), "precision"),
        (some(), changed(some(), [7], metadata={**MADE, "device": "cuda:0"}), "device"),
        (some(), changed(some(), [7], metadata={**MADE, "kernels": "torch"}), "kernels"),
        (some(), changed(some(), [7], metadata={**MADE, "versions": {"torch": "2.9"}}), "version"),
        (some(num_samples=399 * 1920 + 5), changed(some(num_samples=399 * 1920 + 5), [399]), "padding"),
        (some(), changed(some(), list(range(130, 400, 2))), "window"),
        (some(), changed(some(), [200], metadata={**MADE, "versions": {"transformers": "4.57.1"}}), "window"),
        (
            some(metadata={**MADE, "source": {"name": "a", "sha256": "1"}}),
            changed(some(), [0], metadata={"source": {"name": "b", "sha256": "2"}}),
            "recording",
        ),
        (some(), Codes(np.ones((8, 400), int), 1920, CodecInfo()), "checkpoint"),
        (some(), some().first(4), "codebooks"),
        (some(num_samples=399 * 1920 + 5), some(), "padding"),
    ],
)
def test_the_recorded_field_that_explains(a: Codes, b: Codes, field: str) -> None:
    for found in (compare_codes(a, b), compare_codes(b, a)):
        assert not found.is_equal
        assert found.reasons[0].startswith(f"{field}: ")
        assert f"why: {field}" in found.text


def test_nothing_explains_it() -> None:
    found = compare_codes(some(), changed(some(), list(range(0, 400, 5))))
    assert found.reasons == ()
    assert "nothing that is recorded" in found.text


def test_a_bare_file_is_not_blamed_for_its_length() -> None:
    exact = some(num_samples=399 * 1920 + 5)
    bare = Codes(exact.array, 400 * 1920, CodecInfo())
    assert compare_codes(bare, exact).is_equal
    assert compare_codes(exact, bare).is_equal


def test_verify_encodes_again(tmp_path: Path, speech: Path, tiny_codec: MimiCodec) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(speech.read_bytes())
    tokens = tmp_path / "talk.npz"
    encode_audio(recording, tokens, codec=tiny_codec, num_codebooks=8, streaming=True)
    assert verify_tokens(tokens, codec=tiny_codec).is_equal
    assert verify_tokens(tokens, speech, codec=tiny_codec).is_equal
    codes = load_codes(tokens)
    save_codes(tmp_path / "edited.npz", changed(codes, [20]))
    found = verify_tokens(tmp_path / "edited.npz", codec=tiny_codec)
    assert (found.num_different, found.first_frame) == (1, 20)
    samples, rate = soundfile.read(speech)
    soundfile.write(tmp_path / "other.wav", samples * 0.5, rate)
    found = verify_tokens(tokens, tmp_path / "other.wav", codec=tiny_codec)
    assert found.reasons[0].startswith("recording: the files differ (talk.wav, and other.wav)")
    recording.unlink()
    with pytest.raises(MimiGuiError, match="not beside it"):
        verify_tokens(tokens, codec=tiny_codec)
    outside = {"source": {"name": "../../etc/passwd"}}
    save_codes(tmp_path / "evil.npz", replace(codes, metadata=outside))
    with pytest.raises(MimiGuiError, match="not beside it"):
        verify_tokens(tmp_path / "evil.npz", codec=tiny_codec)
    save_codes(tmp_path / "bare.npz", Codes(codes.array, codes.num_samples))
    with pytest.raises(MimiGuiError, match="does not say which recording"):
        verify_tokens(tmp_path / "bare.npz", codec=tiny_codec)


def test_in_a_shell(tmp_path: Path, speech: Path, tiny_checkpoint: Path, capsys) -> None:
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    assert cli.main(["encode", str(speech), str(a), "--model", str(tiny_checkpoint), "--device", "cpu", "-q"]) == 0
    save_codes(b, changed(load_codes(a), [3]))
    assert cli.main(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out.startswith("equal: 32 codebooks")
    assert cli.main(["diff", str(a), str(b)]) == 1
    assert "first in frame 3" in capsys.readouterr().out
    assert cli.main(["diff", str(a), str(b), "--tolerance", "0.001"]) == 0
    capsys.readouterr()
    assert cli.main(["diff", str(a), str(b), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["equal"], facts["num_different"], facts["first_frame"]) == (False, 1, 3)
    assert cli.main(["verify", str(a), str(speech), "--device", "cpu"]) == 0
    assert cli.main(["verify", str(b), str(speech), "--device", "cpu"]) == 1
    assert cli.main(["verify", str(a)]) == 1
    assert "not beside it" in capsys.readouterr().err


def test_edits_are_told_as_a_reason() -> None:
    plain = Codes(np.arange(80).reshape(4, 20), 20 * 1920)
    part = surgery.Selection((1, 2), 3, 9)
    edited = surgery.shuffle(surgery.shift(plain, part, 2), part, seed=1)
    (reason,) = (r for r in compare_codes(plain, edited).reasons if r.startswith("edits"))
    assert reason == "edits: the second was changed after it was encoded (shift, shuffle)."
    assert surgery.EDITS_KEY in edited.metadata
