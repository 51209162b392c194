"""Calls to the PDS of a devnet, with the standard library alone."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from atdata_dagster.devnet.state import DevnetError

APP_PASSWORD = "devnet"  # noqa: S105 - the name it is listed under


class XrpcError(DevnetError):
    """The PDS refused a call, or could not be asked.

    Attributes:
        status: The HTTP status, 0 when there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def call(
    port: int, method: str, body: Mapping[str, Any] | None = None, token: str = ""
) -> dict[str, Any]:
    """Calls a method of the PDS at a port of this machine.

    Args:
        port: Where the PDS listens.
        method: The method's name.
        body: What to send; without it the method is asked by GET.
        token: The token of a session.

    Returns:
        The answer.

    Raises:
        XrpcError: The PDS refused, or there was no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(
            "GET" if body is None else "POST",
            f"/xrpc/{method}",
            body=None if body is None else json.dumps(body),
            headers=headers,
        )
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        msg = f"the PDS does not answer {method}: {error}"
        raise XrpcError(msg) from error
    finally:
        connection.close()
    try:
        answer = json.loads(text or b"{}")
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or response.status != http.client.OK:
        reason = answer.get("message", "") if isinstance(answer, dict) else ""
        msg = f"the PDS refuses {method}: {response.status} {reason or response.reason}"
        raise XrpcError(msg, response.status)
    return answer


def log_in(port: int, handle: str, password: str) -> dict[str, Any]:
    """Opens a session.

    Args:
        port: Where the PDS listens.
        handle: Whose session.
        password: The account's password, or an app password of it.
    """
    return call(
        port, "com.atproto.server.createSession", {"identifier": handle, "password": password}
    )


def create_app_password(port: int, token: str) -> str:
    """Makes an app password, in place of an earlier one from here.

    Args:
        port: Where the PDS listens.
        token: The token of a session opened with the account's own password.
    """
    # Harmless when there is none; a second one of the same name would be refused.
    call(port, "com.atproto.server.revokeAppPassword", {"name": APP_PASSWORD}, token)
    made = call(port, "com.atproto.server.createAppPassword", {"name": APP_PASSWORD}, token)
    return str(made["password"])
