"""A real browser without a window, driven over a pipe by its own protocol: no package, no port, no network.

Chromium's DevTools protocol: https://chromedevtools.github.io/devtools-protocol/. With `--remote-debugging-pipe` it
reads messages from file descriptor 3 and writes them to 4, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root, and open nothing but their own files
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--force-color-profile=srgb",
)
_PATIENCE = 60  # seconds
_BECOME = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]  # out of the way of 3 and 4
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str:
    """Return the program; skips where there is none."""
    found = os.environ.get("RETRIEVAL_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed; or set RETRIEVAL_TEST_BROWSER")
    return found


class Page:
    """An open page, and everything that it asked for and complained about.

    Attributes:
        requests: addresses in the order of asking.
        complaints: errors and warnings of the console, exceptions, and what the browser's log says.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._buffer = b""
        self._loaded = False
        os.set_blocking(from_browser, False)
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        self._loaded = False
        self._ask("Page.navigate", url=address)
        self._wait(lambda: self._loaded)
        self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, of a promise what it comes to."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that a selector finds, hidden ones too."""
        return self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((found) => found.textContent)"
        )

    def text(self, selector: str) -> str:
        """Return the text of the one element that a selector finds first."""
        return self.texts(selector)[0]

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        place = self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'center', behavior: 'instant'}); const box = found.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key of the keyboard and let it go."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list."""
        self.evaluate(
            f"(() => {{ const list = document.querySelector({json.dumps(selector)}); list.value = {json.dumps(value)};"
            "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def look(self, width: int, height: int, *, dark: bool = False, media: str = "screen") -> None:
        """Set the size of the window, whether the reader likes it dark, and "screen" or "print"."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answers: dict[int, dict[str, Any]] = {}
        self._wait(lambda: self._number in answers, answers)
        answer = answers[self._number]
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _wait(self, done: Any, answers: dict[int, dict[str, Any]] | None = None) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            assert time.monotonic() < deadline, "the browser does not answer"
            try:
                read = os.read(self._from, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            assert read, "the browser has ended"
            *whole, self._buffer = (self._buffer + read).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    if answers is not None:
                        answers[message["id"]] = message
                else:
                    self._note(message["method"], message["params"])

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(told["args"]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser with an empty profile, and end it afterwards."""
    program = find_browser()
    (read_by_it, to_it), (from_it, written_by_it) = os.pipe(), os.pipe()

    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _BECOME,
            str(read_by_it),
            str(written_by_it),
            program,
            *_OPTIONS,
            f"--user-data-dir={profile}",
        ],
        pass_fds=(read_by_it, written_by_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        yield Page(to_it, from_it)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to_it)
        os.close(from_it)
