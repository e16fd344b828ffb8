"""Who may connect to the review page, and where it listens."""

import ipaddress
import socket
import subprocess
import sys

import gradio as gr
import httpx
import pytest
from ports import free_ports

from clinadapt.errors import UserError
from clinadapt.review import server
from clinadapt.review.protection import Access


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(server.USER, raising=False)
    monkeypatch.delenv(server.PASSWORD, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password(host: str) -> None:
    assert server.credentials(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "review.hospital.example"])
@pytest.mark.parametrize("given", [{}, {"CLINADAPT_REVIEW_USER": "rita"}, {"CLINADAPT_REVIEW_PASSWORD": "secret"}])
def test_another_address_demands_user_and_password(
    host: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"^others can reach .* CLINADAPT_REVIEW_USER and CLINADAPT_REVIEW_PASSWORD"):
        server.credentials(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_user_and_password_are_used_wherever_they_are_set(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_REVIEW_USER", "rita")
    monkeypatch.setenv("CLINADAPT_REVIEW_PASSWORD", "secret")
    assert server.credentials(host) == ("rita", "secret")


def test_a_proxy_on_this_machine_is_known_by_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever X-Forwarded-For says: it names who asks the proxy, or whom a process here pretends to be."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    statuses = {}
    for number, proxy in enumerate(("127.0.0.1", "10.0.0.5")):
        with gr.Blocks(analytics_enabled=False) as page:
            gr.HTML("page")
        port = free_ports()
        access = Access(user_header="x-forwarded-user", proxies=(ipaddress.ip_network(proxy),))
        server._launch(page, "127.0.0.1", port, None, access)
        headers = {"x-forwarded-user": "rita", "x-forwarded-for": ("203.0.113.9", "10.0.0.5")[number]}
        statuses[proxy] = httpx.get(f"http://127.0.0.1:{port}/", headers=headers, trust_env=False).status_code
        page.close(verbose=False)
    assert statuses == {"127.0.0.1": 200, "10.0.0.5": 401}


def test_a_port_in_use_is_a_one_line_error() -> None:
    port = free_ports()
    wanted = f"^cannot listen on 127.0.0.1, port {port} .*in use.*--port"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(UserError, match=wanted):
        server.check_address("127.0.0.1", port)
    server.check_address("127.0.0.1", port)


@pytest.mark.parametrize("host, port", [("127.0.0.1", 70000), ("192.0.2.1", 7860), ("no such host", 7860)])
def test_an_invalid_address_is_a_one_line_error(host: str, port: int) -> None:
    with pytest.raises(UserError, match=r"^cannot listen on ") as caught:
        server.check_address(host, port)
    assert "\n" not in str(caught.value)


def test_no_click_loads_pyplot() -> None:
    """Gradio asks at every click which backend draws, which by itself loads pyplot while all who click wait."""
    code = (
        "import sys; from clinadapt.review.server import warm_up; warm_up()\n"
        "from gradio.utils import MatplotlibBackendMananger as Click\n"
        "with Click(): sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
