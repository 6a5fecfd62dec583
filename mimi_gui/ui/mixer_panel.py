"""A mixing desk for codebooks: one strip each, with mute and solo. GUI thread only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.theme import Theme, figures_font

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_SEMANTIC_TIP = (
    "Codebook 0 is semantic: it was trained to carry what is said, and stands beside the others, not below them\n"
    "(split RVQ). Without it the sound keeps its colour but loses the words; it is not the coarse part of the rest."
)
_ACOUSTIC_TIP = (
    "Codebook {k} is acoustic: it refines what codebooks 1 to {before} left over. Without an earlier one, it refines\n"
    "something that is not there."
)


class _Meter(QWidget):
    """A bar from below: how much the sound changes without this codebook."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.share: float | None = None
        self.audible = True
        self.semantic = False
        self.setMinimumHeight(34)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("border"))
            groove = QRectF(self.width() / 2 - 4, 2, 8, self.height() - 4)
            painter.drawRoundedRect(groove, 4, 4)
            color = theme.color("semantic" if self.semantic else "side_b", 1.0 if self.audible else 0.3)
            painter.setBrush(color)
            share = (1.0 if self.audible else 0.0) if self.share is None else self.share
            height = max(groove.height() * min(max(share, 0.0), 1.0), 8.0 if share > 0 else 0.0)
            painter.drawRoundedRect(QRectF(groove.left(), groove.bottom() - height, 8, height), 4, 4)


