"""The codebooks' mixing desk: what is heard follows mutes and solos as on any desk."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from mimi_gui.ui.mixer_panel import MixerPanel
from mimi_gui.ui.theme import DARK, LIGHT


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
    desk.set_contributions(np.array([3.0, 2.0, 0.0, 1.0]), "log-mel distance")
    assert desk._strips[0].meter.share == 1.0
    assert desk._strips[3].meter.share == pytest.approx(1 / 3)
    desk.set_contributions(None)
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
