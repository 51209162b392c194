"""What every store promises, tried on files, S3 and a PDS, and checked past the library."""

import io
import multiprocessing
import os
import pickle
import secrets
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atdata_core import BlobSource, Dataset, FileDataStore, PDSBlobStore, S3DataStore, Shard
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.cid import raw_cid
from atdata_core.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    SampleError,
    TooLargeError,
)
from atdata_core.sources import BaseSource
from tests.support import web
from tests.support.samples import Item, cid_of, items, shard_file
from tests.support.writers import put_in

pytestmark = pytest.mark.usefixtures("services")

BODY = b"some bytes of a shard " * 50
ABSENT = raw_cid(b"nobody has these bytes")


class Files:
    """A folder, looked at with the file system."""

    remembers = True

    def __init__(self, folder):
        self.folder = folder
        self.store = FileDataStore(folder)

    def keep(self, shards):
        """Files stay."""

    def fetch(self, shard):
        return Path(shard.url).read_bytes()

    def stored(self, prefix):
        paths = [p for p in (self.folder / prefix).glob("**/*") if p.is_file()]
        assert not [p for p in (self.folder / ".scratch").glob("*/*") if p.is_file()]
        return {path.stem: path.read_bytes() for path in paths}

    def stamps(self, prefix):
        return {
            path.name: (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in (self.folder / prefix).iterdir()
        }

    def damage(self, shard):
        os.truncate(shard.url, 10)

    def absent(self):
        return str(self.folder / "gone.tar")


class S3:
    """A bucket, looked at with boto3."""

    remembers = True

    def __init__(self, boto, bucket):
        self.boto, self.bucket = boto, bucket
        self.store = S3DataStore(bucket=bucket)

    def keep(self, shards):
        """Objects stay."""

    def fetch(self, shard):
        parts = urlsplit(shard.url)
        assert parts.netloc == self.bucket
        return self.boto.get_object(Bucket=parts.netloc, Key=parts.path[1:])["Body"].read()

    def _objects(self, prefix):
        found = self.boto.list_objects_v2(Bucket=self.bucket, Prefix=f"{prefix}/")
        return found.get("Contents", [])

    def stored(self, prefix):
        return {
            Path(each["Key"]).stem: self.fetch(Shard(f"s3://{self.bucket}/{each['Key']}"))
            for each in self._objects(prefix)
        }

    def stamps(self, prefix):
        return {each["Key"]: each["LastModified"] for each in self._objects(prefix)}

    def damage(self, shard):
        self.boto.put_object(Bucket=self.bucket, Key=urlsplit(shard.url).path[1:], Body=b"x" * 10)

    def absent(self):
        return f"s3://{self.bucket}/gone.tar"


class Blobs:
    """An account's blobs, looked at with plain HTTP."""

    remembers = False  # a blob is there to stay once a record names it

    def __init__(self, client):
        self.client = client
        self.store = PDSBlobStore(client)

    def keep(self, shards):
        for shard in shards:
            blob = {"$type": "blob", "ref": {"$link": shard.cid}, "mimeType": "application/x-tar"}
            record = {"blob": {**blob, "size": shard.size}}
            self.client.create_record("com.example.keep", record)

    def fetch(self, shard):
        did, cid = shard.url.removeprefix("at://").split("/blob/")
        return web.blob(self.client.base_url, did, cid)

    def stored(self, prefix):
        url = f"{self.client.base_url}/xrpc/com.atproto.sync.listBlobs"
        cids = web.fetch_json(url, did=self.client.did, limit=1000)["cids"]
        return {cid: web.blob(self.client.base_url, self.client.did, cid) for cid in cids}

    def absent(self):
        return f"at://{self.client.did}/blob/{ABSENT}"


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "store")


@pytest.fixture
def s3(boto, bucket):
    place = S3(boto, bucket)
    yield place
    place.store.close()


@pytest.fixture
def blobs(services):
    account = services.create_account(f"t{secrets.token_hex(5)}")
    with AtmosphereClient() as client:
        client.login(account.handle, account.app_password)
        yield Blobs(client)


PLACES = ("files", "s3", "blobs")


