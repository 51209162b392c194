"""The tutorial is followed to the letter, from an empty folder, by two people."""

import re
import shlex

import pytest

from tests.support import pages

PAGE = "docs/tutorial.md"
# Dagster's UI and daemon run until the inbox holds a dataset, then somebody types Ctrl-C.
UNTIL_RECEIVED = r"""
python -c '
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from dagster.__main__ import main
main()
' dev -h 127.0.0.1 -p 0 -f storms.py > dagster.log 2>&1 &
dagster=$!
for second in $(seq 180); do
  ls data/datasets/inbox/*/*/*.tar > /dev/null 2>&1 && grep -q RUN_SUCCESS dagster.log && break
  kill -0 $dagster
  sleep 1
done
kill -INT $dagster
for second in $(seq 60); do kill -0 $dagster 2> /dev/null || break; sleep 1; done
if kill -9 $dagster 2> /dev/null; then echo "Dagster did not end at Ctrl-C" >&2; exit 1; fi
"""


def script():
    """The page as a script for a shell."""
    for file, text in pages.steps(PAGE):
        if file is not None:
            yield f"printf %s {shlex.quote(text)} > {file}"
        elif text.startswith("pip install"):
            assert text == "pip install atdata-dagster dagster-webserver"
        elif text == "dagster dev -f storms.py":
            yield UNTIL_RECEIVED
        elif text == "dagster dev -f wind.py":
            # Which doesn't end; the next command loads the same file.
            continue
        else:
            yield f"echo '>' {shlex.quote(text)}"
            yield text


@pytest.mark.timeout(900)  # the first of all tests that need services may have to install them
def test_the_tutorial_is_followed_to_the_letter(tmp_path):
    done = pages.run(script(), tmp_path, pages.environment())
    log = tmp_path / "bob" / "dagster.log"
    assert done.returncode == 0, (
        done.stdout[-3000:]
        + done.stderr[-6000:]
        + (log.read_text()[-4000:] if log.exists() else "")
    )
    out = done.stdout
    found = re.search(r"> python find\.py\n(did:plc:\w+)/(\w+)\n", out)
    did, rkey = found.groups()
    assert re.search(r"north: [\d.]+ m/s\nsouth: [\d.]+ m/s\nwest: [23][\d.]+ m/s\n", out)
    assert "proven to the level 'bytes':\ndid:plc:" in out
    uri = f"at://{did}/ac.foundation.dataset.record/{rkey}"
    assert re.search(rf"\d+ storms at at://did:plc:.*\nderived from {uri} at bafyrei", out)
    assert did not in re.search(r"storms at (\S+)", out)[1]
