"""Warnings are ignored for a while, by any number of threads, and no longer."""

import threading
import warnings

import pytest

from seewhy.support.quiet import quiet


def test_one_kind_of_warning_for_a_while():
    with quiet(message="dull"):
        warnings.warn("dull and long", stacklevel=1)
        with pytest.warns(UserWarning, match="urgent"):
            warnings.warn("urgent", stacklevel=1)
    with pytest.warns(UserWarning, match="dull"):
        warnings.warn("dull", stacklevel=1)


def test_of_one_module():
    with quiet("elsewhere"), pytest.warns(UserWarning):
        warnings.warn("from here", stacklevel=1)
    with quiet(__name__):
        warnings.warn("from here", stacklevel=1)


def test_many_threads_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    meet = threading.Barrier(8)

    def work(number: int) -> None:
        for turn in range(200):
            with quiet("PIL", f"{(number + turn) % 3}"):
                pass
            if not turn:
                meet.wait(10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
