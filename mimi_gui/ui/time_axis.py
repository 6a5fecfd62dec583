"""The one time axis that every view shares: which seconds are in sight, and where each of them stands on
screen.

GUI thread only. Views read it while painting and wish for changes through its methods; it keeps itself
inside the recording.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QObject, Signal

MIN_SPAN_S = 0.001  # 24 samples of Mimi's audio: single samples stand apart
_EMPTY_SPAN_S = 10.0

_STEPS_S = [
    *(m * 10.0**e for e in range(-5, 0) for m in (1, 2, 5)),
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000, 86400,
]  # fmt: skip


class TimeAxis(QObject):
    """Seconds in sight ``[start_s, start_s + span_s)`` on ``width_px`` logical pixels.

    Signals:
        changed(): the range, the duration or the width is another one; redraw.
        loop_changed(): the loop region shown is another one.
    """

    changed = Signal()
    loop_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.duration_s = 0.0
        self.start_s = 0.0
        self.span_s = _EMPTY_SPAN_S
        self.width_px = 1
        self.loop: tuple[float, float] | None = None
        self._fitted = True

    @property
    def end_s(self) -> float:
        """The first second out of sight on the right."""
        return self.start_s + self.span_s

    @property
    def is_fitted(self) -> bool:
        """Whether the whole recording is in sight, and stays so while it grows."""
        return self._fitted

    @property
    def seconds_per_px(self) -> float:
        """Seconds on one logical pixel."""
        return self.span_s / self.width_px

    def s_to_x(self, seconds: float) -> float:
        """Logical pixels from the left edge of the plot."""
        return (seconds - self.start_s) / self.seconds_per_px

    def x_to_s(self, x: float) -> float:
        """The second at ``x`` logical pixels, which may lie outside of the recording."""
        return self.start_s + x * self.seconds_per_px

    def clamp(self, seconds: float) -> float:
        """The nearest second within the recording."""
        return min(max(seconds, 0.0), self.duration_s)

    def set_width(self, width_px: int) -> None:
        """The plot is ``width_px`` wide now; the same seconds stay in sight."""
        if width_px > 0 and width_px != self.width_px:
            self.width_px = width_px
            self.changed.emit()

    def set_duration(self, duration_s: float) -> None:
        """The recording is ``duration_s`` long; a view that showed all of it still does."""
        self.duration_s = max(duration_s, 0.0)
        if self._fitted:
            self.start_s, self.span_s = 0.0, self._whole
        self._show(self.start_s, self.span_s, self._fitted)

    def set_range(self, start_s: float, end_s: float) -> None:
        """Show ``[start_s, end_s)`` as far as the recording and the smallest span allow."""
        self._show(start_s, end_s - start_s)

    def fit(self) -> None:
        """Show the whole recording."""
        self._show(0.0, self._whole, fitted=True)

    def zoom(self, factor: float, anchor_s: float) -> None:
        """Show ``1 / factor`` of the seconds; ``anchor_s`` stays where it is on screen."""
        span = min(max(self.span_s / factor, self._smallest), self._whole)
        share = (anchor_s - self.start_s) / self.span_s
        self._show(anchor_s - share * span, span)

    def pan(self, seconds: float) -> None:
        """Move what is in sight by ``seconds``: positive shows what comes later."""
        self._show(self.start_s + seconds, self.span_s)

    def set_loop(self, loop: tuple[float, float] | None) -> None:
        """Show this loop region, or none."""
        if loop != self.loop:
            self.loop = loop
            self.loop_changed.emit()

    @property
    def _whole(self) -> float:
        return self.duration_s if self.duration_s > 0 else _EMPTY_SPAN_S

    @property
    def _smallest(self) -> float:
        return min(MIN_SPAN_S, self._whole)

    def _show(self, start_s: float, span_s: float, fitted: bool | None = None) -> None:
        whole = self._whole
        self.span_s = min(max(span_s, self._smallest), whole)
        self.start_s = min(max(start_s, 0.0), whole - self.span_s)
        self._fitted = self.span_s >= whole * (1 - 1e-9) if fitted is None else fitted
        self.changed.emit()


def tick_step(span_s: float, width_px: float, label_px: float) -> tuple[float, int]:
    """Choose round ticks for a ruler.

    Returns:
        seconds between labelled ticks, so that labels of ``label_px`` do not crowd, and how many parts the
        unlabelled ticks divide that into.
    """
    least = span_s / max(width_px, 1) * label_px
    index = next((i for i, step in enumerate(_STEPS_S) if step >= least), len(_STEPS_S) - 1)
    step = _STEPS_S[index]
    parts = 5 if round(step / 10 ** math.floor(math.log10(step))) in (1, 5) and step < 60 else 4
    if step in (15, 30, 900, 1800):
        parts = 3
    elif step in (60, 120, 300, 600, 3600, 7200):
        parts = 6 if step in (60, 3600) else 4
    return step, parts


def format_time(seconds: float, step_s: float = 0.001) -> str:
    """Write ``m:ss`` or ``h:mm:ss`` with as many decimals as a step of ``step_s`` needs, e.g.
    ``1:02.350``."""
    decimals = 0 if step_s >= 1 else min(max(math.ceil(-math.log10(step_s) - 1e-9), 1), 6)
    total = round(abs(seconds) * 10**decimals)
    whole, fraction = divmod(total, 10**decimals)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 and total else ""
    text = f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"
    return sign + text + (f".{fraction:0{decimals}d}" if decimals else "")
