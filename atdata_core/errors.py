"""Every error that this library raises.

The tree::

    AtdataError
    ├── SampleError (ValueError)            a value doesn't fit its field, or bytes aren't a sample
    ├── SchemaError (ValueError)            a type can't be described, or a description isn't a type
    ├── LensError (TypeError)               types have no lens between them, or a lens no putter
    ├── ShardError (ValueError)             a tar file is not a whole, legal shard
    │   └── IntegrityError                  bytes don't hash to the CID that names them
    ├── InvalidUriError (ValueError)        text is not an AT URI, DID, record key, or CID
    ├── InvalidRecordError (ValueError)     a record doesn't have the shape its type promises
    ├── NotFoundError (LookupError)         no dataset, schema, shard, record or account so named
    │   └── AbsentError                     proven: the account's repository has no such record
    ├── ConflictError                       the name holds other content; another writer was first
    ├── VerificationError                   .code: what isn't proven, or proven otherwise
    ├── ConfigurationError                  a setting is missing or impossible
    └── ServiceError                        a server refused or failed
        ├── UnreachableError (ConnectionError)
        ├── AuthenticationError (PermissionError)
        ├── RateLimitedError                .retry_after: seconds
        └── TooLargeError                   .size and .limit: bytes

Each carries what was wrong, and as far as they are known *where*, what was *expected*, what was
*got* and what to do (*remedy*). They survive pickling, because Dagster's executors move them
between processes.
"""


class AtdataError(Exception):
    """Base of all errors of this library.

    Args:
        message: What was wrong, in one clause.
        where: The thing that it happened to: shard, key, field, URI, address.
        expected: What would have been right.
        got: What there was.
        remedy: What the reader can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.expected = expected
        self.got = got
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        details = [f"expected {self.expected}"] if self.expected else []
        details += [f"got {self.got}"] if self.got else []
        if details:
            text += f" ({', '.join(details)})"
        return f"{text}. {self.remedy}" if self.remedy else text


class SampleError(AtdataError, ValueError):
    """A value doesn't fit its field, or bytes can't be decoded as a sample."""


class SchemaError(AtdataError, ValueError):
    """A type can't be described as a schema, or a schema can't be turned into a type."""


class LensError(AtdataError, TypeError):
    """There is no lens between two types, or it can't do what is asked of it."""


class ShardError(AtdataError, ValueError):
    """A tar file is not a whole, legal shard."""


class IntegrityError(ShardError):
    """The bytes don't hash to the CID that they were asked for by."""


class InvalidUriError(AtdataError, ValueError):
    """A text is not an AT URI, DID, handle, NSID, record key, or CID."""


class InvalidRecordError(AtdataError, ValueError):
    """A record doesn't have the shape that its type promises."""


class NotFoundError(AtdataError, LookupError):
    """There is no dataset, schema, shard, record, or account of that name.

    `code` holds a server's own name of the error, e.g. ``RepoTakendown``, or None.
    """

    code: str | None = None


class AbsentError(NotFoundError):
    """The repository that the account signed is proven to hold no record of that address."""


class ConflictError(AtdataError):
    """The name holds other content already, or another writer was first."""


class VerificationError(AtdataError):
    """Something doesn't prove what it should, or proves something else.

    ==================  ========================================================================
    `code`              what is wrong
    ==================  ========================================================================
    ``structure``       bytes are malformed, cut short, or break the rules of a repository
    ``block-hash``      a block's bytes are not those of its CID
    ``missing-block``   the proof lacks a block
    ``signature``       the commit isn't signed by the account's key
    ``key``             the account's document names no key that can be used
    ``other-did``       it is another account's
    ``rev``             the commit says that it was made in the future
    ``rollback``        the server gave an older state of the repository than it did before
    ``fork``            the server gave two states of one revision
    ``changed``         a record has other content than a link says
    ``level``           less is proven than was asked for
    ``log``             the history of a DID breaks the rules of its method
    ``evidence``        a file of evidence contradicts itself
    ==================  ========================================================================

    Args:
        message: What was wrong.
        code: The kind of failure.
        where: See `AtdataError`.
        expected: See `AtdataError`.
        got: See `AtdataError`.
        remedy: See `AtdataError`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "structure",
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, where=where, expected=expected, got=got, remedy=remedy)
        self.code = code


class ConfigurationError(AtdataError):
    """A setting is missing or can't work."""


class ServiceError(AtdataError):
    """A server refused a request or failed at it.

    Args:
        message: What was wrong.
        code: The server's own name of the error, e.g. ``BlobNotFound``; None if it gave none.
        where: See `AtdataError`.
        expected: See `AtdataError`.
        got: See `AtdataError`.
        remedy: See `AtdataError`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, where=where, expected=expected, got=got, remedy=remedy)
        self.code = code


class UnreachableError(ServiceError, ConnectionError):
    """No answer from the server."""


class AuthenticationError(ServiceError, PermissionError):
    """The server doesn't accept who we say we are, or what we may do."""


class RateLimitedError(ServiceError):
    """The server asks to wait.

    `retry_after` holds the seconds that it named, or None.
    """

    retry_after: float | None = None


class TooLargeError(ServiceError):
    """Something is larger than a server or a format takes.

    `size` and `limit` hold bytes, or None where they are not known.
    """

    size: int | None = None
    limit: int | None = None
