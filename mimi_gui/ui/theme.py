"""Colours and the look of every widget, in a light and a dark version that follow the system.

Nothing else in the program names a colour. Text reaches 4.5:1 against what it stands on, marks that carry
meaning 3:1. Original and reconstruction are blue and orange, a pair that every common colour vision keeps
apart.

GUI thread only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from mimi_gui.resources import resource_path
from mimi_gui.ui.stylesheet import STYLESHEET

EMPTY_INDEX = 0  # colour table entry of a cell that holds no code yet
_ACOUSTIC_FIRST, _ACOUSTIC_COUNT = 1, 170
_SEMANTIC_FIRST, _SEMANTIC_COUNT = 171, 85
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Theme:
    """One set of colours, as ``#rrggbb``; all names say what the colour is for."""

    name: str
    is_dark: bool
    window: str  # behind panels
    panel: str  # bars and docks
    plot: str  # behind waveforms and heatmaps
    raised: str  # buttons
    hover: str
    border: str
    text: str
    text_dim: str
    text_faint: str  # ticks, disabled
    accent: str  # focus, primary buttons
    accent_text: str
    side_a: str  # original
    side_b: str  # reconstruction
    side_text: str  # on side_a or side_b
    playhead: str
    loop: str
    semantic: str
    warning: str
    warning_panel: str
    error: str
    error_panel: str
    grid: str

    def color(self, name: str, alpha: float = 1.0) -> QColor:
        """The named colour as a QColor with the given opacity, 0..1."""
        color = QColor(getattr(self, name))
        color.setAlphaF(alpha)
        return color

    def side(self, side: str) -> QColor:
        """The colour of side "A" or "B", or of their difference "D"."""
        return self.color({"A": "side_a", "B": "side_b"}.get(side, "text_dim"))


DARK = Theme(
    name="dark", is_dark=True,
    window="#15171c", panel="#1b1e25", plot="#101216", raised="#272b34", hover="#313642", border="#2c313b",
    text="#e7e9ee", text_dim="#a3abba", text_faint="#7c8596", accent="#8f8bff", accent_text="#12131a",
    side_a="#5fb0ff", side_b="#ffa24c", side_text="#0d1017", playhead="#ffffff", loop="#a9a4ff",
    semantic="#3fd0b4", warning="#ffd166", warning_panel="#2d281a", error="#ff8d85", error_panel="#33201f",
    grid="#20242c",
)  # fmt: skip

LIGHT = Theme(
    name="light", is_dark=False,
    window="#eef0f4", panel="#f8f9fb", plot="#ffffff", raised="#ffffff", hover="#e8ebf2", border="#d3d8e1",
    text="#181b22", text_dim="#525b6b", text_faint="#6b7484", accent="#564fd8", accent_text="#ffffff",
    side_a="#1a6fd4", side_b="#b9540a", side_text="#ffffff", playhead="#12141a", loop="#6a63e8",
    semantic="#0b7f6c", warning="#855a00", warning_panel="#fff4d6", error="#b3261e", error_panel="#fdeceb",
    grid="#e9ecf1",
)  # fmt: skip

THEMES = {"dark": DARK, "light": LIGHT}


# --- colour tables -------------------------------------------------------------------------------------


def oklch_to_rgb(lightness: float, chroma: float, hue_deg: float) -> tuple[int, int, int]:
    """Convert OKLCH (lightness 0..1, chroma about 0..0.3, hue in degrees) to 8-bit sRGB, clipped to the
    gamut."""
    a = chroma * math.cos(math.radians(hue_deg))
    b = chroma * math.sin(math.radians(hue_deg))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )

    def encode(value: float) -> int:
        value = min(max(value, 0.0), 1.0)
        value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
        return round(255 * value)

    red, green, blue = (encode(value) for value in linear)
    return red, green, blue


def blend(front: str, back: str, amount: float) -> tuple[int, int, int]:
    """Mix two colours in sRGB: ``amount`` 1 is all ``front``."""
    first, second = QColor(front), QColor(back)
    return (
        round(first.red() * amount + second.red() * (1 - amount)),
        round(first.green() * amount + second.green() * (1 - amount)),
        round(first.blue() * amount + second.blue() * (1 - amount)),
    )


def hex_color(rgb: tuple[int, int, int]) -> str:
    """Write 8-bit ``(r, g, b)`` as ``#rrggbb``."""
    return f"#{_packed(rgb) & 0xFFFFFF:06x}"


