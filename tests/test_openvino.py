"""The OpenVINO engine: the same oracle as the torch engine's, its graphs on disk, its state as a value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui import codec as codec_module
from mimi_gui.checkpoints import codec_info, fetch_checkpoint
from mimi_gui.codec import MimiCodec, choose_backend
from mimi_gui.errors import DeviceError
from mimi_gui.verify import compare_codes
from mimi_gui.weights import Weights
from tests.oracle import assert_same_sound, assert_same_tokens, hf_decode, hf_encode
from tests.random_checkpoints import synthetic_recording

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")

from mimi_gui.openvino_engine import OpenVinoEngine
from mimi_gui.openvino_graphs import why_not
from mimi_gui.openvino_store import Store

FRAME = 1920


@pytest.fixture(scope="module")
def hf(tiny_checkpoint: Path) -> MimiModel:
    logging.disable_progress_bar()
    return MimiModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return synthetic_recording(13.1, seed=9)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def build(checkpoint_path: Path, root: Path, precision: str = "exact") -> MimiCodec:
    checkpoint = fetch_checkpoint(str(checkpoint_path))
    weights = Weights(checkpoint)
    info = codec_info(checkpoint, weights.config)
    assert not why_not(weights.config)
    engine = OpenVinoEngine(weights.model, info, weights.fill, precision=precision, root=root)
    return MimiCodec(engine, checkpoint, "cpu", precision, "openvino")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def codec(tiny_checkpoint: Path, graphs: Path) -> MimiCodec:
    return build(tiny_checkpoint, graphs)


@pytest.mark.parametrize("chunk_frames", [1, 13, 400])
def test_chunks_change_neither_tokens_nor_sound(
    codec: MimiCodec, hf: MimiModel, recording: np.ndarray, chunk_frames: int
) -> None:
    codes = codec.encode(recording, chunk_frames=chunk_frames)
    assert_same_tokens(hf, recording, codes.array, least=0.99)
    sound = codec.decode(codes, chunk_frames=chunk_frames)
    assert sound.shape == recording.shape
    assert_same_sound(sound, hf_decode(hf, codes.array)[: len(recording)])


def test_pushes_of_any_size_give_the_whole_file(codec: MimiCodec, hf: MimiModel, recording: np.ndarray) -> None:
    stream, sizes, at, parts = codec.stream_encoder(), [5000, 1, 1919, 0, 77_777, 1920], 0, []
    while at < len(recording):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(recording[at : at + size]))
        at += size
    codes = np.concatenate((*parts, stream.flush()), axis=1)
    assert_same_tokens(hf, recording, codes, least=0.99)
    decoder = codec.stream_decoder()
    cuts = np.split(codes, [2, 3, 3, 40, 41, 120], axis=1)
    assert_same_sound(np.concatenate([decoder.push(part) for part in cuts]), hf_decode(hf, codes))


@pytest.mark.parametrize("num_codebooks", [1, 8, 9, 31])
def test_fewer_codebooks_are_the_first_rows(codec: MimiCodec, hf: MimiModel, num_codebooks: int) -> None:
    clip = synthetic_recording(2.0, seed=2)
    codes = codec.encode(clip, num_codebooks=num_codebooks)
    np.testing.assert_array_equal(codes.array, hf_encode(hf, clip, num_codebooks))
    assert_same_sound(codec.decode(codes), hf_decode(hf, codes.array)[: len(clip)])


def test_any_subset_sounds_as_the_torch_engine_lets_it(codec: MimiCodec, tiny_codec: MimiCodec) -> None:
    codes = np.random.default_rng(4).integers(0, 2048, (32, 20)).astype(np.int16)
    for chosen in ([0], [3], [0, 5, 31]):
        assert_same_sound(codec.decode(codes, codebooks=chosen), tiny_codec.decode(codes, codebooks=chosen))
    np.testing.assert_allclose(codec.centroids(7), tiny_codec.centroids(7), rtol=0, atol=1e-6)


def test_rows_of_a_batch_are_streams_of_their_own(codec: MimiCodec, recording: np.ndarray) -> None:
    clips = [recording[: 9 * FRAME], recording[50_000 : 50_000 + 4 * FRAME + 7], recording[:100]]
    for clip, codes in zip(clips, codec.encode_batch(clips), strict=True):
        np.testing.assert_array_equal(codes.array, codec.encode(clip).array)


def test_state_is_a_value(codec: MimiCodec, recording: np.ndarray) -> None:
    engine = codec._open()
    first = torch.from_numpy(recording[None, : 4 * FRAME].copy())
    codes, state = engine.encode(first, None, 8)
    second = torch.from_numpy(recording[None, 4 * FRAME : 8 * FRAME].copy())
    once, _ = engine.encode(second, state, 8)
    engine.encode(torch.zeros_like(first), state, 8)
    again, _ = engine.encode(second, state, 8)
    assert torch.equal(once, again)
    _, state = engine.decode(codes, None, range(8))
    once, _ = engine.decode(once, state, range(8))
    assert torch.equal(once, engine.decode(again, state, range(8))[0])


def test_the_second_start_reads_graphs_and_no_weights(
    codec: MimiCodec, tiny_checkpoint: Path, graphs: Path, recording: np.ndarray, tmp_path: Path
) -> None:
    clip = recording[: 20 * FRAME]
    codes = codec.encode(clip)
    expected = codec.decode(codes)
    checkpoint = fetch_checkpoint(str(tiny_checkpoint))
    weights = Weights(checkpoint)
    info = codec_info(checkpoint, weights.config)

    def fill(part: str) -> None:
        raise AssertionError(f"{part} was read")

    engine = OpenVinoEngine(weights.model, info, fill, root=graphs)
    second = MimiCodec(engine, checkpoint, "cpu", "exact", "openvino")  # type: ignore[arg-type]
    np.testing.assert_array_equal(second.encode(clip).array, codes.array)
    np.testing.assert_array_equal(second.decode(codes), expected)
    with pytest.raises(AssertionError, match="quantizer was read"):
        OpenVinoEngine(weights.model, info, fill, root=tmp_path).centroids(0)


def test_damaged_graphs_and_a_disk_that_refuses(
    codec: MimiCodec, tiny_checkpoint: Path, graphs: Path, tmp_path: Path, recording: np.ndarray
) -> None:
    clip = recording[: 5 * FRAME]
    codes = codec.encode(clip).array
    folder = next(graphs.glob("*-*"))
    damaged = tmp_path / "damaged" / folder.name / "encoder"
    damaged.mkdir(parents=True)
    for name in ("graph.json", "graph.xml"):
        (damaged / name).write_bytes((folder / "encoder" / name).read_bytes())
    (damaged / "graph.bin").write_bytes(b"short")
    np.testing.assert_array_equal(build(tiny_checkpoint, tmp_path / "damaged").encode(clip).array, codes)
    assert (damaged / "graph.bin").stat().st_size > 1000
    refused = tmp_path / "file"
    refused.write_text("not a folder")
    np.testing.assert_array_equal(build(tiny_checkpoint, refused).encode(clip).array, codes)


def test_only_a_few_checkpoints_are_kept(tmp_path: Path) -> None:
    for i in range(5):
        store = Store(f"sha256:{str(i) * 64}", tmp_path)
        assert store.arrays("numbers", lambda i=i: {"x": np.full(3, i)})["x"][0] == i
    assert len(list(tmp_path.iterdir())) == 3


def test_the_backend_is_chosen_by_name_and_recorded(
    codec: MimiCodec, tiny_codec: MimiCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_backend(None, "cpu") == "torch"
    monkeypatch.setenv("MIMI_GUI_BACKEND", "openvino")
    assert choose_backend(None, "cpu") == "openvino"
    assert choose_backend(None, "cuda:0") == choose_backend("torch", "cpu") == "torch"
    with pytest.raises(DeviceError, match="torch or openvino"):
        choose_backend("onnx", "cpu")
    with pytest.raises(DeviceError, match="choose the device cpu"):
        choose_backend("openvino", "cuda:0")
    monkeypatch.setattr(codec_module, "_installed", lambda name: name != "openvino")
    with pytest.raises(DeviceError, match="pip install"):
        choose_backend(None, "cpu")
    monkeypatch.undo()
    clip = synthetic_recording(1.0, seed=5)
    mine, other = codec.encode(clip), tiny_codec.encode(clip)
    assert mine.metadata["backend"] == "openvino"
    assert "openvino" in mine.metadata["versions"]  # type: ignore[operator]
    changed = other.array.copy()
    changed[-1, 3] ^= 1
    found = compare_codes(mine, type(other)(changed, other.num_samples, other.info, other.metadata))
    assert any(reason.startswith("backend: openvino, and torch") for reason in found.reasons)


def test_from_pretrained_opens_it(tiny_checkpoint: Path) -> None:
    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu", backend="openvino") as codec:
        assert codec.backend == "openvino"
        assert codec.encode(np.zeros(FRAME, np.float32)).array.shape == (32, 1)


@pytest.mark.full
def test_full_size_is_exact(full_checkpoint: Path, tmp_path: Path) -> None:
    logging.disable_progress_bar()
    hf = MimiModel.from_pretrained(full_checkpoint).eval()
    recording = np.pad(synthetic_recording(12.0, seed=11), (0, -round(12.0 * 24_000) % FRAME))
    codec = build(full_checkpoint, tmp_path)
    codes = hf_encode(hf, recording)
    for chunk_frames in (7, 125):
        mine = codec.encode(recording, chunk_frames=chunk_frames).array
        assert_same_tokens(hf, recording, mine, least=0.9998, tied_frames=1)
        assert_same_sound(codec.decode(codes, chunk_frames=chunk_frames), hf_decode(hf, codes))
