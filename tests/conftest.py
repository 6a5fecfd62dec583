"""Fixtures shared by every test. Nothing here touches the user's settings, cache, network or sound card."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# As the program itself does: torch's threads wait asleep, so that tests beside other work stay quick.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

# A test run started in the background ignores Ctrl-C, and so would the programs that the tests stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

pytest_plugins = ["tests.sound_card"] if (Path(__file__).parent / "sound_card.py").exists() else []

DATA = Path(__file__).parent / "data"
ON_CI = bool(os.environ.get("CI"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a home of its own: settings, caches and logs never touch the developer's."""
    home = tmp_path_factory.mktemp("home")
    for variable, folder in (
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_STATE_HOME", "state"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_MUSIC_DIR", "music"),
        ("HF_HOME", "huggingface"),
    ):
        monkeypatch.setenv(variable, str(home / folder))


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves a non-daemon Python thread running."""
    before = set(threading.enumerate())
    yield
    leaked = [t for t in threading.enumerate() if t not in before and not t.daemon and t.is_alive()]
    for thread in leaked:
        thread.join(timeout=2)
    still = [t.name for t in leaked if t.is_alive()]
    assert not still, f"threads left running: {still}"


@pytest.fixture(autouse=True)
def _widgets_outlive_their_events(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect widgets between tests only, as the application does between events.

    A widget in a reference cycle is otherwise deleted by whichever allocation happens to trigger Python's
    collector, its own paintEvent included, and that is a crash and not a failure.
    """
    if "qtbot" not in request.fixturenames:
        yield
        return
    gc.disable()
    yield
    gc.enable()
    gc.collect(1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded random Mimi with 4 filters and 2 layers on the real token grid, in the transformers layout."""
    from tests.random_checkpoints import save_tiny_checkpoint

    path = tmp_path_factory.mktemp("tiny-checkpoint")
    save_tiny_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full-size random Mimi (the real configuration), in the transformers layout."""
    from tests.random_checkpoints import save_full_checkpoint

    path = tmp_path_factory.mktemp("full-checkpoint")
    save_full_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def tiny_codec(tiny_checkpoint: Path) -> Iterator[MimiCodec]:
    from mimi_gui.codec import MimiCodec

    codec = MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu")
    yield codec
    codec.close()


@pytest.fixture(scope="session")
def mimi_tiny() -> Iterator[MimiCodec]:
    """The bundled demo codec: real speech through a real (small) trained Mimi."""
    from mimi_gui.codec import MimiCodec

    codec = MimiCodec.from_pretrained("mimi-tiny", device="cpu")
    yield codec
    codec.close()


@pytest.fixture(scope="session")
def speech() -> Path:
    """Clean read English, 9.7 s, 22.05 kHz mono."""
    from mimi_gui.resources import resource_path

    return resource_path("samples", "speech.wav")


@pytest.fixture(scope="session")
def noisy_speech() -> Path:
    """English with room and tape noise, 11 s, 44.1 kHz stereo."""
    return DATA / "jfk.flac"