@lru_cache(maxsize=8)
def code_indices(cardinality: int, *, semantic: bool) -> np.ndarray:
    """Return uint8 [cardinality]: which entry of :func:`code_table` paints each code.

    Codes are names: equal codes share a colour in every view and every session, and the multiplication by the
    golden ratio puts the colours of numerically close codes far apart, since their nearness means nothing.
    Acoustic and semantic rows use separate parts of the table because their codebooks are different
    alphabets.
    """
    first, count = (_SEMANTIC_FIRST, _SEMANTIC_COUNT) if semantic else (_ACOUSTIC_FIRST, _ACOUSTIC_COUNT)
    place = np.modf((np.arange(cardinality) + 0.5) * _GOLDEN)[0]
    indices = (first + np.floor(place * count)).astype(np.uint8)
    indices.setflags(write=False)
    return indices


@lru_cache(maxsize=8)
def code_table(theme: Theme, *, dimmed: bool = False) -> np.ndarray:
    """Return uint32 [256] colours (0xffRRGGBB) for codes; ``dimmed`` for rows that are not decoded.

    Lightness rises along each part of the table, so two colours that some eyes see as the same hue still
    differ in brightness.
    """
    rows: list[tuple[int, int, int]] = [blend(theme.plot, theme.plot, 1.0)] * 256
    low, high = (0.30, 0.86) if theme.is_dark else (0.36, 0.90)
    for i in range(_ACOUSTIC_COUNT):
        x = i / (_ACOUSTIC_COUNT - 1)
        # A slow sweep from indigo over rose to amber; every other entry leans the other way to spread hues.
        rows[_ACOUSTIC_FIRST + i] = oklch_to_rgb(
            low + (high - low) * x,
            0.085 + 0.075 * math.sin(math.pi * x),
            275 + 165 * x + (9 if i % 2 else -9),
        )
    for i in range(_SEMANTIC_COUNT):
        x = i / (_SEMANTIC_COUNT - 1)
        rows[_SEMANTIC_FIRST + i] = oklch_to_rgb(
            low + 0.06 + (high - low) * x, 0.07 + 0.06 * math.sin(math.pi * x), 225 - 85 * x
        )
    if dimmed:
        rows = [blend(hex_color(_half_grey(row)), theme.plot, 0.16) for row in rows]
    return _table(rows)


