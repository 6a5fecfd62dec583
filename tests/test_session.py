"""The session, driven as the window drives it, against the library's own calls as oracle."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pytestqt.qtbot import QtBot

from mimi_gui.audio import load_audio
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.worker import WorkerThread

LONG_MS = 120_000


class Desk:
    """A session with its threads, and what it said."""

    def __init__(self, qtbot: QtBot, tmp_path: Path, model: str) -> None:
        self.qtbot = qtbot
        self.settings = SettingsStore(tmp_path / "settings.ini")
        self.settings.update(model_name=model, device="cpu")
        self.codec, self.files = WorkerThread("codec"), WorkerThread("analysis")
        self.session = Session(self.codec, self.files, self.settings)
        self.notices: list[Notice] = []
        self.story: list[str] = []
        self.session.noticed.connect(self.notices.append)
        for name in ("source_changed", "codes_changed", "sound_changed", "finished", "codes_grew", "saved"):
            signal = getattr(self.session, name)
            signal.connect(lambda *_, name=name: self.story.append(name))

    @property
    def document(self):
        return self.session.document

    def until(self, condition: Callable[[], bool], timeout: int = LONG_MS) -> None:
        self.qtbot.waitUntil(condition, timeout=timeout)

    def open(self, *paths: Path) -> None:
        """Open and wait for the whole reconstruction."""
        self.story.clear()
        self.session.open(paths)
        self.until(lambda: "source_changed" in self.story and self.document.is_complete)

    def idle(self) -> None:
        self.until(lambda: not self.codec.is_busy and not self.files.is_busy)

    def close(self) -> None:
        self.session.close()
        assert self.codec.wait(20_000)
        assert self.files.wait(20_000)
        self.qtbot.wait(1)


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Desk]:
    made = Desk(qtbot, tmp_path, str(tiny_checkpoint))
    made.session.start_model()
    yield made
    made.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds and a bit of two tones, 44.1 kHz stereo."""
    t = np.arange(int(44_100 * 3.21)) / 44_100
    left = 0.3 * np.sin(2 * np.pi * 220 * t)
    right = 0.2 * np.sin(2 * np.pi * 331 * t)
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([left, right], axis=1), 44_100)
    return path


def test_a_recording_becomes_tokens_and_sound(desk: Desk, clip: Path, tiny_codec: MimiCodec) -> None:
    desk.open(clip)
    heard = load_audio(clip)
    expected = tiny_codec.encode(heard)
    document = desk.document
    assert document.codes is not None
    assert document.sound is not None
    np.testing.assert_array_equal(document.codes.array, expected.array)
    assert document.codes.num_samples == len(heard.samples) == len(document.sound)
    np.testing.assert_allclose(document.sound, tiny_codec.decode(expected), atol=1e-5)
    assert document.codes.metadata["source"]["name"] == "clip.wav"  # type: ignore[index]
    assert desk.story.index("source_changed") < desk.story.index("codes_grew") < desk.story.index("finished")
    assert desk.session.choice.name == desk.settings.value.model_name
    assert desk.settings.value.recent_files[0] == str(clip)


def test_the_recording_is_there_before_the_model(desk: Desk, clip: Path) -> None:
    desk.session.open([clip])
    desk.until(lambda: "source_changed" in desk.story)
    assert desk.document.recording is not None
    assert desk.document.recording.envelope.num_samples == len(desk.document.recording.waveform.samples)
    desk.until(lambda: desk.document.is_complete)


def test_fewer_codebooks_decode_without_encoding(desk: Desk, clip: Path, tiny_codec: MimiCodec) -> None:
    desk.open(clip)
    codes = desk.document.codes
    assert codes is not None
    desk.story.clear()
    desk.session.set_num_codebooks(3)
    desk.until(lambda: desk.document.is_complete and desk.document.sounding == 3)
    assert desk.document.codes is codes
    assert "codes_grew" not in desk.story
    assert desk.document.sound is not None
    np.testing.assert_allclose(desk.document.sound, tiny_codec.decode(codes, codebooks=3), atol=1e-5)
    assert desk.settings.value.num_codebooks == 3


def test_the_last_of_many_changes_wins(desk: Desk, clip: Path) -> None:
    desk.open(clip)
    for count in (30, 20, 10, 5):
        desk.session.set_num_codebooks(count)
    desk.until(lambda: desk.document.is_complete and desk.document.sounding == 5)
    desk.idle()
    assert desk.document.sounding == 5


def test_a_change_while_encoding_is_not_lost(desk: Desk, clip: Path) -> None:
    desk.session.open([clip])
    desk.until(lambda: "codes_grew" in desk.story)
    desk.session.set_num_codebooks(2)
    desk.until(lambda: desk.document.is_complete and desk.document.sounding == 2)
    assert desk.document.codes is not None
    assert desk.document.codes.num_codebooks == 32


