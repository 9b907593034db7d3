"""A real headless Chromium, driven through its DevTools protocol over a pipe: no driver, no port,
no network."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
_FLAGS += [
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Page:
    """One page. `complaints` are console errors and warnings, uncaught exceptions and failed loads;
    `asked` what it loaded."""

    def __init__(self, to_browser: int, from_browser: int):
        self._to, self._from, self._buffer, self._last, self._session = (
            to_browser,
            from_browser,
            b"",
            0,
            None,
        )
        self._loaded = False
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            if not (read := os.read(self._from, 1 << 20)):
                raise EOFError("the browser has ended")
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, found = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(found["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(found["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("warning", "error"):
            self.complaints.append(found["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and found["type"] in (
            "warning",
            "error",
            "assert",
        ):
            self.complaints.append(json.dumps(found["args"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, e.g. `call("Page.printToPDF")`."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": params}
        os.write(
            self._to,
            json.dumps(command | ({"sessionId": self._session} if self._session else {})).encode()
            + b"\0",
        )
        deadline = time.monotonic() + 60
        while (message := self._message(deadline)).get("id") != self._last:
            self._note(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def open(self, path: Path, width: int) -> None:
        """Load a file in a window of this many CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._loaded = False
        self.call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 60
        while not self._loaded:
            self._note(self._message(deadline))

    def run(self, script: str) -> Any:
        """Value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """A real mouse click in the middle of an element."""
        # Instantly: under smooth scrolling the place is another one when the click comes.
        box = self.run(
            f"((element) => {{ element.scrollIntoView({{block: 'center', inline: 'center', "
            f"behavior: 'instant'}});"
            f" const {{x, y, width, height}} = element.getBoundingClientRect();"
            f" return {{x: x + width / 2, y: y + height / 2}}; "
            f"}})(document.querySelector({json.dumps(selector)}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(
            self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
        )


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own, until the block ends."""
    read_commands, to_browser = os.pipe()
    from_browser, write_answers = os.pipe()
    # Chromium reads from descriptor 3 and writes to 4; the shell puts the pipes there.
    script = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_answers}'
    command = ["bash", "-c", script, CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command,
        pass_fds=(read_commands, write_answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
