import os
import threading
import time

import pytest

from filtertrack.render.encoders.compression import Compression

MOST_UNDER_WAY = 4 * min(os.cpu_count(), 4)


def threads():
    return [one.name for one in threading.enumerate() if "filtertrack-compress" in one.name]


def put_all(compression, pictures):
    with compression:
        for picture in pictures:
            compression.put(picture, picture)


def test_results_come_out_in_the_order_of_the_pictures(rng):
    """However long each takes: what is ready early waits, with what was put beside it."""
    seconds, out = rng.uniform(0, 0.01, 100), []

    def compress(number):
        time.sleep(seconds[number])
        return b"%d" % number

    put_all(Compression(compress, lambda data, place: out.append((data, place))), range(100))
    assert out == [(b"%d" % number, number) for number in range(100)]
    assert not threads()


def test_pictures_are_compressed_away_from_the_caller_and_written_on_its_thread():
    """Compressing may run anywhere but there; a file is written by one thread only."""
    compressing, writing = set(), set()

    def compress(number):
        compressing.add(threading.get_ident())
        return b""

    put_all(Compression(compress, lambda *_: writing.add(threading.get_ident())), range(20))
    assert writing == {threading.get_ident()}
    assert compressing
    assert not compressing & writing


def test_a_bounded_number_is_under_way(rng):
    """Once ``put`` is back at most two pictures a thread wait, even if the first is slow."""
    written, waiting = [], []

    def compress(number):
        time.sleep(0.05 if number % 10 == 0 else 0)
        return b""

    with Compression(compress, lambda data, number: written.append(number)) as compression:
        for number in range(60):
            compression.put(number, number)
            waiting.append(number + 1 - len(written))
    assert max(waiting) == MOST_UNDER_WAY
    assert written == list(range(60))


@pytest.mark.parametrize("fails_at", [0, 30, 59], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fails_in", ["compress", "write"])
def test_an_error_surfaces_and_the_threads_end(fails_in, fails_at):
    """What compressing or writing raises comes out of the block; nothing behind it is written."""
    out = []

    def fail(where, number):
        if (where, number) == (fails_in, fails_at):
            raise OSError("disk full")

    def compress(number):
        fail("compress", number)
        return b""

    def write(data, number):
        fail("write", number)
        out.append(number)

    with pytest.raises(OSError, match="disk full"):
        put_all(Compression(compress, write), range(60))
    assert out == list(range(fails_at))
    assert not threads()


def test_after_an_exception_in_the_block_nothing_more_is_written():
    """The exception itself comes out, what waited is dropped, and the threads end."""
    out = []

    def put_and_fail():
        with Compression(bytes, lambda data, number: out.append(number)) as compression:
            for number in range(MOST_UNDER_WAY + 3):
                compression.put(b"", number)
            assert out == [0, 1, 2]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_and_fail()
    assert out == [0, 1, 2]
    assert not threads()


def test_without_any_picture_nothing_is_written():
    """An empty block ends by itself."""
    out = []
    put_all(Compression(bytes, lambda *args: out.append(args)), [])
    assert out == []
