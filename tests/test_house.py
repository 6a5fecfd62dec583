"""The house rules that a machine can check: who may import what, how long a file may be, what the program says.

Read from the syntax trees, not from the running program, so that a lazily reached line counts too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mimi_gui"
FILES = sorted(PACKAGE.rglob("*.py"))
QT = {"PySide6", "pyqtgraph", "shiboken6"}
TORCH = {"torch", "transformers"}
MAY_IMPORT_TORCH = {
    "codec.py",
    "streaming.py",
    "batches.py",
    "engine.py",
    "graphs.py",
    "transfers.py",
    "kernels.py",
    "latents.py",
    "packed.py",
    "compiled.py",
    "openvino_engine.py",
}

# Lower floors never import higher ones. Modules on the same floor may import each other without circles.
FLOORS = [
    {"errors", "threads"},
    {"resources", "target", "kept_sound"},
    {"codes", "audio"},
    {"clip", "priority", "takes", "sound_devices"},
    {"mixer", "capture", "duplex"},
    {"passage"},
    {"sound_process"},
    {"sound_child"},
    {"output", "recording", "live", "sound_watch"},
    {"playback"},
    {"analysis"},
    {"tf32", "compiled"},
    {"hub", "packed", "kernels", "latents", "tensor_file", "graphs", "transfers", "openvino_graphs", "openvino_store"},
    {"checkpoints"},
    {"weights"},
    {"engine"},
    {"openvino_engine"},
    {"streaming"},
    {"batches"},
    {"codec"},
]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def module_level_imports(tree: ast.Module) -> list[str]:
    body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports(ast.Module(body=list(body), type_ignores=[]))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_qt_lives_under_ui_only(path: Path) -> None:
    if path.is_relative_to(PACKAGE / "ui"):
        return
    tree = ast.parse(path.read_text())
    assert not [name for name in imports(tree) if name.split(".")[0] in QT]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_modules_are_imported_late(path: Path) -> None:
    """torch makes a start take seconds, sounddevice raises at import where PortAudio is missing."""
    tree = ast.parse(path.read_text())
    heads = {name.split(".")[0] for name in module_level_imports(tree)}
    if path.name not in MAY_IMPORT_TORCH:
        assert not heads & TORCH
    assert "sounddevice" not in heads


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_room_is_overfull(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


def test_imports_never_point_downwards() -> None:
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    for path in FILES:
        here = name_of(path).removeprefix("mimi_gui").lstrip(".").split(".")[0]
        if here not in floor:
            continue
        for name in imports(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[0] == "mimi_gui" and len(parts) > 1 and parts[1]:
                assert floor.get(parts[1], 99) <= floor[here], f"{path.name} imports {name}"


def test_imports_have_no_circles() -> None:
    known = {name_of(path) for path in FILES}
    graph: dict[str, set[str]] = {}
    for path in FILES:
        edges: set[str] = set()
        for name in module_level_imports(ast.parse(path.read_text())):
            for candidate in (name, name.rpartition(".")[0]):
                if candidate in known and candidate != "mimi_gui":
                    edges.add(candidate)
                    break
        graph[name_of(path)] = edges - {name_of(path)}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done:
            return
        for neighbour in sorted(graph[name]):
            walk(neighbour, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def test_every_hint_is_a_heading_of_troubleshooting() -> None:
    headings = {
        line.lstrip("#").strip()
        for line in (ROOT / "TROUBLESHOOTING.md").read_text().splitlines()
        if line.startswith("#")
    }
    hints: dict[str, str] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint" and isinstance(node.value, ast.Constant):
                hints[str(node.value.value)] = path.name
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == "default_hint"
                and isinstance(node.value, ast.Constant)
            ):
                hints[str(node.value.value)] = path.name
    missing = {hint: where for hint, where in hints.items() if hint and hint not in headings}
    assert hints
    assert not missing


ROUND_TRIP = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"PySide6", "pyqtgraph", "shiboken6", "sounddevice"}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
from mimi_gui.encoder import encode_audio
from mimi_gui.decoder import decode_tokens
audio, model, folder = sys.argv[1:]
encode_audio(audio, folder + "/tokens.npz", model_name=model, device="cpu")
decode_tokens(folder + "/tokens.npz", folder + "/out.wav", model_name=model, device="cpu")
"""


def test_a_round_trip_needs_neither_qt_nor_sound(tiny_checkpoint: Path, speech: Path, tmp_path: Path) -> None:
    import soundfile

    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, str(speech), str(tiny_checkpoint), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    seconds_in = soundfile.info(speech).duration
    assert abs(soundfile.info(tmp_path / "out.wav").duration - seconds_in) < 1e-3


def test_importing_the_package_is_free() -> None:
    code = (
        "import sys, mimi_gui; from mimi_gui import Codes, load_codes, load_audio;"
        "print([m for m in ('torch', 'transformers', 'PySide6', 'sounddevice') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