@pytest.fixture(params=PLACES)
def place(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["files", "s3"])
def lasting(request):
    """A place that finds its shards again by itself."""
    return request.getfixturevalue(request.param)


def shard_of(body, rows=None):
    return Shard("somewhere", cid_of(body), len(body), rows)


def test_a_shard_lies_under_its_cid_with_the_bytes_that_were_put(place):
    placed = place.store.put_shard(io.BytesIO(BODY), shard_of(BODY, 7), "digits")
    place.keep([placed])
    assert placed.cid == cid_of(BODY)
    assert placed.cid in placed.url
    assert (placed.size, placed.rows) == (len(BODY), 7)
    assert place.fetch(placed) == BODY
    assert place.stored("digits") == {placed.cid: BODY}


def test_a_source_reads_what_was_put_in_the_order_asked_for(place):
    bodies = [BODY + bytes([i]) for i in range(3)]
    placed = [place.store.put_shard(io.BytesIO(b), shard_of(b), "digits") for b in bodies]
    place.keep(placed)
    urls = [shard.url for shard in placed[::-1]]
    source = place.store.create_source(urls)
    assert source.list_shards() == urls
    assert [(url, stream.read()) for url, stream in source.shards] == list(
        zip(urls, bodies[::-1], strict=True)
    )


def test_samples_are_written_as_shards_within_the_limits_and_read_back(place):
    told = []
    shards = place.store.write_samples(
        iter(items(12)), prefix="digits", max_samples=5, progress=lambda *told_: told.append(told_)
    )
    place.keep(shards)
    assert [shard.rows for shard in shards] == [5, 5, 2]
    assert told == [(shard, True) for shard in shards]
    for shard in shards:
        body = place.fetch(shard)
        assert (cid_of(body), len(body)) == (shard.cid, shard.size)
    source = place.store.create_source([shard.url for shard in shards])
    assert list(Dataset(source, Item)) == items(12)
    small = place.store.write_samples(items(12), prefix="small", max_bytes=4096)
    assert len(small) > 2
    assert all(shard.size <= 4096 for shard in small)


def test_writing_a_dataset_gives_the_addresses_of_its_new_shards(place, tmp_path):
    dataset = Dataset[Item](str(shard_file(tmp_path / "a.tar", items(7))))
    urls = place.store.write_shards(dataset, prefix="digits", max_samples=4)
    assert len(urls) == 2
    if place.remembers:
        assert list(Dataset(place.store.create_source(urls), Item)) == items(7)
    else:
        sizes = [s.size for s in place.store.write_samples(items(7), prefix="x", max_samples=4)]
        cids = [url.rpartition("/")[2] for url in urls]
        place.keep([Shard(*facts) for facts in zip(urls, cids, sizes, strict=True)])
        assert list(Dataset(BlobSource(urls), Item)) == items(7)


def test_putting_a_shard_again_moves_nothing(lasting):
    told = []
    first = lasting.store.write_samples(items(12), prefix="digits", max_samples=5)
    before = lasting.stamps("digits")
    again = lasting.store.write_samples(
        items(12), prefix="digits", max_samples=5, progress=lambda _, moved: told.append(moved)
    )
    copied = lasting.store.copy_shards(
        lasting.store.create_source([s.url for s in first]),
        first,
        prefix="digits",
        progress=lambda _, moved: told.append(moved),
    )
    assert first == again == copied
    assert told == [False] * 6
    assert lasting.stamps("digits") == before
    assert len(before) == 3


def test_a_blob_without_a_record_is_not_taken_for_one_that_is_there(blobs):
    placed = blobs.store.put_shard(io.BytesIO(BODY), shard_of(BODY), "digits")
    assert blobs.store.find_shard(placed, "digits") is None
    with pytest.raises(NotFoundError):
        blobs.store.create_source([placed.url]).open_shard(placed.url)


@pytest.mark.parametrize(
    "wrong",
    [BODY[:-1] + b"x", BODY[:-1], BODY + b"x", b""],
    ids=["other", "short", "long", "empty"],
)
def test_bytes_that_are_not_those_of_the_cid_are_refused_and_leave_nothing(place, wrong):
    with pytest.raises(IntegrityError):
        place.store.put_shard(io.BytesIO(wrong), shard_of(BODY), "digits")
    assert place.stored("digits") == {}
    assert place.store.find_shard(shard_of(BODY), "digits") is None


