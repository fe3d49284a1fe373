"""Files and folders that are written completely or not at all; and what a machine that cannot do so says.

Every error of the operating system that is the machine's own fault (a full disk, a missing permission) becomes one
:class:`MachineError` here, so that no stage mistakes it for a fault of what it works on.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from scaling.errors import MachineError, MissingPackageError, OutOfMemory, RecordError, ScalingError
from scaling.packages import import_fault

RESULTS = Path("results")
"""The folder of results where none is named."""


def user_cache(name: str) -> Path:
    """A folder of what can be made again: ``scaling/NAME`` under ``XDG_CACHE_HOME``, else in the user's ``.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scaling" / name


_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space and start the same command again",
    errno.EDQUOT: "the quota is used up; free some space, or have it raised, and start the same command again",
    errno.EFBIG: "the file is larger than this file system or `ulimit -f` allows; name a folder on another disk",
    errno.EROFS: "the file system is read-only; name another folder, or have it mounted writable",
    errno.EACCES: "permission is denied; name another folder, or change its permissions",
    errno.EPERM: "the system does not permit it; name another folder, or change its permissions",
    errno.ENOTDIR: "a file is where a folder should be; move it away, or name another folder",
    errno.EISDIR: "a folder is where a file should be; move it away, or name another file",
    errno.ENAMETOOLONG: "the name is longer than this file system allows; name a shorter path",
    errno.ELOOP: "symbolic links lead in a circle; name the folder itself",
    errno.EMFILE: "too many files are open in this process; raise `ulimit -n` and start the same command again",
    errno.ENFILE: "too many files are open on this machine; close programs and start the same command again",
    errno.EIO: "the device reports an error; check the disk or file server and start the same command again",
    errno.ESTALE: "the file server no longer knows the file; start the same command again",
    errno.ETIMEDOUT: "the file server does not answer; start the same command again once it does",
    errno.ENODEV: "the device is gone; start the same command again once it is back",
    errno.ENXIO: "the device is gone; start the same command again once it is back",
}
"""What is wrong and what to do, for the errors that say something of the machine and nothing of the work."""

LARGEST_JSON = 1 << 28
"""Bytes of a JSON file that is read, at most: a device or another program's file may never end."""

_SAID_BY_LIBRARIES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTDIR)

_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
"""What NumPy says where a disk takes a part of an array; it says neither why nor of which file."""

_MEMORY = "memory is used up; close other programs, lower optim.batch_size or the number of jobs, or use a larger one"


def machine_error(error: BaseException) -> MachineError | None:
    """The error as a fault of this machine; None where it, and what caused it, are something else."""
    if isinstance(error, MachineError):
        return error
    if isinstance(error, ScalingError):
        # Its own sentence says more than that of its cause.
        found = machine_error(error.__cause__) if error.__cause__ is not None else None
        return None if found is None else type(found)(str(error))
    if isinstance(error, ImportError) and (fault := import_fault(error)):
        return MissingPackageError(fault)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{error.filename2 or error.filename}: " if error.filename or error.filename2 else ""
        return MachineError(f"{where}{error.strerror} — {_REMEDIES[error.errno]}")
    said = str(error).splitlines()[0][:200] if str(error) else "out of memory"
    if isinstance(error, OSError) and _CUT_SHORT.fullmatch(said):
        return MachineError(
            f"only a part of a file was written ({said}) — the disk is full, or {_REMEDIES[errno.EFBIG]}"
        )
    if isinstance(error, ValueError | RuntimeError):
        # Libraries that write by themselves, or hold a device's memory, pass on the words alone.
        for number in _SAID_BY_LIBRARIES:
            if os.strerror(number) in str(error):
                return MachineError(f"{said} — {_REMEDIES[number]}")
    out_of_memory = isinstance(error, MemoryError) or said.startswith("RESOURCE_EXHAUSTED")
    if out_of_memory or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return OutOfMemory(f"{said} — {_MEMORY}")
    return machine_error(error.__cause__) if error.__cause__ is not None else None


