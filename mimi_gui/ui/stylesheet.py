"""The Qt stylesheet of the application; ``@name`` stands for a colour of :class:`mimi_gui.ui.theme.Theme`."""

STYLESHEET = """
QWidget { color: @text; }
QMainWindow, QDialog, QMessageBox { background: @window; }
QToolTip { background: @raised; color: @text; border: 1px solid @border; padding: 5px 7px; }

QMenuBar { background: @panel; border-bottom: 1px solid @border; padding: 1px 4px; }
QMenuBar::item { padding: 5px 9px; border-radius: 4px; background: transparent; }
QMenuBar::item:selected { background: @hover; }
QMenu { background: @panel; border: 1px solid @border; padding: 5px; }
QMenu::item { padding: 6px 26px 6px 24px; border-radius: 4px; }
QMenu::item:selected { background: @accent; color: @accent_text; }
QMenu::item:disabled { color: @text_faint; }
QMenu::separator { height: 1px; background: @border; margin: 5px 8px; }
QMenu::indicator { width: 12px; height: 12px; left: 6px; }

QStatusBar { background: @panel; border-top: 1px solid @border; color: @text_dim; }
QStatusBar::item { border: none; }
QStatusBar QLabel { color: @text_dim; }

QPushButton, QToolButton[framed="true"] {
    background: @raised; color: @text; border: 1px solid @border; border-radius: 6px;
    padding: 5px 12px; min-height: 18px;
}
QPushButton:hover, QToolButton[framed="true"]:hover { background: @hover; }
QPushButton:pressed, QToolButton[framed="true"]:pressed { background: @border; }
QPushButton:focus, QToolButton:focus { border: 2px solid @accent; padding: 4px 11px; }
QPushButton:disabled { color: @text_faint; background: @panel; }
QPushButton[primary="true"], QPushButton:default {
    background: @accent; color: @accent_text; border: 1px solid @accent; font-weight: 600;
}
QPushButton[primary="true"]:hover, QPushButton[primary="true"]:focus { border: 2px solid @text; padding: 4px 11px; }
QPushButton[primary="true"]:disabled { background: @raised; color: @text_faint; border-color: @border; }

QToolButton { background: transparent; border: 2px solid transparent; border-radius: 6px; padding: 4px; }
QToolButton:hover { background: @hover; }
QToolButton:pressed { background: @border; }
QToolButton:checked { background: @hover; border-color: @accent; }
QToolButton:focus { border: 2px solid @accent; padding: 4px; }
QToolButton:disabled { color: @text_faint; }
QToolButton[desk="M"], QToolButton[desk="S"] { background: @raised; border: 1px solid @border; border-radius: 4px;
    padding: 0; font-weight: 600; color: @text_dim; }
QToolButton[desk="M"]:checked { background: @side_b; color: @side_text; border-color: @side_b; }
QToolButton[desk="S"]:checked { background: @semantic; color: @plot; border-color: @semantic; }
QToolButton[desk="M"]:focus, QToolButton[desk="S"]:focus { border: 2px solid @accent; padding: 0; }
QToolButton::menu-indicator { image: none; }

QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox, QPlainTextEdit, QTextEdit, QListView, QTreeView, QTableView {
    background: @plot; color: @text; border: 1px solid @border; border-radius: 6px;
    selection-background-color: @accent; selection-color: @accent_text;
}
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox { padding: 4px 8px; min-height: 18px; }
QSpinBox, QDoubleSpinBox { padding-right: 2px; }
QAbstractSpinBox QLineEdit, QComboBox QLineEdit { border: none; padding: 0 0 0 5px; min-height: 0;
    background: transparent; }
QAbstractSpinBox QLineEdit:focus, QComboBox QLineEdit:focus { border: none; padding: 0 0 0 5px; }
QComboBox { background: @raised; }
QComboBox:hover { background: @hover; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled { color: @text_faint;
    background: @panel; }
QComboBox::drop-down { border: none; width: 22px; }
QComboBox::down-arrow { image: url("@icons/chevron-down-@name.svg"); width: 12px; height: 12px; }
QSpinBox::up-button, QDoubleSpinBox::up-button { subcontrol-origin: border; subcontrol-position: top right;
    border: none; width: 18px; margin: 2px 2px 0 0; }
QSpinBox::down-button, QDoubleSpinBox::down-button { subcontrol-origin: border;
    subcontrol-position: bottom right; border: none; width: 18px; margin: 0 2px 2px 0; }
QSpinBox::up-button:hover, QSpinBox::down-button:hover, QDoubleSpinBox::up-button:hover,
QDoubleSpinBox::down-button:hover { background: @hover; border-radius: 3px; }
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow { image: url("@icons/chevron-up-@name.svg"); width: 10px;
    height: 10px; }
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow { image: url("@icons/chevron-down-@name.svg"); width: 10px;
    height: 10px; }
QComboBox QAbstractItemView { background: @panel; border: 1px solid @border; outline: none; padding: 4px; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus, QPlainTextEdit:focus, QTextEdit:focus,
QListView:focus, QTreeView:focus, QTableView:focus { border: 2px solid @accent; }
QLineEdit:focus, QComboBox:focus { padding: 3px 7px; }
QSpinBox:focus, QDoubleSpinBox:focus { padding: 3px 1px 3px 7px; }
QHeaderView::section { background: @panel; color: @text_dim; border: none; border-bottom: 1px solid @border;
    padding: 5px 8px; }
QTreeView::item, QListView::item, QTableView::item { padding: 3px 6px; border: none; }
QTreeView::item:selected, QListView::item:selected, QTableView::item:selected { background: @accent;
    color: @accent_text; }
QListView, QTreeView, QTableView { outline: none; }
QTableView { gridline-color: @grid; alternate-background-color: @panel; }

QCheckBox, QRadioButton { spacing: 8px; padding: 2px; border: 2px solid transparent; border-radius: 4px; }
QCheckBox:focus, QRadioButton:focus { border: 2px solid @accent; }

QCheckBox::indicator { width: 16px; height: 16px; border: 1px solid @text_faint; border-radius: 4px;
    background: @plot; }
QCheckBox::indicator:checked { background: @accent; border-color: @accent;
    image: url("@icons/check-@name.svg"); }
QCheckBox::indicator:disabled { border-color: @border; }

QSlider { min-height: 22px; background: transparent; }
QSlider::groove:horizontal { height: 4px; background: @border; border-radius: 2px; }
QSlider::sub-page:horizontal { background: @accent; border-radius: 2px; }
QSlider::sub-page:horizontal:disabled { background: @border; }
QSlider::handle:horizontal { background: @text; width: 14px; height: 14px; margin: -5px 0;
    border-radius: 7px; }
QSlider::handle:horizontal:hover { background: @accent; }
QSlider::handle:horizontal:focus { background: @accent; border: 2px solid @text; width: 10px; height: 10px; }
QSlider::handle:horizontal:disabled { background: @text_faint; }

QProgressBar { background: @border; border: none; border-radius: 3px; max-height: 6px; color: transparent; }
QProgressBar::chunk { background: @accent; border-radius: 3px; }

QScrollBar:horizontal { background: transparent; height: 11px; margin: 0; }
QScrollBar:vertical { background: transparent; width: 11px; margin: 0; }
QScrollBar::handle { background: @border; border-radius: 4px; margin: 2px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:hover { background: @text_faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QSplitter::handle { background: @border; }
QSplitter::handle:hover { background: @accent; }
QTabWidget::pane { border: 1px solid @border; border-radius: 6px; top: -1px; }
QTabBar::tab { background: transparent; color: @text_dim; padding: 7px 14px;
    border-bottom: 2px solid transparent; }
QTabBar::tab:selected { color: @text; border-bottom: 2px solid @accent; }
QTabBar::tab:hover { color: @text; }
QTabBar::tab:focus { background: @hover; }
QGroupBox { border: 1px solid @border; border-radius: 8px; margin-top: 18px; padding: 12px; }
QGroupBox::title { subcontrol-origin: margin; left: 4px; color: @text_dim; }
QDockWidget { color: @text_dim; }
QDockWidget::title { background: @panel; padding: 6px 10px; border-bottom: 1px solid @border; }
QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; border: none; }

QWidget[bar="true"] { background: @panel; }
QLabel[dim="true"] { color: @text_dim; }
QLabel[faint="true"] { color: @text_faint; }
"""
