"""What a browser makes of the animations: Chromium's decoders and its player."""

import base64
import hashlib
import io
import math

import numpy as np
import pytest
from PIL import Image

from filtertrack import animate
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.look import Look

PICTURES = """async type => {
  const decoder = new ImageDecoder({data: await (await fetch("/animation")).arrayBuffer(), type});
  await decoder.tracks.ready;
  await decoder.completed;
  const track = decoder.tracks.selectedTrack, hashes = [], milliseconds = [];
  for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
    const {image} = await decoder.decode({frameIndex});
    const pixels = new Uint8Array(image.allocationSize({format: "RGBA"}));
    await image.copyTo(pixels, {format: "RGBA"});
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", pixels));
    hashes.push(Array.from(hash, byte => byte.toString(16).padStart(2, "0")).join(""));
    milliseconds.push(image.duration / 1000);
    image.close();
  }
  return {hashes, milliseconds, loop: track.repetitionCount};
}"""

VIDEO = """async times => {
  const video = document.createElement("video");
  const until = event => new Promise((resolve, reject) => {
    video["on" + event] = resolve;
    video.onerror = () => reject(new Error(video.error.message));
  });
  video.muted = true;
  video.src = URL.createObjectURL(await (await fetch("/animation")).blob());
  await until("loadeddata");
  const canvas = document.createElement("canvas"), shown = [];
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  for (const time of times) {
    // "seeked" comes, rarely, before the picture does.
    const pictured = new Promise(resolve => video.requestVideoFrameCallback(resolve));
    video.currentTime = time;
    await Promise.all([until("seeked"), pictured]);
    canvas.getContext("2d").drawImage(video, 0, 0);
    shown.push(canvas.toDataURL().split(",")[1]);
  }
  video.currentTime = 0;
  video.play();
  await until("ended");
  return {seconds: video.duration, ended: video.currentTime, shown};
}"""


def run_in_page(chromium, animation, mime, script, argument):
    """Run a script on a file in a browser page over https, which hashing needs."""
    with chromium.new_page() as page:
        page.route("**", lambda route: route.fulfill(body="<!doctype html>"))
        page.route("**/animation", lambda route: route.fulfill(path=animation, content_type=mime))
        page.goto("https://drawing.test/")
        late = "new Promise((_, no) => setTimeout(() => no(new Error('no answer in 90 s')), 90000))"
        return page.evaluate(f"given => Promise.race([({script})(given), {late}])", argument)


@pytest.fixture
def drawn(make_run, conv_info):
    """A run of colour filters, and a function that draws its frames without a palette."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 12)), steps=range(5))
    selection = select_from_run(run)
    timeline = plan(selection.moments[0], Pace(fps=4))

    def drawing(**options):
        return AnimationFrames(selection, timeline, Look(), side=400, **options)

    return run, drawing


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_chromium_decodes_every_frame(chromium, drawn, tmp_path, ending, repainted):
    """Pixels and durations are those of the frames, and the animation plays for ever."""
    run, drawing = drawn
    animation = animate(run, tmp_path / f"a.{ending}", size=400, fps=4)
    mime = f"image/{ending}"
    decoded = run_in_page(chromium, animation.path, mime, PICTURES, mime)
    expected = drawing(indexed=ending == "gif")
    pictures = list(repainted(expected) if ending == "gif" else expected.pictures())
    opaque = [np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]) for p in pictures]
    assert decoded["hashes"] == [hashlib.sha256(p.tobytes()).hexdigest() for p in opaque]
    assert decoded["milliseconds"] == [1250, 250, 250, 250, 2250]
    assert decoded["loop"] == math.inf


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_chromium_plays_a_video(chromium, drawn, tmp_path, ending):
    """To its end, for the given duration; the frame at a time is that of the timeline."""
    run, drawing = drawn
    animation = animate(run, tmp_path / f"a.{ending}", size=400, fps=4)
    played = run_in_page(chromium, animation.path, f"video/{ending}", VIDEO, [0.6, 1.4, 3.9])
    assert played["seconds"] == pytest.approx(4.25, abs=0.05)
    assert played["ended"] == pytest.approx(4.25, abs=0.05)
    pictures = list(drawing(indexed=False, even=True).pictures())
    for number, data in zip((0, 1, 4), played["shown"], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            shown = np.asarray(image.convert("RGB"), float)
        assert shown.shape[:2] == animation.shape
        error = np.square(shown - pictures[number]).mean()
        assert 10 * np.log10(255**2 / error) > 32, number
