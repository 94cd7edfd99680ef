"""Teachers: the frozen graph that --teacher names, read, checked, and kept with the run."""

import os
from typing import Any, Optional

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.cli import trained_models
from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, printable
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.reading import labels
from permafrost.export import freeze, graph_passes
from permafrost.training.checkpoints import finding
from permafrost.training.compression.distillation import Teacher
from permafrost.training.setup import TrainSetup, find_graph


def with_teacher(train_setup: TrainSetup, session_config: Optional[tf.ConfigProto] = None
                 ) -> TrainSetup:
    """Return `train_setup` with the Teacher of its --teacher, if it names one.

    A resumed run has a copy of its own. Raises UserError if the teacher cannot be read or does not
    fit the dataset, or if a resumed run began with another one.
    """
    source, run = train_setup.config.teacher, train_setup.run
    if source is None or train_setup.teacher is not None:
        return train_setup
    began_with = ''
    if train_setup.resume:
        began_with = runs.read_config(run)[1].get('teacher_sha256', '')
        copy = os.path.join(run, runs.TEACHER)
        if os.path.exists(copy):
            source = copy
        elif not os.path.exists(trained_models.path_of(source)):
            raise UserError(f'{printable(copy)} is missing, and so is the teacher that it was made '
                            f'from, {printable(source)}: restore one of them')
    teacher = read(source, train_setup.dataset, session_config)
    if began_with not in ('', teacher.sha256):
        raise UserError(f'{printable(teacher.source)} is not the teacher that {printable(run)} '
                        f'began with (sha256 {teacher.sha256[:12]}..., not {began_with[:12]}...): '
                        'restore it, or start another run')
    print(f'teacher: {printable(teacher.source)}, sha256 {teacher.sha256[:12]}...', flush=True)
    if train_setup.config.recipe.compute_dtype == 'bfloat16':
        teacher = teacher._replace(graph=graph_passes.convolve_in_bfloat16(teacher.graph))
    return train_setup._replace(teacher=teacher)


def read(source: str, dataset: Dataset, session_config: Optional[tf.ConfigProto] = None) -> Teacher:
    """Return the teacher of a run, of one of our frozen graphs, or of a name in trained_models/.

    Raises UserError if there is none, or if it does not fit the images and classes of `dataset`.
    """
    if os.path.isdir(source):
        content, name = _freeze(source, dataset, session_config)
        graph = tf.GraphDef.FromString(content)
    else:
        name = find_graph(source, 'teacher')
        graph = graph_def.read_graph(name)
        with files.open_regular(name) as stream:
            content = stream.read()
        if name.endswith('.pbtxt'):
            content = graph.SerializeToString(deterministic=True)
    _check_input(graph, name, dataset)
    classes = tuple(labels.in_graph(graph))
    if classes not in ((), tuple(dataset.classes)):
        raise UserError(f'the teacher {printable(name)} names other classes than {dataset.name} '
                        f'has ({_first(classes)}, not {_first(dataset.classes)}): train a teacher '
                        'on this dataset')
    graph = graph_def.extract_subgraph(graph, ['predictions'])
    with tf.Graph().as_default() as imported:
        graph_def.import_graph(graph, name)
        shape = imported.get_tensor_by_name('predictions:0').shape
    if shape.ndims != 2 or shape.as_list()[1] != len(dataset.classes):
        raise UserError(f'the teacher {printable(name)} returns {shape}, not logits of the '
                        f'{len(dataset.classes)} classes of {dataset.name}: name another --teacher')
    return Teacher(name, content, graph, classes)


def _freeze(run: str, dataset: Dataset, session_config: Any) -> Any:
    """Return the frozen graph of the last checkpoint of `run` as bytes, and its name."""
    config, extra = runs.read_config(run)
    step, checkpoint = finding.find_checkpoint(run)
    weights = config.recipe.default_weights
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        _, graph = freeze.freeze_checkpoint(session, config, extra['classes'], dataset.image_shape,
                                            checkpoint, weights)
    return graph.SerializeToString(deterministic=True), f'{run} (step {step}, {weights} weights)'


def _check_input(graph: tf.GraphDef, name: str, dataset: Dataset) -> None:
    """Raise UserError unless `graph` is fed images of `dataset` as they are decoded."""
    nodes = {node.name: node for node in graph.node}
    if not {'images', 'predictions'} <= set(nodes) or (
            nodes['images'].attr['dtype'].type != tf.uint8.as_datatype_enum):
        raise UserError(f'the teacher {printable(name)} has no nodes `images` (uint8 [N, H, W, 3], '
                        'as decoded) and `predictions` (logits): name a run, or a graph that '
                        'freeze_graph.py wrote')
    shape = tf.TensorShape(nodes['images'].attr['shape'].shape)
    if not shape.is_compatible_with([None, *dataset.image_shape]) or (
            shape.dims and shape.dims[0].value):
        raise UserError(f'the teacher {printable(name)} is fed images {shape}, but those of '
                        f'{dataset.name} are {tuple(dataset.image_shape)}, in batches: train a '
                        'teacher on this dataset')


def _first(classes: Any) -> str:
    return f'{len(classes)} classes: {printable(", ".join(list(classes)[:3]))}, ...'
