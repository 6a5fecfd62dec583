"""The live page: what it says and lets through by a session made of paper, and the whole walk through a null sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QHideEvent
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.running_spectrogram import RunningSpectrogram
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes
from mimi_gui.live import LiveFigures, LiveTake
from mimi_gui.ui import sound_output
from mimi_gui.ui.codec_jobs import ModelChoice
from mimi_gui.ui.help_dialog import troubleshooting_section
from mimi_gui.ui.latency_bar import LatencyBar
from mimi_gui.ui.live_control import LiveControl
from mimi_gui.ui.live_jobs import LiveEnded, LiveRunning
from mimi_gui.ui.live_page import LivePage
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import DARK
from mimi_gui.ui.worker import Failure
from tests.sound_card import SoundCard
from tests.test_main_window import House
from tests.test_sound_card import noise

INFO = CodecInfo()
CALM = LiveFigures(num_frames=1000, num_skipped=0, latency_s=0.158, frame_s=0.08, compute_s=0.024, busy_s=0.024)


class PaperThread(QObject):
    """Takes jobs and does nothing; a test says how they end."""

    delivered, finished, failed = Signal(object, object), Signal(object, object), Signal(object, object)
    cancelled = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[object] = []
        self.cancels: list[int | None] = []

    def submit(self, job: object) -> int:
        self.jobs.append(job)
        return len(self.jobs)

    def cancel(self, number: int | None) -> None:
        self.cancels.append(number)


class PaperLoop:
    def __init__(self) -> None:
        self.figures = CALM
        self.all_codes = np.random.default_rng(0).integers(0, 2048, (32, 100)).astype(np.int16)
        self.num = 0
        self.devices = ("Yeti", "Phones")
        self.device_rate = 48000
        self.codebooks: tuple[int, ...] = ()
        self.is_muted: bool | None = None

    @property
    def codes(self) -> np.ndarray:
        return self.all_codes[:, : self.num]

    def set_codebooks(self, codebooks: tuple[int, ...]) -> None:
        self.codebooks = codebooks

    def set_muted(self, muted: bool) -> None:
        self.is_muted = muted


class PaperSession:
    num_codebooks = 16
    is_making = True
    model_state = "ready"
    choice = ModelChoice("mimi-tiny", "cpu")

    def __init__(self) -> None:
        self.calls: list[str] = []

    def cancel(self) -> None:
        self.calls.append("cancel")

    def make_again(self) -> None:
        self.calls.append("make again")


class Booth:
    def __init__(self, qtbot: QtBot, tmp_path: Path) -> None:
        self.settings = SettingsStore(tmp_path / "s.ini")
        self.settings.update(input_device="Yeti", takes_folder=str(tmp_path / "takes"))
        self.session, self.codec, self.files = PaperSession(), PaperThread(), PaperThread()
        self.control = LiveControl(self.session, self.codec, self.files, self.settings)  # pyright: ignore[reportArgumentType]
        self.page = LivePage(self.control, self.settings, DARK)
        self.loop = PaperLoop()
        self.qtbot = qtbot
        qtbot.addWidget(self.page)
        for part in (self.control, self.codec, self.files):
            part.setParent(self.page)  # timers must not end in whichever thread collects garbage
        self.page.resize(1200, 800)
        self.page.show()

    def run(self, *, muted: bool = False) -> None:
        (self.page.card.quiet if muted else self.page.card.loud).click()
        running = LiveRunning(self.loop, INFO, RunningSpectrogram(24000), RunningSpectrogram(24000))  # pyright: ignore[reportArgumentType]
        self.codec.delivered.emit(1, running)

    def end(self, error: str = "") -> None:
        codes = Codes(self.loop.all_codes.copy(), 100 * 1920, INFO)
        sound = np.zeros(100 * 1920, np.float32)
        self.codec.finished.emit(1, LiveEnded(LiveTake(codes, sound, sound), self.loop.figures, error))

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.page.setFocus()
        self.qtbot.keyClick(self.page, key, modifier)


@pytest.fixture
def booth(qtbot: QtBot, tmp_path: Path) -> Booth:
    return Booth(qtbot, tmp_path)


def test_nothing_sounds_before_the_warning_is_answered(booth: Booth) -> None:
    assert booth.page.card.isVisible()
    assert booth.page.card.focusProxy() is booth.page.card.quiet  # and it alone is what Space may press unseen
    booth.key(Qt.Key.Key_Space)
    assert booth.codec.jobs == []
    booth.run(muted=True)
    (job,) = booth.codec.jobs
    assert (job.is_muted, job.input_name, job.codebooks) == (True, "Yeti", tuple(range(16)))  # pyright: ignore[reportAttributeAccessIssue]
    assert booth.loop.is_muted is True
    assert not booth.page.card.isVisible()
    booth.key(Qt.Key.Key_M)
    assert booth.loop.is_muted is False


def test_codebooks_change_while_it_runs(booth: Booth) -> None:
    booth.run()
    assert booth.loop.codebooks == tuple(range(16))
    booth.key(Qt.Key.Key_4)
    assert booth.loop.codebooks == tuple(range(8))
    assert booth.page.codebooks.value == 8
    booth.key(Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert booth.loop.codebooks == tuple(range(9))
    booth.page.mixer._strips[0].mute.click()
    assert booth.loop.codebooks == tuple(range(1, 9))
    booth.page.mixer._strips[2].solo.click()
    assert booth.loop.codebooks == (2,)
    booth.page.mixer.clear()
    assert booth.loop.codebooks == tuple(range(32))


def test_the_page_fits_a_small_screen(booth: Booth) -> None:
    """A window of 1280 x 720 leaves the page 655 rows: whatever is shown, it must not ask for more."""
    page = booth.page
    page.resize(1280, 655)

    def fits() -> bool:
        booth.qtbot.wait(1)
        return page.height() == 655 and page.minimumSizeHint().height() <= 655

    assert fits()
    assert not page.mixer.isVisible()
    booth.run()
    assert fits()
    assert page.mixer.isVisible()
    booth.loop.figures = replace(CALM, num_skipped=25, num_late=3, is_behind=True)
    page._ticked()
    assert page.remark.words
    assert fits()
    booth.end()
    assert fits()
    assert not page.mixer.isVisible()
    page.resize(1280, 800)
    assert page.mixer.isVisible()


def test_figures_are_shown_and_slowness_is_said(booth: Booth) -> None:
    booth.run()
    booth.loop.num = 60
    booth.page._ticked()
    assert booth.page.latency.words == "158 milliseconds: frame 80, codec 24, devices 54"
    assert booth.page.counts.text() == "0 of 1,000 frames dropped\nnever late, codec 30 % busy"
    assert booth.page.remark.words == ""
    assert booth.page.words.text() == "0:05   ·   Yeti → Mimi → Phones   ·   48 kHz"
    booth.loop.figures = replace(CALM, num_skipped=25, num_late=3, is_behind=True)
    booth.page._ticked()
    assert booth.page.counts.text() == "25 of 1,000 frames dropped\n2.50 %, late 3 times, codec 30 % busy"
    assert "whole frames of 80 ms are skipped" in booth.page.remark.words
    booth.loop.figures = replace(CALM, latency_s=0.42)
    booth.page._ticked()
    assert "Bluetooth" in booth.page.remark.words
    hints: list[str] = []
    booth.page.help_requested.connect(hints.append)
    booth.page.remark.help.click()
    assert troubleshooting_section(hints[0]).startswith("## Live falls behind")
    booth.loop.figures = replace(CALM, peak=1.0)
    booth.page._ticked()
    assert "howls" in booth.page.remark.words


def test_a_codec_without_time_is_drawn_half_as_often(booth: Booth) -> None:
    booth.run()
    timer = booth.page._control._timer
    for busy_s, interval_ms in ((0.024, 80), (0.055, 160), (0.040, 80)):
        booth.loop.figures = replace(CALM, busy_s=busy_s)
        booth.qtbot.waitUntil(lambda wanted=interval_ms: timer.interval() == wanted)


def test_an_encoding_gives_way_and_is_made_again(booth: Booth) -> None:
    booth.run()
    assert booth.session.calls == ["cancel"]
    booth.key(Qt.Key.Key_Space)
    assert booth.codec.cancels == [1]
    assert not booth.page.keep.isEnabled()
    booth.end()
    assert booth.session.calls == ["cancel", "make again"]
    assert booth.page.keep.isEnabled()
    assert booth.page.card.isVisible()
    booth.key(Qt.Key.Key_Return)
    (job,) = booth.files.jobs
    kept = job.run(SimpleNamespace(report=lambda *words: None))  # pyright: ignore[reportAttributeAccessIssue]
    assert kept.tokens.name.startswith("Live 20")
    np.testing.assert_array_equal(load_codes(kept.tokens).array, booth.loop.all_codes)
    files: list[object] = []
    booth.control.kept.connect(files.append)
    booth.files.finished.emit(1, kept)
    assert files == [kept]
    assert not booth.page.keep.isEnabled()


def test_leaving_ends_it_and_errors_are_said(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    booth.run()
    # As when the window is made small: Qt marks what the window system does as spontaneous.
    with monkeypatch.context() as patch:
        patch.setattr(QHideEvent, "spontaneous", lambda event: True)
        booth.page.hideEvent(QHideEvent())
    assert booth.codec.cancels == []
    booth.page.hide()
    assert booth.codec.cancels == [1]
    booth.page.show()
    booth.end("The recording stopped (unplugged): rescan.")
    assert "unplugged" in booth.page.remark.words
    booth.page.card.loud.click()
    booth.codec.failed.emit(2, Failure("The input 'Yeti' is not there any more: choose another."))
    assert "not there any more" in booth.page.remark.words
    assert booth.page.card.isVisible()
    booth.page.card.loud.click()
    booth.codec.cancelled.emit(3)
    assert booth.control.state == "idle"


def test_the_latency_bar_without_a_figure(qtbot: QtBot) -> None:
    bar = LatencyBar(DARK)
    qtbot.addWidget(bar)
    bar.set_figures(LiveFigures())
    assert bar.words == "not measured yet"
    assert bar.accessibleDescription() == "not measured yet"


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    house = House(qtbot, tmp_path, str(tiny_checkpoint))
    house.settings.update(takes_folder=str(tmp_path / "takes"))
    yield house
    house.close()


@pytest.mark.sound
def test_from_the_menu_to_the_comparison(
    sound_card: SoundCard, window: House, tiny_codec: MimiCodec, tmp_path: Path
) -> None:
    window.window.start([])
    window.window.actions_by_name["live"].trigger()
    pages = window.window.sound_pages
    window.until(lambda: pages.live_page is not None and pages.live_page.isVisible())
    page, control = pages.live_page, pages.live
    assert page is not None
    assert control is not None
    page.card.loud.click()
    window.until(lambda: control.state == "running")
    with sound_card.recording() as heard, sound_card.speaking(noise(1.5, channels=2)):
        window.until(lambda: control.num_frames > 20 and control.figures.latency_s is not None)
    assert np.abs(heard.samples).max() > 0
    assert page.said._running is not None
    assert page.said._running.num_columns > 100
    control.stop()
    window.until(lambda: control.state == "ended")
    assert page.latency.words.startswith(f"{1000 * (control.figures.latency_s or 0):.0f} milliseconds")
    page.keep.click()
    session = window.window.session
    window.until(lambda: session.document.is_from_tokens and session.document.is_complete)
    tokens, source, reconstruction = sorted(
        (tmp_path / "takes").iterdir(), key=lambda path: (path.suffix != ".npz", len(path.name))
    )
    samples, rate = soundfile.read(source, dtype="float32")
    assert rate == 24000
    assert np.abs(samples).max() > 0.1
    codes = load_codes(tokens)
    np.testing.assert_array_equal(codes.array, tiny_codec.encode(samples).array)
    again, _ = soundfile.read(reconstruction, dtype="float32")
    np.testing.assert_allclose(again, tiny_codec.decode(codes), atol=1e-5)
    assert session.document.recording is not None
    assert session.document.recording.path == source
