"""The command line as a shell sees it: exit codes, one line, torch only where it is needed, a bar on a terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mimi_gui
from mimi_gui import cli
from mimi_gui.codes import load_codes

PROGRAM = [sys.executable, "-m", "mimi_gui.cli"]


def run(*arguments: str | Path, module: str = "mimi_gui.cli") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_encode_and_decode(tmp_path: Path, speech: Path, tiny_checkpoint: Path) -> None:
    tokens = tmp_path / "a.npz"
    done = run("encode", speech, tokens, "--model", tiny_checkpoint, "--device", "cpu", "-k", "8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1  # no bar in a pipe
    assert "8 codebooks x 121 frames" in done.stderr
    assert "1.1 kbit/s" in done.stderr
    done = run("decode", tokens, tmp_path / "a.wav", "--device", "cpu", "--subtype", "PCM_24", "--streaming")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_24"
    assert soundfile.info(tmp_path / "a.wav").frames == load_codes(tokens).num_samples


def test_the_modules_are_the_same_verbs(tmp_path: Path, speech: Path, tiny_checkpoint: Path) -> None:
    tokens = tmp_path / "a.npz"
    options = ("--device", "cpu", "--model", tiny_checkpoint, "--streaming", "--num-codebooks", "2", "--fix-ssl", "-q")
    done = run(speech, tokens, *options, module="mimi_gui.encoder")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run(tokens, tmp_path / "a.wav", *options, module="mimi_gui.decoder")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run(tokens, tmp_path / "a.wav", module="mimi_gui.decoder")
    assert done.returncode == 1
    assert "--overwrite" in done.stderr


def test_outputs_have_names_of_their_own(tmp_path: Path, speech: Path, tiny_checkpoint: Path) -> None:
    recording = tmp_path / "my talk.wav"
    recording.write_bytes(speech.read_bytes())
    before = recording.read_bytes()
    assert cli.main(["encode", str(recording), "--model", str(tiny_checkpoint), "-q"]) == 0
    assert (tmp_path / "my talk.npz").exists()
    assert cli.main(["decode", str(tmp_path / "my talk.npz"), "-q"]) == 1  # my talk.wav is there
    assert recording.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "a", "b", "c"],
        ["decode", "a", "--nonsense"],
        ["encode", "a", "-k", "0"],
        ["info"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mimi-gui {mimi_gui.__version__}\n"
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for verb in ("encode", "decode", "info"):
        assert verb in listed
        assert cli.main([verb, "--help"]) == 0
    assert "window " not in listed


@pytest.mark.parametrize("arguments", [[], ["--demo"], ["talk.wav", "b.npz"], ["--model", "mimi-tiny", "talk.wav"]])
def test_without_a_verb_the_window_opens(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[list[str]] = []
    monkeypatch.setattr("mimi_gui.ui.app.main", lambda argv: opened.append(argv) or 7)
    assert cli.main(arguments) == 7
    assert opened == [arguments]


def test_info_tells_what_a_file_is(tmp_path: Path, noisy_speech: Path, tiny_checkpoint: Path, capsys) -> None:
    def facts(name: Path) -> dict:
        assert cli.main(["info", str(name), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert cli.main(["encode", str(noisy_speech), str(tmp_path / "a.npz"), "--model", str(tiny_checkpoint), "-q"]) == 0
    recording = facts(noisy_speech)
    assert (recording["kind"], recording["sample_rate"]) == ("recording", soundfile.info(noisy_speech).samplerate)
    tokens = facts(tmp_path / "a.npz")
    assert (tokens["kind"], tokens["num_codebooks"], tokens["num_frames"]) == ("tokens", 32, recording["mimi_frames"])
    checkpoint = facts(tiny_checkpoint)
    assert (checkpoint["kind"], checkpoint["digest"]) == ("checkpoint", tokens["digest"])
    assert facts(next(tiny_checkpoint.glob("*.safetensors")))["digest"] == tokens["digest"]
    assert cli.main(["info", str(tmp_path / "a.npz")]) == 0
    words = capsys.readouterr().out
    assert "num codebooks" in words
    assert noisy_speech.name in words
    np.savez(
        tmp_path / "bare.npz", audio_codes=np.zeros((1, 2, 3), int), sample_rate=24000, num_codebooks=2, num_frames=3
    )
    assert facts(tmp_path / "bare.npz")["checkpoint"] == "unknown"


def test_torch_is_not_loaded_for_what_needs_none(tmp_path: Path, speech: Path) -> None:
    code = (
        "import sys\nfrom mimi_gui.cli import main\n"
        "for words in ['--help'], ['info', sys.argv[1]], ['encode', 'no.wav'], ['encode', *sys.argv[1:]]:\n"
        "    main(words)\n"
        "print(sorted({'torch', 'transformers', 'PySide6', 'sounddevice'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, speech, tmp_path], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done


@pytest.mark.skipif(sys.platform == "win32", reason="no rusage there")
def test_help_is_quick() -> None:
    """Half a second on a machine of its own; here, where others compute, the processor's time is what counts."""
    import resource

    def spent_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(3):
        before = spent_s()
        subprocess.run([*PROGRAM, "--help"], capture_output=True, check=True)
        times.append(spent_s() - before)
    assert min(times) < 0.4


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals or signals there")
def test_on_a_terminal_there_is_a_bar(tmp_path: Path, speech: Path, tiny_checkpoint: Path) -> None:
    ours, theirs = os.openpty()
    soundfile.write(tmp_path / "a.flac", np.tile(soundfile.read(speech)[0], 6), 22050)
    command = [*PROGRAM, "encode", str(tmp_path / "a.flac"), "--model", str(tiny_checkpoint), "--streaming"]
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(30) == 0
    text = shown.decode()
    assert "Loading" in text
    assert "%" in text
    assert "Encoding a.flac" in text
    assert "32 codebooks" in text.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize(
    ("number", "code", "streaming"),
    [(signal.SIGINT, 130, ["--streaming"]), (signal.SIGTERM, 143, ["--streaming"]), (signal.SIGINT, 130, [])],
)
def test_stopped_it_leaves_no_half_file(
    tmp_path: Path, tiny_checkpoint: Path, number: int, code: int, streaming: list[str]
) -> None:
    recording = tmp_path / "long.flac"
    soundfile.write(recording, np.random.default_rng(0).random(24000 * 600) * 0.1, 24000)
    command = [*PROGRAM, "encode", str(recording), "--model", str(tiny_checkpoint), *streaming]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ready = _writes_to if streaming else _has_torch
    deadline = time.monotonic() + 60
    while not ready(process.pid, tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [recording]


def _has_torch(pid: int, _folder: Path) -> bool:
    """Whether the process is past its arguments and at work: loading the model or encoding."""
    return "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()


def _writes_to(pid: int, folder: Path) -> bool:
    """Whether the process holds the writer's unnamed file."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(link)
        except OSError:
            continue  # closed meanwhile
        if name.startswith(str(folder)) and name.endswith("(deleted)"):
            return True
    return False


def test_bench_prints_what_was_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[tuple, dict]] = []
    monkeypatch.setattr("mimi_gui.bench.run", lambda *args, **options: asked.append((args, options)) or {"a": 1})
    monkeypatch.setattr("mimi_gui.bench.print_table", lambda result: print(f"table of {result}"))
    assert cli.main(["bench", "--model", "m", "--seconds", "2", "--only", "moshi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    options = {"duration_s": 2.0, "repeats": 5, "contestants": ("moshi",), "progress": None}
    options |= {"device": "cpu", "endurance": False}
    assert asked == [(("m",), options)]
    assert cli.main(["bench"]) == 0
    assert capsys.readouterr().out == "table of {'a': 1}\n"
    assert cli.main(["bench", "--only", "nobody"]) == 2


def test_what_nobody_expected_is_one_line_and_logged(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr("mimi_gui.info.describe", lambda name: 1 / 0)
    assert cli.main(["info", "a.wav"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said
    log = Path(said.rsplit("details: ", 1)[1].rstrip(")\n"))
    assert "Traceback" in log.read_text()
