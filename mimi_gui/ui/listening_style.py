"""How the listening pages look where that is not the program's own look. GUI thread only."""

from __future__ import annotations

from mimi_gui.resources import resource_path
from mimi_gui.ui.theme import Theme


def page_style(theme: Theme) -> str:
    """The rules that only the listening pages need."""
    check = resource_path("icons", f"check-{theme.name}.svg").as_posix()
    return (
        f"QFrame#question, QFrame#card {{ background: {theme.panel}; border: 1px solid {theme.border};"
        " border-radius: 10px; }"
        f'QPushButton[choice="true"] {{ padding: 9px 22px; font-weight: 600; }}'
        f'QPushButton[choice="true"]:checked {{ background: {theme.hover}; border: 2px solid {theme.accent};'
        " padding: 8px 21px; }"
        f'QPushButton[segment="true"] {{ padding: 8px 20px; font-weight: 600; }}'
        f'QPushButton[segment="true"]:checked {{ background: {theme.accent}; color: {theme.accent_text};'
        f" border-color: {theme.accent}; }}"
        f'QPushButton[segment="true"]:focus {{ border: 2px solid {theme.text}; padding: 7px 19px; }}'
        f"QListView::indicator {{ width: 16px; height: 16px; border: 1px solid {theme.text_faint};"
        f" border-radius: 4px; background: {theme.plot}; }}"
        f"QListView::indicator:checked {{ background: {theme.accent}; border-color: {theme.accent};"
        f' image: url("{check}"); }}'
        f"QListView::item:disabled {{ color: {theme.text_faint}; }}"
        f"QListView::indicator:disabled {{ border-color: {theme.border}; background: {theme.panel}; }}"
        f'QPushButton[confirm="true"] {{ padding: 9px 22px; }}'
    )
