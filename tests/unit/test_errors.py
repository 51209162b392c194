import pickle

import pytest

from atdata_core import errors

CLASSES = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.AtdataError)
    ),
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling_with_all_that_it_carries(cls):
    error = cls("it broke", where="shard 3", expected="a", got="b", remedy="Do c")
    if isinstance(error, errors.ServiceError):
        error.code = "Broken"
    if isinstance(error, errors.TooLargeError):
        error.size, error.limit = 5, 4
    if isinstance(error, errors.RateLimitedError):
        error.retry_after = 2.5
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert vars(back) == vars(error)
    assert str(back) == str(error) == "shard 3: it broke (expected a, got b). Do c"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_drawn_in_the_tree(cls):
    assert cls.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.SampleError, ValueError),
        (errors.SchemaError, ValueError),
        (errors.ShardError, ValueError),
        (errors.IntegrityError, errors.ShardError),
        (errors.InvalidUriError, ValueError),
        (errors.InvalidRecordError, ValueError),
        (errors.NotFoundError, LookupError),
        (errors.UnreachableError, ConnectionError),
        (errors.AuthenticationError, PermissionError),
        (errors.TooLargeError, errors.ServiceError),
        (errors.RateLimitedError, errors.ServiceError),
    ],
)
def test_errors_can_be_caught_as_python_s_own(cls, builtin):
    assert issubclass(cls, builtin)


def test_a_message_leaves_out_what_is_not_known():
    assert str(errors.ShardError("it broke")) == "it broke"
    assert str(errors.ShardError("it broke", where="here")) == "here: it broke"
    assert str(errors.ShardError("it broke", got="b")) == "it broke (got b)"
