"""The code of docs/following.md works as it stands there."""

import json
import re
import secrets
from pathlib import Path

import dagster as dg
import pytest
import yaml

from atdata_core.following import Subscription
from tests.support import pages
from tests.support.publisher import TYPE, Publisher

PAGE = pages.read("docs/following.md")
FIND, FOLLOW, DRIVE, OWN = pages.blocks("docs/following.md", "python")
SUBSCRIPTION, COMPONENT = pages.blocks("docs/following.md", "yaml")


@pytest.fixture
def alice(services):
    publisher = Publisher(services, f"d{secrets.token_hex(5)}")
    publisher.put(
        "one", "wind", tags=["weather"], license="CC0-1.0", shards=[{"size": 7, "rows": 5}]
    )
    publisher.put("two", "faces", tags=["faces"])
    yield publisher
    publisher.close()


def run(code, alice):
    names = {}
    exec(code.replace("alice.example.org", alice.account.handle), names)
    return names


def test_datasets_are_found(alice, capsys):
    run(FIND, alice)
    assert capsys.readouterr().out == f"at://{alice.did}/{TYPE}/one 5\n"


def test_they_are_followed(alice, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = SUBSCRIPTION.replace("alice.example.org", alice.account.handle)
    Path("subscription.yaml").write_text(text)
    run(FOLLOW, alice)
    report, found = capsys.readouterr().out.splitlines()
    assert report.startswith("3 events; 1 records new or changed, 0 gone, 1 refused")
    assert report.endswith("; caught up")
    assert found == f"at://{alice.did}/{TYPE}/one {alice.held()['one']} signed"


def test_the_definitions_load_with_nothing_there(alice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in (DRIVE, OWN):
        names = run(code, alice)
        dg.Definitions.validate_loadable(names["defs"])
    defs = run(DRIVE, alice)["defs"]
    keys = {key.to_user_string() for key in defs.resolve_all_asset_keys()}
    assert {f"records/{TYPE}", f"inbox/{TYPE}"} <= keys
    assert {sensor.name for sensor in defs.sensors} == {"atmosphere_records", "inbox_automation"}
    assert all(f"`{name}`" in PAGE for name in ("atmosphere_records", "inbox_automation"))


def test_the_page_names_each_field_of_a_subscription():
    table = PAGE.partition("| field | meaning |")[2].partition("\n\n")[0]
    rows = "".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| `"))
    named = set(re.findall(r"`([a-z_]+)`", rows))
    assert named == set(Subscription.model_fields)
    assert Subscription(**yaml.safe_load(SUBSCRIPTION)).model_dump_json()
    assert json.loads(Subscription().model_dump_json())["quota"] == 1000


def test_the_yaml_of_the_page_fits_its_component():
    from atdata_dagster.components import SubscriptionComponent

    body = yaml.safe_load(COMPONENT)
    assert body["type"].rpartition(".")[2] == SubscriptionComponent.__name__
    component = SubscriptionComponent.from_attributes_dict(attributes=body["attributes"])
    said = Subscription(**yaml.safe_load(SUBSCRIPTION))
    assert component.build_subscription() == said