def test_a_shard_that_lies_there_damaged_is_replaced(lasting):
    (shard,) = lasting.store.write_samples(items(3), prefix="digits")
    lasting.damage(shard)
    assert lasting.store.find_shard(shard, "digits") is None
    (again,) = lasting.store.write_samples(items(3), prefix="digits")
    assert again == shard
    assert cid_of(lasting.fetch(shard)) == shard.cid


def test_a_shard_that_is_missing_is_not_found(place):
    url = place.absent()
    with pytest.raises(NotFoundError, match=url.rpartition("/")[2]):
        place.store.create_source([url]).open_shard(url)
    assert place.store.find_shard(Shard("x", ABSENT, 5), "digits") is None


class Fragile(BaseSource):
    """A source that breaks off within a shard."""

    def list_shards(self):
        return ["somewhere"]

    def open_shard(self, shard_id):
        class Stream(io.RawIOBase):
            left = 1

            def readable(self):
                return True

            def readinto(self, buffer):
                if not self.left:
                    raise OSError("the line went dead")
                self.left -= 1
                buffer[:5] = b"bytes"
                return 5

        return Stream()


def test_a_copy_that_breaks_off_leaves_nothing(place):
    with pytest.raises(OSError, match="went dead"):
        place.store.copy_shards(Fragile(), [shard_of(BODY)], prefix="digits")
    assert place.stored("digits") == {}


def test_samples_that_break_off_leave_only_whole_shards(place):
    def source():
        yield from items(6)
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="the camera fell"):
        place.store.write_samples(source(), prefix="digits", max_samples=5)
    found = place.stored("digits")
    assert len(found) == (1 if place.remembers else 0)
    assert all(cid == cid_of(body) for cid, body in found.items())


def test_a_sample_that_doesn_t_fit_leaves_only_whole_shards(place):
    samples = [*items(6), Item(id="x", text="a", data=items(1)[0].data)]
    with pytest.raises(SampleError, match="digits, shard 1, sample 000000006, field 'id'"):
        place.store.write_samples(samples, prefix="digits", max_samples=5)
    assert len(place.stored("digits")) == (1 if place.remembers else 0)


@pytest.mark.parametrize("origin", PLACES)
@pytest.mark.parametrize("target", PLACES)
def test_shards_are_copied_between_all_places_byte_by_byte(request, origin, target, tmp_path):
    there = request.getfixturevalue(origin)
    here = request.getfixturevalue(target)
    shards = there.store.write_samples(items(12), prefix="digits", max_samples=5)
    there.keep(shards)
    source = there.store.create_source([shard.url for shard in shards])
    copied = here.store.copy_shards(source, shards, prefix="copy")
    here.keep(copied)
    facts = [(shard.cid, shard.size, shard.rows) for shard in shards]
    assert [(shard.cid, shard.size, shard.rows) for shard in copied] == facts
    assert [cid_of(here.fetch(shard)) for shard in copied] == [shard.cid for shard in shards]


def test_shards_of_which_nothing_is_known_are_looked_at_and_copied(place, tmp_path):
    path = shard_file(tmp_path / "a.tar", items(3))
    dataset = Dataset[Item](str(path))
    (copied,) = place.store.copy_shards(dataset.source, [Shard(str(path))], prefix="digits")
    place.keep([copied])
    assert place.fetch(copied) == path.read_bytes()
    assert (copied.cid, copied.rows) == (cid_of(path.read_bytes()), 3)


