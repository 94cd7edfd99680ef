"""The states of a disk after a power cut: files and folders keep for certain what was fsynced."""

import os
import stat


class Recorder:
    """Records the fsyncs, renames and deletions in `folder`, and what the disk has after each.

    `states[i]` is (names that are certain, changes of names that are not, contents that are
    certain): {name: inode}, a list of (new name or None, old name, inode), {inode: bytes}.
    """

    def __init__(self, folder, monkeypatch):
        self._folder = os.path.realpath(folder)
        self.states = [({}, [], {})]
        for name in ('fsync', 'replace', 'unlink'):
            self._spy(monkeypatch, name)

    def _spy(self, monkeypatch, name):
        function, record = getattr(os, name), getattr(self, '_' + name)

        def call(*arguments):
            paths = [os.readlink(f'/proc/self/fd/{each}') if isinstance(each, int) else each
                     for each in arguments]
            inode = os.stat(paths[0]).st_ino
            function(*arguments)
            if os.path.dirname(paths[0]) == self._folder or paths[0] == self._folder:
                names, changes, contents = self.states[-1]
                self.states.append((dict(names), list(changes), dict(contents)))
                record(inode, *paths)
        monkeypatch.setattr(os, name, call)

    def _fsync(self, inode, path):
        names, changes, contents = self.states[-1]
        if stat.S_ISDIR(os.stat(path).st_mode):
            names.clear()
            changes.clear()
            names.update((each.name, each.inode()) for each in os.scandir(path))
        else:
            with open(path, 'rb') as stream:
                contents[inode] = stream.read()

    def _replace(self, inode, old, new):
        self.states[-1][1].append((os.path.basename(new), os.path.basename(old), inode))

    def _unlink(self, inode, path):
        self.states[-1][1].append((None, os.path.basename(path), inode))


def write_state(state, folder, random):
    """Write to `folder` what a disk may hold: some changes of names, garbage for unsynced files."""
    names, changes, contents = dict(state[0]), state[1], state[2]
    share = random.choice([0, .5, 1])
    for new, old, inode in changes:
        if random.rand() < share:
            names.pop(old, None)
            if new is not None:
                names[new] = inode
    for name, inode in names.items():
        with open(os.path.join(folder, name), 'wb') as stream:
            stream.write(contents.get(inode, random.choice([b'', bytes(472), bytes(27992)])))
