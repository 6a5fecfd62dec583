"""A listening test from the menu to its log, on the real window: setup, trials, result, and the player given back."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from mimi_gui import cli
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import Codes
from mimi_gui.listening_log import load_log, report_lines, verify_log
from mimi_gui.playback import ABPlayer, OutputDevice
from mimi_gui.ui import listening_sources
from mimi_gui.ui.abx_page import ABXPage
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.listening_desk import LogDialog
from mimi_gui.ui.listening_sources import default_span, shortened
from mimi_gui.ui.listening_window import ListeningWindow
from mimi_gui.ui.loop_strip import LoopStrip, clamped
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import DARK, LIGHT, ThemeKeeper

LONG_MS = 120_000
RATE = 48_000
CTRL_SHIFT = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


class OpenPlayer(ABPlayer):
    """A player with headphones, as far as the window can tell; no process, no sound."""

    is_there = True
    gaps = 0

    def open(self, *args: object, **options: object) -> None:
        return

    @property
    def is_open(self) -> bool:
        return self.is_there

    @property
    def underruns(self) -> int:
        return self.gaps

    @property
    def device(self) -> OutputDevice | None:
        return OutputDevice("Headphones", "ALSA", 0, RATE, 2, 0.02)

    @property
    def latency_s(self) -> float:
        return 0.045


class House:
    """The window with a recording open, and the person in front of it."""

    def __init__(self, qtbot: QtBot, tmp_path: Path, model: str) -> None:
        self.qtbot = qtbot
        self.is_closed = False
        self.folder = tmp_path / "logs"
        self.settings = SettingsStore(tmp_path / "settings.ini")
        self.settings.update(model_name=model, device="cpu", listening_folder=str(self.folder))
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        self.themes = ThemeKeeper(app, "dark")
        self.player = OpenPlayer()
        self.window = MainWindow(self.settings, self.themes, player=self.player)
        self.window.show()
        self.window.session.start_model()

    def until(self, condition: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG_MS)

    def open(self, path: Path) -> None:
        self.window.session.open([path])
        self.until(lambda: self.window.session.document.is_complete)

    def begin(self, kind: str) -> ListeningWindow:
        """Choose a test from the menu; comes back when levels and delay are measured."""
        self.window.actions_by_name[f"test_{kind}"].trigger()
        return self.test()

    def test(self) -> ListeningWindow:
        self.until(lambda: self.window.listening.window is not None)
        test = self.window.listening.window
        assert test is not None
        self.until(lambda: test._prepared is not None)
        return test

    def started(self, test: ListeningWindow) -> ABXPage:
        self.qtbot.mouseClick(test.setup.start, Qt.MouseButton.LeftButton)
        self.until(lambda: test.run is not None and test.pages.currentWidget() is test.run.page)
        assert test.run is not None
        page = test.run.page
        page.timer.stop()
        return page  # type: ignore[return-value]

    def trial(self, page: ABXPage) -> None:
        for key in (Qt.Key.Key_A, Qt.Key.Key_B, Qt.Key.Key_X, Qt.Key.Key_1, Qt.Key.Key_Return):
            self.qtbot.keyClick(page, key)

    def saved(self, test: ListeningWindow) -> None:
        self.until(lambda: test._saving is None)

    def grab(self) -> QImage:
        return self.window.grab().toImage()

    def close(self) -> None:
        """Once; a test may do it itself."""
        if self.is_closed:
            return
        self.is_closed = True
        self.window.close()
        self.until(lambda: not self.window.isVisible())
        assert not any(thread.is_running for thread in self.window.threads)
        self.window.deleteLater()
        self.themes.deleteLater()
        self.qtbot.wait(1)


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path) -> Iterator[House]:
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    yield made
    made.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.2 * rng.normal(0, 1, 24_000 * 2).clip(-3, 3), 24_000)
    return path


def test_abx_from_the_menu_to_the_log(house: House, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house.open(clip)
    transport = house.window.transport
    transport.set_side("B")
    transport.set_loop((0.4, 1.2))
    transport.seek(0.75)
    house.qtbot.keyClick(house.window, Qt.Key.Key_X, CTRL_SHIFT)
    test = house.test()
    assert test.isModal()
    assert transport.player is not house.player  # nothing in the window can move with what is heard
    assert "45 ms" in test.setup.device.text()
    assert "matched within 0.00 LU" in test.setup.levels.text()
    assert test.setup.delay.text() not in ("", "…")
    assert test.setup.strip.span_s == (0.4, 1.2)
    page = house.started(test)
    title, still = test.windowTitle(), house.grab()
    run = test.run
    assert run is not None
    assert run.path is not None
    house.saved(test)
    assert load_log(run.path)["trials"] == []  # before the first trial, so a full disk is known then
    for i in range(16):
        house.trial(page)
        house.saved(test)
        log = load_log(run.path)  # what a crash would leave
        assert len(log["trials"]) == i + 1
        assert verify_log(log) == []
        assert any(line.startswith("INTERRUPTED") for line in report_lines(log)) == (i < 15)
        assert test.windowTitle() == title
        assert house.grab() == still
    result = test.result_page
    assert result is not None
    assert cli.main(["abx-report", str(run.path)]) == 0
    printed = capsys.readouterr().out
    for words in ("What Mimi heard", "Reconstruction, 32 codebooks", "Headphones", "clip.wav", "Verified"):
        assert words in printed
    assert "transparent" not in printed
    house.qtbot.mouseClick(result.copy, Qt.MouseButton.LeftButton)
    copied = QGuiApplication.clipboard().text()
    assert str(run.path) in copied
    assert f"{run.session.result().correct} of 16 right" in copied  # type: ignore[attr-defined]
    house.qtbot.mouseClick(result.show_log, Qt.MouseButton.LeftButton)
    house.until(result.log.isVisible)
    assert "Verified" in result.log.toPlainText()
    setup = log["setup"]
    assert setup["loop_s"] == [0.4, 1.2]
    assert setup["latency_ms"] == 45.0
    assert setup["source_sha256"].startswith("sha256:")
    assert [one["num_codebooks"] for one in setup["signals"]] == [0, 32]
    house.qtbot.keyClick(test, Qt.Key.Key_Escape)
    house.until(lambda: house.window.listening.window is None)
    assert transport.player is house.player
    assert house.player.side == "B"
    assert house.player.position_s == pytest.approx(0.75, abs=1e-3)
    assert house.player.loop_s == pytest.approx((0.4, 1.2))
    assert not house.player._plan.gap_switch
    assert not house.player.is_playing
    assert house.player._plan.a is not None


def test_closing_the_window_keeps_an_aborted_log(house: House, clip: Path) -> None:
    house.open(clip)
    test = house.begin("abx")
    page = house.started(test)
    for _ in range(3):
        house.trial(page)
    house.qtbot.keyClick(page, Qt.Key.Key_A)
    test.close()  # asks
    assert test.isVisible()
    assert page.asks
    run = test.run
    assert run is not None
    assert run.path is not None
    house.close()
    log = load_log(run.path)
    assert verify_log(log) == []
    assert (log["result"]["state"], log["result"]["answered"]) == ("aborted", 3)


def test_training_is_not_logged(house: House, clip: Path) -> None:
    house.open(clip)
    test = house.begin("abx")
    house.qtbot.mouseClick(test.setup.train, Qt.MouseButton.LeftButton)
    house.until(lambda: test.run is not None and test.pages.currentWidget() is test.run.page)
    assert test.run is not None
    page = test.run.page
    assert isinstance(page, ABXPage)
    house.trial(page)
    assert page.message.text().startswith(("Right", "Wrong"))
    house.qtbot.keyClick(page, Qt.Key.Key_Escape)
    house.qtbot.keyClick(page, Qt.Key.Key_Return)
    assert test.result_page is not None
    assert "Nothing was logged" in test.result_page.text.text()
    assert not test.result_page.show_log.isVisible()
    assert not house.folder.exists()
    house.qtbot.mouseClick(test.result_page.again, Qt.MouseButton.LeftButton)
    assert test.pages.currentWidget() is test.setup
    test.set_theme(LIGHT)


def test_the_levels_of_a_staircase_are_what_the_codec_decodes(house: House, clip: Path, tiny_codec: MimiCodec) -> None:
    house.open(clip)
    test = house.begin("staircase")
    prepared = test._prepared
    assert prepared is not None
    counts = [one.num_codebooks for one in prepared.stimuli.all]
    assert counts == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    codes = house.window.session.document.codes
    assert codes is not None
    start, end = prepared.stimuli.span_s
    for one in (prepared.stimuli.all[2], prepared.stimuli.all[6]):
        whole = tiny_codec.decode(codes.first(one.num_codebooks))
        if one.is_corrected:
            whole = np.roll(whole, -one.delay.lag_samples)
        expected = soxr.resample(whole, 24_000, RATE, quality="HQ")[round(start * RATE) : round(end * RATE)]
        gain = np.float32(10 ** (one.gain_db / 20))
        inside = slice(200, -200)
        np.testing.assert_allclose(one.samples[inside, 0], (gain * expected)[inside], atol=1e-4)
    page = house.started(test)
    house.trial(page)
    house.saved(test)
    assert test.run is not None
    assert test.run.path is not None
    log = load_log(test.run.path)
    assert verify_log(log) == []
    assert log["levels"] == counts[1:]


@pytest.mark.parametrize("kind", ["preference", "mushra"])
def test_the_other_kinds_reach_their_result(house: House, clip: Path, kind: str) -> None:
    house.open(clip)
    test = house.begin(kind)
    test.setup.trials.setValue(test.setup.kind.least)
    page = house.started(test)
    run = test.run
    assert run is not None
    while not run.session.is_finished:
        keys = [Qt.Key.Key_A, Qt.Key.Key_B, Qt.Key.Key_3]
        if kind == "mushra":
            keys = []
            for i in range(len(page.sounds)):  # type: ignore[attr-defined]
                page.play(i)  # type: ignore[arg-type]
                page.rate(i, 10 * i)  # type: ignore[attr-defined]
        for key in (*keys, Qt.Key.Key_Return):
            house.qtbot.keyClick(page, key)
    house.saved(test)
    assert run.path is not None
    assert cli.main(["abx-report", str(run.path)]) == 0
    assert test.result_page is not None
    assert (test.result_page.plot is None) == (kind == "preference")  # all ties: there is nothing to draw


def test_what_stands_in_the_way_is_said(house: House, clip: Path, tmp_path: Path) -> None:
    window = house.window
    window.listening.open("abx")
    assert window.listening.window is None
    assert any("Open a recording" in banner.notice.text for banner in window.findChildren(Banner))
    house.open(clip)
    test = house.begin("abx")
    setup = test.setup
    house.player.is_there = False
    test._show_device()
    assert not setup.start.isEnabled()
    house.player.is_there = True
    test._show_device()
    setup.takes.second.setCurrentIndex(0)
    test._plan_changed()
    assert "Both are the same" in setup.message.text()
    setup.takes.second.setCurrentIndex(1)
    (tmp_path / "a file").write_text("")
    setup.folder.setText(str(tmp_path / "a file" / "logs"))
    house.qtbot.mouseClick(setup.start, Qt.MouseButton.LeftButton)
    house.until(lambda: "cannot be made" in setup.message.text())
    assert test.pages.currentWidget() is setup
    assert test.run is None
    house.qtbot.keyClick(test, Qt.Key.Key_Escape)
    house.until(lambda: window.listening.window is None)


def test_a_folder_that_goes_away_loses_nothing(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open(clip)
    test = house.begin("abx")
    page = house.started(test)
    house.saved(test)
    shutil.rmtree(house.folder)
    house.folder.write_text("a file where the folder was")
    house.trial(page)
    house.saved(test)
    assert "The log cannot be written" in page.message.text()
    house.qtbot.keyClick(page, Qt.Key.Key_Escape)
    house.qtbot.keyClick(page, Qt.Key.Key_Return)
    house.saved(test)
    result = test.result_page
    assert result is not None
    assert result.save_as.isVisible()
    assert not result.show_log.isVisible()
    target = tmp_path / "rescued.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(target), ""))
    house.qtbot.mouseClick(result.save_as, Qt.MouseButton.LeftButton)
    house.saved(test)
    log = load_log(target)
    assert verify_log(log) == []
    assert len(log["trials"]) == 1
    assert not result.save_as.isVisible()


def test_a_log_is_shown_from_the_menu(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimi_gui.analysis.abx import ABXSession
    from mimi_gui.listening_log import save_log

    session = ABXSession({}, 10)
    session.stop()
    path = save_log(tmp_path / "some.json", session.log())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (str(path), ""))
    house.window.actions_by_name["open_listening_log"].trigger()
    house.until(lambda: house.window.findChildren(LogDialog))
    dialog = house.window.findChildren(LogDialog)[0]
    assert "Verified" in dialog.text.toPlainText()
    dialog.close()


def test_another_recording_joins_in(house: House, clip: Path, tmp_path: Path) -> None:
    """The same clip from elsewhere, at another rate, 20 samples late and half as loud."""
    samples, _ = soundfile.read(clip)
    other = tmp_path / "other codec.wav"
    late = np.concatenate([np.zeros(20), samples])[: len(samples)]
    soundfile.write(other, 0.5 * soxr.resample(late, 24_000, 44_100), 44_100, subtype="FLOAT")
    house.open(clip)
    test = house.begin("abx")
    before = test._prepared
    test.setup.takes.add_files([other, other])
    assert test.setup.takes.second.currentText() == "other codec.wav"
    house.until(lambda: test._prepared is not None and test._prepared is not before)
    assert test._prepared is not None
    first, second = test._prepared.stimuli.all
    assert (second.name, second.delay.lag_samples, second.is_corrected) == ("other codec.wav", 20, True)
    assert "+20 samples at 24 kHz, taken out" in test.setup.delay.text()
    assert first.gain_db == pytest.approx(-6.0, abs=0.2)
    inside = slice(2000, -2000)
    np.testing.assert_allclose(first.samples[inside, 0], second.samples[inside, 0], atol=0.02)
    test.setup.set_kind("mushra")
    assert "other codec.wav" in [source.title for source in test.setup.takes.sources()]
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    test.setup.set_kind("abx")
    test.setup.takes.add_files([broken])
    house.until(lambda: "broken.wav" in test.setup.message.text())
    assert test.run is None


def test_x_is_drawn_by_secrets(house: House, clip: Path) -> None:
    house.open(clip)
    assert house.window.listening.draw is secrets.randbelow
    assert house.begin("abx")._draw is secrets.randbelow


def test_a_late_loop_costs_no_more_than_its_context(tiny_codec: MimiCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded is a part of the tokens, and sounds as the whole does (two layers look back 500 frames)."""
    monkeypatch.setattr(listening_sources, "_CONTEXT_FRAMES", 510)
    info, rng = tiny_codec.info, np.random.default_rng(0)
    array = rng.integers(0, info.cardinality, (2, 800)).astype(np.int16)
    codes = Codes(array, info.num_samples(800) - 7, info)
    span = (700 * 0.08, 710 * 0.08)
    part, offset = shortened(codes, span)
    assert (offset, part.num_frames) == (190 * 1920, 521)
    whole, got = tiny_codec.decode(codes), tiny_codec.decode(part)
    begin, end = (round(edge * 24_000) for edge in span)
    np.testing.assert_allclose(got[begin - offset : end - offset], whole[begin:end], atol=1e-5)
    assert shortened(codes, (0.0, 64.0))[0].num_samples == codes.num_samples


