"""The settings of a run, as TensorBoard's HParams tab and its text tab read them."""

import dataclasses
import sys

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training.tensorboard import hparams

CONFIG = Config('tuto', overrides.get_recipe('tutorial', ['learning_rate=0.05']), 100)


def summaries(run):
    """Return {tag: value} of the summaries in the run directory itself."""
    values = {}
    for path in sorted(run.glob('events*')):
        for event in tf.train.summary_iterator(str(path)):
            values.update({value.tag: value for value in event.summary.value})
    return values


def plugin_data(value):
    from tensorboard.plugins.hparams import plugin_data_pb2
    return plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)


def test_the_settings_and_the_columns_of_metrics_are_written(tmp_path):
    hparams.write_start(str(tmp_path), CONFIG)
    written = summaries(tmp_path)
    start = plugin_data(written['_hparams_/session_start_info']).session_start_info
    assert start.hparams['learning_rate'].number_value == 0.05
    assert start.hparams['model'].string_value == 'tuto'
    assert start.hparams['augmentation'].string_value == 'crop,flip,brightness,contrast'
    experiment = plugin_data(written['_hparams_/experiment']).experiment
    assert {info.name for info in experiment.hparam_infos} == set(start.hparams)
    assert ('eval/test', 'accuracy/top1') in [
        (info.name.group, info.name.tag) for info in experiment.metric_infos]


def test_the_end_says_whether_the_training_is_done(tmp_path):
    from tensorboard.plugins.hparams import api_pb2
    for state, status in (('stopped', api_pb2.STATUS_FAILURE), ('done', api_pb2.STATUS_SUCCESS)):
        runs.write_status(str(tmp_path), state=state)
        hparams.write_end(str(tmp_path))
        end = plugin_data(summaries(tmp_path)['_hparams_/session_end_info']).session_end_info
        assert end.status == status


def test_the_configuration_is_a_table_of_text(tmp_path):
    hparams.write_start(str(tmp_path), dataclasses.replace(CONFIG, dataset='a|\n\x1b[1mb'))
    value = summaries(tmp_path)['config']
    assert value.metadata.plugin_data.plugin_name == 'text'
    table = {name.decode(): text.decode() for name, text in tf.make_ndarray(value.tensor)}
    assert table['learning_rate'] == '0.05' and table['recipe'] == 'tutorial'
    assert table['dataset'] == 'a|\\n\\x1b[1mb' and table['steps'] == '100'
    assert table['train_images'] == str(CONFIG.train_images) != '1280000'  # of the dataset
    assert table['length'] == '1280000 images'


def test_hyperparameters_are_the_same_fields_in_every_run():
    other = Config('sprint', overrides.get_recipe('sprint'), 5, init_from='a', freeze='b')
    first, second = hparams.hyperparameters(CONFIG), hparams.hyperparameters(other)
    assert set(first) == set(second) and {type(each) for each in first.values()} == {
        int, float, str}
    assert tuple(first)[:5] == hparams.FIRST
    assert first['init_from'] == 'none' and second['init_from'] == 'a'


def test_without_tensorboard_a_note_is_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'tensorboard.plugins.hparams', None)
    hparams.write_start(str(tmp_path), CONFIG)
    hparams.write_end(str(tmp_path))
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out.startswith('note: TensorBoard will show no settings')
