"""What a browser makes of the animations: Chromium's decoders and its player."""

import base64
import hashlib
import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from filtertrack import animate
from filtertrack.film import Film
from filtertrack.panel import Look
from filtertrack.subject import choose
from filtertrack.timing import Pace, plan

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

PICTURES = """
async function look(type, data) {
  const decoder = new ImageDecoder({data, type});
  await decoder.tracks.ready;
  await decoder.completed;
  const track = decoder.tracks.selectedTrack, frames = [];
  for (let n = 0; n < track.frameCount; n++) {
    const {image} = await decoder.decode({frameIndex: n});
    const pixels = new Uint8Array(image.allocationSize({format: "RGBA"}));
    await image.copyTo(pixels, {format: "RGBA"});
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", pixels));
    const hex = Array.from(hash).map(byte => byte.toString(16).padStart(2, "0")).join("");
    frames.push({hex, milliseconds: image.duration / 1000});
    image.close();
  }
  // A browser gives "for ever" as infinity, which JSON does not know.
  return {frames, loop: track.repetitionCount === Infinity ? "for ever" : track.repetitionCount};
}
"""

VIDEO = """
async function look(type, data) {
  const video = document.createElement("video");
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([data], {type}));
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error(video.error.message));
  });
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d"), shown = [];
  for (const time of TIMES) {
    const seeked = new Promise(resolve => video.onseeked = resolve);
    video.currentTime = time;
    await seeked;
    context.drawImage(video, 0, 0);
    shown.push(Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data));
  }
  video.currentTime = 0;
  await new Promise(resolve => { video.onended = resolve; video.play(); });
  return {width: canvas.width, height: canvas.height, seconds: video.duration, shown,
          ended: video.currentTime};
}
"""

PAGE = """<!doctype html><meta charset="utf-8"><script>
%s
const bytes = Uint8Array.from(atob("%s"), character => character.charCodeAt(0));
look("%s", bytes).then(JSON.stringify, error => JSON.stringify({error: String(error)}))
  .then(body => fetch("/", {method: "POST", body}));
</script>"""


def seen_by_chromium(path, mime, script, profile):
    """Let a page look at a file, in headless Chromium, and return what it says."""
    page = PAGE % (script, base64.b64encode(path.read_bytes()).decode(), mime)
    said, done = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            if self.path == "/":
                self.wfile.write(page.encode())

        def do_POST(self):
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", address]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as browser:
            try:
                assert done.wait(90), "the page did not answer"
            finally:
                browser.terminate()
                server.shutdown()
    assert "error" not in said[0], said[0]
    return said[0]


@pytest.fixture
def drawn(make_run, conv_info):
    """A run of colour filters, its film without a palette, and all of its frames."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 12)), steps=range(5))
    subject = choose(run)
    timeline = plan(subject.moments[0], Pace(fps=4))

    def film(**options):
        return Film(subject, timeline, Look(), side=400, **options)

    return run, film


pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_chromium_decodes_every_frame(drawn, tmp_path, ending):
    """Each frame's pixels are the film's, each is shown as long as asked, and it plays for ever."""
    run, film = drawn
    animation = animate(run, tmp_path / f"a.{ending}", size=400, fps=4)
    mime = "image/" + ending
    seen = seen_by_chromium(animation.path, mime, PICTURES, tmp_path / "profile")
    expected = film(indexed=ending == "gif")
    colours = expected.colours
    pictures = [p if colours is None else colours[p] for p in expected.pictures()]
    opaque = [np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]) for p in pictures]
    hashes = [hashlib.sha256(p.tobytes()).hexdigest() for p in opaque]
    assert [frame["hex"] for frame in seen["frames"]] == hashes
    assert [frame["milliseconds"] for frame in seen["frames"]] == [1250, 250, 250, 250, 2250]
    assert seen["loop"] == "for ever"


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_chromium_plays_a_video(drawn, tmp_path, ending):
    """To its end, as long as asked; what is shown at a time is the snapshot whose turn it is."""
    run, film = drawn
    animation = animate(run, tmp_path / f"a.{ending}", size=400, fps=4)
    times = [0.6, 1.4, 3.9]
    script = VIDEO.replace("TIMES", json.dumps(times))
    seen = seen_by_chromium(animation.path, f"video/{ending}", script, tmp_path / "profile")
    height, width = animation.shape
    assert (seen["height"], seen["width"]) == (height, width)
    assert seen["seconds"] == pytest.approx(4.25, abs=0.05)
    assert seen["ended"] == pytest.approx(4.25, abs=0.05)
    pictures = list(film(indexed=False, even=True).pictures())
    for number, pixels in zip((0, 1, 4), seen["shown"], strict=True):
        shown = np.array(pixels, np.uint8).reshape(height, width, 4)[..., :3]
        error = np.square(shown.astype(float) - pictures[number]).mean()
        assert 10 * np.log10(255**2 / error) > 32, number
