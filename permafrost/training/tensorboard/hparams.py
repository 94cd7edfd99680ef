"""The settings of a run for TensorBoard: its HParams tab, and the configuration as text.

They are in the run directory itself: metrics of the folders below it belong to the run.
"""

import contextlib
from typing import Any, Dict, Union

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.errors import one_line, printable
from permafrost.recipes.setting_text import to_text
from permafrost.training.tensorboard.event_writer import EventWriter
from permafrost.training.tensorboard.summaries import TAGS

# The columns of metrics: folder of the run, quantity, title.
METRICS = (('eval/validation', 'accuracy', 'validation accuracy'),
           ('eval/test', 'accuracy', 'test accuracy'),
           ('eval/validation', 'cross_entropy', 'validation cross entropy'),
           ('eval/test', 'cross_entropy', 'test cross entropy'),
           ('train', 'loss', 'training loss'))
FIRST = ('model', 'recipe', 'learning_rate', 'augmentation', 'seed')  # the columns shown at first
SETTINGS = ('model', 'steps', 'dataset', 'seed', 'validation', 'init_from', 'freeze',
            'teacher')  # of Config


def hyperparameters(config: Config) -> Dict[str, Union[float, str]]:
    """Return {name: number or text}: settings of the run, and all fields of its recipe.

    They are in the order of TensorBoard's columns.
    """
    values: Dict[str, Any] = {name: getattr(config, name) for name in SETTINGS}
    fields = config.recipe.to_json()
    values.update(fields, recipe=fields['name'])
    del values['name']
    return {name: value if isinstance(value, (int, float)) else printable(to_text(value))
            for name, value in sorted(values.items(), key=lambda item: (
                FIRST.index(item[0]) if item[0] in FIRST else len(FIRST), item[0]))}


def write_start(run: str, config: Config) -> None:
    """Write the settings of `run` for TensorBoard; print a note if it is not installed."""
    try:
        from tensorboard.plugins.hparams import api_pb2, summary
    except ImportError as error:
        print(f'note: TensorBoard will show no settings of this run ({one_line(error)})',
              flush=True)
        return
    values = hyperparameters(config)
    number, text = api_pb2.DATA_TYPE_FLOAT64, api_pb2.DATA_TYPE_STRING
    columns = [api_pb2.HParamInfo(name=name, type=text if isinstance(value, str) else number)
               for name, value in values.items()]
    metrics = [api_pb2.MetricInfo(
        name=api_pb2.MetricName(group=folder, tag=TAGS[metric]), display_name=title)
        for folder, metric, title in METRICS]
    _write(run, summary.experiment_pb(columns, metrics), summary.session_start_pb(values),
           _table('config', config))


def write_end(run: str) -> None:
    """Write how the training of `run` ended."""
    with contextlib.suppress(ImportError):
        from tensorboard.plugins.hparams import api_pb2, summary
        is_done = runs.read_status(run).get('state') == 'done'
        _write(run, summary.session_end_pb(
            api_pb2.STATUS_SUCCESS if is_done else api_pb2.STATUS_FAILURE))


def _write(run: str, *summaries: Any) -> None:
    with contextlib.closing(EventWriter(run)) as writer:
        for each in summaries:
            # TensorBoard's class is its own copy of TensorFlow's.
            writer.write(step=0, summary=tf.Summary.FromString(each.SerializeToString()))


def _table(tag: str, config: Config) -> tf.Summary:
    """Return a table of all settings as text: TensorBoard sanitizes its cells."""
    settings = config.recipe.to_json()
    length = settings.pop('train_images')  # config has the dataset's number of this name
    values = {**config.to_json(), **settings, 'recipe': config.recipe.name}
    if not config.recipe.epochs:
        values['length'] = f'{length} images'
    del values['statistics'], values['name']
    rows = [[name, printable(to_text(value))]
            for name, value in sorted(values.items())]
    summary = tf.Summary()
    value = summary.value.add(tag=tag, tensor=tf.make_tensor_proto(
        [['setting', 'value'], *rows], tf.string))
    value.metadata.plugin_data.plugin_name = 'text'
    return summary
