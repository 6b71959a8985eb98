"""One thread at a time uses a module: networks that share modules or weights wait for each other.

A process that is forked while another thread uses a network inherits that network as the thread
left it, but not the thread. There, what the thread would have restored is restored at once, and
nothing is waited for. A process forked after a network has run computes with one thread, as the
workers of a DataLoader do: the threads of GNU OpenMP do not survive a fork, and a parallel
operation would wait for them forever.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import torch

from seewhy.errors import SeewhyError

POLL = 0.5  # seconds between looks at the signals while waiting, so that Ctrl-C is heard


class Exclusion:
    """Which thread uses which modules, parameters and buffers, by their identity.

    A thread may use a part several times, and several networks at a time. Threads that would wait
    for each other forever get an error instead.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._uses: list[tuple[int, frozenset[int]]] = []  # thread and parts
        self._wanted: dict[int, frozenset[int]] = {}  # waiting thread -> parts
        self.was_used = False

    @contextmanager
    def of(self, parts: Sequence[object]) -> Iterator[None]:
        """Let no other thread use the parts of a network while the block runs.

        Raises SeewhyError if the threads that use them wait for this one.
        """
        use = threading.get_ident(), frozenset(map(id, parts))
        with self._changed:
            try:
                while self._others(*use):
                    self._wanted[use[0]] = use[1]
                    if self._waits_for(use[0], use[0]):
                        raise SeewhyError(
                            "two threads wait for each other's networks; let each thread use its "
                            "networks one after the other, or in the same order"
                        )
                    self._changed.wait(POLL)
            finally:
                self._wanted.pop(use[0], None)
            self._uses.append(use)
            self.was_used = True
        try:
            yield
        finally:
            with self._changed:
                # Not after a fork, which forgets what other threads used.
                if use in self._uses:
                    self._uses.remove(use)
                self._changed.notify_all()

    def _others(self, me: int, parts: frozenset[int]) -> set[int]:
        """Return the other threads that use any of the parts."""
        return {user for user, used in self._uses if user != me and not used.isdisjoint(parts)}

    def _waits_for(self, thread: int, me: int, seen: frozenset[int] = frozenset()) -> bool:
        """Return whether a thread waits, directly or not, for parts that `me` uses."""
        for user in self._others(thread, self._wanted.get(thread, frozenset())):
            if user == me or (user not in seen and self._waits_for(user, me, seen | {user})):
                return True
        return False


class Restoring:
    """What running blocks will restore, so that a forked process can do it for other threads."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, ExitStack]] = {}

    @contextmanager
    def __call__(self) -> Iterator[ExitStack]:
        """Yield a stack of callbacks, which run when the block ends."""
        with ExitStack() as undo:
            self._open[id(undo)] = threading.get_ident(), undo
            try:
                yield undo
            finally:
                del self._open[id(undo)]

    def of_other_threads(self) -> None:
        """Run the callbacks of other threads, the newest first."""
        me = threading.get_ident()
        others = [stack for thread, stack in self._open.values() if thread != me]
        for stack in reversed(others):
            with suppress(Exception):
                stack.close()
        self._open = {key: value for key, value in self._open.items() if value[0] == me}


exclusion = Exclusion()
restoring = Restoring()


def _in_child() -> None:
    # The lock may be held, and networks be in use, by threads that do not exist here. The forking
    # thread goes on; what it uses, nobody else wants.
    if exclusion.was_used:
        torch.set_num_threads(1)
    exclusion.__init__()
    restoring.of_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
