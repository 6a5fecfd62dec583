"""Where a checkpoint comes from, what is refused, and that the network is only asked when it must be."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors as hub_errors
from safetensors.torch import load_file, save_file
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui import checkpoints
from mimi_gui.checkpoints import Checkpoint, fetch_checkpoint, find_checkpoint, trust_system_certificates
from mimi_gui.codec import MimiCodec
from mimi_gui.errors import Cancelled, ModelUnavailable
from mimi_gui.weights import load_model
from tests.random_checkpoints import random_model, save_moshi_layout, synthetic_recording, tiny_config

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def put_into_hub_cache(source: Path, repo: str, files: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay files out as huggingface_hub does after a download: blobs by hash, snapshots of links, refs."""
    import os

    root = Path(os.environ["HF_HOME"]) / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot, blobs = root / "snapshots" / COMMIT, root / "blobs"
    for place in (snapshot, blobs, root / "refs"):
        place.mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(COMMIT)
    for name in files:
        data = (source / name).read_bytes()
        blob = blobs / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (snapshot / name).symlink_to(blob)
    return snapshot


def fail_hub(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def download(*_: Any, tqdm_class: Any = None, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


def hub_error(kind: type, status: int = 404) -> Exception:
    response = SimpleNamespace(status_code=status, headers={}, request=None, text="", url="https://hub")
    error = kind.__new__(kind)
    Exception.__init__(error, "no")
    error.response = response
    return error


# -- local sources ----------------------------------------------------------------------------------------------


def test_folder_is_found_without_torch(tiny_checkpoint: Path) -> None:
    code = (
        "import sys\nfrom mimi_gui.checkpoints import find_checkpoint, fetch_checkpoint\n"
        f"c = find_checkpoint({str(tiny_checkpoint)!r}); assert c.layout == 'transformers' and c.digest == ''\n"
        f"assert fetch_checkpoint({str(tiny_checkpoint)!r}).digest.startswith('sha256:')\n"
        f"assert find_checkpoint({str(tiny_checkpoint)!r}).digest.startswith('sha256:')\n"
        "assert find_checkpoint('some/thing') is None and find_checkpoint('/no/such/place') is None\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_digest_is_of_the_weights_and_follows_them(folder: Path) -> None:
    weights = folder / "model.safetensors"
    first = fetch_checkpoint(str(folder))
    assert first.digest == "sha256:" + hashlib.sha256(weights.read_bytes()).hexdigest()
    assert find_checkpoint(str(folder)) == first
    tensors = load_file(weights)
    tensors["quantizer.acoustic_residual_vector_quantizer.layers.0.codebook.embed_sum"][0, 0] += 1
    save_file(tensors, weights)
    assert find_checkpoint(str(folder)).digest == ""  # type: ignore[union-attr]
    assert fetch_checkpoint(str(folder)).digest not in ("", first.digest)


def test_the_weights_file_of_a_folder_names_the_folder(folder: Path) -> None:
    checkpoint = find_checkpoint(str(folder / "model.safetensors"))
    assert checkpoint is not None
    assert (checkpoint.path, checkpoint.layout) == (folder, "transformers")


def test_nested_key_layout_loads_too(folder: Path, tiny_checkpoint: Path) -> None:
    nested = MimiModel(tiny_config()).state_dict()
    reference = load_model(fetch_checkpoint(str(tiny_checkpoint)))
    assert set(reference.state_dict()) == set(nested)
    save_file({k: v.contiguous() for k, v in reference.state_dict().items()}, folder / "model.safetensors")
    for name, tensor in load_model(fetch_checkpoint(str(folder))).state_dict().items():
        assert torch.equal(tensor, reference.state_dict()[name])


def test_loaded_weights_and_buffers_are_transformers_own(tiny_checkpoint: Path) -> None:
    logging.disable_progress_bar()
    theirs = MimiModel.from_pretrained(tiny_checkpoint).eval()
    ours = load_model(fetch_checkpoint(str(tiny_checkpoint)))
    assert not ours.training
    assert not any(p.requires_grad for p in ours.parameters())
    for (name, a), (other, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert name == other
        assert torch.equal(a, b), name
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    samples = torch.from_numpy(synthetic_recording(1.6)).view(1, 1, -1)
    with torch.inference_mode():
        assert torch.equal(ours.encode(samples).audio_codes, theirs.encode(samples).audio_codes)


def test_half_precision_weights_become_float32(folder: Path) -> None:
    weights = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(weights).items()}, weights)
    model = load_model(fetch_checkpoint(str(folder)))
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("numbered", [False, True])
def test_kyutais_own_file(tmp_path: Path, numbered: bool) -> None:
    model = random_model(tiny_config(num_heads=8), seed=3)
    path = save_moshi_layout(model, tmp_path / "tokenizer-e351c8d8-checkpoint125.safetensors", numbered=numbered)
    checkpoint = fetch_checkpoint(str(path))
    assert checkpoint.layout == "moshi"
    assert fetch_checkpoint(str(tmp_path)).path == path  # a clone of Moshi's repository: the folder will do
    loaded = load_model(checkpoint)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    recording = synthetic_recording(2.0)
    with MimiCodec.from_pretrained(str(path), device="cpu") as codec, torch.inference_mode():
        expected = model.encode(torch.from_numpy(recording).view(1, 1, -1)).audio_codes[0].numpy()
        np.testing.assert_array_equal(codec.encode(recording).array, expected)


def test_kyutais_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = save_moshi_layout(random_model(tiny_config(num_heads=8)), tmp_path / "tokenizer-x.safetensors")
    tensors = load_file(path)
    del tensors["decoder_transformer.transformer.layers.1.self_attn.in_projs.0.weight"]
    save_file(tensors, path)
    with pytest.raises(ModelUnavailable, match=r"lacks weights \(decoder_transformer\.layers\.1\.self_attn\.q_proj"):
        load_model(fetch_checkpoint(str(path)))


# -- refusals ---------------------------------------------------------------------------------------------------


def test_one_missing_key_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    # Wrongly named keys of the encoder: transformers' own loader reports none of them as unexpected.
    tensors["encoder_transformer.layers.0.self_attn.o_projs.0.weight"] = tensors.pop(
        "encoder_transformer.layers.0.self_attn.o_proj.weight"
    )
    save_file(tensors, weights)
    with pytest.raises(ModelUnavailable, match=r"lacks weights \(encoder_transformer\.layers\.0\.self_attn\.o_proj"):
        load_model(fetch_checkpoint(str(folder)))


def test_unknown_and_misshapen_keys_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {"encoder.layers.99.conv.weight": torch.zeros(1)}, weights)
    with pytest.raises(ModelUnavailable, match=r"unknown weights \(encoder\.layers\.99"):
        load_model(fetch_checkpoint(str(folder)))
    save_file(tensors | {"downsample.conv.weight": torch.zeros(3, 3, 4)}, weights)
    with pytest.raises(ModelUnavailable, match=r"downsample\.conv\.weight is \[3, 3, 4\], not \[32, 32, 4\]"):
        load_model(fetch_checkpoint(str(folder)))
    tensors["downsample.conv.weight"][0, 0, 0] = float("nan")
    save_file(tensors, weights)
    with pytest.raises(ModelUnavailable, match="NaN"):
        load_model(fetch_checkpoint(str(folder)))


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        load_model(fetch_checkpoint(str(folder)))
    weights.write_bytes(b"not at all a checkpoint")
    with pytest.raises(ModelUnavailable, match="not a whole safetensors file"):
        load_model(fetch_checkpoint(str(folder)))
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 385\n")
    with pytest.raises(ModelUnavailable, match="git lfs pull"):
        load_model(fetch_checkpoint(str(folder)))


def test_pickles_are_never_loaded(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="pickles can run code"):
        find_checkpoint(str(folder))
    (tmp_path / "mimi.pt").write_bytes(b"x")
    with pytest.raises(ModelUnavailable, match="never loaded"):
        find_checkpoint(str(tmp_path / "mimi.pt"))


def test_other_folders_and_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"lacks config\.json and model\.safetensors"):
        find_checkpoint(str(tmp_path))
    with pytest.raises(ModelUnavailable, match="no folder or file"):
        fetch_checkpoint(str(tmp_path / "absent"))
    with pytest.raises(ModelUnavailable, match="no folder or file"):
        fetch_checkpoint("")
    save_file({"wte": torch.zeros(2)}, tmp_path / "gpt.safetensors")
    with pytest.raises(ModelUnavailable, match="not Kyutai's Mimi file"):
        find_checkpoint(str(tmp_path / "gpt.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    for change, words in (
        ({"model_type": "encodec"}, "type encodec, expected mimi"),
        ({"use_causal_conv": False}, "use_causal_conv = False"),
        ({"audio_channels": 2}, "audio_channels = 2"),
        ({"_frame_rate": 13.7}, "frame_rate = 13.7"),
        ({"codebook_size": 2000}, "not a valid Mimi configuration"),
        ({"num_filters": "many"}, "not a valid Mimi configuration"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelUnavailable, match=words):
            load_model(fetch_checkpoint(str(folder)))
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelUnavailable, match="cannot be read as a model configuration"):
        find_checkpoint(str(folder))


# -- the hub ----------------------------------------------------------------------------------------------------


def test_a_cached_checkpoint_needs_no_network(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint("kyutai/mimi") is None
    snapshot = put_into_hub_cache(tiny_checkpoint, "kyutai/mimi", ["config.json", "model.safetensors"], monkeypatch)
    fail_hub(monkeypatch, AssertionError("the network was asked"))
    checkpoint = fetch_checkpoint("kyutai/mimi")
    weights = (tiny_checkpoint / "model.safetensors").read_bytes()
    assert checkpoint == Checkpoint(
        "kyutai/mimi", snapshot, "transformers", COMMIT, "sha256:" + hashlib.sha256(weights).hexdigest(), "Kyutai Mimi"
    )
    assert find_checkpoint(f"kyutai/mimi@{COMMIT}") is not None
    with MimiCodec.from_pretrained("kyutai/mimi", device="cpu") as codec:
        assert (codec.info.revision, codec.info.digest) == (COMMIT, checkpoint.digest)


def test_the_mimi_inside_a_moshi_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tokenizer-e351c8d8-checkpoint125.safetensors"
    save_moshi_layout(random_model(tiny_config(num_heads=8)), tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"mimi_name": name, "moshi_name": "model.safetensors"}))
    put_into_hub_cache(tmp_path, "kyutai/moshiko-pytorch-bf16", ["config.json", name], monkeypatch)
    checkpoint = find_checkpoint("kyutai/moshiko-pytorch-bf16")
    assert checkpoint is not None
    assert (checkpoint.layout, checkpoint.path.name) == ("moshi", name)


