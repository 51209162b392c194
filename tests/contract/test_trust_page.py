"""What the page on trust says to write works as it stands there."""

import re
import secrets
from pathlib import Path

import atdata_core
from atdata_core import FileIndex, VerificationLevel
from atdata_core.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata_core.errors import VerificationError
from tests.support.samples import Item, items

PACKAGE = Path(atdata_core.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "trust.md").read_text("utf-8")


def test_the_page_s_code_runs(client, account, services, tmp_path, monkeypatch):
    local = FileIndex(tmp_path / "local")
    entry = local.write_samples(items(4), name="readings", sample_type=Item).entry
    AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(
        local.open_dataset("readings"), name="readings"
    )
    (tmp_path / "readings-000000.tar").write_bytes(Path(entry.data_urls[0]).read_bytes())
    monkeypatch.chdir(tmp_path)
    bob = services.create_account(f"b{secrets.token_hex(5)}")
    text = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    for named, real in (
        ("alice.example.org", client.handle),
        ("bob.example.org", bob.handle),
        ("xxxx-xxxx-xxxx-xxxx", bob.app_password),
    ):
        assert named in text
        text = text.replace(named, real)
    names = {}
    exec(text, names)
    names["client"].close()
    assert names["ds"].verification.level is VerificationLevel.ATTESTED
    assert names["same"].verification.pinned
    assert names["found"].shards == 1
    assert names["found"].entry.name == "readings"
    assert (tmp_path / "readings.evidence").is_file()


def test_the_page_knows_every_level_and_every_code():
    levels = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert levels == [str(level) for level in VerificationLevel]
    codes = set(re.findall(r"^    ``([a-z-]+)`` ", VerificationError.__doc__, flags=re.MULTILINE))
    assert len(codes) == 13
    errors = PAGE.partition("## Errors")[2]
    assert codes == set(re.findall(r"`([a-z-]+)`", errors))
    source = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    raised = set(re.findall(r'code="([a-z-]+)"', source))
    assert raised == codes
