"""Dialogs that explain: the keys, the troubleshooting guide, what went wrong in detail, and who we are."""

from __future__ import annotations

import html
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

import mimi_gui
from mimi_gui.resources import resource_path
from mimi_gui.ui.actions import LISTENING_KEYS, MENUS, POINTER_KEYS, SEPARATOR, SPECS, plain
from mimi_gui.ui.panels import KINDS


class _Reader(QDialog):
    """A dialog around one page of text."""

    def __init__(self, title: str, parent: QWidget | None, width: int, height: int) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.page = QTextBrowser()
        self.page.setOpenExternalLinks(True)
        self.page.setAccessibleName(title)
        self.page.document().setDocumentMargin(14)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.page)
        layout.addWidget(self.buttons)
        self.resize(width, height)


def keys_page(key_color: str, faint_color: str) -> str:
    """The list of all keys as HTML, two columns of menus, made from the table of actions."""

    def native(keys: tuple[str, ...]) -> str:
        return ", ".join(QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in keys)

    tables: dict[str, list[tuple[str, str]]] = {}
    for menu in MENUS:
        tables[menu] = [
            (native(spec.keys), plain(spec.text))
            for spec in SPECS
            if spec.menu == menu and spec.keys and spec.name != SEPARATOR
        ]
    tables["Panels"] = [(native((kind.shortcut,)), kind.title) for kind in KINDS if kind.shortcut]
    tables["Pointer, over the views"] = list(POINTER_KEYS)
    tables["In a listening test"] = list(LISTENING_KEYS)
    blocks: dict[str, str] = {}
    for title, rows in tables.items():
        lines = "".join(
            f"<tr><td style='padding:2px 14px 2px 0; white-space:nowrap; color:{key_color}'><b>{html.escape(keys)}"
            f"</b></td><td style='padding:2px 0'>{html.escape(words)}</td></tr>"
            for keys, words in rows
        )
        blocks[title] = f"<h3>{title}</h3><table cellspacing=0>{lines}</table>"
    left = "".join(blocks[menu] for menu in ("Playback", "Codec") if menu in blocks)
    right = "".join(block for menu, block in blocks.items() if menu not in ("Playback", "Codec"))
    return (
        f"<table width='100%'><tr><td width='50%' valign='top' style='padding-right:22px'>{left}</td>"
        f"<td valign='top'>{right}</td></tr></table>"
        f"<p style='color:{faint_color}'>1 to 6 choose 1, 2, 4, 8, 16 or 32 codebooks.</p>"
    )


class KeysDialog(_Reader):
    """Every key of the window; it cannot be out of date."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Keys", parent, 900, 800)
        palette = QApplication.palette()
        self.page.setHtml(keys_page(palette.link().color().name(), palette.placeholderText().color().name()))


class TroubleshootingDialog(_Reader):
    """The bundled TROUBLESHOOTING.md, opened at a heading."""

    def __init__(self, heading: str = "", parent: QWidget | None = None) -> None:
        super().__init__("Troubleshooting", parent, 780, 640)
        self.page.setMarkdown(troubleshooting_section(heading))
        if heading:
            everything = QPushButton("Show the whole guide")
            everything.setAutoDefault(False)
            self.buttons.addButton(everything, QDialogButtonBox.ButtonRole.ActionRole)
            everything.clicked.connect(self._show_all)

    def _show_all(self) -> None:
        self.page.setMarkdown(troubleshooting_section(""))


def troubleshooting_section(heading: str) -> str:
    """One section of TROUBLESHOOTING.md with its subsections, or all of it for "" or an unknown heading."""
    text = resource_path("TROUBLESHOOTING.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    for first, line in enumerate(lines):
        level = len(line) - len(line.lstrip("#"))
        if heading and level and line.lstrip("#").strip() == heading:
            for last in range(first + 1, len(lines)):
                other = len(lines[last]) - len(lines[last].lstrip("#"))
                if 0 < other <= level and lines[last].startswith("#"):
                    return "\n".join(lines[first:last])
            return "\n".join(lines[first:])
    return text


class DetailsDialog(QDialog):
    """A traceback with a way to copy it."""

    def __init__(self, details: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something unforeseen went wrong")
        self._text = f"{facts()}\n\n{details.rstrip()}\n"
        label = QLabel("The window goes on. If it happens again, copy these details into a report.")
        label.setWordWrap(True)
        page = QPlainTextEdit(self._text)
        page.setReadOnly(True)
        page.setAccessibleName("Details")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self._copy)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(label)
        layout.addWidget(page)
        layout.addWidget(buttons)
        self.resize(760, 420)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._text)


def facts() -> str:
    """Versions, one line, for reports."""
    parts = [f"Mimi GUI {mimi_gui.__version__}", f"Python {platform.python_version()}", platform.platform()]
    for name in ("PySide6-Essentials", "torch", "transformers", "numpy"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    compiled = sys.modules.get("mimi_gui.compiled")  # imports torch: only where a codec has been loaded
    if compiled is not None:
        parts.append(f"kernels {compiled.description()}")
    return " · ".join([*parts, sys.platform])


class AboutDialog(_Reader):
    """Version, licence, where things come from."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("About Mimi GUI", parent, 560, 380)
        self.page.setHtml(
            f"<h2>Mimi GUI {mimi_gui.__version__}</h2>"
            "<p>See and hear what the Mimi neural audio codec keeps of a recording, and what it loses.</p>"
            "<p>Mimi is by <a href='https://kyutai.org'>Kyutai</a>: "
            "<a href='https://arxiv.org/abs/2410.00037'>Moshi: a speech-text foundation model for real-time dialogue"
            "</a>. Its weights are published under CC BY 4.0. This program is not by Kyutai; it is MIT-licensed.</p>"
            "<p>The bundled sample is a public domain recording from LJ Speech; the built-in demo codec is a very "
            "small Mimi that was trained for this program and sounds far below Kyutai's.</p>"
            f"<p style='color:gray'>{html.escape(facts())}</p>"
        )
        self.page.setTextInteractionFlags(
            self.page.textInteractionFlags() | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
