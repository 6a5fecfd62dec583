"""The page is opened in a real browser where there is one: headless Chromium, without a network."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mimi_gui import cli
from mimi_gui.analysis.error_strip import error_strip
from mimi_gui.analysis.ladder import Ladder, Rung
from mimi_gui.analysis.metrics import measure
from mimi_gui.analysis.probe import Disturbance, Steadiness
from mimi_gui.codes import Codes
from mimi_gui.errors import OutputError
from mimi_gui.report import ReportContent, build_page, write_report

RATE = 24_000
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Run in the page; gives what it finds.
PROBE = """
(async () => {
  const out = {};
  const sounds = JSON.parse(document.getElementById('sounds').textContent);
  const length = Math.round(sounds.duration * sounds.sample_rate);
  const context = new OfflineAudioContext(1, length, sounds.sample_rate);
  const buffers = await decode(context, sounds);
  const a = buffers[0].getChannelData(0), b = buffers[1].getChannelData(0);
  out.lengths = [a.length, b.length];
  out.sums = [a, b].map(x => x.reduce((s, v) => s + Math.round(v * 32768), 0));
  const player = new Player(context, buffers, [1, 1]);
  player.play();
  const at = 12800;  // a render quantum is 128 samples
  context.suspend(at / sounds.sample_rate).then(() => { player.setSide(1); context.resume(); });
  const got = (await context.startRendering()).getChannelData(0);
  const worst = (x, from, to) => {
    let most = 0;
    for (let i = from; i < to; i++) most = Math.max(most, Math.abs(got[i] - x[i]));
    return most;
  };
  out.before = worst(a, 0, at);
  out.after = worst(b, at + 400, length);
  out.step = 0;
  for (let i = at; i < at + 400; i++) out.step = Math.max(out.step, Math.abs(got[i] - got[i - 1]));
  out.svgs = document.querySelectorAll('svg').length;
  out.images = await Promise.all([...document.querySelectorAll('image')].map(async node => {
    const image = new Image(); image.src = node.getAttribute('href'); await image.decode(); return image.width; }));
  out.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
  out.blocked = await fetch('https://example.com/').then(() => false, () => true);
  return out;
})()
"""

STATE = """({
  at: Number(document.getElementById('seek').value),
  play: document.getElementById('play').textContent,
  b: document.getElementById('side-b').getAttribute('aria-pressed'),
})"""

MIDDLE = """(() => {
  const box = document.getElementById('lanes').getBoundingClientRect();
  return [box.left + box.width / 2, box.top + 60];
})()"""


@pytest.fixture
def content() -> ReportContent:
    rng = np.random.default_rng(0)
    t = np.arange(RATE * 2) / RATE
    a = (0.4 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    b = (0.3 * np.sin(2 * np.pi * 300 * t) + 0.002 * rng.standard_normal(len(t))).astype(np.float32)
    codes = Codes(rng.integers(0, 2048, (8, 25)).astype(np.int16), len(a))
    results = measure(a, b, RATE, codes, ["size", "tokens", "waveform", "level", "stoi"])
    ladder = Ladder(tuple(Rung(k, k * 0.1375, tuple(measure(a, b * k, RATE, None, ["log_mel"]))) for k in (1, 2, 4, 8)))
    steadiness = [
        Steadiness(Disturbance("gain", 6), rng.random(8), 25),
        Steadiness(Disturbance("context", 125), np.zeros(0), 0, "the recording is too short"),
    ]
    return ReportContent(
        "A <title> & more", a, b, RATE, results, {"file": "<b>.wav", "versions": {"torch": "2"}}, codes,
        error_strip(a, b, RATE, 1920), ladder, steadiness, notes=["5 samples <late>"],
    )  # fmt: skip


class Checker(HTMLParser):
    """Counts what is opened and closed, and collects what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "input", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(content: ReportContent) -> None:
    page = build_page(content)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.loads
    assert all(load.startswith("data:image/png;base64,") for load in checker.loads)
    assert "default-src 'none'" in page
    assert "http" not in re.sub(r"http-equiv|base64,[^\"]+", "", page)


def test_nothing_that_was_put_in_becomes_markup(content: ReportContent) -> None:
    page = build_page(content)
    for raw in ("A <title> & more", "<b>.wav", "<late>"):
        assert raw not in page
        assert html.escape(raw) in page


def test_the_numbers_are_there(content: ReportContent) -> None:
    page = build_page(content)
    for result in content.results:
        assert html.escape(result.metric.name) in page
        assert html.escape(result.text) in page
    assert "+6 dB" in page
    assert "the recording is too short" in page
    assert "codebooks buys" in page or "codebook buys" in page


def test_the_sounds_are_there(content: ReportContent) -> None:
    found = re.search(r'id="sounds">(.*?)</script>', build_page(content))
    assert found
    sounds = json.loads(found[1])
    for key, samples in (("a", content.reference), ("b", content.reconstruction)):
        back, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[key])), dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(back, samples, atol=2**-15)
    assert sounds["gains"][1] / sounds["gains"][0] == pytest.approx(0.4 / 0.3, rel=0.02)
    assert max(sounds["gains"]) <= 1


