"""The review page as a reader sees it in a real browser, and its server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from support import quiet_environment
from warm_process import WarmProcess

pytest.importorskip("selenium.webdriver")
pytest.importorskip("gradio")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium or chromium-driver is not installed",
    ),
]
WAIT = 60  # seconds; a busy machine is slow

Shot = Callable[[str], None]


@contextmanager
def serving(
    store: str | Path, adapter: str, folder: Path, *arguments: str, cold: bool = False, **environment: str
) -> Iterator[str]:
    """`clinadapt review` on a free port; afterwards it has stopped cleanly, left no file behind and logged no note.
    `cold`: as installed, in a process that imports what it needs."""
    port = free_ports()
    temporary, log = folder / "tmp", folder / "log.txt"
    temporary.mkdir()
    command = ["review", "--adapter", adapter, *arguments, "--store", str(store), "--port", str(port)]
    variables = {**quiet_environment(temporary), "HTTP_PROXY": "http://127.0.0.1:9", **environment}
    log.touch()
    if cold:
        installed = Path(sys.executable).with_name("clinadapt")
        with log.open("w") as file:
            server: Any = subprocess.Popen([installed, *command], env=variables, cwd=folder, stdout=file, stderr=file)
    else:
        server = WarmProcess(None, command, variables, log, log, folder)
    try:
        WebDriverWait(log, 4 * WAIT).until(lambda _: server.poll() is not None or f":{port} (stop" in log.read_text())
        assert server.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(WAIT)
    assert status == 0, log.read_text()
    assert {path.name for path in folder.iterdir()} <= {"log.txt", "tmp"}
    assert not [path for path in temporary.rglob("*") if path.is_file()]
    assert "haematuria" not in log.read_text() and "Traceback" not in log.read_text()


@contextmanager
def visiting(browser: Any, url: str, name: str) -> Iterator[Page]:
    """The page of an adapter; afterwards it has asked no other machine for anything, and the console holds no error."""
    browser.get("about:blank")  # the last page complains of the streams that leaving it cuts
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(url)
    yield Page(browser, name)
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert any(address.startswith(url) for address in asked)
    assert [a for a in asked if not a.startswith((url, "data:", "blob:", "chrome:"))] == [], "asked another machine"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


class Page:
    """What a reader sees and does on the page."""

    def __init__(self, browser: Any, name: str) -> None:
        self.browser = browser
        self.see(f"//h1[text()='{name}']")

    def see(self, path: str) -> Any:
        """Wait until an element is shown."""
        return WebDriverWait(self.browser, WAIT).until(
            lambda b: next((e for e in b.find_elements(By.XPATH, path) if e.is_displayed()), None), path
        )

    def status(self, words: str) -> str:
        """Wait for a line that holds the words."""
        return self.see(f"//p[@role='status'][contains(., '{words}')]").text

    def press(self, name: str) -> None:
        self.see(f"//button[normalize-space()='{name}' and not(@disabled)]").click()

    def tab(self, name: str) -> None:
        self.see(f"//button[@role='tab' and normalize-space()='{name}']").click()

    def output(self, kind: str) -> None:
        self.see(f"//label[normalize-space()='{kind}']").click()

    def field(self, label: str) -> Any:
        return self.see(f"//label[contains(., '{label}')]//textarea")

    def write(self, label: str, text: str) -> None:
        """Put a text into a field as pasting does, at once."""
        script = (
            "const [field, text] = arguments;"
            "Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(field, text);"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        self.browser.execute_script(script, self.field(label), text)

    def choose(self, label: str, option: str) -> None:
        self.see(f"//input[@aria-label='{label}']").click()
        self.see(f"//ul[@role='listbox']/li[@aria-label='{option}']").click()

    def upload(self, path: Path) -> None:
        self.browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))
        self.see("//table[contains(@class, 'file-preview')]")

    def shares(self) -> dict[str, int]:
        """Label -> per cent, as the page shows them; of an answer that is unsure too, which has no heading."""
        self.see("//dl[contains(@class, 'label')]")
        rows = self.browser.find_elements(By.CSS_SELECTOR, "dl.label")
        return {row.find_element(By.TAG_NAME, "dt").text: int(row.text.split()[-1].rstrip("%")) for row in rows}

    def json(self) -> dict[str, Any]:
        """The answer as JSON, through the button that copies it."""
        self.see("//*[contains(@class, 'json-holder')]")
        text = self.browser.execute_script(
            "let copied; navigator.clipboard.writeText = text => { copied = text; return Promise.resolve() };"
            "document.querySelector('button[title=Copy], button[aria-label=Copy]').click(); return copied"
        )
        return json.loads(text)
