"""The files that OpenStack Swift reads: one disk, one copy, four servers and the S3 API."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atdata_dagster.devnet.state import ACCESS_KEY, REGION, DevnetError, write_private

_SERVERS = ("account", "container", "object")

# Swift's servers leave their process group, where nothing would end them with us.
_SERVE = "import os, sys; os.setsid = os.getpid; from swift.{} import server; server.main()"

_SWIFT = """\
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}

[swift-constraints]
max_file_size = 5368709122

[storage-policy:0]
name = default
default = yes
"""

# One slow moment of a busy laptop must not become a 503 or a listing without the new object:
# nothing here would catch up later, so every timeout is longer than Swift's own.
_COMMON = """\
[DEFAULT]
swift_dir = {etc}
devices = {disks}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
disable_fallocate = true
fallocate_reserve = 0
recon_cache_path = {cache}
log_level = WARNING
log_address = {etc}/no-syslog
conn_timeout = 10
node_timeout = 60
container_update_timeout = 60
client_timeout = 120
"""

_SERVER = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[pipeline:main]
pipeline = catch_errors s3api tempauth copy bulk slo dlo versioned_writes symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
error_suppression_limit = 1000000
recoverable_node_timeout = 60

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
dns_compliant_bucket_names = true
check_bucket_owner = false
allow_multipart_uploads = true
min_segment_size = 5242880

[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin

[filter:copy]
use = egg:swift#copy

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true

[filter:symlink]
use = egg:swift#symlink
"""

# Run by the Python that has Swift. All parts of a ring are on the one disk, so a ring made
# again for another port finds everything where it was.
_RINGS = """\
import json, sys
from swift.common.ring import RingBuilder
for path, port in json.loads(sys.argv[1]).items():
    ring = RingBuilder(4, 1, 0)
    ring.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=port, device="disk", weight=1.0))
    ring.rebalance()
    ring.get_ring().save(path)
"""


def configure(
    data: Path, ports: Mapping[str, int], state: Mapping[str, Any], python: str
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Writes what the servers read.

    Args:
        data: The folder for disk and configuration.
        ports: The port of each server.
        state: The devnet's state, for the keys.
        python: The Python that has Swift.

    Returns:
        For each server its name and its command; the S3 API comes first.

    Raises:
        DevnetError: The filesystem can't hold Swift's objects, or the rings can't be made.
    """
    etc, disks, cache = (data / name for name in ("etc", "disks", "cache"))
    for folder in (etc, disks / "disk", cache):
        folder.mkdir(parents=True, exist_ok=True)
    if "%" in str(data):
        msg = f"Swift can't read a path with a percent sign: {data}; give the devnet another --dir"
        raise DevnetError(msg)
    _check_attributes(disks)
    secret = str(state["swift_hash"])
    write_private(etc / "swift.conf", _SWIFT.format(prefix=secret[:16], suffix=secret[16:]))
    written = []
    for kind in ("proxy", *_SERVERS):
        name = "s3" if kind == "proxy" else f"s3-{kind}"
        text = _COMMON.format(etc=etc, disks=disks, cache=cache, port=ports[name])
        if kind == "proxy":
            user = ACCESS_KEY.replace(":", "_")
            text += _PROXY.format(region=REGION, user=user, secret=state["s3_secret"])
        else:
            text += _SERVER.format(kind=kind)
        file = etc / f"{kind}-server.conf"
        write_private(file, text)
        program = _SERVE.format("obj" if kind == "object" else kind)
        written.append((name, (python, "-I", "-c", program, str(file), "-v")))
    _make_rings(etc, ports, python)
    return tuple(written)


def _make_rings(etc: Path, ports: Mapping[str, int], python: str) -> None:
    wanted = {str(etc / f"{kind}.ring.gz"): ports[f"s3-{kind}"] for kind in _SERVERS}
    # Says for which ports the rings were made, and is written when all of them are.
    made = etc / "rings.json"
    request = json.dumps(wanted)
    if made.exists() and made.read_text() == request:
        return
    done = subprocess.run(  # noqa: S603 - our own program
        [python, "-I", "-c", _RINGS, request], capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"Swift's rings can't be made: {done.stderr[-500:]}"
        raise DevnetError(msg)
    write_private(made, request)


def _check_attributes(disks: Path) -> None:
    # Swift keeps an object's metadata in extended attributes; without them it fails much
    # later, at the first upload, and says so only in its log.
    if sys.platform == "linux":
        try:
            os.setxattr(disks, "user.swift.test", b"1")
            os.removexattr(disks, "user.swift.test")
        except OSError as error:
            msg = (
                f"the filesystem of {disks} keeps no extended attributes ({error.strerror}), "
                "which the S3 service needs: give the devnet another --dir"
            )
            raise DevnetError(msg) from error
