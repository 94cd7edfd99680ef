"""Steps of a run, and ways to damage a checkpoint."""

import os

from permafrost.training.checkpoints import finding


def steps(run):
    """Return the steps of all checkpoints of `run`."""
    return sorted(finding.list_checkpoints(str(run)))


def _rewrite(change, ending='data-00000-of-00001'):
    """Return a function that applies `change` to the bytes of a file of a checkpoint."""
    def damage(path):
        with open(f'{path}.{ending}', 'rb') as stream:
            content = stream.read()
        with open(f'{path}.{ending}', 'wb') as stream:
            stream.write(change(content))
    return damage


def _flip(content):
    return content[:len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[
        len(content) // 2 + 1:]


def _replace_index(make):
    """Return a function that calls `make` with the path of an index that it has removed."""
    def damage(path):
        os.remove(path + '.index')
        make(path + '.index')
    return damage


def rename_older(path):
    """Give the checkpoint of step 2 the name of that of step 4."""
    for ending in ('index', 'data-00000-of-00001'):
        os.replace(f'{path[:-1]}2.{ending}', f'{path}.{ending}')


# {name: (function of a checkpoint's path prefix, what the note says)}
DAMAGE = {
    'data missing': (lambda path: os.remove(path + '.data-00000-of-00001'), 'data file is missing'),
    'data empty': (_rewrite(lambda content: b''), 'data has 0 bytes, and its index describes'),
    'data short': (_rewrite(lambda content: content[:-1]), 'bytes, and its index describes'),
    'data long': (_rewrite(lambda content: content + b'x'), 'bytes, and its index describes'),
    'data zeros': (_rewrite(lambda content: bytes(len(content))), 'Checksum does not match'),
    'data half zeros': (_rewrite(lambda content: content[:len(content) // 2] + bytes(
        len(content) - len(content) // 2)), 'Checksum does not match'),
    'data bit': (_rewrite(_flip), 'Checksum does not match'),
    'index empty': (_rewrite(lambda content: b'', 'index'), 'too short to be an sstable'),
    'index zeros': (_rewrite(lambda content: bytes(len(content)), 'index'), 'not an sstable'),
    'index short': (_rewrite(lambda content: content[:-9], 'index'), 'not an sstable'),
    'index bit': (_rewrite(_flip, 'index'), ''),
    'index garbage': (_rewrite(lambda content: b'garbage' * 99, 'index'), 'not an sstable'),
    'index a folder': (_replace_index(os.mkdir), 'model.ckpt-4.index is not a file'),
    'index a pipe': (_replace_index(os.mkfifo), 'model.ckpt-4.index is not a file'),
    'index a link to nothing': (_replace_index(lambda path: os.symlink('nothing', path)),
                                'model.ckpt-4.index: No such file'),
    'of another step': (rename_older, 'it is the checkpoint of step 2'),
}
