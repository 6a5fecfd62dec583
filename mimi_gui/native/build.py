"""Compiles ``kernels.c`` when the program is installed, where there is a C compiler (a build hook of hatchling).

Without one the installation is whole all the same, and computes with torch's own operators.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).resolve().parent
LIBRARY = "kernels.so"
# One rounding less where a sum can be fused with a product, no errno; nothing that changes what NaN and infinity do.
FLAGS = ("-O3", "-mavx2", "-mfma", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


class CustomBuildHook(BuildHookInterface):
    """What ``pyproject.toml`` names."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Into the source tree for an editable installation, else into the wheel only."""
        self._folder = tempfile.mkdtemp()
        target = (HERE if version == "editable" else Path(self._folder)) / LIBRARY
        problem = compile_kernels(target)
        if problem:
            self.app.display_warning(f"mimi-gui is installed without its compiled kernels: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        if version != "editable":
            build_data["force_include"][str(target)] = f"mimi_gui/native/{LIBRARY}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Nothing stays behind."""
        shutil.rmtree(self._folder, ignore_errors=True)


def compile_kernels(target: Path) -> str:
    """Compile to ``target``, whole or not at all; the reason if it was not, else ""."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "they are for Linux on x86-64"
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "there is no C compiler (cc, gcc or clang)"
    source = HERE / "kernels.c"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.[ch]")))).hexdigest()
    part = target.with_suffix(f".{os.getpid()}.part")
    command = [*compiler.split(), *FLAGS, "-fvisibility=hidden", "-fPIC", "-shared", f'-DSOURCE="{digest}"']
    try:
        command += [str(source), "-o", str(part)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        part.replace(target)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return f"{compiler} failed ({said[0] if said else 'without a word'})"
    finally:
        part.unlink(missing_ok=True)
    return ""
