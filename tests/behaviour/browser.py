"""A headless Chromium for tests, driven over its debugging pipe: no package, no port, no network.

    with Browser() as browser:
        page = browser.open(path, width=390, dark=True)
        page.run("document.title")
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

TIMEOUT_S = 60


class BrowserError(Exception):
    pass


def program():
    """The path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Messages are JSON with a zero byte behind each, as --remote-debugging-pipe has them on descriptors 3 and 4."""

    def __init__(self):
        if program() is None:
            raise BrowserError("no Chromium; tools/setup --tests installs it")
        self.profile = tempfile.TemporaryDirectory()
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()

        def place():  # through higher numbers: a pipe may hold 3 or 4 already
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        self.process = subprocess.Popen(
            [program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=place,
            close_fds=False)
        os.close(to_browser)
        os.close(from_browser)
        self.waiting = b""
        self.count = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.out)
        os.close(self.into)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    def read(self, deadline):
        while b"\0" not in self.waiting:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.into], [], [], left)[0]:
                raise BrowserError("Chromium does not answer")
            part = os.read(self.into, 1 << 20)
            if not part:
                raise BrowserError("Chromium has ended")
            self.waiting += part
        message, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.count += 1
        number = self.count
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self.read(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def open(self, path, width=1280, height=900, dark=False):
        return Page(self, Path(path), width, height, dark)


class Page:
    """One file in a tab of its own; `seconds`: from the start of its loading to the first frame after `load`."""

    def __init__(self, browser, path, width, height, dark):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        start = time.monotonic()
        self.url = path.resolve().as_uri()
        self.call("Page.navigate", url=self.url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
        self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        self.seconds = time.monotonic() - start

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def run(self, script):
        """The value of an expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise BrowserError(f"waited {TIMEOUT_S} s for {condition}")
            time.sleep(0.02)

    def complaints(self):
        """Errors and warnings of the console, exceptions, and what the log says of the page (its policy, say)."""
        out = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            details = event["params"]
            if event["method"] == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
                out.append(str(details["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                out.append(str(details["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
                out.append(details["entry"]["text"])
        return out

    def requests(self):
        """Addresses that the page asked for, itself and data: apart."""
        addresses = [event["params"]["request"]["url"] for event in self.browser.events
                     if event.get("sessionId") == self.session and event["method"] == "Network.requestWillBeSent"]
        return [address for address in addresses if address != self.url and not address.startswith("data:")]

    def screenshot(self, file, whole=False):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, file):
        Path(file).write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True,
                                                          printBackground=False)["data"]))
