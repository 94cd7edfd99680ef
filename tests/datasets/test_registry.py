"""The registry: names, directories, published files, and manifests."""

import json
import os

import pytest

from permafrost.datasets import loading, packing, registry
from permafrost.errors import UsageError, UserError
from tests import in_process
from tests.datasets.helpers import arrays


def test_a_dataset_is_given_by_name_or_directory(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert registry.resolve('cifar10', '~/x') == ('cifar10', str(tmp_path / 'x'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tfrecords').mkdir()
    assert registry.resolve('tfrecords') == (registry.TFRECORDS, 'tfrecords')
    assert registry.resolve('~/flowers') == (registry.TFRECORDS, str(tmp_path / 'flowers'))


def test_default_directories(monkeypatch, tmp_path):
    monkeypatch.setenv('PERMAFROST_DATA', str(tmp_path))
    assert registry.dataset_dir('cifar10') == str(tmp_path / 'cifar10')
    monkeypatch.delenv('PERMAFROST_DATA')
    monkeypatch.delenv('PERMAFROST_CACHE', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert registry.dataset_dir('cifar10') == str(tmp_path / '.cache/permafrost/data/cifar10')


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match='did you mean cifar10'):
        registry.resolve('cifar-10')
    with pytest.raises(UsageError, match=r'from: cifar10, cifar100\); or give a directory '
                                         r'made by `.*tools/make_tfrecords.py`$'):
        registry.resolve('cifar11')


def test_cifar100_files_and_classes():
    spec = registry.describe('cifar100')
    assert len(spec.classes) == len(set(spec.classes)) == 100
    assert list(spec.classes) == sorted(spec.classes)
    # in the canonical archive: 50,000 and 10,000 records of 3,074 bytes
    assert {(file.name, file.count * spec.record_format.record_bytes) for file in spec.files} == {
        ('train.bin', 153700000), ('test.bin', 30740000)}


def test_identities_of_the_published_datasets():
    """Runs record them: an earlier run must find its dataset unchanged."""
    assert registry.describe('cifar10').identity() == (
        '8752ee2147ec6b5b004267c830d08a8b314f06f58756fb2666b29fd9aeb4ad6b')
    assert registry.describe('cifar100').identity() == (
        '891fbb6489c4c559d92c7deb7b878f86e33bd7c61ce271f113c7e760e8c43668')


def test_identity_depends_on_the_content_not_the_place(tmp_path):
    images, labels = arrays(12, 3, 50)
    splits = {'train': (images[:40], labels[:40]), 'test': (images[40:], labels[40:])}

    def identity(name, classes, splits):
        packing.write(str(tmp_path / name), classes, splits)
        return registry.describe(str(tmp_path / name)).identity()
    first = identity('one', ['a', 'b', 'c'], splits)
    assert identity('two', ['a', 'b', 'c'], splits) == first
    renamed = identity('two', ['a', 'b', 'd'], splits)
    fewer = identity('two', ['a', 'b', 'c'], dict(splits, test=(images[41:], labels[41:])))
    assert len({first, renamed, fewer}) == 3


@pytest.mark.parametrize('text, problem', [
    ('[1, 2]', 'manifest.json is damaged (it must be an object'), ('{}', '(format is missing)'),
    ('{"format": "other"}', "(unknown format 'other'"),
    ('{"for', 'manifest.json is damaged (Unterm'),
    ('{"format": "permafrost tfrecords 1", "classes": 3, "image_size": 8}',
     '(classes must be a list of 1 to 1000000 items, not 3)'),
    ('{"format": "permafrost tfrecords 1", "classes": ["a"], "image_size": 8, "files": [{"name": 1,'
     ' "split": "train", "count": 1, "checksum": ""}]}',
     '(files[0].name must be the name of a file in that directory, not 1): pack it again with `')])
def test_a_bad_manifest_is_named(tmp_path, monkeypatch, text, problem):
    monkeypatch.setenv('PERMAFROST_COMMAND', 'podman')
    (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(UserError) as caught:
        registry.describe(str(tmp_path))
    assert problem in str(caught.value) and str(tmp_path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_file_is_not_a_dataset(tmp_path):
    (tmp_path / 'manifest.json').write_text('{}')
    with pytest.raises(UserError, match='manifest.json is a file: name the directory of a packed'):
        registry.describe(str(tmp_path / 'manifest.json'))


def test_a_directory_that_was_never_packed_is_told_from_one_that_was(tmp_path, monkeypatch):
    monkeypatch.setenv('PERMAFROST_COMMAND', 'podman')
    (tmp_path / 'red').mkdir()
    with pytest.raises(UserError, match=f'^{tmp_path} is not a packed dataset: it has no manifest.'
                                        f'json. Run `podman pack {tmp_path} OUT`, then use --data'):
        registry.describe(str(tmp_path))
    for name in ('.packing', 'test-00000-of-00001.tfrecord'):
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match='manifest.json: No such file or directory; pack it '
                                            'again with `podman pack DIR OUT`'):
            registry.describe(str(tmp_path))
        (tmp_path / name).rmdir()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(UserError, match='^no directory .*/none: pack it again with '):
        registry.describe(str(tmp_path / 'none'))


FILE = {'name': 'a', 'split': 'train', 'count': 1, 'checksum': '0' * 64}


@pytest.mark.parametrize('field, wrong', [
    *(('name', name) for name in (
        '../../etc/passwd', '/etc/passwd', '..', '.', '', 'a/b', 'a\0', '\ud800', None, 5)),
    *(('split', split) for split in ('evil', ['train'], None)),
    *(('count', count) for count in ('63', 63.0, None, -1, 10**13, True)),
    *(('checksum', checksum) for checksum in ('', 'x' * 64, 5, None, ['0' * 64]))])
def test_a_wrong_field_of_a_file_is_named(tmp_path, field, wrong):
    manifest = {'format': registry.FORMAT, 'classes': ['a'], 'image_size': 8, 'files': [FILE]}
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    assert registry.describe(str(tmp_path)).files == (registry.DataFile(**FILE),)
    manifest['files'] = [dict(FILE, **{field: wrong})]
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf'files\[0\].{field}') as error:
        registry.describe(str(tmp_path))
    assert str(error.value).isprintable()


def test_a_manifest_names_regular_files_only(tmp_path):
    manifest = {'format': registry.FORMAT, 'classes': ['a'], 'image_size': 8,
                'files': [dict(FILE, count=0)]}
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path)):
        make(str(tmp_path / 'a'))
        with pytest.raises(UserError, match='a: not a regular file; pack it again'):
            loading.open_dataset(str(tmp_path))
        os.rename(str(tmp_path / 'a'), str(tmp_path / f'other{make.__name__}'))


def test_info_counts_a_hundred_classes_of_cifar100():
    result = in_process.run('info.py', '--model=tuto', '--dataset=cifar100', '--json', '--layers')
    model, = json.loads(result.stdout[result.stdout.index('['):])
    assert model['layers'][-1]['output_shape'] == [100]
    assert model['layers'][-1]['params'] == 192 * 100 + 100