def test_a_download_reports_bytes_uses_the_token_and_hides_it(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, Any]] = []

    def download(repo: str, filename: str, *, revision: Any, cache_dir: str, token: Any, tqdm_class: Any) -> str:
        asked.append((filename, token))
        snapshot = put_into_hub_cache(tiny_checkpoint, repo, [filename], monkeypatch)
        bar = tqdm_class(total=100, initial=40, unit="B", desc=filename)  # 40 bytes were there: a resumed download
        bar.update(25)
        bar.update(35)
        bar.close()
        return str(snapshot / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_secret")
    seen: list[tuple[int, int]] = []
    checkpoint = fetch_checkpoint("some/mimi", progress=lambda *a: seen.append(a))
    assert asked == [("config.json", "hf_secret"), ("model.safetensors", "hf_secret")]
    assert seen == [(40, 100), (65, 100), (100, 100)]
    assert checkpoint.revision == COMMIT
    assert "hf_secret" not in "".join(capfd.readouterr()) + repr(checkpoint)


def test_cancel_stops_a_download(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, filename: str, *, tqdm_class: Callable[..., Any], **_: Any) -> str:
        bar = tqdm_class(total=100)
        for _i in range(10):
            bar.update(10)
        raise AssertionError("not stopped")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    polls = iter([False] * 4 + [True])
    with pytest.raises(Cancelled):
        fetch_checkpoint("some/mimi", cancel=lambda: next(polls))


def test_another_model_is_refused_before_its_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    asked: list[str] = []

    def download(repo: str, filename: str, **_: Any) -> str:
        asked.append(filename)
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelUnavailable, match="type llama, expected mimi"):
        fetch_checkpoint("some/llama")
    assert asked == ["config.json"]


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (hub_error(hub_errors.GatedRepoError, 403), "owner's permission", "The download fails"),
        (hub_error(hub_errors.RepositoryNotFoundError), "no model some/mimi", "The model cannot be loaded"),
        (hub_error(hub_errors.RevisionNotFoundError), "no such revision", "The model cannot be loaded"),
        (hub_error(hub_errors.RemoteEntryNotFoundError), "has no config.json", "The model cannot be loaded"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full", "The download fails"),
        (PermissionError(errno.EACCES, "denied"), "permission denied", "The download fails"),
        (ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED"), "certificate", "Certificates"),
        (hub_errors.LocalEntryNotFoundError("offline"), "cannot be reached", "The download fails"),
        (ConnectionError("no route"), "cannot be reached", "The download fails"),
    ],
)
def test_why_a_download_failed(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str, hint: str) -> None:
    fail_hub(monkeypatch, error)
    with pytest.raises(ModelUnavailable, match=words) as caught:
        fetch_checkpoint("some/mimi")
    assert caught.value.hint == hint
    if "reached" in words or hint == "Certificates":
        for way_out in ("local folder", "--fix-ssl", "--model mimi-tiny"):
            assert way_out in caught.value.message


def test_without_a_network_for_real() -> None:
    """huggingface_hub itself, offline (tests/conftest.py): its own chain of errors is understood."""
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE forbids") as caught:
        fetch_checkpoint("kyutai/mimi")
    assert "--model mimi-tiny" in caught.value.message


def test_trusting_the_system_keeps_verification_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import truststore

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(ModelUnavailable, match="SSL_CERT_FILE") as caught:
        trust_system_certificates()
    assert caught.value.hint == "Certificates"
    monkeypatch.delenv("SSL_CERT_FILE")
    try:
        trust_system_certificates()
        context = ssl.create_default_context()
        assert isinstance(context, truststore.SSLContext)
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
    finally:
        truststore.extract_from_ssl()


def test_the_demo_codec_is_bundled_or_says_so() -> None:
    checkpoint = find_checkpoint(checkpoints.DEMO_MODEL)
    if checkpoint is None:
        with pytest.raises(ModelUnavailable, match="install mimi-gui again"):
            fetch_checkpoint(checkpoints.DEMO_MODEL)
    else:
        assert checkpoint.is_demo
        assert "demo" in checkpoint.label
