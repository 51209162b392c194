import io

from atdata_core import FileIndex, progress_bar
from tests.support.samples import Item, items


def test_a_bar_tells_bytes_shards_and_what_was_there_already(tmp_path):
    origin, target = FileIndex(tmp_path / "a"), FileIndex(tmp_path / "b")
    entry = origin.write_samples(items(9), name="d", sample_type=Item, max_samples=3).entry
    for moved in ("3 shards", "0 shards, 3 there already"):
        screen = io.StringIO()
        with progress_bar(entry.size, "to b", file=screen) as progress:
            target.insert_dataset(
                origin.open_dataset("d", Item), name="d", description=moved, progress=progress
            )
        last = screen.getvalue().replace("\r", "\n").strip().splitlines()[-1]
        assert last.startswith("to b: 100%")
        assert moved in last


def test_without_a_terminal_nothing_is_shown(tmp_path, capfd):
    with progress_bar(label="written") as progress:
        FileIndex(tmp_path).write_samples(items(3), name="d", sample_type=Item, progress=progress)
    assert capfd.readouterr() == ("", "")