def _half_grey(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = rgb
    grey = 0.3 * red + 0.59 * green + 0.11 * blue
    return round((red + grey) / 2), round((green + grey) / 2), round((blue + grey) / 2)


@lru_cache(maxsize=8)
def usage_table(theme: Theme, *, dimmed: bool = False) -> np.ndarray:
    """Return uint32 [256] colours from "one token repeated" (1) to "all tokens differ" (255).

    Lightness is monotonic: here more is more.
    """
    rows = []
    for i in range(256):
        x = i / 255
        if theme.is_dark:
            row = oklch_to_rgb(0.22 + 0.36 * x, 0.02 + 0.08 * x, 285)
        else:
            row = oklch_to_rgb(0.97 - 0.36 * x, 0.01 + 0.10 * x, 285)
        rows.append(blend(hex_color(row), theme.plot, 0.2) if dimmed else row)
    rows[EMPTY_INDEX] = blend(theme.plot, theme.plot, 1.0)
    return _table(rows)


COLOR_MAPS = {"ember": "Ember", "sea": "Sea", "grey": "Grey"}


@lru_cache(maxsize=8)
def level_table(theme: Theme, name: str = "ember") -> np.ndarray:
    """Return uint32 [256] colours for levels, from the plot's ground (0) to the loudest (255).

    ``name`` is a key of :data:`COLOR_MAPS`; an unknown one counts as "ember". Lightness is monotonic in all.
    """
    low = 0.17 if theme.is_dark else 0.995
    high = 0.97 if theme.is_dark else 0.24
    hue, sweep, chroma = {"grey": (260, 0, 0.0), "sea": (265, -150, 0.115)}.get(name, (285, 165, 0.155))
    rows = []
    for i in range(256):
        x = i / 255
        turn = x if theme.is_dark else 1 - x
        rows.append(oklch_to_rgb(low + (high - low) * x, chroma * math.sin(math.pi * x**0.8), hue + sweep * turn))
    rows[0] = blend(theme.plot, theme.plot, 1.0)
    return _table(rows)


@lru_cache(maxsize=4)
def difference_table(theme: Theme) -> np.ndarray:
    """Return uint32 [256] colours: below 128 lost, in the original's colour; above added, in B's."""
    rows = []
    for i in range(256):
        amount = min(abs(i - 128) / 127, 1.0) ** 0.8
        rows.append(blend(theme.side_a if i < 128 else theme.side_b, theme.plot, amount))
    return _table(rows)


@lru_cache(maxsize=32)
def ramp_table(back: str, front: str, num_colors: int = 256) -> np.ndarray:
    """Return uint32 [num_colors] from ``back`` to ``front``: how much of a pixel a shape covers."""
    return _table([blend(front, back, i / (num_colors - 1)) for i in range(num_colors)])


def _table(rows: list[tuple[int, int, int]]) -> np.ndarray:
    table = np.array([_packed(row) for row in rows], np.uint32)
    table.setflags(write=False)
    return table


def _packed(rgb: tuple[int, int, int]) -> int:
    return 0xFF000000 | rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours, 1..21."""

    def luminance(name: str) -> float:
        color = QColor(name)
        parts = [color.redF(), color.greenF(), color.blueF()]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# --- the whole application -----------------------------------------------------------------------------


def figures_font(base: QFont, *, scale: float = 1.0, bold: bool = False) -> QFont:
    """``base`` with figures of equal width, so that running numbers do not jitter."""
    font = QFont(base)
    if base.pixelSize() > 0:
        font.setPixelSize(max(round(base.pixelSize() * scale), 9))
    else:
        font.setPointSizeF(max(base.pointSizeF() * scale, 6.5))
    font.setBold(bold)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def heading_font(base: QFont, scale: float = 1.0) -> QFont:
    """``base`` in bold, ``scale`` times as large."""
    font = QFont(base)
    if scale != 1.0:
        font.setPointSizeF(max(base.pointSizeF(), 9) * scale)
    font.setBold(True)
    return font


def palette_of(theme: Theme) -> QPalette:
    """The Qt palette that standard widgets, menus and dialogs take their colours from."""
    palette = QPalette()
    role = QPalette.ColorRole
    for target, name in (
        (role.Window, "window"), (role.WindowText, "text"), (role.Base, "plot"),
        (role.AlternateBase, "panel"), (role.Text, "text"), (role.Button, "raised"),
        (role.ButtonText, "text"), (role.BrightText, "playhead"), (role.ToolTipBase, "raised"),
        (role.ToolTipText, "text"), (role.PlaceholderText, "text_faint"), (role.Highlight, "accent"),
        (role.HighlightedText, "accent_text"), (role.Link, "accent"), (role.LinkVisited, "accent"),
        (role.Light, "hover"), (role.Midlight, "raised"), (role.Mid, "border"), (role.Dark, "border"),
        (role.Shadow, "border"), (role.Accent, "accent"),
    ):  # fmt: skip
        palette.setColor(target, theme.color(name))
    for target in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, target, theme.color("text_faint", 0.7))
    return palette


def apply_theme(app: QApplication, theme: Theme) -> None:
    """Dress the whole application: Fusion style, palette, stylesheet and a legible default font."""
    style = app.style()
    if style is None or style.name() != "fusion":
        app.setStyle("Fusion")
    app.setPalette(palette_of(theme))
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    if font.pointSizeF() > 0 and font.pointSizeF() < 9:
        font.setPointSizeF(9)
    app.setFont(font)
    colours = {name: getattr(theme, name) for name in theme.__dataclass_fields__}
    colours["icons"] = resource_path("icons").as_posix()
    sheet = STYLESHEET
    for name in sorted(colours, key=len, reverse=True):
        sheet = sheet.replace(f"@{name}", str(colours[name]))
    app.setStyleSheet(sheet)


class ThemeKeeper(QObject):
    """Follows the system's colour scheme, or holds the one that the person chose.

    Signals:
        changed(Theme): the theme in use is another one now; the application has been dressed already.
    """

    changed = Signal(object)

    def __init__(self, app: QApplication, choice: str = "system") -> None:
        super().__init__(app)
        self._app = app
        self._choice = ""
        self.theme = DARK
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow)
        self.set_choice(choice)

    @property
    def choice(self) -> str:
        """What was chosen: "system", "light" or "dark"."""
        return self._choice

    def set_choice(self, choice: str) -> None:
        """Choose "light" or "dark", or "system" to follow it; anything else counts as "system"."""
        self._choice = choice if choice in THEMES else "system"
        self._use(THEMES.get(self._choice) or system_theme())

    def _follow(self) -> None:
        if self._choice == "system":
            self._use(system_theme())

    def _use(self, theme: Theme) -> None:
        self.theme = theme
        apply_theme(self._app, theme)
        self.changed.emit(theme)


def system_theme() -> Theme:
    """The theme that the system asks for; light where it does not say."""
    scheme = QGuiApplication.styleHints().colorScheme()
    return DARK if scheme == Qt.ColorScheme.Dark else LIGHT
