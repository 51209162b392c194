"""Passwords and tokens: whose they are, where they go, and where they must not be seen."""

import warnings

import pytest

from atdata_core.atmosphere import AtmosphereClient
from tests.support.liar import HANDLE, Liar, session


@pytest.mark.parametrize(
    ("scope", "warned"),
    [
        ("com.atproto.access", True),
        ("com.atproto.appPass", False),
        ("com.atproto.appPassPrivileged", False),
    ],
)
def test_a_main_password_is_pointed_out_and_never_shown(monkeypatch, scope, warned):
    with Liar() as server, AtmosphereClient(server.url) as client:
        monkeypatch.setenv("ATDATA_PDS_URL", server.url)
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        answer = session(scope) | {"didDoc": server.document()}
        server.answer("com.atproto.server.createSession", answer)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.login(HANDLE, "the main password")
        texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
        assert [("app password" in text) for text in texts] == ([True] if warned else [])
        assert all("the main password" not in text for text in [*texts, repr(client)])
        assert client.is_authenticated
