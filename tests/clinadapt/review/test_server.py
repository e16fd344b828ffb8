"""Who may connect to the review page, and where it listens."""

import socket

import pytest

from clinadapt.errors import UserError
from clinadapt.review import server


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


def test_a_port_in_use_is_a_one_line_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"^cannot listen on 127.0.0.1, port {port} .*in use.*--port"):
            server.check_address("127.0.0.1", port)
    server.check_address("127.0.0.1", port)


@pytest.mark.parametrize("host, port", [("127.0.0.1", 70000), ("192.0.2.1", 7860), ("no such host", 7860)])
def test_an_invalid_address_is_a_one_line_error(host: str, port: int) -> None:
    with pytest.raises(UserError, match=r"^cannot listen on ") as caught:
        server.check_address(host, port)
    assert "\n" not in str(caught.value)
