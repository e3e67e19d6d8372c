"""Disks that refuse for real: limits of the kernel, permissions, read-only and full file systems."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.torture import workload
from tests.torture.harness import Broken
from tests.torture.refusals import Skipped, in_child, refused, unchanged
from tests.torture.workload import JOBS, State, check_directory, check_open, open_again

_NOBODY = 65534


def limited_files(size: int) -> Callable[[Path, State], None]:
    """The kernel cuts a write short and refuses the next one."""

    def case(path: Path, before: State) -> None:
        import resource

        def limited() -> None:
            collection = open_again(path)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            usual = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
            for job in JOBS:
                refused(path, lambda job=job: job.run(collection), os.strerror(errno.EFBIG))
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
            check_open(collection, [before])

        in_child(limited)
        unchanged(path, before, open_again(path))

    return case


def without_permission(path: Path, before: State) -> None:
    if os.geteuid() != 0:
        raise Skipped
    for above in (path.parent, *path.parents[1:3]):
        if above.name.startswith(("case-", "torture-")):
            above.chmod(0o755)

    def powerless() -> None:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        collection = open_again(path)
        for job in JOBS:
            refused(path, lambda job=job: job.run(collection), os.strerror(errno.EACCES))
        check_open(collection, [before])
        if collection.verify().problems:
            raise Broken("verify needs to write")
        refused(path.parent / "new", lambda: workload.create(path.parent / "new"), os.strerror(errno.EACCES))

    check_open(open_again(path), [before])  # whatever is imported late is there for the powerless child
    in_child(powerless)
    unchanged(path, before, open_again(path))


_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _READ_ONLY, _REMOUNT, _BIND, _PRIVATE = 0x20000, 1, 32, 4096, 1 << 14 | 1 << 18


def _mount(source: bytes | None, target: Path, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    if _LIBC.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data):
        raise Skipped


def _own_mounts() -> None:
    if not hasattr(_LIBC, "unshare") or os.geteuid() != 0 or _LIBC.unshare(_NEW_MOUNTS):
        raise Skipped
    _mount(None, Path("/"), None, _PRIVATE)


def read_only(path: Path, before: State) -> None:
    def mounted() -> None:
        _own_mounts()
        _mount(os.fsencode(path), path, None, _BIND)
        _mount(None, path, None, _BIND | _REMOUNT | _READ_ONLY)
        collection = open_again(path)
        for job in JOBS:
            refused(path, lambda job=job: job.run(collection), os.strerror(errno.EROFS))
        check_directory(path, [before])

    in_child(mounted)
    unchanged(path, before, open_again(path))


def full(path: Path, before: State) -> None:
    def mounted() -> None:
        _own_mounts()
        place = path.parent / "small"
        place.mkdir()
        _mount(b"none", place, b"tmpfs", 0, b"size=1m")
        shutil.copytree(path, place / "c")
        collection = open_again(place / "c")
        (place / "ballast").write_bytes(bytes(4096 * max(0, os.statvfs(place).f_bavail - 6)))
        for job in JOBS:
            if job.name in ("add", "update", "batch", "compact", "reencode"):
                refused(place / "c", lambda job=job: job.run(collection), os.strerror(errno.ENOSPC))
                check_open(collection, [before])
        (place / "ballast").unlink()
        unchanged(place / "c", before, collection)

    in_child(mounted)
