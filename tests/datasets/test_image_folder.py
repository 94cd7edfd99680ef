"""Scanning directories of class folders: splits, classes, bad and ignored files."""

import os
import shutil

import pytest

from permafrost.datasets import image_folder
from permafrost.errors import UserError


def scan(directory, test_fraction=0.25):
    return image_folder.scan(str(directory), test_fraction)


def paths_of(folder, split):
    return {item.path for item in folder.items[split]}


def test_each_image_is_in_one_split_with_the_label_of_its_folder(images):
    directory, paths = images
    folder = scan(directory)
    assert folder.classes == ['blue', 'green', 'red'] and not folder.bad and not folder.ignored
    items = folder.items['train'] + folder.items['test']
    assert sorted(item.path for item in items) == sorted(paths)
    for item in items:
        assert item.path.startswith(folder.classes[item.label] + os.sep)
    for split in ('train', 'test'):
        keys = [item.key for item in folder.items[split]]
        assert keys == sorted(keys)


def test_held_out_images_stay_so_when_images_are_added(images, copied):
    before = paths_of(scan(images[0]), 'test')
    for path in images[1]:
        added = os.path.join(os.path.dirname(path), 'added' + os.path.basename(path))
        shutil.copy(str(images[0] / path), str(copied / added))
    after = paths_of(scan(copied), 'test')
    assert before < after and {path for path in after if 'added' not in path} == before
    assert scan(images[0], 0).items['test'] == []


def test_folders_train_and_test_are_the_splits(images, tmp_path):
    directory, paths = images
    for number, path in enumerate(paths):
        target = tmp_path / ('test' if number % 10 < 3 else 'train') / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(directory / path), str(target))
    (tmp_path / 'val').mkdir()
    folder = scan(tmp_path)
    assert folder.ignored == {'next to train and test, such as val': 1}
    assert len(folder.classes) == 3
    assert len(folder.items['train']) == 63 and len(folder.items['test']) == 27
    (tmp_path / 'test/purple').mkdir()
    shutil.copy(str(directory / paths[0]), str(tmp_path / 'test/purple'))
    with pytest.raises(UserError, match='class purple in test but none in train'):
        scan(tmp_path)


def test_files_that_are_not_meant_as_images_are_counted(images, copied):
    for name in ('README.md', '.DS_Store', 'red/labels.csv', 'red/._0002.png', 'stray.png'):
        (copied / name).write_text('words')
    (copied / 'empty').mkdir()
    (copied / '.git').mkdir()
    (copied / 'red/deeper').mkdir()
    os.rename(str(copied / images[1][2]), str(copied / 'red/deeper/x.PNG'))
    folder = scan(copied)
    assert folder.ignored == {'hidden': 3, 'outside of class folders': 2, 'not images by name': 1,
                              'folders without images': 1}
    assert len(folder.items['train'] + folder.items['test']) == 90 and not folder.bad
    assert 'red/deeper/x.PNG' in paths_of(folder, 'train') | paths_of(folder, 'test')


