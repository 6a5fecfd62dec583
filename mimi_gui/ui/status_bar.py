"""The line at the bottom: what is going on and how fast, what was saved where, and which model computes on what."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QProgressBar, QPushButton, QStatusBar, QToolButton, QWidget

from mimi_gui.codes import CodecInfo
from mimi_gui.ui.codec_jobs import ModelChoice, ModelReady
from mimi_gui.ui.notices import Activity
from mimi_gui.ui.worker import Progress

_SAVED_MS = 15_000


def progress_words(progress: Progress) -> str:
    """Speed and time left, e.g. "42 % · 18.3 x real time · 0:12 left"."""
    parts: list[str] = []
    if progress.total and progress.done <= progress.total:
        parts.append(f"{100 * progress.done / progress.total:.0f} %")
    if progress.done and progress.elapsed_s > 0.3:
        if progress.unit == "frames":
            parts.append(f"{CodecInfo().frame_to_s(progress.done) / progress.elapsed_s:.1f} × real time")
        elif progress.unit == "bytes":
            parts.append(f"{progress.done / 1e6:.0f} MB · {progress.done / progress.elapsed_s / 1e6:.1f} MB/s")
        if progress.total > progress.done and progress.elapsed_s > 1:
            left = round(progress.elapsed_s * (progress.total - progress.done) / progress.done)
            parts.append(f"{left // 60}:{left % 60:02d} left")
    return " · ".join(parts)


def model_words(ready: ModelReady) -> str:
    """What computes where, e.g. "Kyutai Mimi · cpu · float32 exact"."""
    if ready.is_demo:
        return f"Built-in demo codec, far below Kyutai's quality · {ready.device}"
    precision = "float32 exact" if ready.precision == "exact" else ready.precision
    return f"{ready.label} · {ready.device} · {precision}"


class StatusBar(QStatusBar):
    """See the module's docstring.

    Signals:
        cancel_requested(): stop what is going on. model_requested(): the person wants to see about the model.
    """

    cancel_requested = Signal()
    model_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = QLabel()
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setAccessibleName("What is going on")
        self._bar = QProgressBar()
        self._bar.setFixedWidth(150)
        self._bar.setAccessibleName("Progress")
        self._detail = QLabel()
        self._detail.setAccessibleName("Speed and time left")
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop; what is there already stays (Esc)")
        self._cancel.setStyleSheet("padding: 1px 10px; min-height: 16px;")
        self._cancel.clicked.connect(self.cancel_requested)
        self._model = QToolButton()
        self._model.setToolTip("The model in use; click to change it")
        self._model.setAccessibleName("Model in use")
        self._model.clicked.connect(self.model_requested)
        for widget in (self._text, self._bar, self._detail, self._cancel):
            self.addWidget(widget)
        self.addPermanentWidget(self._model)
        self.setContentsMargins(10, 0, 4, 0)
        self.set_activity(None)

    @property
    def text(self) -> str:
        """What the left side says."""
        return self._text.text()

    @property
    def model_text(self) -> str:
        """What the right side says."""
        return self._model.text()

    def set_activity(self, activity: Activity | None) -> None:
        """Show what is going on, or nothing."""
        for widget in (self._bar, self._detail, self._cancel):
            widget.setVisible(activity is not None)
        if activity is None:
            if self._text.property("activity"):
                self._text.setText("")
            return
        progress = activity.progress
        self.clearMessage()
        self._text.setProperty("activity", True)
        self._text.setText(progress.text)
        self._bar.setRange(0, 1000 if progress.total else 0)
        if progress.total:
            self._bar.setValue(round(1000 * min(progress.done / progress.total, 1.0)))
        self._detail.setText(progress_words(progress))
        self._cancel.setVisible(activity.can_cancel)

    def tell(self, words: str) -> None:
        """Say something that stays until the next thing is said."""
        self._text.setProperty("activity", False)
        self._text.setText(words)

    def set_model(self, state: str, choice: ModelChoice, ready: ModelReady | None) -> None:
        """Show the model in use."""
        title = f"{choice.title[0].upper()}{choice.title[1:]}"
        words = {
            "loading": f"Loading {choice.title} …",
            "downloading": f"Downloading {choice.title} …",
            "missing": f"{title} is not on this computer",
            "failed": f"{title} could not be loaded",
        }.get(state, "")
        self._model.setText(model_words(ready) if state == "ready" and ready is not None else words)
