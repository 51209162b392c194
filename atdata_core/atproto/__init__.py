"""The AT Protocol as this library needs it: URIs, identities, one account's repository, records.

It knows nothing of stores and indexes. The names for users are in `atdata_core.atmosphere`.
"""
