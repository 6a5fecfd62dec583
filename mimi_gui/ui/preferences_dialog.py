"""Model, device, output, level match, codebooks, look: each takes effect at once and is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.codec_jobs import DEFAULT_MODEL, DEMO_MODEL
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.transport import Transport

if TYPE_CHECKING:
    from mimi_gui.ui.theme import ThemeKeeper

_THEMES = (("As the system says", "system"), ("Light", "light"), ("Dark", "dark"))


class PreferencesDialog(QDialog):
    """A dialog without OK and Cancel: what is chosen holds."""

    def __init__(
        self,
        session: Session,
        transport: Transport,
        settings: SettingsStore,
        themes: ThemeKeeper,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Preferences")
        self._session, self._transport, self._settings, self._themes = session, transport, settings, themes
        value = settings.value
        self.model = QComboBox()
        self.model.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.model.setMinimumContentsLength(34)
        self.model.addItem("Kyutai Mimi (kyutai/mimi)", DEFAULT_MODEL)
        self.model.addItem("Built-in demo codec (far below Kyutai's quality)", DEMO_MODEL)
        self._show_model(session.choice.name)
        file, folder = QPushButton("File …"), QPushButton("Folder …")
        file.setToolTip("Choose a .safetensors checkpoint, in Kyutai's own or the transformers layout")
        folder.setToolTip("Choose a folder with config.json and model.safetensors")
        for button in (file, folder):
            button.setAutoDefault(False)  # Return closes nothing and opens nothing
        models = QHBoxLayout()
        models.addWidget(self.model, 1)
        models.addWidget(file)
        models.addWidget(folder)
        self.device = QComboBox()
        known = session.model.devices if session.model is not None else ("cpu",)
        self.device.addItem("Automatic (GPU where there is one)", "auto")
        for name in known:
            self.device.addItem(name, name)
        if self.device.findData(session.choice.device) < 0:
            self.device.addItem(session.choice.device, session.choice.device)
        self.device.setCurrentIndex(max(self.device.findData(session.choice.device), 0))
        self.output = QComboBox()
        self.output.addItem("System default", "")
        names = [device.name for device in transport.output.devices]
        if value.output_device and value.output_device not in names:
            names.append(value.output_device)
        for name in names:
            self.output.addItem(name, name)
        self.output.setCurrentIndex(max(self.output.findData(value.output_device), 0))
        self.match = QCheckBox("Play both sides equally loud (BS.1770)")
        self.match.setChecked(value.level_match)
        self.codebooks = QSpinBox()
        self.codebooks.setRange(1, 32)
        self.codebooks.setValue(value.num_codebooks)
        self.codebooks.setMaximumWidth(80)
        self.theme = QComboBox()
        for words, name in _THEMES:
            self.theme.addItem(words, name)
        self.theme.setCurrentIndex(max(self.theme.findData(value.theme), 0))

        form = QFormLayout()
        form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        form.setVerticalSpacing(12)
        form.setHorizontalSpacing(14)
        model_label = QLabel("&Model")
        model_label.setBuddy(self.model)
        form.addRow(model_label, models)
        form.addRow("&Computed on", self.device)
        form.addRow("Codebooks of a &new recording", self.codebooks)
        form.addRow("Sound &output", self.output)
        form.addRow("&Loudness", self.match)
        form.addRow("L&ook", self.theme)
        for label_of in (self.model, self.device, self.codebooks, self.output, self.match, self.theme):
            label = form.labelForField(label_of)
            if isinstance(label, QLabel):
                label_of.setAccessibleName(label.text().replace("&", ""))
        self.model.setAccessibleName("Model")
        self.model.setFocus()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 16)
        layout.setSpacing(18)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self.setMinimumWidth(620)

        self.model.activated.connect(self._model_chosen)
        file.clicked.connect(self._choose_file)
        folder.clicked.connect(self._choose_folder)
        self.device.activated.connect(self._device_chosen)
        self.output.activated.connect(self._output_chosen)
        self.match.toggled.connect(transport.levels.set_on)
        self.codebooks.valueChanged.connect(self._codebooks_chosen)
        self.theme.activated.connect(self._theme_chosen)

    def _show_model(self, name: str) -> None:
        index = self.model.findData(name)
        if index < 0:
            self.model.addItem(name, name)
            index = self.model.count() - 1
        self.model.setCurrentIndex(index)

    def _model_chosen(self) -> None:
        self._session.use_model(self.model.currentData())

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a checkpoint", "", "Checkpoints (*.safetensors)")
        if path:
            self._show_model(path)
            self._model_chosen()

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose a folder with config.json and weights")
        if path:
            self._show_model(path)
            self._model_chosen()

    def _device_chosen(self) -> None:
        self._session.use_device(self.device.currentData())

    def _output_chosen(self) -> None:
        self._transport.output.use_device(self.output.currentData() or None)

    def _codebooks_chosen(self, value: int) -> None:
        self._settings.update(num_codebooks=value)

    def _theme_chosen(self) -> None:
        self._settings.update(theme=self.theme.currentData())
        self._themes.set_choice(self.theme.currentData())
