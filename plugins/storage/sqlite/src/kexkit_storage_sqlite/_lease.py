"""One process at a time: a lock that the kernel takes back when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from kexkit.errors import StoreBusy

from kexkit_storage_sqlite._errors import unusable
from kexkit_storage_sqlite._files import open_private
from kexkit_storage_sqlite._fork import watch
from kexkit_storage_sqlite.limits import LEASE_TEXT_MAX

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 20  # Windows forbids others to read a locked byte, so it is not one of the process id's

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from None

    def _unlock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        # flock, not lockf: it also keeps out a second opener in this process, and closing some other descriptor of
        # the file does not lose it
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class Lease:
    """Held from the moment it is made until `release`."""

    def __init__(self, path: str) -> None:
        self._fd = open_private(path)
        try:
            _lock(self._fd)
            with suppress(OSError):  # who holds it is a courtesy: a disk without room for it can still be read
                self._sign()
        except BlockingIOError:
            holder = self._holder()
            self._close()
            raise StoreBusy(f"The store is held by {holder}.", advice="Close it there, or use another path.") from None
        except OSError as error:
            self._close()
            raise unusable(error, path) from None
        watch(self)

    def release(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                _unlock(self._fd)  # a child that was forked this moment may still have the descriptor open
            self._close()

    def forget_in_child(self) -> None:
        """The child shares the descriptor, and would keep the store locked after its parent's death.

        Closed, not unlocked: unlocking would unlock it for the parent too.
        """
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _sign(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, b"%d\n" % os.getpid())

    def _holder(self) -> str:
        os.lseek(self._fd, 0, os.SEEK_SET)
        text = os.read(self._fd, LEASE_TEXT_MAX).strip()
        return f"process {text.decode()}" if text.isdigit() else "another process"