def test_only_the_last_of_two_opened_files_shows(desk: Desk, clip: Path, speech: Path) -> None:
    desk.session.open([speech])
    desk.session.open([clip])
    desk.until(lambda: desk.document.is_complete)
    desk.idle()
    assert desk.document.title == "clip.wav"
    assert desk.story.count("source_changed") == 1


def test_saved_tokens_open_again_and_sound_the_same(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.open(clip)
    sound = np.array(desk.document.sound)
    assert not desk.document.is_saved
    target = tmp_path / "deep" / "kept.npz"
    target.parent.mkdir()
    desk.session.save_codes(target)
    desk.until(lambda: "saved" in desk.story)
    assert desk.document.is_saved
    assert desk.settings.value.save_folder == str(target.parent)
    desk.open(target)  # its recording is not beside it
    assert desk.document.recording is None
    assert desk.notices[-1].level == "info"
    np.testing.assert_allclose(desk.document.sound, sound, atol=1e-5)
    shutil.copy(clip, target.parent / "clip.wav")  # now it is: by the name in the metadata
    desk.open(target)
    assert desk.document.recording is not None
    assert desk.document.is_from_tokens


def test_what_is_saved_is_what_is_heard(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.open(clip)
    desk.session.set_num_codebooks(8)
    desk.until(lambda: desk.document.is_complete and desk.document.sounding == 8)
    desk.session.save_codes(tmp_path / "eight.npz")
    desk.until(lambda: "saved" in desk.story)
    assert load_codes(tmp_path / "eight.npz").num_codebooks == 8
    desk.story.clear()
    desk.session.export_audio(tmp_path / "eight.flac")
    desk.until(lambda: "saved" in desk.story)
    written, rate = soundfile.read(tmp_path / "eight.flac", dtype="float32")
    assert rate == 24_000
    np.testing.assert_allclose(written, np.clip(desk.document.sound, -1, 1), atol=1e-4)


def test_tokens_and_their_recording_dropped_together_are_compared(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.open(clip)
    desk.session.save_codes(tmp_path / "other-name.npz")
    desk.until(lambda: "saved" in desk.story)
    moved = tmp_path / "elsewhere" / "renamed.wav"
    moved.parent.mkdir()
    shutil.move(clip, moved)
    desk.open(tmp_path / "other-name.npz", moved)
    assert desk.document.recording is not None
    assert desk.document.is_from_tokens
    assert "codes_grew" not in desk.story


def test_tokens_of_another_checkpoint_are_refused_with_a_way_out(desk: Desk, tmp_path: Path) -> None:
    desk.session.open([])
    desk.until(lambda: desk.session.model_state == "ready")
    info = CodecInfo(model_name="somebody/else", digest="sha256:" + "0" * 64)
    save_codes(tmp_path / "foreign.npz", Codes(np.zeros((8, 5), np.int16), 9_000, info))
    desk.session.open([tmp_path / "foreign.npz"])
    desk.until(lambda: any(notice.level == "error" for notice in desk.notices))
    notice = desk.notices[-1]
    assert "else" in notice.text
    assert notice.hint == "Tokens of another checkpoint"
    assert ("Load else", "use-model:somebody/else") in notice.actions
    assert desk.session.model_state == "ready"
    assert desk.document.codes is not None  # seen, if not heard


def test_another_model_encodes_what_is_open_again(
    desk: Desk, clip: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    desk.open(clip)
    first = desk.document.codes
    assert first is not None
    other = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, other)
    weights = load_file(other / "model.safetensors")
    weights["encoder.layers.0.conv.bias"] = weights["encoder.layers.0.conv.bias"] + 0.5
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    desk.story.clear()
    desk.session.open([other])  # a dropped checkpoint folder is loaded
    desk.until(lambda: "finished" in desk.story)
    assert desk.document.codes is not None
    assert desk.document.codes.info.digest != first.info.digest
    assert desk.settings.value.model_name == str(other)


def test_cancel_keeps_what_is_there(desk: Desk, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", 0.1 * rng.standard_normal(24_000 * 120), 24_000)
    desk.session.open([tmp_path / "long.wav"])
    desk.until(lambda: "codes_grew" in desk.story)
    desk.session.cancel()
    desk.until(lambda: not desk.session.is_making)
    document = desk.document
    assert not document.is_complete
    assert document.codes is None
    assert 0 < document.num_frames < 1500
    assert document.sound is not None
    assert np.any(document.sound[: document.num_samples])
    assert not np.any(document.sound[document.num_samples :])
    desk.session.cancel()  # once more is harmless


def test_a_missing_model_is_told_with_ways_out_and_then_made_good(
    desk: Desk, clip: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    desk.session.use_model("kyutai/mimi")  # the test's cache is empty and the hub is out of reach
    desk.until(lambda: desk.session.model_state == "missing")
    desk.session.open([clip])
    desk.until(lambda: bool(desk.notices))
    notice = desk.notices[-1]
    assert notice.topic == "model"
    assert {name for _, name in notice.actions} == {"download", "choose-model", "use-demo"}
    assert desk.document.recording is not None
    desk.session.download_model()
    desk.until(lambda: desk.session.model_state == "failed")
    assert desk.notices[-1].level == "error"
    assert {name for _, name in desk.notices[-1].actions} == {"download", "choose-model", "use-demo"}
    desk.session.use_model(str(tiny_checkpoint))
    desk.until(lambda: desk.document.is_complete)


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(desk: Desk) -> None:
    desk.session.use_device("cuda:9")
    desk.until(lambda: desk.session.model_state == "failed")
    assert desk.notices[-1].hint == "The device is not available"
    assert ("Use the CPU", "use-device:cpu") in desk.notices[-1].actions
    desk.session.use_device("cpu")
    desk.until(lambda: desk.session.model_state == "ready")


def test_results_are_staged_for_dragging(desk: Desk, clip: Path) -> None:
    desk.open(clip)
    staged: dict[str, Path] = {}
    desk.session.staged.connect(lambda kind, path: staged.__setitem__(kind, path))
    desk.session.stage("tokens")
    desk.session.stage("audio")
    desk.until(lambda: len(staged) == 2)
    assert staged["tokens"].name == "clip.npz"
    assert staged["audio"].name == "clip.mimi-32.wav"
    assert load_codes(staged["tokens"]).num_frames == desk.document.num_frames
    assert soundfile.info(staged["audio"]).frames == len(desk.document.sound)
    desk.session.close()
    assert not staged["tokens"].exists()


# Lists


def test_several_recordings_make_a_list_that_can_be_clicked_through(desk: Desk, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.flac"
    soundfile.write(other, np.zeros(2400), 24_000)
    desk.open(clip, other)
    assert [entry.path for entry in desk.session.recordings] == [clip, other]
    assert (desk.session.current, desk.document.title) == (0, "clip.wav")
    desk.story.clear()
    desk.session.show(1)
    desk.until(lambda: "finished" in desk.story)
    assert (desk.session.current, desk.document.title) == (1, "b.flac")
    desk.session.show(2)
    desk.session.show(-1)
    desk.idle()
    assert desk.session.current == 1


def test_a_folder_is_the_list_of_its_recordings(desk: Desk, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.wav", "a.wav"):
        shutil.copy(clip, folder / name)
    (folder / "notes.txt").write_text("no")
    desk.open(folder)
    assert [entry.path.name for entry in desk.session.recordings] == ["a.wav", "b.wav"]


def test_two_thousand_files_open_one_and_list_the_rest(desk: Desk, clip: Path, tmp_path: Path) -> None:
    paths = []
    for i in range(2000):
        path = tmp_path / f"{i:04d}.wav"
        path.symlink_to(clip)
        paths.append(path)
    desk.open(*paths)
    desk.idle()
    assert len(desk.session.recordings) == 2000
    assert desk.story.count("source_changed") == 1


# Bad input: one clear sentence, and the session goes on with what was open


def _npz(path: Path, **arrays: object) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _good_keys(codes: np.ndarray) -> dict[str, object]:
    return {
        "audio_codes": codes, "sample_rate": np.int64(24_000), "num_codebooks": np.int64(codes.shape[-2]),
        "num_frames": np.int64(codes.shape[-1]),
    }  # fmt: skip


def _write_bad(kind: str, path: Path, clip: Path) -> Path:
    wav = path / "bad.wav"
    npz = path / "bad.npz"
    if kind == "missing":
        return path / "vanished.wav"
    if kind == "empty folder":
        (path / "folder").mkdir()
        return path / "folder"
    if kind == "zero bytes":
        wav.write_bytes(b"")
    elif kind == "zero length":
        soundfile.write(wav, np.zeros(0), 24_000)
    elif kind == "nan":
        soundfile.write(wav, np.array([0.0, np.nan, 0.5]), 24_000, subtype="FLOAT")
    elif kind == "inf":
        soundfile.write(wav, np.array([0.0, np.inf, 0.5]), 24_000, subtype="FLOAT")
    elif kind == "truncated":
        wav.write_bytes(clip.read_bytes()[:20])
    elif kind == "not audio":
        wav.write_text("This is a shopping list.\n" * 40)
    elif kind == "npz is text":
        npz.write_text("milk, bread")
        return npz
    else:
        codes = np.zeros((1, 8, 5), np.int16)
        if kind == "npz lacks keys":
            _npz(npz, audio_codes=codes)
        elif kind == "npz holds pickles":
            _npz(npz, **{**_good_keys(codes), "audio_codes": np.array([{"a": 1}], dtype=object)})
        elif kind == "npz of floats":
            _npz(npz, **_good_keys(codes.astype(np.float32)))
        elif kind == "npz of wrong shape":
            _npz(npz, **{**_good_keys(codes), "audio_codes": np.zeros((2, 3), np.int16)})
        elif kind == "npz out of range":
            _npz(npz, **_good_keys(codes + 2048))
        elif kind == "npz of too many codebooks":
            _npz(npz, **_good_keys(np.zeros((1, 40, 5), np.int16)))
        return npz
    return wav


BAD = [
    "missing", "empty folder", "zero bytes", "zero length", "nan", "inf", "truncated", "not audio", "npz is text",
    "npz lacks keys", "npz holds pickles", "npz of floats", "npz of wrong shape", "npz out of range",
    "npz of too many codebooks",
]  # fmt: skip


def test_bad_files_are_one_sentence_and_what_is_open_stays(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.open(clip)
    document = desk.document
    for kind in BAD:
        folder = tmp_path / kind.replace(" ", "-")
        folder.mkdir()
        desk.notices.clear()
        desk.session.open([_write_bad(kind, folder, clip)])
        desk.until(lambda: bool(desk.notices))
        desk.idle()
        assert len(desk.notices) == 1, kind
        notice = desk.notices[0]
        assert notice.level == "error", kind
        assert notice.hint, kind
        assert not notice.details, f"{kind}: {notice.details}"
        assert "\n" not in notice.text, kind
        assert str(folder) in notice.text, f"{kind}: {notice.text}"
        assert desk.document is document, kind
        assert [entry.path for entry in desk.session.recordings] == [clip], kind


@pytest.mark.parametrize("kind", ["one sample", "silent", "384 kHz", "8 channels", "mislabelled"])
def test_odd_files_just_open(desk: Desk, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "odd.wav"
    if kind == "one sample":
        soundfile.write(path, np.array([0.5]), 24_000)
    elif kind == "silent":
        soundfile.write(path, np.zeros(30_000), 24_000)
    elif kind == "384 kHz":
        soundfile.write(path, 0.1 * rng.standard_normal(384_000), 384_000)
    elif kind == "8 channels":
        soundfile.write(path, 0.1 * rng.standard_normal((48_000, 8)), 48_000)
    else:
        soundfile.write(tmp_path / "really.flac", 0.1 * rng.standard_normal(24_000), 24_000)
        path = tmp_path / "named.npz"
        (tmp_path / "really.flac").rename(path)
    desk.open(path)
    assert desk.document.codes is not None
    assert not [notice for notice in desk.notices if notice.level == "error"]


def test_a_file_that_vanishes_while_open_costs_nothing(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.session.open([clip])
    desk.until(lambda: "source_changed" in desk.story)
    clip.unlink()
    desk.until(lambda: desk.document.is_complete)
    desk.session.save_codes(tmp_path / "kept.npz")
    desk.until(lambda: "saved" in desk.story)
    assert load_codes(tmp_path / "kept.npz").metadata["source"] == {"name": "clip.wav"}


def test_an_unwritable_target_is_told_and_nothing_is_half_written(desk: Desk, clip: Path, tmp_path: Path) -> None:
    desk.open(clip)
    existing = tmp_path / "existing.npz"
    existing.write_bytes(b"precious")
    for target in (tmp_path / "no" / "folder.npz", tmp_path, existing):
        desk.notices.clear()
        desk.session.save_codes(target)
        desk.until(lambda: bool(desk.notices))
        assert desk.notices[0].hint == "A file cannot be saved"
        assert str(target) in desk.notices[0].text or str(target.parent) in desk.notices[0].text
    assert existing.read_bytes() == b"precious"
    assert not [path for path in tmp_path.rglob("*.part*")]
    desk.session.export_audio(tmp_path / "sound.xyz")
    desk.until(lambda: len(desk.notices) == 2)
    assert desk.document.is_complete


def test_checkpoints_are_known_by_content(desk: Desk, tmp_path: Path) -> None:
    from mimi_gui.ui.file_jobs import kind_of

    header = b'{"__metadata__":{}}'
    (tmp_path / "weights.bin").write_bytes(struct.pack("<Q", len(header)) + header)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert kind_of(tmp_path / "weights.bin") == "checkpoint"
    assert kind_of(tmp_path / "model") == "checkpoint"
    assert kind_of(tmp_path) == "folder"