def test_listening_while_the_loop_is_placed(house: House, clip: Path) -> None:
    house.open(clip)
    test = house.begin("abx")
    prepared, player = test._prepared, house.player
    assert prepared is not None
    house.qtbot.mouseClick(test.setup.listen, Qt.MouseButton.LeftButton)
    assert player.is_playing
    assert player._plan.a is prepared.clips[0]
    test.setup.end_s.setValue(1.0)
    test.setup.end_s.editingFinished.emit()
    house.until(lambda: test._prepared is not prepared and test._prepared is not None)
    assert player.is_playing
    assert player.loop_s is not None
    assert player.loop_s[1] == pytest.approx(test.setup.strip.span_s[1] - test.setup.strip.span_s[0])
    house.qtbot.mouseClick(test.setup.listen, Qt.MouseButton.LeftButton)
    assert not player.is_playing


def test_a_span_stays_inside() -> None:
    limits = (0.5, 60.0)
    assert clamped((1.0, 1.1), 10.0, limits, "end") == (1.0, 1.5)
    assert clamped((1.0, 1.1), 10.0, limits, "start") == pytest.approx((0.6, 1.1))
    assert clamped((9.9, 10.4), 10.0, limits) == (9.5, 10.0)
    assert clamped((-1.0, 2.0), 10.0, limits) == (0.0, 3.0)
    assert clamped((0.0, 500.0), 1000.0, limits, "end") == (0.0, 60.0)
    assert clamped((0.0, 5.0), 0.3, limits) == (0.0, 0.3)
    assert default_span(None, 100.0, (2.0, 4.0)) == (2.0, 4.0)
    assert default_span(None, 100.0, (2.0, 2.1)) == (0.0, 6.0)
    assert default_span(None, 3.0, None) == (0.0, 3.0)


def test_the_loop_is_dragged_and_typed(qtbot: QtBot) -> None:
    strip = LoopStrip(DARK, editable=True)
    strip.resize(1000, 120)
    strip.set_recording(None, 10.0)
    strip.set_span((2.0, 5.0))
    strip._view_s = (0.0, 10.0)
    qtbot.addWidget(strip)
    strip.show()
    told: list[object] = []
    strip.span_changed.connect(told.append)
    left = Qt.MouseButton.LeftButton
    for start, stop, expected in ((500, 700, (2.0, 7.0)), (200, 100, (1.0, 7.0)), (400, 500, (2.0, 8.0))):
        qtbot.mousePress(strip, left, pos=QPoint(start, 50))
        qtbot.mouseMove(strip, QPoint(stop, 50))
        qtbot.mouseRelease(strip, left, pos=QPoint(stop, 50))
        assert strip.span_s == pytest.approx(expected)
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert strip.span_s == pytest.approx((2.1, 8.1))
    qtbot.keyClick(strip, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert strip.span_s == pytest.approx((2.1, 8.0))
    qtbot.keyClick(strip, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert strip.span_s == pytest.approx((2.0, 8.0))
    assert len(told) >= 6