@contextmanager
def clear_errors(path: Path | None = None) -> Iterator[None]:
    """Raise a :class:`MachineError` in place of an error that is the machine's fault.

    Args:
        path: What is written or read, for errors that do not say it, as that of a full disk.
    """
    try:
        yield
    except (OSError, MemoryError, ImportError) as error:
        if isinstance(error, OSError) and error.errno and error.filename is None and path is not None:
            error.filename = str(path)
        found = machine_error(error)
        if found is None:
            raise
        if isinstance(error, OSError) and error.errno is None and path is not None:
            found = type(found)(f"{path}: {found}")
        raise found from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary name, flushed to disk, then renamed."""
    _replace(path, lambda draft: draft.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that a reader sees the old content or the new, never a part."""
    write_bytes(path, to_json(content))


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it into place.

    For files that take a while to write: what a killed process left of the same file is removed.

    Raises:
        MachineError: if this machine cannot; what was there is left as it was.
    """
    with clear_errors():
        _remove_leftovers(path)
    _replace(path, write)


def write_folder(path: Path, fill: Callable[[Path], Any]) -> bool:
    """Let ``fill`` make the files of a folder under a temporary name, then rename the folder into place.

    The last step of ``fill`` may be to move aside what was there. False where something is there afterwards. What a
    killed process left of the same folder is removed.

    Raises:
        MachineError: if this machine cannot.
    """
    with clear_errors(path):
        _remove_leftovers(path)
        with _draft(path, tempfile.mkdtemp, 0o777) as draft:
            fill(draft)
            return publish_folder(draft, path)


def write_once(path: Path, content: bytes) -> bool:
    """Create a file that did not exist, completely or not at all; False where it exists already.

    Raises:
        MachineError: if this machine cannot.
    """
    with clear_errors(path), _file_draft(path) as draft:
        draft.write_bytes(content)
        _flush(draft)
        try:
            os.link(draft, path)
        except FileExistsError:
            # A file server that repeats a request which it has answered already finds its own link.
            return os.path.exists(path) and os.path.samefile(draft, path)
    return True


def make_folder(path: Path) -> Path:
    """Create a folder and those above it where they do not exist.

    Raises:
        MachineError: if this machine cannot, or a file is there.
    """
    with clear_errors():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    return path


def require_room(folder: Path, n_bytes: float) -> None:
    """Make sure that so many bytes fit on the disk of a folder, before a library is asked to write them.

    Raises:
        MachineError: if they do not.
    """
    with clear_errors():
        free = shutil.disk_usage(folder).free
    if free < n_bytes:
        said = f"{folder}: {n_bytes:,.0f} bytes are to be written, {free:,} are free"
        raise MachineError(f"{said} — {_REMEDIES[errno.ENOSPC]}")


def publish_folder(draft: Path, target: Path) -> bool:
    """Give a finished folder its final name, in one step; False where something is there already.

    A plain rename does it: no file system lets a folder take the place of one that holds anything, or of a file.
    (``RENAME_NOREPLACE`` would refuse an empty folder as well, but is unknown to NFS and others.)

    Raises:
        MachineError: if this machine cannot.
    """
    with clear_errors():
        try:
            os.rename(draft, target)
        except OSError:
            if draft.exists():
                if os.path.lexists(target):
                    return False
                raise
            # A file server that repeats a request which it has answered already no longer finds the draft.
            if not target.exists():
                raise
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it; what is gone already is no error."""
    with clear_errors(), suppress(FileNotFoundError):
        shutil.rmtree(path)


@contextmanager
def locked(lock: Path, *, waits: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Hold a lock file of this machine: two processes that want it go one after the other.

    Args:
        lock: The file; made where it is absent, never emptied, never followed where it is a link.
        waits: Called where another process holds it now.

    Raises:
        RecordError: a symbolic link is in its place.
        MachineError: if this machine cannot make or lock it.
    """
    with clear_errors(lock):
        handle = _open_lock(lock)
    try:
        with clear_errors(lock):
            _wait_for(handle, lock, waits)
        yield
    finally:
        os.close(handle)


def _open_lock(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RecordError(f"{lock}: is a symbolic link, where a lock file should be; remove it") from error
        raise


def _wait_for(handle: int, lock: Path, waits: Callable[[], Any]) -> None:
    """Lock an open file, asked without waiting first, so that whoever has to wait can be told."""
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        # What NFS without its lock service answers, and Lustre as it is often mounted.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A lock guards against a second process, which is rare; hours of training before this step are not given up.
        said = f"{lock.parent}: its file system locks no files ({error.strerror}); the work goes on"
        warnings.warn(f"{said} — see to it that no other process writes there at the same time", stacklevel=2)


def file_hash(path: Path) -> str:
    """The blake2b hash of a file, 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RecordError: if it is absent or not JSON.
        MachineError: if this machine cannot read it.
    """
    try:
        with clear_errors(), path.open("rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise RecordError(f"{path}: longer than {LARGEST_JSON} bytes, not a file of this program; move it away")
        return json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise RecordError(f"{path}: not there — was the stage before run?") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: damaged, not JSON ({error}); move it away and it will be made again") from error


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def to_json(content: Any) -> bytes:
    """Strict JSON with sorted keys, one of its two spellings; the other is the canonical one that ids are hashed
    from."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    with clear_errors(path), _file_draft(path) as draft:
        # Root may put a file in the place of /dev/null, for all programs of the machine.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise RecordError(f"{path}: is a device or a pipe, where a file should be; name another file")
        write(draft)
        _flush(draft)
        os.replace(draft, path)


def _file_draft(path: Path) -> AbstractContextManager[Path]:
    return _draft(path, _make_file, 0o666)


def _make_file(**where: Any) -> str:
    handle, name = tempfile.mkstemp(**where)
    os.close(handle)
    return name


_DRAFT = ".draft"


@contextmanager
def _draft(path: Path, make: Callable[..., str], mode: int) -> Iterator[Path]:
    """An empty file or folder beside ``path`` that nobody else has, with the permissions that the umask gives.

    It is locked while it is filled: a draft without a lock is one whose process was killed.
    """
    draft = Path(make(dir=path.parent, prefix=f".{path.name}.", suffix=_DRAFT))
    try:
        os.chmod(draft, mode & ~_UMASK)
        with _draft_lock(draft):
            yield draft
    finally:
        _remove(draft)


def _remove_leftovers(path: Path) -> None:
    """Remove the drafts of a path that nobody fills any more."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*{_DRAFT}"):
        with _draft_lock(draft) as is_ours:
            if is_ours:
                _remove(draft)


@contextmanager
def _draft_lock(path: Path) -> Iterator[bool]:
    """Whether a file or folder could be locked for the time of a ``with`` block; some file servers lock nothing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_locked = True
    except OSError:
        is_locked = False
    try:
        yield is_locked
    finally:
        os.close(handle)


def _remove(draft: Path) -> None:
    """Remove a file or folder, if it is still there."""
    with suppress(FileNotFoundError):
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
"""Read once: a process can ask for its mask only by setting it, which is no business of a thread."""
