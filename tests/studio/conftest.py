"""A studio in a process of its own, asked over its socket, and a browser in front of it."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60_000  # ms; only a broken studio waits this long


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Studio:
    """`pentimento studio` as a person starts it."""

    def __init__(self, documents: Path) -> None:
        self.documents = documents
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "pentimento", "studio", "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--documents", str(self.documents)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        _, _, self.host, self.token, _ = self.address.split("/")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the server; its children end with it, as their pipes close."""
        self.process.send_signal(how)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        sent = {"content-type": "application/json"} | (headers or {})
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            prefix = f"/{self.token if token is None else token}"
            connection.request(method, prefix + path, data if method != "GET" else None, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def model_pid(self) -> int:
        """Return the model process's number, once there is one."""
        return self.until(lambda: self.ask("GET", "/api/health").json["process"])

    @staticmethod
    def until(found: Callable[[], Any], seconds: float = 60) -> Any:
        """Return what `found` finds, as soon as it finds something."""
        end = time.monotonic() + seconds
        while not (answer := found()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
        return answer


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("documents"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.fail("these tests need a browser: sudo apt-get install chromium")
    sandbox = [] if os.getuid() else ["--no-sandbox"]  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    """The studio's first page; whatever its scripts complain about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(studio.address)
    yield opened
    context.close()
    assert not complaints
