"""A second program on the same X screen, for tests of the real window: something to drag from, and a camera.

``python -m tests.desktop source FILE...`` shows a small window; pressing the mouse in it and moving begins a drag of
the files, as a file manager would. ``python -m tests.desktop picture TARGET.png`` takes a picture of the screen.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QMimeData, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QGuiApplication, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """Drag me."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__("\n".join(Path(path).name for path in paths))
        self._paths = paths
        self.setWindowTitle("drag source")
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.setGeometry(1300, 20, 90, 60)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(path) for path in self._paths])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)
        # The data is fetched after the mouse was let go: stay to serve it.
        QTimer.singleShot(2000, QApplication.quit)


def main(verb: str, *arguments: str) -> int:
    app = QApplication([])
    if verb == "source":
        source = Source(list(arguments))
        source.show()
        return app.exec()
    picture = QGuiApplication.primaryScreen().grabWindow(0)
    return 0 if picture.save(arguments[0]) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