class _Strip(QWidget):
    changed = Signal()

    def __init__(self, codebook: int, theme: Theme, *, semantic: bool) -> None:
        super().__init__()
        self.codebook = codebook
        self.setFixedWidth(34)
        self.number = QLabel(str(codebook))
        self.number.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.number.setFont(figures_font(self.font(), scale=0.9, bold=semantic))
        self.meter = _Meter(theme)
        self.meter.semantic = semantic
        kind = "semantic" if semantic else "acoustic"
        self.mute = self._button("M", f"Mute codebook {codebook} ({kind})")
        self.solo = self._button("S", f"Solo codebook {codebook} ({kind})")
        tip = _SEMANTIC_TIP if semantic else _ACOUSTIC_TIP.format(k=codebook, before=max(codebook - 1, 1))
        for widget in (self.number, self.meter):
            widget.setToolTip(tip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3, 0, 3, 0)
        layout.setSpacing(3)
        for widget in (self.meter, self.solo, self.mute, self.number):
            layout.addWidget(widget)
        layout.setStretch(0, 1)

    def _button(self, letter: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setText(letter)
        button.setCheckable(True)
        button.setProperty("desk", letter)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setFixedSize(28, 24)
        button.toggled.connect(self.changed)
        return button


class MixerPanel(QWidget):
    """All strips of one set of tokens.

    Signals:
        mix_changed(object): the codebooks to decode now, a tuple of int in rising order, perhaps empty.
        pin_requested(): keep what is heard now as a take.
    """

    mix_changed = Signal(object)
    pin_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._strips: list[_Strip] = []
        self._num_semantic = 1
        self._quiet = False
        self._desk = QWidget()
        self._row = QHBoxLayout(self._desk)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self._desk)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._words = QLabel()
        self._words.setProperty("dim", True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        reset = QPushButton("All on")
        reset.setToolTip("Clear every mute and solo")
        reset.setAccessibleName("Clear every mute and solo")
        reset.clicked.connect(self.clear)
        pin = QPushButton("Pin as a take")
        pin.setToolTip("Keep this mix, to compare other mixes with it in A/B")
        pin.setAccessibleName("Pin this mix as a take")
        pin.clicked.connect(self.pin_requested)
        foot = QHBoxLayout()
        foot.addWidget(self._words, 1)
        foot.addWidget(reset)
        foot.addWidget(pin)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.setSpacing(8)
        layout.addWidget(area, 1)
        layout.addLayout(foot)
        self.set_num_codebooks(32)

    def set_num_codebooks(self, num_codebooks: int, num_semantic: int = 1) -> None:
        """Build a strip for each codebook of the open tokens; mutes and solos are cleared."""
        if (num_codebooks, num_semantic) != (len(self._strips), self._num_semantic):
            for strip in self._strips:
                self._row.removeWidget(strip)
                strip.deleteLater()
            self._num_semantic = num_semantic
            self._strips = [_Strip(k, self._theme, semantic=k < num_semantic) for k in range(num_codebooks)]
            for place, strip in enumerate(self._strips):
                strip.changed.connect(self._strip_changed)
                self._row.insertWidget(place, strip)
        self._set(set(), set())

    @property
    def active(self) -> tuple[int, ...]:
        """The codebooks that are heard: the soloed ones if any, else those that are not muted."""
        soloed = [strip.codebook for strip in self._strips if strip.solo.isChecked()]
        if soloed:
            return tuple(soloed)
        return tuple(strip.codebook for strip in self._strips if not strip.mute.isChecked())

    def set_active(self, codebooks: Iterable[int]) -> None:
        """Mute all but these, without announcing it."""
        wanted = set(codebooks)
        self._set({strip.codebook for strip in self._strips} - wanted, set())

    def set_contributions(self, values: np.ndarray | None, words: str = "") -> None:
        """Show what each codebook changes, float [K] >= 0, largest = full bar; ``words`` names the measure."""
        top = float(values.max()) if values is not None and len(values) else 0.0
        for strip in self._strips:
            has = values is not None and strip.codebook < len(values)
            value = float(values[strip.codebook]) if has and values is not None else None
            strip.meter.share = None if value is None else value / top if top > 0 else 0.0
            strip.meter.setAccessibleDescription("" if value is None else f"{words}: {value:.3g}")
            strip.meter.update()
        self._measure = words
        self._describe()

    def clear(self) -> None:
        """Clear every mute and solo; announced, if it changed what is heard."""
        before = self.active
        self._set(set(), set())
        if self.active != before:
            self.mix_changed.emit(self.active)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = theme
        for strip in self._strips:
            strip.meter.theme = theme
            strip.meter.update()

    _measure = ""

    def _set(self, muted: set[int], soloed: set[int]) -> None:
        self._quiet = True
        for strip in self._strips:
            strip.mute.setChecked(strip.codebook in muted)
            strip.solo.setChecked(strip.codebook in soloed)
        self._quiet = False
        self._show()

    def _strip_changed(self) -> None:
        if not self._quiet:
            self._show()
            self.mix_changed.emit(self.active)

    def _show(self) -> None:
        active = set(self.active)
        for strip in self._strips:
            strip.meter.audible = strip.codebook in active
            strip.number.setEnabled(strip.codebook in active)
            strip.meter.update()
        self._describe()

    def _describe(self) -> None:
        count, total = len(self.active), len(self._strips)
        words = f"{count} of {total} codebooks are heard"
        if count and 0 not in self.active and self._num_semantic:
            words += ", without the semantic one"
        if self._measure:
            words += f"   ·   bars: {self._measure}"
        self._words.setText(words)


class _Binding(QObject):
    """The panel's ties to the session that decodes the mix."""

    def __init__(self, panel: MixerPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._session = panel, context.session
        panel.mix_changed.connect(context.session.set_mix)
        panel.pin_requested.connect(context.transport.pin)
        context.session.codes_changed.connect(self._show_strips)
        context.session.num_codebooks_changed.connect(self._show_active)
        self._show_strips()

    @Slot()
    def _show_strips(self) -> None:
        info = self._session.document.info
        self._panel.set_num_codebooks(self._session.max_codebooks, info.num_semantic_codebooks)
        self._show_active()

    @Slot()
    def _show_active(self) -> None:
        self._panel.set_active(self._session.wanted)


def build(context: PanelContext) -> MixerPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = MixerPanel(context.theme)
    _Binding(panel, context)
    return panel
