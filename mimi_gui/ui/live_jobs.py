"""The job that runs a live session on the codec thread, where the model lives. The window reads figures meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimi_gui.analysis.running_spectrogram import RunningSpectrogram
from mimi_gui.codes import CodecInfo
from mimi_gui.live import LiveFigures, LiveLoop, LiveTake
from mimi_gui.ui.codec_jobs import ModelChoice, ensure_codec
from mimi_gui.ui.worker import Desk, Job


@dataclass(frozen=True)
class LiveRunning:
    """A session has its devices. All of it may be read, and ``loop``'s setters called, while it runs.

    Attributes:
        said, heard: spectrograms of microphone and loudspeaker that grow frame by frame.
    """

    loop: LiveLoop
    info: CodecInfo
    said: RunningSpectrogram
    heard: RunningSpectrogram


@dataclass(frozen=True)
class LiveEnded:
    """A session is over: what was kept (None: not a frame), its last figures, and why it ended by itself or ""."""

    take: LiveTake | None
    figures: LiveFigures
    error: str


@dataclass(frozen=True)
class RunLive(Job):
    """From the microphone through the codec to the loudspeaker until cancelled. Delivers :class:`LiveRunning`.

    Result: :class:`LiveEnded`.

    Raises:
        PlaybackUnavailable: a device is missing or refuses.
        ModelUnavailable, DeviceError: as for every job that needs the codec.
    """

    choice: ModelChoice
    input_name: str
    output_name: str
    codebooks: tuple[int, ...]
    is_muted: bool

    def run(self, desk: Desk) -> LiveEnded:
        codec = ensure_codec(desk, self.choice)
        loop = LiveLoop(codec)
        loop.set_codebooks(self.codebooks)
        try:
            loop.open(self.input_name or None, self.output_name or None)
            loop.set_muted(self.is_muted)
            rate = codec.info.sample_rate
            spectra = RunningSpectrogram(rate), RunningSpectrogram(rate)
            sounds: list[np.ndarray] = [loop.source.samples, loop.reconstruction.samples]
            desk.deliver(LiveRunning(loop, codec.info, *spectra))

            def draw() -> None:
                for spectrum, samples in zip(spectra, sounds, strict=True):
                    spectrum.advance(samples, loop.codes.shape[1] * codec.info.frame_size)

            loop.run(desk.is_cancelled, draw)
        finally:
            loop.close()
        return LiveEnded(loop.take(), loop.figures, loop.error or "")
