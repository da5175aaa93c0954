"""A disk that forgets: the writes of a traced process, and what a power loss leaves of them.

Strict reading of POSIX: what a file holds is safe once the file was synced, what a folder lists once the
folder was synced, and nothing else is. Of the rest any part may be there: any of a file's writes, the
last of them torn at a sector, and any of a folder's changes.
"""

import os
import re
import shutil
from pathlib import Path

SECTOR = 512
CALLS = (
    "openat,close,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,"
    "unlinkat,mkdir,mkdirat,writev,pwritev,fallocate,dup,dup2"
)
_LINE = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def calls_of(trace):
    """Yield (name, arguments, texts, result) of each call that succeeded in an strace -xx log."""
    for line in Path(trace).read_text().splitlines():
        match = _LINE.match(line)
        if match is None or match[3].startswith("-"):
            continue
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(match[2])]
        yield match[1], _TEXT.sub("", match[2]).split(", "), texts, int(match[3])


class Inode:
    """A file: what is safe of it, and the changes since."""

    def __init__(self):
        self.safe = b""
        self.changes = []  # (offset, data), or (size, None) for a truncation

    def sync(self):
        self.safe, self.changes = self.after(self.changes), []

    def after(self, changes):
        data = bytearray(self.safe)
        for at, written in changes:
            data.extend(bytes(max(0, at - len(data))))
            if written is None:
                del data[at:]
            else:
                data[at : at + len(written)] = written
        return bytes(data)

    def survivors(self, rng):
        kept = [change for change in self.changes if rng.random() < 0.5]
        if kept and kept[-1][1]:
            at, data = kept[-1]
            kept[-1] = at, data[: rng.randrange(0, len(data) + SECTOR, SECTOR)]
        return kept


class Disk:
    """All files below `root`. `deaf` names the syncs that this disk pretends to have done."""

    def __init__(self, root, deaf=lambda _target: False):
        self.root = str(root)
        self.deaf = deaf
        self.synced = set()
        self.files = {}  # what a reader sees now; None is a folder
        self.safe = {}
        self.changes = []  # (folder, path, inode or None, is there)
        self.open = {}
        self.out = b""

    def play(self, name, arguments, texts, result):
        """Take one call; tell whether it changed anything on this disk."""
        paths = [os.fsdecode(text) for text in texts]
        if name == "openat":
            return self._opened(paths[0], arguments[2], result)
        if name in ("mkdir", "mkdirat"):
            return self._named(paths[0], None, there=True)
        if name in ("unlink", "unlinkat"):
            return self._named(paths[0], None, there=False)
        if name.startswith("rename"):
            return self._renamed(*paths)
        fd = int(arguments[0])
        if name == "close":
            self.open.pop(fd, None)
            return False
        if name == "write" and fd == 1:
            self.out += texts[0]
            return True
        if fd not in self.open:
            return False
        path, inode, at = self.open[fd]
        if name in ("fsync", "fdatasync"):
            return self._synced(path, inode)
        if name == "ftruncate":
            inode.changes.append((int(arguments[1]), None))
        elif name == "pwrite64":
            inode.changes.append((int(arguments[3]), texts[0]))
        elif name == "fallocate":  # of a new file: it holds zeros
            inode.changes.append((int(arguments[2]), bytes(int(arguments[3]))))
        elif name == "write":
            inode.changes.append((at, texts[0]))
            self.open[fd] = path, inode, at + len(texts[0])
        else:
            raise AssertionError(f"{name}: not known to this disk")
        return True

    def crash(self, target, rng=None):
        """Write what a power loss leaves now; with `rng` some of what was not synced too."""
        names = dict(self.safe)
        for change in self.changes:
            if rng is not None and rng.random() < 0.5:
                _apply(names, change)
        for path, inode in sorted(names.items()):
            place = target / os.path.relpath(path, self.root)
            if not place.parent.is_dir():
                continue
            if inode is None:
                place.mkdir()
            else:
                place.write_bytes(inode.after([] if rng is None else inode.survivors(rng)))

    def _opened(self, path, flags, fd):
        self.open.pop(fd, None)
        if not path.startswith(self.root):
            return False
        changed = "O_CREAT" in flags and path not in self.files
        if changed:
            self._named(path, Inode(), there=True)
        inode = self.files.get(path)
        if inode is not None and "O_TRUNC" in flags:
            inode.changes.append((0, None))
            changed = True
        self.open[fd] = path, inode, 0
        return changed

    def _named(self, path, inode, *, there):
        if not path.startswith(self.root):
            return False
        change = str(Path(path).parent), path, inode, there
        _apply(self.files, change)
        self.changes.append(change)
        return True

    # Atomic: the new name appears and the old one goes in one change, as file systems promise.
    def _renamed(self, old, new):
        inode = self.files.get(old)
        if inode is None:
            return False
        del self.files[old]
        self.files[new] = inode
        self.changes.append((str(Path(new).parent), (old, new), inode, True))
        return True

    def _synced(self, path, inode):
        target = Path(path).name + ("/" if inode is None else "")
        self.synced.add(target)
        if self.deaf(target):
            return False
        if inode is not None:
            inode.sync()
            return True
        for change in [c for c in self.changes if c[0] == path]:
            _apply(self.safe, change)
            self.changes.remove(change)
        return True


def _apply(names, change):
    _, path, inode, there = change
    if isinstance(path, tuple):
        names.pop(path[0], None)
        names[path[1]] = inode
    elif there:
        names[path] = inode
    else:
        names.pop(path, None)


def emptied(folder):
    """Return the folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
