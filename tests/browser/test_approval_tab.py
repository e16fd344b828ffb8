"""The tab on which people approve, in a real browser: one has signed with a key before, the other has logged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from approvals import NAME, VERDICT, approve, await_approval, people, policy, publish
from browsing import MARKS, WAIT, Page, Shot, serving
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from support import make_adapter

from clinadapt.registry.champion import history
from clinadapt.storage import open_store

pytestmark = MARKS


def log_in(browser: Any, user: str, password: str) -> None:
    for kind, text in (("text", user), ("password", password)):
        css = f"input[type={kind}]"
        field = WebDriverWait(browser, WAIT).until(lambda b, css=css: b.find_element(By.CSS_SELECTOR, css))
        field.send_keys(text)
    browser.find_element(By.XPATH, "//button[normalize-space()='Login']").click()


def test_the_last_of_two_approves_on_the_page(browser: Any, tiny_llama: Path, tmp_path: Path, shot: Shot) -> None:
    anna, ben, carl = people("anna", "ben", "carl")
    adapter, folder = make_adapter(tmp_path / "adapter", tiny_llama, seed=1), tmp_path / "server"
    (adapter / "manifest.json").unlink()
    card = adapter / "clinadapt.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"max_length": 1024}))
    store = open_store((tmp_path / "store").as_uri())
    board = policy([anna.entry, ben.entry, carl.entry])
    version = publish(store, tmp_path, 1, board, started_by="dora", adapter=adapter, verdict=VERDICT)
    await_approval(store, version, "dora")
    approve(store, version, anna, "subgroups <b>look</b> right")
    folder.mkdir()
    login = {"CLINADAPT_REVIEW_USER": "ben", "CLINADAPT_REVIEW_PASSWORD": "correct horse"}
    with serving(tmp_path / "store", f"{NAME}/{version}", folder, **login) as url:
        browser.get(url)
        log_in(browser, "ben", "correct horse")
        page = Page(browser, NAME)
        page.see(f"//p[contains(., '{NAME}/{version} is not the champion, it is awaiting approval: 1 of 2')]")
        page.tab("Approval")
        page.see("//td[text()='subgroups <b>look</b> right']")
        page.see("//p[contains(., '2 of: anna, ben, carl')]")
        page.see("//p[starts-with(., 'Passed a loosened gate. One of the default checks is switched off')]")
        page.see("//td[text()='at most 15 points']")
        page.see("//td[text()='switched off']")
        page.see("//button[contains(., 'Open the report')]")
        page.press("Approve")
        page.status("Not stored – give a reason: it stays")
        page.write("Reason", "report read, no worse for children")
        shot("approval")
        page.press("Approve")
        page.status(f"Stored. {NAME}/{version}: champion.")
        page.status("No version of this adapter waits for approval.")
        shot("approved")
        browser.get("about:blank")
    (entry,) = history(store, NAME)
    assert entry["by"] == "anna, ben" and entry["approvals"][1]["reason"] == "report read, no worse for children"
