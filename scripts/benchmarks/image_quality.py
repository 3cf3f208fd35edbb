"""Decodes animations with ffmpeg and measures how they differ from the exact frames."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def decoded(path: Path) -> list[np.ndarray]:
    """Decode an animation with ffmpeg into RGB frames."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    frames, at = [], 0
    while at < len(data):
        head = data[at : at + 40].split(b"\n", 3)
        width, height = map(int, head[1].split())
        at += sum(len(part) + 1 for part in head[:3])
        frames.append(np.frombuffer(data, np.uint8, height * width * 3, at))
        frames[-1] = frames[-1].reshape(height, width, 3)
        at += height * width * 3
    return frames


def psnr(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Return the peak signal to noise ratio of all frames together, in dB."""
    pairs = zip(shown, exact, strict=True)
    error = np.mean([np.square(a.astype(np.float32) - b).mean() for a, b in pairs])
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def wrong(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Return the number of pixels that differ."""
    return float(sum((a != b).any(axis=-1).sum() for a, b in zip(shown, exact, strict=True)))


def flicker(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Return the mean change, in levels of 255, of pixels whose exact value does not change."""
    changes, count = 0.0, 0
    for number in range(1, len(exact)):
        unchanged = (exact[number] == exact[number - 1]).all(axis=-1)
        change = np.abs(shown[number].astype(np.int16) - shown[number - 1])[unchanged]
        changes, count = changes + float(change.sum()), count + change.size
    return changes / max(count, 1)
