"""Accounts that publish, and a server that lies."""

import secrets

import pytest


@pytest.fixture
def make_account(services):
    """Makes an account on the PDS and logs it in."""
    from atdata_core.atmosphere import AtmosphereClient

    opened = []

    def make():
        account = services.create_account(f"t{secrets.token_hex(5)}")
        client = AtmosphereClient()
        client.login(account.handle, account.app_password)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def publish(services):
    """Makes publishers on the PDS."""
    from tests.support.publisher import Publisher

    made = []

    def make():
        made.append(Publisher(services, f"p{secrets.token_hex(5)}"))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@pytest.fixture
def catalogue():
    """A catalogue in memory."""
    from atdata_core.discovery import FileCatalogue

    with FileCatalogue() as catalogue:
        yield catalogue