def test_links_and_other_formats(copied, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (copied / 'red/loop').symlink_to('../red')
    (copied / 'red/side').symlink_to('../green')
    (copied / 'green/all').symlink_to('../../in')
    (copied / 'green/other.png').symlink_to(copied / os.path.join('red', '0002.png'))
    (copied / 'green/own.png').symlink_to('0001.png')
    (copied / 'green/disk').symlink_to(elsewhere)
    (copied / '.annex').mkdir()
    stored = max((copied / 'red').glob('*.png'))
    stored.rename(copied / '.annex/1.png')
    stored.symlink_to('../.annex/1.png')  # from where it is not packed
    (elsewhere / 'back').symlink_to(copied)
    shutil.copy(str(copied / 'green/0001.png'), str(elsewhere))
    (copied / 'red/photo.webp').write_bytes(b'RIFF')
    shutil.copytree(str(copied / 'blue'), str(tmp_path / 'outside'))
    (copied / 'orange').symlink_to(tmp_path / 'outside')  # a linked folder is a class like others
    (copied / 'purple').symlink_to(tmp_path / 'outside')  # but only one is
    (copied / 'blue/deeper').mkdir()
    (copied / 'yellow').symlink_to('blue')
    (copied / 'white').symlink_to('blue/deeper')
    (copied / 'blue/outside').symlink_to(tmp_path / 'outside')
    folder = scan(copied)
    assert folder.classes == ['blue', 'green', 'orange', 'red']
    assert folder.bad['red/photo.webp'] == 'a webp image: save it as PNG, JPEG or BMP'
    found = paths_of(folder, 'train') | paths_of(folder, 'test')
    assert {path for path in folder.bad if 'link' in folder.bad[path]} == {
        'red/loop', 'red/side', 'green/all', 'green/other.png', 'green/disk/back', 'yellow',
        'white', 'purple', 'blue/outside'}
    assert folder.bad['red/loop'] == 'a symbolic link to a folder that contains it'
    for name in ('red/side', 'yellow', 'purple'):
        assert 'whose images would be packed twice' in folder.bad[name]
    assert {'green/own.png', 'green/disk/0001.png', f'red/{stored.name}'} <= found
    assert len(found) == 90 + 30 + 2


def test_splits_and_their_classes_do_not_share_images(images, tmp_path):
    for split in ('train', 'test'):
        shutil.copytree(str(images[0]), str(tmp_path / 'elsewhere' / split))
    directory = tmp_path / 'in'
    directory.mkdir()
    for split in ('train', 'test'):
        (directory / split).symlink_to(tmp_path / 'elsewhere' / split)
    assert [len(items) for items in scan(directory).items.values()] == [90, 90] == [
        90 - len(scan(directory).bad)] * 2
    shutil.rmtree(str(tmp_path / 'elsewhere/test/blue'))
    (tmp_path / 'elsewhere/test/blue').symlink_to('../train/blue')
    folder = scan(directory)
    assert list(folder.bad) == ['test/blue'] and len(folder.items['test']) == 60
    (tmp_path / 'elsewhere/test/blue').unlink()
    (tmp_path / 'elsewhere/train/all').symlink_to(directory / 'test')
    assert list(scan(directory).bad) == ['train/all']
    for target in ('train', tmp_path / 'elsewhere/train/green'):
        (directory / 'test').unlink()
        (directory / 'test').symlink_to(target)
        with pytest.raises(UserError, match='in: train and test share images through a sym'):
            scan(directory)


def test_folders_and_files_of_systems_are_counted(copied):
    for name in ('red/@eaDir', 'red/@eaDir/0002.png', '__MACOSX', '.ipynb_checkpoints',
                 'red/.ipynb_checkpoints'):
        (copied / name).mkdir()
        shutil.copy(str(copied / 'red/0002.png'), str(copied / name / 'thumb.png'))
    (copied / 'red/Thumbs.db').write_bytes(b'x')
    folder = scan(copied)
    assert folder.classes == ['blue', 'green', 'red'] and not folder.bad
    assert folder.ignored == {'named @eaDir': 1, 'named __MACOSX': 1, 'named Thumbs.db': 1,
                              'hidden': 2}
    assert len(paths_of(folder, 'train') | paths_of(folder, 'test')) == 90


def test_directories_without_a_dataset_are_refused(images, tmp_path):
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'bare').mkdir()
    (tmp_path / 'flat').mkdir()
    shutil.copy(str(images[0] / images[1][0]), str(tmp_path / 'flat'))
    shutil.copytree(str(images[0] / 'red'), str(tmp_path / 'one/red'))
    for name in ('Train', 'val'):
        shutil.copytree(str(images[0] / 'red'), str(tmp_path / 'splits' / name / 'red'))
    for name in ('more/docs', 'more/train', 'more/val', 'webp/red', 'lone/train/red'):
        shutil.copytree(str(images[0] / 'red'), str(tmp_path / name))
    for name in ('webp/blue/a', 'webp/blue/b', 'nothing/blue/a'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f'{name}.webp').write_bytes(b'RIFF')
    for name, problem in [
            ('none', 'none: no such directory'), ('file', 'file: no such directory'),
            ('bare', 'has no class folders with PNG, JPEG or BMP images'),
            ('flat', 'has no class folders'), ('one', 'has only one class, red'),
            ('splits', 'has the folders Train, val, which look like splits'),
            ('more', 'has the folders train, val, which look like splits'),
            ('lone', 'has only the split train: name that folder instead, or add the other'),
            ('webp', 'has only one class, red: a classifier needs at least two folders of images. '
             'Files that cannot be used: 2, such as blue/a.webp: a webp image: save it as PNG'),
            ('nothing', 'train and test with those. Files that cannot be used: 1, such as '
             'blue/a.webp: a webp image')]:
        with pytest.raises(UserError) as caught:
            scan(tmp_path / name)
        assert problem in str(caught.value) and '\n' not in str(caught.value)


