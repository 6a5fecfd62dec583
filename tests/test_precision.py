"""Precision fast: labelled, measured on the spot, and never a wrong kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mimi_gui.cli import main
from mimi_gui.codec import MimiCodec, check_precision
from mimi_gui.codes import load_codes
from mimi_gui.decoder import decode_tokens
from mimi_gui.encoder import encode_audio
from mimi_gui.errors import DeviceError
from mimi_gui.info import describe
from mimi_gui.packed import Linear, Packed
from tests.random_checkpoints import synthetic_recording


def _has_bfloat16() -> bool:
    try:
        check_precision("fast", "cpu")
    except DeviceError:
        return False
    return True


needs_bfloat16 = pytest.mark.skipif(not _has_bfloat16(), reason="this processor has no bfloat16 units")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("precision") / "a.wav"
    soundfile.write(path, synthetic_recording(6.3, seed=2), 24_000, subtype="FLOAT")
    return path


@needs_bfloat16
@pytest.mark.parametrize("streaming", [False, True])
def test_fast_tokens_say_so_and_how_many_changed(
    tiny_checkpoint: Path, tiny_codec: MimiCodec, recording: Path, tmp_path: Path, streaming: bool
) -> None:
    target = tmp_path / "a.npz"
    done = encode_audio(recording, target, str(tiny_checkpoint), "cpu", streaming, precision="fast")
    codes = load_codes(target)
    assert codes.metadata["precision"] == "fast"
    samples = soundfile.read(recording, dtype="float32")[0]
    exact = tiny_codec.encode(samples[:120_000]).array  # 5 s end inside a frame, which is then padded: left out below
    share = (codes.array[:, :62] != exact[:, :62]).mean()
    changed = codes.metadata["tokens_changed"]
    assert isinstance(changed, dict)
    assert changed["seconds"] == 5.0
    assert changed["share"] == pytest.approx(share, abs=0.02)
    assert 0 < changed["share"] < 0.9
    (warning,) = done.warnings
    assert f"Precision fast: {100 * changed['share']:.1f} % of the tokens of the first 5.0 s differ" in warning
    assert describe(str(target))["metadata"]["precision"] == "fast"


@needs_bfloat16
def test_fast_sound_is_near_the_exact_one_and_says_how_near(
    tiny_checkpoint: Path, tiny_codec: MimiCodec, recording: Path, tmp_path: Path
) -> None:
    encode_audio(recording, tmp_path / "a.npz", codec=tiny_codec)
    model = str(tiny_checkpoint)
    done = decode_tokens(
        tmp_path / "a.npz", tmp_path / "a.wav", model, "cpu", precision="fast", subtype="FLOAT", allow_mismatch=True
    )
    fast = soundfile.read(tmp_path / "a.wav")[0]
    exact = tiny_codec.decode(load_codes(tmp_path / "a.npz"))
    ratio = 10 * np.log10(np.square(exact).mean() / np.square(fast - exact).mean())
    assert 20 < ratio < 90
    said = next(w for w in done.warnings if w.startswith("Precision fast"))
    assert float(said.partition(" is ")[2].split()[0]) == pytest.approx(ratio, abs=2)


def test_exact_says_nothing(tiny_codec: MimiCodec, recording: Path, tmp_path: Path) -> None:
    done = encode_audio(recording, tmp_path / "a.npz", codec=tiny_codec)
    assert done.warnings == ()
    assert "tokens_changed" not in load_codes(tmp_path / "a.npz").metadata


@needs_bfloat16
@pytest.mark.parametrize(
    ("shape", "stride"), [((48, 24, 16), 8), ((32, 64, 3), 1), ((128, 64, 8), 4), ((64, 32, 1), 1), ((96, 40, 12), 6)]
)
def test_bfloat16_products_are_right_for_every_kind_of_layer(shape: tuple[int, int, int], stride: int) -> None:
    # 48 x 24 x 16 by 8 is the one that torch 2.13 computes wrong on processors with AMX
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(shape, generator=generator), torch.randn(shape[0], generator=generator)
    x = torch.randn((2, 300 * stride, shape[1]), generator=generator)
    packed = Packed.checked(weight, bias, stride, 1, torch.bfloat16)
    with torch.inference_mode():
        got = packed.run(x).float()
        wanted = torch.nn.functional.conv1d(x.double().transpose(1, 2), weight.double(), bias.double(), stride)
    assert ((got - wanted.transpose(1, 2)).norm() / wanted.norm()) < 0.02


@needs_bfloat16
def test_a_wrong_kernel_is_found_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Packed.run

    def noisy(self: Packed, x: torch.Tensor) -> torch.Tensor:
        y = honest(self, x)
        return torch.randn_like(y) if self.dtype == torch.bfloat16 else y

    monkeypatch.setattr(Packed, "run", noisy)
    weight = torch.randn(8, 16, 3)
    assert Packed.checked(weight, None, 1, 1, torch.bfloat16).dtype == torch.float32
    monkeypatch.setattr(Packed, "run", honest)
    assert Packed.checked(weight, None, 1, 1, torch.bfloat16).dtype == torch.bfloat16


@needs_bfloat16
def test_linear_layers_give_float32_again() -> None:
    weight, bias, x, total = torch.randn(24, 16), torch.randn(24), torch.randn(1, 50, 16), torch.randn(1, 50, 24)
    linear = Linear(weight, bias, torch.bfloat16)
    with torch.inference_mode():
        wanted = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
        for got, expected in (
            (linear.run(x), wanted),
            (linear.run_gelu(x).float(), torch.nn.functional.gelu(wanted)),
            (linear.add_to(total, x), total + wanted),
        ):
            assert got.dtype == torch.float32
            assert ((got - expected).norm() / expected.norm()) < 0.02


def test_what_cannot_be_is_refused(
    tiny_checkpoint: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with pytest.raises(ValueError, match="'bf16', expected one of"):
        MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu", precision="bf16")
    assert main(["encode", str(recording), str(tmp_path / "a.npz"), "--precision", "half"]) == 1
    assert "The precision is half, expected exact or fast." in capsys.readouterr().err
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(DeviceError, match="no bfloat16 units: choose exact"):
        MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu", precision="fast")
    with pytest.raises(DeviceError, match="mps has no TF32"):
        check_precision("fast", "mps")
