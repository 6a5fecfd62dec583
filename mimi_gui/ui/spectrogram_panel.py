"""Settings of the spectrograms: window, hop, scale, range, colours. GUI thread only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QPushButton, QSpinBox, QWidget

from mimi_gui.analysis.spectrogram import SpectrogramSettings
from mimi_gui.ui.theme import COLOR_MAPS

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_WINDOW_SAMPLES = (256, 512, 1024, 2048, 4096)
_HOP_SAMPLES = (60, 120, 240, 480, 960)
_WINDOWS = {
    "hann": "Hann",
    "hamming": "Hamming",
    "blackmanharris": "Blackman-Harris",
    "boxcar": "Rectangular",
}
_SCALES = {"mel": "Mel", "log": "Logarithmic", "linear": "Linear"}


class SpectrogramPanel(QWidget):
    """A form for :class:`SpectrogramSettings`.

    Signals:
        changed(object, str): the settings and the colour map's key that the person chose.
    """

    changed = Signal(object, str)

    def __init__(self, sample_rate: int = 24_000, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = SpectrogramSettings()
        self._size = _combo(
            "Window length",
            {n: f"{n} samples, {1000 * n / sample_rate:.0f} ms" for n in _WINDOW_SAMPLES},
            "Longer windows tell frequencies apart, shorter ones tell moments apart.",
        )
        self._hop = _combo(
            "Hop",
            {n: f"{n} samples, {1000 * n / sample_rate:g} ms" for n in _HOP_SAMPLES},
            "Time between two columns.",
        )
        self._window = _combo("Window", _WINDOWS, "The shape that each stretch is weighted with.")
        self._scale = _combo("Scale", _SCALES, "Of the frequency axis: mel is spaced as hearing is.")
        self._colors = _combo("Colours", COLOR_MAPS, "From silent to loud.")
        self._floor = _spin("Darkest", "Levels below are drawn as nothing.")
        self._ceiling = _spin("Brightest", "Levels above are drawn alike. 0 dB is a full-scale sine.")
        reset = QPushButton("Reset")
        reset.setToolTip("Back to how spectrograms were at first")
        reset.clicked.connect(self._reset)
        form = QFormLayout(self)
        form.setContentsMargins(12, 12, 12, 12)
        form.setSpacing(8)
        for name, widget in (
            ("&Window length", self._size), ("&Hop", self._hop), ("Window &shape", self._window),
            ("Frequency &axis", self._scale), ("&Colours", self._colors), ("&Darkest", self._floor),
            ("&Brightest", self._ceiling),
        ):  # fmt: skip
            form.addRow(name, widget)
        form.addRow("", reset)
        self.set_settings(self._settings, "ember")
        for combo in (self._size, self._hop, self._window, self._scale, self._colors):
            combo.activated.connect(self._chosen)
        for spin in (self._floor, self._ceiling):
            spin.valueChanged.connect(self._chosen)

    def set_settings(self, settings: SpectrogramSettings, color_map: str) -> None:
        """Show these settings without announcing them."""
        self._settings = settings
        for combo, value in (
            (self._size, settings.window_samples), (self._hop, settings.hop_samples),
            (self._window, settings.window), (self._scale, settings.scale), (self._colors, color_map),
        ):  # fmt: skip
            if combo.findData(value) < 0:
                combo.addItem(str(value), value)
            combo.setCurrentIndex(combo.findData(value))
        for spin, value in ((self._floor, settings.floor_db), (self._ceiling, settings.ceiling_db)):
            spin.blockSignals(True)
            spin.setValue(round(value))
            spin.blockSignals(False)

    def _chosen(self) -> None:
        ceiling = self._ceiling.value()
        settings = replace(
            self._settings,
            window_samples=self._size.currentData(),
            hop_samples=self._hop.currentData(),
            window=self._window.currentData(),
            scale=self._scale.currentData(),
            floor_db=float(min(self._floor.value(), ceiling - 10)),
            ceiling_db=float(ceiling),
        )
        self.set_settings(settings, self._colors.currentData())
        self.changed.emit(settings, self._colors.currentData())

    def _reset(self) -> None:
        self.set_settings(SpectrogramSettings(), "ember")
        self.changed.emit(self._settings, "ember")


def _combo(name: str, entries: dict, tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(tip)
    for value, words in entries.items():
        combo.addItem(words, value)
    return combo


def _spin(name: str, tip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(-150, 20)
    spin.setSingleStep(5)
    spin.setSuffix(" dB")
    spin.setAccessibleName(name)
    spin.setToolTip(tip)
    spin.setKeyboardTracking(False)
    return spin


def build(context: PanelContext) -> SpectrogramPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = SpectrogramPanel()
    panel.set_settings(*context.lanes.settings)
    panel.changed.connect(context.lanes.set_settings)
    return panel
