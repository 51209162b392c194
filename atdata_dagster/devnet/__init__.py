"""Real Redis, S3 and AT Protocol services on this machine, without Docker and without root.

From a shell, `python -m atdata_dagster.devnet up`; from Python:

    with Devnet("some/folder").running() as net:
        os.environ.update(net.env)

Data and identities stay in the folder, so the next start finds them again.
"""

from atdata_dagster.devnet.net import Account, Devnet, NotRunningError, ServiceStatus, Status
from atdata_dagster.devnet.state import DevnetError

__all__ = ["Account", "Devnet", "DevnetError", "NotRunningError", "ServiceStatus", "Status"]
