"""Finding checkpoints: which is found, and what a damaged one gives."""

import os
import shutil

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.training.checkpoints import finding
from tests import networks
from tests.training.checkpoints.helpers import DAMAGE, rename_older, steps


def test_copies_that_somebody_made_are_no_checkpoints(copied):
    for ending in ('index', 'data-00000-of-00001'):
        shutil.copy(os.path.join(copied, 'train', f'model.ckpt-4.{ending}'),
                    os.path.join(copied, 'train', f'model.ckpt-4-best.{ending}'))
    assert steps(copied) == [0, 2, 4]


def test_the_last_checkpoint_or_that_of_a_step_is_found(trained):
    prefix = os.path.join(trained, 'train', 'model.ckpt-')
    assert finding.find_checkpoint(trained) == (4, prefix + '4')
    assert finding.find_checkpoint(trained, 0) == (0, prefix + '0')
    assert finding.last_step(trained) == 4
    with pytest.raises(UsageError, match=r'no checkpoint at step 3 .*choose from: 0, 2, 4'):
        finding.find_checkpoint(trained, 3)
    with open(os.path.join(trained, 'train', 'checkpoint')) as stream:  # for TensorFlow's tools
        assert stream.read() == ('model_checkpoint_path: "model.ckpt-4"\n' + ''.join(
            f'all_model_checkpoint_paths: "model.ckpt-{step}"\n' for step in (0, 2, 4)))
    assert tf.train.latest_checkpoint(os.path.dirname(prefix)) == prefix + '4'


def test_a_run_without_checkpoints_says_so(tmp_path):
    assert finding.last_step(str(tmp_path)) == 0
    with pytest.raises(UserError, match='no checkpoint in .* yet: train first'):
        finding.find_checkpoint(str(tmp_path))


def test_a_checkpoint_that_does_not_fit_is_named_with_its_variable(trained, default_graph):
    path = finding.find_checkpoint(trained)[1]
    shape = tf.train.load_checkpoint(path).get_variable_to_shape_map()['logits/biases']
    good, wide = tf.get_variable('good', shape), tf.get_variable('wide', [11])
    finding.verify_compatible(path, {'logits/biases': good})
    with pytest.raises(UserError, match=r'logits/biases has shape \[10\], expected shape \[11\]'):
        finding.verify_compatible(path, {'logits/biases': wide})
    with pytest.raises(UserError, match=r'nothing is missing, expected shape \[11\]'):
        finding.verify_compatible(path, {'nothing': wide})
    with pytest.raises(UserError, match='cannot read .*model.ckpt-9'):
        finding.verify_compatible(path[:-1] + '9', {'logits/biases': good})


@pytest.mark.parametrize('name', DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_a_note(copied, name, capsys):
    damage, reason = DAMAGE[name]
    path = os.path.join(copied, 'train', 'model.ckpt-4')
    damage(path)
    expected = 0 if damage is rename_older else 2
    assert finding.find_checkpoint(copied)[0] == finding.last_step(copied) == expected
    out, output = capsys.readouterr()
    assert out == '' and output.startswith(f'note: {path} is skipped: ') and reason in output
    assert output.count('\n') == 1 and '/proc' not in output  # said once
    with pytest.raises(UserError) as error:
        finding.find_checkpoint(copied, 4)
    assert str(error.value).startswith(f'{path} is damaged (') and reason in str(error.value)
    assert '\n' not in str(error.value) and len(str(error.value)) < len(path) + 300


def test_a_link_to_a_whole_checkpoint_is_one(copied, tmp_path):
    for ending in ('index', 'data-00000-of-00001'):
        path = os.path.join(copied, 'train', f'model.ckpt-4.{ending}')
        os.rename(path, str(tmp_path / ending))
        os.symlink(str(tmp_path / ending), path)
    assert finding.last_step(copied) == 4


def test_a_checkpoint_that_may_not_be_read_is_an_error(copied, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: not path.endswith('4.index'))  # as root
    with pytest.raises(UserError, match=r'cannot read .*4.index \(Permission denied\): make it re'):
        finding.last_step(copied)


def test_without_proc_a_link_stands_in(trained, monkeypatch):
    isdir = os.path.isdir
    monkeypatch.setattr(os.path, 'isdir', lambda path: '/proc/' not in path and isdir(path))
    with finding.open_checkpoint(os.path.join(trained, 'train', 'model.ckpt-2')) as reader:
        assert reader.get_tensor('global_step') == 2


def test_the_best_checkpoint_needs_an_evaluation(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 1, 'tuto', validation=100)
    with pytest.raises(UsageError, match='has no best checkpoint: it has not been evaluated'):
        finding.find_checkpoint(str(tmp_path), 'best')