def test_a_source_that_gives_other_bytes_is_refused(place, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(BODY[:-1] + b"x")
    source = Dataset[Item](str(path)).source
    wrong = Shard(str(path), cid_of(BODY), len(BODY), 3)
    with pytest.raises(IntegrityError):
        place.store.copy_shards(source, [wrong], prefix="digits")
    assert place.stored("digits") == {}


def test_a_store_and_its_sources_can_be_moved_between_processes(lasting):
    store = pickle.loads(pickle.dumps(lasting.store))
    (shard,) = store.write_samples(items(3), prefix="digits")
    source = pickle.loads(pickle.dumps(store.create_source([shard.url])))
    assert list(Dataset(source, Item)) == items(3)
    assert repr(store) == repr(lasting.store)
    store.close()


def test_a_source_of_blobs_can_be_moved_between_processes(blobs):
    shards = blobs.store.write_samples(items(3), prefix="digits")
    blobs.keep(shards)
    source = pickle.loads(pickle.dumps(BlobSource([shard.url for shard in shards])))
    assert list(Dataset(source, Item)) == items(3)


def test_a_store_that_was_closed_opens_again(lasting):
    lasting.store.close()
    lasting.store.write_samples(items(3), prefix="digits")
    lasting.store.close()
    assert len(lasting.stored("digits")) == 1


def test_writers_at_once_end_with_the_same_shards(lasting):
    with ThreadPoolExecutor(4) as threads:
        jobs = [
            threads.submit(lasting.store.write_samples, items(40), prefix="d", max_samples=5)
            for _ in range(4)
        ]
        found = [job.result() for job in jobs]
    pickled = pickle.dumps(lasting.store)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes:
        jobs = [processes.submit(put_in, pickled, "p", 40) for _ in range(2)]
        cids = [job.result() for job in jobs]
    assert all(shards == found[0] for shards in found)
    assert cids == [[shard.cid for shard in found[0]]] * 2
    for prefix in ("d", "p"):
        stored = lasting.stored(prefix)
        assert sorted(stored) == sorted(cids[0])
        assert all(cid_of(body) == cid for cid, body in stored.items())


@pytest.mark.parametrize("prefix", ["../out", "a/../../out", "/out", "", "a\0b"])
def test_a_name_never_leads_out_of_a_folder(files, prefix):
    with pytest.raises(ConfigurationError, match="relative path"):
        files.store.write_samples(items(1), prefix=prefix)
    with pytest.raises(ConfigurationError):
        files.store.put_shard(io.BytesIO(BODY), shard_of(BODY), prefix)
    outside = {path.name for path in files.folder.parent.iterdir()}
    assert outside <= {"store"}


def test_files_are_no_longer_open_to_others_than_they_were(files):
    (shard,) = files.store.write_samples(items(1), prefix="digits")
    mode = Path(shard.url).stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    assert mode == 0o666 & ~umask


def test_a_pds_tells_its_limit_and_takes_no_more(blobs):
    limit = web.fetch_json(f"{blobs.client.base_url}/xrpc/com.atproto.server.describeServer")
    assert blobs.store.max_shard_bytes == limit.get("blobUploadLimit", 50_000_000)
    too_large = Shard("x", ABSENT, blobs.store.max_shard_bytes + 1)
    with pytest.raises(TooLargeError, match="max_bytes"):
        blobs.store.put_shard(io.BytesIO(b""), too_large, "digits")


def test_a_blob_s_address_for_everybody_gives_its_bytes(blobs):
    placed = blobs.store.put_shard(io.BytesIO(BODY), shard_of(BODY), "digits")
    blobs.keep([placed])
    assert web.fetch(blobs.store.read_url(placed.url)) == BODY


def test_credentials_can_come_from_a_file_or_a_map(boto, bucket, services, tmp_path, monkeypatch):
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    given = {name: services.env[name] for name in names}
    given["AWS_ENDPOINT"] = services.env["ATDATA_S3_ENDPOINT"]
    lines = [f"export {name}='{value}'" for name, value in given.items()]
    (tmp_path / "s3.env").write_text("# mine\n\n" + "\n".join(lines))
    for name in (*names, "ATDATA_S3_ENDPOINT", "ATDATA_S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    for credentials in (given, tmp_path / "s3.env", str(tmp_path / "s3.env")):
        store = S3DataStore(credentials, bucket=bucket)
        assert store.endpoint_url == given["AWS_ENDPOINT"]
        store.write_samples(items(1), prefix="digits")
        store.close()
        assert given["AWS_SECRET_ACCESS_KEY"] not in repr(store)
    with pytest.raises(ConfigurationError, match="ATDATA_S3_BUCKET"):
        S3DataStore()
    with pytest.raises(ConfigurationError, match=r"none\.env"):
        S3DataStore(tmp_path / "none.env", bucket=bucket)
