"""Following what others publish: heard of, fetched, verified, and kept in a catalogue.

from atdata_core.discovery import open_catalogue
from atdata_core.following import Subscription, follow

with open_catalogue("followed.db") as catalogue:
    print(follow(Subscription(handles=["alice.example.org"]), catalogue))
    for record in catalogue.search(tag="weather"):
        print(record.uri, record.cid)
"""

from atdata_core.following.combined import CombinedSource
from atdata_core.following.firehose import FirehoseSource
from atdata_core.following.following import Report, follow
from atdata_core.following.jetstream import JetstreamSource
from atdata_core.following.polling import PollingSource
from atdata_core.following.sources import Batch, Event, Interest, Source
from atdata_core.following.subscription import Subscription

__all__ = [
    "Batch",
    "CombinedSource",
    "Event",
    "FirehoseSource",
    "Interest",
    "JetstreamSource",
    "PollingSource",
    "Report",
    "Source",
    "Subscription",
    "follow",
]
