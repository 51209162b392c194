"""Files read in two halves at once, one of them in a thread."""

import multiprocessing
import os
import threading

import numpy as np
import pytest

from atdata_core import files
from atdata_core.files import InMemory, SameFile, TwoHalves

PIECES, PIECE = 9, 1 << 20


@pytest.fixture
def data():
    return np.random.default_rng(1).integers(0, 256, PIECES * PIECE + 100, np.uint8).tobytes()


@pytest.fixture
def file(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as stream:
        yield SameFile.of(stream)


def read(reader, file, at):
    memory = bytearray(PIECES * PIECE)
    view = memoryview(memory)
    pieces = [view[start : start + PIECE] for start in range(0, len(memory), PIECE)]
    return bytes(memory[: reader.read_at(file, pieces, at)])


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("at", [0, 7, PIECE, 6 * PIECE, 8 * PIECE + 1, PIECES * PIECE + 100])
def test_both_halves_are_the_file_as_far_as_it_goes(file, data, monkeypatch, cores, at):
    monkeypatch.setattr(files, "_cores", lambda: cores)
    expected = data[at : at + PIECES * PIECE]
    assert read(TwoHalves(), file, at) == expected
    assert read(TwoHalves(), InMemory(memoryview(data)), at) == expected


def test_one_thread_reads_the_other_halves_of_all(file, data, monkeypatch):
    monkeypatch.setattr(files, "_cores", lambda: 2)
    readers = []
    monkeypatch.setattr(
        os, "preadv", lambda *given, real=os.preadv: (readers.append(_me()), real(*given))[1]
    )
    reader = TwoHalves()
    for _ in range(3):
        assert read(reader, file, 0) == data[: PIECES * PIECE]
    assert readers.count(_me()) == 3
    assert len(set(readers)) == 2


def _me():
    return threading.get_ident()


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_either_half_is_raised_when_both_are_done(file, monkeypatch, failing):
    monkeypatch.setattr(files, "_cores", lambda: 2)
    main, done = _me(), []

    def preadv(*given, real=os.preadv):
        if (_me() == main) is (failing == 0):
            raise OSError(5, "Input/output error")
        done.append(real(*given))
        return done[-1]

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(OSError, match="Input/output"):
        read(TwoHalves(), file, 0)
    assert len(done) == 1


def test_a_fork_reads_with_a_thread_of_its_own(file, data, monkeypatch):
    monkeypatch.setattr(files, "_cores", lambda: 2)
    reader = TwoHalves()
    assert read(reader, file, 0) == data[: PIECES * PIECE]

    def again(answer):
        answer.put(read(reader, file, 100) == data[100:])

    fork = multiprocessing.get_context("fork")
    answer = fork.SimpleQueue()
    child = fork.Process(target=again, args=(answer,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answer.get() is True


def test_what_an_interrupted_call_finds_later_is_for_nobody(monkeypatch):
    class Interrupted:
        def get(self):
            raise KeyboardInterrupt

    reader, go_on = TwoHalves(), threading.Event()
    assert reader.both(lambda: 1, lambda: 2) == (1, 2)
    monkeypatch.setattr(reader, "_told", Interrupted())  # Ctrl-C while it waits
    with pytest.raises(KeyboardInterrupt):
        reader.both(lambda: "soon", lambda: go_on.wait(30) and "late")
    go_on.set()
    assert reader.both(lambda: 3, lambda: 4) == (3, 4)


def test_the_thread_ends_with_its_reader():
    before = set(threading.enumerate())
    reader = TwoHalves()
    assert reader.both(_me, _me)[0] == _me()
    [thread] = set(threading.enumerate()) - before
    del reader
    thread.join(30)
    assert not thread.is_alive()
