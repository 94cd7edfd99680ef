"""Training, evaluation and freezing on packed datasets, which may move or change."""

import json
import os
import shutil
from typing import NamedTuple

import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import evaluator
from permafrost.export import freeze
from permafrost.training import loop
from permafrost.training.checkpoints import finding
from tests import in_process, networks
from tests.datasets.helpers import CLASSES, make_images, pack

SCRIPT = 'tools/make_tfrecords.py'


class TrainedRun(NamedTuple):
    run: str
    dataset: loading.Dataset
    graph: str  # the frozen graph


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory):
    """A run on the packed images, trained through the stream source and frozen."""
    folder = tmp_path_factory.mktemp('trained')
    run, graph = str(folder / 'run'), str(folder / 'x.pb')
    pack(images[0], folder / 'set', image_size=28)
    for arguments in (['train.py', '--model=squeeze1', f'--dataset={folder}/set', '--steps=60',
                       '--source=stream', '--set=batch_size=32', '--set=ema_decay=0'],
                      ['freeze_graph.py', f'--output={graph}']):
        result = in_process.run(*arguments, f'--run={run}')
        assert result.code == 0, result
    return TrainedRun(run, loading.open_dataset(str(folder / 'set')), graph)


def test_evaluation_and_freezing_use_the_test_images(trained):
    run, dataset, graph = trained
    result = in_process.run('eval.py', f'--run={run}', f'--dataset={dataset.directory}')
    assert f'of {dataset.counts["test"]} test images' in result.stdout
    assert '  green' in result.stdout
    with open(run + '/config.json') as stream, open(graph[:-3] + '.json') as frozen_stream:
        config, frozen = json.load(stream), json.load(frozen_stream)
    assert config['classes'] == frozen['classes'] == CLASSES
    assert config['dataset_identity'] == dataset.identity
    assert dataset.identity in frozen.values() and 'set' in frozen.values()
    assert frozen['image_shape'] == [28, 28, 3]
    with open(run + '/eval/test/metrics.jsonl') as stream:
        metrics = json.loads(stream.readlines()[-1])
    assert metrics['correct'] == frozen['correct'] and metrics['accuracy'] > 0.5
    result = in_process.run('eval.py', f'--graph={graph}', f'--dataset={dataset.directory}')
    assert f'{metrics["correct"]} of {metrics["images"]} test' in result.stdout


@pytest.mark.parametrize('script', ['eval.py', 'freeze_graph.py'])
def test_another_dataset_than_that_of_the_run_is_refused(trained, script):
    result = in_process.run(script, f'--run={trained.run}', '--dataset=cifar10')
    assert result.code == 2
    assert 'this run was trained on set, not on cifar10: leave --dataset out' in result.stderr


def test_a_run_notices_a_moved_or_changed_dataset(trained, tmp_path, capsys):
    dataset, run = tmp_path / 'set', tmp_path / 'run'
    shutil.copytree(trained.run, str(run))
    shutil.copytree(trained.dataset.directory, str(dataset))

    def output_of_evaluator(**options):
        with evaluator.Evaluator(str(run), None, **options):
            return capsys.readouterr().out
    assert output_of_evaluator() == '', 'found next to the run'
    os.rename(str(dataset), str(tmp_path / 'elsewhere'))
    with pytest.raises(UserError, match=f'^no directory {dataset}: pack it again'):
        output_of_evaluator()
    assert output_of_evaluator(data_dir=str(tmp_path / 'elsewhere')) == ''
    make_images(tmp_path / 'other', 60, seed=1)  # other images in the same place
    pack(tmp_path / 'other', dataset, image_size=28)
    capsys.readouterr()
    assert f'note: {dataset} has changed since {run} was started' in output_of_evaluator()
    result = in_process.run('train.py', f'--run={run}', '--resume', '--model=squeeze1',
                            '--steps=70')
    assert result.code == 1 and 'has changed since' in result.stderr
    assert 'start another run' in result.stderr
    shutil.rmtree(str(tmp_path / 'other/red'))
    pack(tmp_path / 'other', dataset, image_size=28)
    with pytest.raises(UserError, match=r'was trained on 3 classes \(blue, green, red\)'):
        output_of_evaluator()
    with pytest.raises(UserError, match='was trained on 3 classes'):
        freeze.freeze(str(run), None, output=str(tmp_path / 'x.pb'))


@pytest.mark.parametrize('change', [None, 'labels', 'classes', 'unfinished'])
def test_a_training_ends_if_its_dataset_is_packed_again(copied, tmp_path, change):
    """No batch has a record of the new dataset, so no checkpoint does."""
    pack(copied, tmp_path / 'set', image_size=28)
    dataset = loading.open_dataset(str(tmp_path / 'set'))._replace(name='tfrecords')

    class PackAgain(tf.train.SessionRunHook):
        step = 0

        def after_run(self, context, values):
            self.step += 1
            if self.step == 3:
                if change == 'labels':
                    os.rename(str(copied / 'blue'), str(copied / 'x'))
                    os.rename(str(copied / 'red'), str(copied / 'blue'))
                    os.rename(str(copied / 'x'), str(copied / 'red'))
                elif change == 'classes':
                    make_images(copied / 'x', 30)
                pack(copied, tmp_path / 'set', image_size=28)
                if change == 'unfinished':
                    os.unlink(str(tmp_path / 'set/manifest.json'))

    setup = networks.train_setup(dataset, tmp_path / 'run', 60, source='stream')
    with networks.registered():
        def train():
            return loop.train(setup, extra_hooks=lambda training: [PackAgain()])
        if change is None:
            assert train() == 0, 'the same dataset'
            return
        with pytest.raises(UserError, match=f'^{tmp_path}/set was packed again, or removed, while '
                                            'training: put the earlier dataset back'):
            train()
    assert finding.last_step(str(tmp_path / 'run')) < 20
