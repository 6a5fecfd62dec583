"""The codebooks' mixing desk: what is heard follows mutes and solos as on any desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.levels import LevelEffect, level_effect
from mimi_gui.analysis.metrics import METRICS, MetricResult
from mimi_gui.codec import MimiCodec
from mimi_gui.ui import sound_output
from mimi_gui.ui.mixer_panel import MixerPanel
from mimi_gui.ui.theme import DARK, LIGHT
from tests.test_main_window import House


@pytest.fixture
def desk(qtbot: QtBot) -> MixerPanel:
    panel = MixerPanel(DARK)
    qtbot.addWidget(panel)
    panel.set_num_codebooks(8)
    return panel


def test_mutes_and_solos(desk: MixerPanel) -> None:
    mixes: list[tuple[int, ...]] = []
    desk.mix_changed.connect(mixes.append)
    desk._strips[2].mute.click()
    assert mixes[-1] == desk.active == (0, 1, 3, 4, 5, 6, 7)
    desk._strips[2].solo.click()  # solo wins over mute, as on a desk
    desk._strips[5].solo.click()
    assert mixes[-1] == (2, 5)
    desk._strips[2].solo.click()
    desk._strips[5].solo.click()
    assert mixes[-1] == (0, 1, 3, 4, 5, 6, 7)
    desk.clear()
    assert mixes[-1] == tuple(range(8))
    count = len(mixes)
    desk.clear()  # nothing changed, so nothing is decoded again
    assert len(mixes) == count


def test_setters_are_silent(desk: MixerPanel, qtbot: QtBot) -> None:
    mixes: list[object] = []
    desk.mix_changed.connect(mixes.append)
    desk.set_active((0, 1, 2))
    assert desk.active == (0, 1, 2)
    desk.set_num_codebooks(4)
    assert desk.active == (0, 1, 2, 3)
    metric = METRICS["log_mel"]
    desk.set_effects([LevelEffect(k, True, MetricResult(metric, v)) for k, v in enumerate((3.0, 2.0, 0.0, 1.0))], "x")
    assert desk._strips[0].meter.share == 1.0
    assert desk._strips[3].meter.share == pytest.approx(1 / 3)
    assert "1.000 Np" in desk._strips[3].number.toolTip()
    desk.set_effects([])
    assert desk._strips[0].meter.share is None
    assert mixes == []
    desk.set_theme(LIGHT)
    desk.resize(600, 200)
    assert not desk.grab().isNull()
    pin = next(button for button in desk.findChildren(QPushButton) if "take" in button.text())
    with qtbot.waitSignal(desk.pin_requested):
        pin.click()


def test_everything_can_be_muted(desk: MixerPanel) -> None:
    desk.set_active(())
    assert desk.active == ()
    assert desk._words.text().startswith("0 of 8")


def test_level_zero_is_explained(desk: MixerPanel) -> None:
    assert "semantic" in desk._strips[0].number.toolTip()
    assert "split RVQ" in desk._strips[0].number.toolTip()
    assert "semantic" not in desk._strips[1].number.toolTip()
    desk.set_active((1, 2))
    assert "without the semantic one" in desk._words.text()
    for strip in desk._strips:
        assert str(strip.codebook) in strip.mute.accessibleName()
        assert str(strip.codebook) in strip.solo.accessibleName()


def test_an_effect_is_what_numpy_says() -> None:
    rng = np.random.default_rng(0)
    original = rng.standard_normal(24_000).astype(np.float32) * 0.1
    with_it, without_it = original * 0.5, original * 0.25  # 20 log10: half the amplitude is ln 2 nepers everywhere
    effect = level_effect(3, with_it, without_it, original, 24_000)
    assert effect.change.value == pytest.approx(np.log(2), rel=1e-3)
    assert effect.log_mel_gain == pytest.approx(np.log(2), rel=1e-3)
    assert "0.693 Np" in effect.words
    silent = level_effect(3, with_it, np.zeros_like(with_it), original, 24_000)
    assert silent.si_sdr_gain is None  # silence has none, and no stand-in is shown for it
    assert "n/a" in silent.words
    assert level_effect(0, with_it, with_it, None, 24_000).change.value == 0.0


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


def test_the_study_against_the_codec_s_own_decoding(house: House, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.2, 0.2, 24_000 * 2), 24_000)
    house.open(path)
    window, session = house.window, house.window.session
    window.panels.docks["mixer"].show()
    house.until(lambda: "mixer" in window.panels.widgets)
    panel = window.panels.widgets["mixer"]
    assert isinstance(panel, MixerPanel)
    session.set_mix((0, 1, 2, 3))
    house.until(lambda: session.document.codebooks == (0, 1, 2, 3) and session.document.is_complete)
    window.transport.set_loop((0.8, 1.6))
    panel._study.click()
    assert panel._study.text() == "Cancel"
    house.until(lambda: panel._study.text() == "Measure")
    assert session.document.codes is not None
    recording = session.document.recording
    assert recording is not None
    span = slice(10 * 1920, 20 * 1920)
    base, without = (
        tiny_codec.decode(session.document.codes, codebooks=mix)[span] for mix in ((0, 1, 2, 3), (0, 1, 3))
    )
    expected = level_effect(2, base, without, recording.waveform.samples[span], 24_000)
    shown = panel._strips[2].meter.accessibleDescription()
    assert shown == expected.words
    assert "0:00.8 to 0:01.6" in panel._words.text()
    assert panel._strips[9].value.text()  # a muted one is measured too: what it would add
    session.make_again()
    house.until(lambda: session.document.is_complete)
    assert panel._strips[2].meter.share is None  # other tokens, so nothing is known any more
