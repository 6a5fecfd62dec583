"""A mixing desk for codebooks: one strip each, with mute and solo. GUI thread only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

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

from mimi_gui.ui.level_study import LevelStudy, WarmUp
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from mimi_gui.analysis.levels import LevelEffect
    from mimi_gui.ui.codec_jobs import ModelReady
    from mimi_gui.ui.panel_context import PanelContext

_SEMANTIC_TIP = (
    "Codebook 0 is semantic: it was trained to carry what is said, and stands beside the others, not below them\n"
    "(split RVQ). Without it the sound keeps its colour but loses the words; it is not the coarse part of the rest."
)


def _acoustic_tip(k: int) -> str:
    if k == 1:
        return "Codebook 1 is acoustic, the coarsest of them: 2 and the rest refine what it leaves over."
    return (
        f"Codebook {k} is acoustic: it refines what codebooks 1 to {k - 1} left over. Without an earlier one, it"
        "\nrefines something that is not there."
    )


class _Meter(QWidget):
    """A bar from below: how much the sound changes without this codebook."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.share: float | None = None
        self.audible = True
        self.semantic = False
        self.setMinimumHeight(22)
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
        self.value = QLabel()
        self.value.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.value.setFont(figures_font(self.font(), scale=0.78))
        self.value.setProperty("faint", True)
        self.value.hide()
        self.mute = self._button("M", f"Mute codebook {codebook} ({kind})")
        self.solo = self._button("S", f"Solo codebook {codebook} ({kind})")
        self._tip = _SEMANTIC_TIP if semantic else _acoustic_tip(codebook)
        self.set_effect(None, 0.0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3, 0, 3, 0)
        layout.setSpacing(2)
        for widget in (self.meter, self.value, self.solo, self.mute, self.number):
            layout.addWidget(widget)
        layout.setStretch(0, 1)

    def set_effect(self, effect: LevelEffect | None, top: float) -> None:
        """Show what this codebook changes; ``top`` is the change that fills the bar."""
        value = None if effect is None else effect.change.value
        self.meter.share = None if value is None else value / top if top > 0 else 0.0
        self.meter.setAccessibleDescription("" if effect is None else effect.words)
        self.meter.update()
        self.value.setVisible(effect is not None)
        self.value.setText("–" if value is None else f"{value:.2f}".removeprefix("0"))
        tip = self._tip if effect is None else f"{self._tip}\n\n{effect.words}"
        for widget in (self.number, self.meter, self.value):
            widget.setToolTip(tip)

    def _button(self, letter: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setText(letter)
        button.setCheckable(True)
        button.setProperty("desk", letter)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setFixedSize(28, 21)
        button.toggled.connect(self.changed)
        return button


class MixerPanel(QWidget):
    """All strips of one set of tokens.

    Signals:
        mix_changed(object): the codebooks to decode now, a tuple of int in rising order, perhaps empty.
        pin_requested(): keep what is heard now as a take.
        measure_requested(): measure what each codebook changes; cancel_requested(): stop that.
    """

    mix_changed = Signal(object)
    pin_requested = Signal()
    measure_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None, *, can_pin: bool = True) -> None:
        """``can_pin=False``: where there is nothing to compare with, as live."""
        super().__init__(parent)
        self._theme = theme
        self._running = False
        self._strips: list[_Strip] = []
        self._num_semantic = 1
        self._quiet = False
        self._desk = QWidget()
        self._row = QHBoxLayout(self._desk)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addStretch(1)
        area = self._area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self._desk)
        self._words = QLabel()
        self._words.setProperty("dim", True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._role = QLabel()
        self._role.setProperty("faint", True)
        self._role.setTextFormat(Qt.TextFormat.PlainText)
        self._role.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._role.setToolTip(_SEMANTIC_TIP)
        self._study = QPushButton("Measure")
        self._study.setToolTip(
            "Decode the loop once without each codebook (or with it, where it is muted) and say what that changes:\n"
            "how far the sound moves, and how much closer to the original the codebook brings it"
        )
        self._study.setAccessibleName("Measure what each codebook changes")
        self._study.clicked.connect(self._study_pressed)
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
        foot.addWidget(self._study)
        foot.addWidget(reset)
        foot.addWidget(pin)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 6, 12, 6)
        layout.setSpacing(5)
        layout.addWidget(self._role)
        layout.addWidget(area, 1)
        layout.addLayout(foot)
        for button in (self._study, pin):
            button.setHidden(not can_pin)  # now that it has a parent: before, it would be a window of its own
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
        self._role.setText(
            f"0 is semantic: what is said.   1 to {num_codebooks - 1} are acoustic: how it sounds, each refining those"
            " from 1 on before it."
            if num_semantic == 1 and num_codebooks > 1
            else ""
        )
        if self._strips:  # a desk without its numbers would be cut, with a bar for 10 pixels
            bar = self._area.horizontalScrollBar().sizeHint().height()
            self._area.setMinimumHeight(self._strips[0].minimumSizeHint().height() + bar + 2)
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

    def set_effects(self, effects: Sequence[LevelEffect], words: str = "", done: int = 0, total: int = 0) -> None:
        """Show what each codebook changes, as far as it was measured; ``words`` name the span.

        ``done`` of ``total`` while it is measured, 0 of 0 at the end. The largest change fills its bar.
        """
        found = {effect.codebook: effect for effect in effects}
        top = max((effect.change.value or 0.0 for effect in effects), default=0.0)
        for strip in self._strips:
            strip.set_effect(found.get(strip.codebook), top)
        self._running = done < total
        self._study.setText("Cancel" if self._running else "Measure")
        self._measure = f"{words}, {done} of {total}" if self._running else words if effects else ""
        self._describe()

    def _study_pressed(self) -> None:
        (self.cancel_requested if self._running else self.measure_requested).emit()

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
            words += f"   ·   {self._measure}"
        self._words.setText(words)


class _Binding(QObject):
    """The panel's ties to the session that decodes the mix."""

    def __init__(self, panel: MixerPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._session = panel, context.session
        panel.mix_changed.connect(context.session.set_mix)
        panel.pin_requested.connect(context.transport.pin)
        self._transport = context.transport
        self._study = LevelStudy(context.session, context.codec, context.measuring, self)
        self._study.changed.connect(self._show_effects)
        self._study.noticed.connect(context.tell)
        panel.measure_requested.connect(self._measure)
        panel.cancel_requested.connect(self._study.cancel)
        self._codec = context.codec
        self._warm: ModelReady | None = None
        context.session.finished.connect(self._warm_up)
        self._warm_up()
        context.session.codes_changed.connect(self._show_strips)
        context.session.num_codebooks_changed.connect(self._show_active)
        self._show_strips()

    @Slot()
    def _warm_up(self) -> None:
        model = self._session.model
        if model is not None and model is not self._warm and not self._session.is_making:
            self._warm = model
            self._codec.submit(WarmUp())

    @Slot()
    def _measure(self) -> None:
        self._study.start(self._transport.loop if self._transport.loops else None)

    @Slot(object, object, object)
    def _show_effects(self, effects: tuple[LevelEffect, ...], done: int, total: int) -> None:
        words = ""
        if self._study.span_s is not None:
            start_s, end_s = (format_time(edge, 0.1) for edge in self._study.span_s)
            words = f"log-mel distance (Np) with and without each, {start_s} to {end_s}"
        self._panel.set_effects(effects, words, done, total)

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