@pytest.mark.parametrize("length", [0, 1, 100])
def test_short_recordings_have_a_page(length: int) -> None:
    x = np.zeros(length, np.float32)
    page = build_page(ReportContent("t", x, x, RATE, measure(x, x, RATE)))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_long_recordings_leave_the_sounds_out(monkeypatch: pytest.MonkeyPatch, content: ReportContent) -> None:
    monkeypatch.setattr("mimi_gui.report.MOST_SOUND_S", 1.0)
    page = build_page(content)
    assert "sounds are left out" in page
    assert 'id="sounds"' not in page


def test_unequal_sounds_are_refused() -> None:
    with pytest.raises(ValueError, match="equal"):
        build_page(ReportContent("t", np.zeros(3, np.float32), np.zeros(4, np.float32), RATE, []))


def test_written_whole_or_not_at_all(content: ReportContent, tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", content)
    with pytest.raises(OutputError):
        write_report(path, content)
    assert path.read_text(encoding="utf-8").endswith("</html>\n")


def test_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = []
    for i, name in enumerate("ab"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(i).standard_normal(RATE), RATE)
        words.append(str(tmp_path / f"{name}.wav"))
    page = tmp_path / "out.html"
    assert cli.main(["compare", *words, "--only", "waveform", "--html", str(page)]) == 0
    assert "SI-SDR" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["compare", *words, "--html", str(page)]) == 1
    assert "exists already" in capsys.readouterr().err


class Browser:
    """A headless Chromium without a network, on a page, driven through its debugging pipe."""

    def __init__(self, page: Path, profile: Path) -> None:
        if CHROMIUM is None:
            message = "Chromium is not installed (apt-get install chromium)"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--window-size=1280,900",
            "--remote-debugging-pipe",
        ]  # fmt: skip
        # Chromium reads its commands from descriptor 3 and answers on 4.
        launch = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4)"
        launch += "; os.execv(sys.argv[3], sys.argv[3:])"
        line = [sys.executable, "-c", launch, str(to_read), str(to_write), *command]
        self._process = subprocess.Popen(line, pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, ""
        try:
            target = self.call("Target.createTarget", url=page.as_uri())["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.wait("document.readyState === 'complete' && !!document.getElementById('play')")
        except BaseException:
            self.close()
            raise

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            while b"\0" not in self._buffer:
                left = until - time.monotonic()
                assert left > 0, f"{method}: no answer"
                assert select.select([self._from], [], [], left)[0], f"{method}: no answer"
                data = os.read(self._from, 1 << 20)
                assert data, "the browser is gone"
                self._buffer += data
            answer, _, self._buffer = self._buffer.partition(b"\0")
            found = json.loads(answer)
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def run(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        until = time.monotonic() + 30
        while not self.run(condition):
            assert time.monotonic() < until, condition
            time.sleep(0.02)

    def press(self, key: str) -> None:
        code = {" ": 32}.get(key, ord(key.upper()))
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key, windowsVirtualKeyCode=code)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)


@pytest.fixture
def browser(content: ReportContent, tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(write_report(tmp_path / "report.html", content), tmp_path / "profile")
    yield browser
    browser.close()


@pytest.mark.display
def test_the_page_in_a_browser(content: ReportContent, browser: Browser) -> None:
    out = browser.run(PROBE)
    assert out["lengths"] == [len(content.reference)] * 2
    for said, samples in zip(out["sums"], (content.reference, content.reconstruction), strict=True):
        assert abs(said - np.rint(samples.astype(np.float64) * 32768).sum()) < 0.01 * len(samples)
    assert out["before"] < 1e-6  # A to the sample before the switch
    assert out["after"] < 1e-6  # B at the same position after it
    assert out["step"] < 2 * np.pi * 300 / RATE * 0.4 + 0.02  # no click in between
    assert out["svgs"] >= 8
    assert len(out["images"]) == 4
    assert out["fits"]
    assert out["blocked"]


@pytest.mark.display
def test_the_player_by_mouse_and_keys(browser: Browser) -> None:
    assert browser.run(STATE) == {"at": 0, "play": "Play", "b": "false"}
    browser.press("b")
    assert browser.run(STATE)["b"] == "true"
    browser.press("a")
    assert browser.run(STATE)["b"] == "false"
    browser.click(*browser.run(MIDDLE))
    assert browser.run(STATE)["at"] == pytest.approx(1.0, abs=0.02)
    browser.press(" ")
    browser.wait(f"{STATE}.play === 'Pause' && {STATE}.at > 1.1")
    browser.press("b")  # while it plays
    before = browser.run(STATE)["at"]
    browser.wait(f"{STATE}.at > {before}")
    browser.press(" ")
    browser.wait(f"{STATE}.play === 'Play'")
    paused = browser.run(STATE)
    assert 1.1 < paused["at"] <= 2.0
    assert paused["b"] == "true"
    assert browser.run(STATE) == paused
    browser.press(" ")
    browser.wait(f"{STATE}.play === 'Play' && {STATE}.at >= 1.99")  # it stops at the end
