"""File > Export View: which view, how large, in which theme; then a file or the clipboard. GUI thread only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QImage, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.errors import MimiGuiError
from mimi_gui.target import writing
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.picture import LOGICAL_DPI, MM_PER_INCH, Look, Subject, image_of, png_bytes, svg_of
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import DARK, LIGHT, Theme
from mimi_gui.ui.tile_store import TileStore
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

_PREVIEW_PX = (460, 300)


@dataclass(frozen=True)
class SavePicture(Job):
    """Write a picture whole or not at all. Result: its Path."""

    path: Path
    picture: QImage | bytes
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        data = png_bytes(self.picture) if isinstance(self.picture, QImage) else self.picture
        with writing(self.path, overwrite=self.overwrite) as partial:
            partial.write_bytes(data)
        return self.path


class Tiles(QObject):
    """Waits until the spectrograms of a picture are sharp at its size.

    Signals:
        ready(): every tile is there.
    """

    ready = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store: TileStore | None = None
        self._keys: set[object] = set()

    def ask(self, lanes: tuple[Lane, ...]) -> bool:
        """Want what ``lanes`` lacked when they were drawn last; returns whether nothing is missing."""
        wishes = []
        for lane in lanes:
            store = getattr(lane, "store", None)
            if isinstance(store, TileStore):
                if self._store is None:
                    self._store = store
                    store.changed.connect(self._look)
                wishes += store.wishes(lane)
        if self._store is None:
            return True
        self._keys = {key for key, _ in wishes}
        self._store.want(self, wishes)
        return not self._missing()

    def stop(self) -> None:
        """Want nothing any more."""
        if self._store is not None:
            self._store.want(self, [])
            self._store.changed.disconnect(self._look)
            self._store = None
        self._keys = set()

    def _missing(self) -> bool:
        return self._store is not None and any(self._store.get(key) is None for key in self._keys)

    @Slot()
    def _look(self) -> None:
        if self._keys and not self._missing():
            self._keys = set()
            self.ready.emit()


class ExportDialog(QDialog):
    """Size, theme and format of a picture, with a preview.

    Signals:
        told(str): what was done, for the status bar.
    """

    told = Signal(str)

    def __init__(
        self,
        subjects: list[Subject],
        theme: Theme,
        settings: SettingsStore,
        files: WorkerThread,
        stem: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export View")
        self._subjects, self._theme, self._settings, self._files, self._stem = subjects, theme, settings, files, stem
        self._job: int | None = None
        self._path, self._asked = Path(), False
        self._then = ""  # what waits for tiles: "_save_now" or "_copy_now"
        self._tiles = Tiles(self)
        self._tiles.ready.connect(self._show)
        self.what = QComboBox()
        for subject in subjects:
            self.what.addItem(subject.name)
        self.format = QComboBox()
        self.format.addItem("PNG: pixels, for slides and the web", "png")
        self.format.addItem("SVG: shapes and letters, for print", "svg")
        self.unit = QComboBox()
        self.unit.addItem("pixels", "px")
        self.unit.addItem("millimetres", "mm")
        self.width_box, self.height_box = QDoubleSpinBox(), QDoubleSpinBox()
        self.dpi = QSpinBox()
        self.dpi.setRange(50, 1200)
        self.dpi.setValue(300)
        self.dpi.setSuffix(" dpi")
        self.scale = QSpinBox()
        self.scale.setRange(50, 400)
        self.scale.setValue(100)
        self.scale.setSuffix(" %")
        self.scale.setToolTip("How large letters and lines are; 200 % for a screen with twice the pixels")
        self.theme = QComboBox()
        for name, value in (("As on the screen", theme), ("Light", LIGHT), ("Dark", DARK)):
            self.theme.addItem(name, value)
        self.axes = QCheckBox("Titles, scales and ruler")
        self.axes.setChecked(True)
        self._preview = QLabel()
        self._preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._preview.setFixedSize(*_PREVIEW_PX)
        self._preview.setAccessibleName("Preview")
        self._words = QLabel()
        self._words.setWordWrap(True)
        self._words.setProperty("dim", True)
        self._words.setMinimumHeight(2 * self._words.fontMetrics().height())
        self._copy, self._save = QPushButton("Copy"), QPushButton("Save …")
        self._copy.setToolTip("Put the picture on the clipboard, in pixels")
        close = QPushButton("Close")
        self._save.setDefault(True)
        for button in (self._copy, close):
            button.setAutoDefault(False)
        self._copy.clicked.connect(self._copy_picture)
        self._save.clicked.connect(self._save_picture)
        close.clicked.connect(self.reject)
        self._lay_out(close)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(120)
        self._soon.timeout.connect(self._changed)
        self._is_mm = False
        self._use_unit()
        self.what.currentIndexChanged.connect(self._soon.start)
        self.unit.currentIndexChanged.connect(self._use_unit)
        for box in (self.format, self.theme):
            box.currentIndexChanged.connect(self._soon.start)
        for box in (self.width_box, self.height_box, self.dpi, self.scale):
            box.valueChanged.connect(self._soon.start)
        self.axes.toggled.connect(self._soon.start)
        files.finished.connect(self._finished)
        files.failed.connect(self._failed)
        self._show()

    def _lay_out(self, close: QPushButton) -> None:
        size = QHBoxLayout()
        for widget in (self.width_box, QLabel("×"), self.height_box, self.unit):
            size.addWidget(widget)
        size.addStretch(1)
        form = QFormLayout()
        rows: tuple[tuple[str, QWidget | QHBoxLayout], ...] = (
            ("&View", self.what), ("&Format", self.format), ("Size", size), ("&Resolution", self.dpi),
            ("Te&xt size", self.scale), ("&Theme", self.theme), ("With", self.axes),
        )  # fmt: skip
        for words, widget in rows:
            form.addRow(words, widget)
        for box, name in (
            (self.what, "View"), (self.format, "Format"), (self.unit, "Unit of the size"), (self.width_box, "Width"),
            (self.height_box, "Height"), (self.dpi, "Resolution"), (self.scale, "Text size"), (self.theme, "Theme"),
        ):  # fmt: skip
            box.setAccessibleName(name)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        for button in (self._copy, self._save, close):
            buttons.addWidget(button)
        left = QVBoxLayout()
        left.addLayout(form)
        left.addStretch(1)
        left.addWidget(self._words)
        row = QHBoxLayout()
        row.addLayout(left, 1)
        row.addWidget(self._preview)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        layout.addLayout(buttons)

    # --- what is chosen ----------------------------------------------------------------------------------

    @property
    def subject(self) -> Subject:
        """The view that is chosen."""
        return self._subjects[max(self.what.currentIndex(), 0)]

    @property
    def look(self) -> Look:
        """How it shall look. A size in pixels counts the PNG's; the text size says how many make a logical one."""
        width, height, theme = self.width_box.value(), self.height_box.value(), self.theme.currentData()
        if self.unit.currentData() == "mm":
            ratio = self.dpi.value() / LOGICAL_DPI
            logical = LOGICAL_DPI / MM_PER_INCH
        else:
            ratio, logical = 1.0, 1.0
        text = self.scale.value() / 100
        size = (max(round(side * logical / text), 1) for side in (width, height))
        return Look(*size, theme=theme, ratio=ratio * text, axes=self.axes.isChecked())

    @Slot()
    def _use_unit(self) -> None:
        is_mm = self.unit.currentData() == "mm"
        for box, pixels in ((self.width_box, 1600.0), (self.height_box, 900.0)):
            per_mm = LOGICAL_DPI / MM_PER_INCH
            value = box.value() if box.maximum() > 100 else 0.0
            box.blockSignals(True)
            box.setDecimals(1 if is_mm else 0)
            box.setRange(10.0 if is_mm else 40.0, 3000.0 if is_mm else 30_000.0)
            if value and is_mm != self._is_mm:
                value = value / per_mm if is_mm else value * per_mm
            box.setValue(value or pixels)
            box.blockSignals(False)
        self._is_mm = is_mm
        self.dpi.setEnabled(is_mm)
        self._soon.start()

    # --- the picture -------------------------------------------------------------------------------------

    @Slot()
    def _changed(self) -> None:
        self._then = ""  # another picture is wanted by now
        self._show()

    @Slot()
    def _show(self) -> None:
        if self._then:  # the tiles of the picture itself are there
            then, self._then = self._then, ""
            getattr(self, then)()
            return
        look, subject = self.look, self.subject
        ratio = self.devicePixelRatioF()
        fit = min(_PREVIEW_PX[0] / look.width, _PREVIEW_PX[1] / look.height)
        small = Look(look.width, look.height, look.theme, min(fit * ratio, look.ratio), look.axes)
        try:
            image = image_of(subject, small)
            if not self._tiles.ask(subject.lanes):
                self._tell("The spectrogram is still being made …")
            else:
                self._tell_size(look)
        except MimiGuiError as error:
            self._preview.setPixmap(QPixmap())
            self._tell(error.message, ok=False)
            return
        self._save.setEnabled(True)
        self._copy.setEnabled(True)
        image.setDevicePixelRatio(ratio)
        self._preview.setPixmap(QPixmap.fromImage(image))

    def _tell_size(self, look: Look) -> None:
        pixels = look.pixels
        words = f"{pixels.width()} × {pixels.height()} pixels"
        if self.format.currentData() == "svg":
            mm = [side / LOGICAL_DPI * MM_PER_INCH for side in (look.width, look.height)]
            words = f"{look.width} × {look.height} units ({mm[0]:.0f} × {mm[1]:.0f} mm); spectrograms stay pixels"
        self._tell(words)

    def _tell(self, words: str, *, ok: bool = True) -> None:
        self._words.setText(words)
        self._save.setEnabled(ok)
        self._copy.setEnabled(ok)

    def picture(self) -> QImage | bytes:
        """The picture as chosen, with every tile in place that is there by now.

        Raises:
            OutputError: too large, or no room.
        """
        if self.format.currentData() == "svg":
            return svg_of(self.subject, self.look)
        return image_of(self.subject, self.look)

    def _when_sharp(self, then: str) -> None:
        """Draw once to learn which tiles are missing; go on when they are there."""
        self._soon.stop()  # a preview would ask for tiles of its own
        try:
            self.picture()
        except MimiGuiError as error:
            self._tell(error.message, ok=False)
            return
        if self._tiles.ask(self.subject.lanes):
            getattr(self, then)()
            return
        self._tell("The spectrogram is being made at this size …", ok=False)
        self._then = then

    @Slot()
    def _copy_picture(self) -> None:
        self._when_sharp("_copy_now")

    @Slot()
    def _copy_now(self) -> None:
        image = image_of(self.subject, self.look)
        QGuiApplication.clipboard().setImage(image)
        self._tell("Copied")
        self.told.emit(f"Copied {self.subject.name.lower()} as a picture")

    @Slot()
    def _save_picture(self) -> None:
        suffix = f".{self.format.currentData()}"
        folder = Path(self._settings.value.save_folder or ".")
        name = f"{self._stem}.{self.subject.key.replace(' ', '-').lower()}{suffix}"
        filters = "PNG (*.png)" if suffix == ".png" else "SVG (*.svg)"
        text, _ = QFileDialog.getSaveFileName(self, "Export View", str(folder / name), filters)
        if not text:
            return
        self._path = Path(text)
        self._asked = self._path.suffix.lower() == suffix  # the dialog asked about this very name
        if not self._asked:
            self._path = self._path.with_name(self._path.name + suffix)
        self._when_sharp("_save_now")

    @Slot()
    def _save_now(self) -> None:
        try:
            picture = self.picture()
        except MimiGuiError as error:
            self._tell(error.message, ok=False)
            return
        self._tell(f"Saving {self._path.name} …", ok=False)
        self._job = self._files.submit(SavePicture(self._path, picture, self._asked))

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._job:
            self._job = None
            self._tell(f"Saved {result}")
            self._settings.update(save_folder=str(self._path.parent))
            self.told.emit(f"Saved {result}")

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._job:
            self._job = None
            self._tell(failure.message)

    def done(self, result: int) -> None:
        """Let go of the tiles when the dialog closes."""
        self._tiles.stop()
        super().done(result)
