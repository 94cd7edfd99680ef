"""The engine of this interpreter, which trains as train.py does; see server.serve_training."""

import contextlib
import sys

import numpy as np

from benchmarks.runtimes import server
from permafrost import engines

with contextlib.redirect_stdout(sys.stderr):  # stdout is for answers
    SESSION_CONFIG = engines.prepare()

import tensorflow.compat.v1 as tf  # noqa: E402

import models  # noqa: E402
from benchmarks.runtimes import ablations, graphs  # noqa: E402
from models.layers.net import Net  # noqa: E402
from permafrost.config import Config  # noqa: E402
from permafrost.experiments import model_info  # noqa: E402
from permafrost.recipes import catalog, overrides  # noqa: E402
from permafrost.training.graph import build_train_graph  # noqa: E402


@contextlib.contextmanager
def load(request):
    name = request['load']
    recipe = overrides.get_recipe(catalog.default_recipe(name),
                                  ['compute_dtype=' + request['compute_dtype']])

    def build():
        with ablations.without(request.get('without'), recipe) as changed:
            graph = build_train_graph(Config(model=name, recipe=changed, steps=1), 10,
                                      *map(graphs.local_variable, server.batch(request)))
        loss = graph.scalars['loss']
        dtype = tf.as_dtype(request['compute_dtype']).as_numpy_dtype
        product = tf.matmul(*(graphs.local_variable(matrix.astype(dtype))
                              for matrix in server.matrices()))
        # Fetch one number of each gradient: TensorFlow does not run an operation without a reader.
        gradients = [tf.reshape(gradient, [-1])[0]
                     for gradient in tf.gradients(loss, tf.trainable_variables())]
        return {'forward': [loss], 'backward': [loss, tf.stack(gradients)],
                'step': [loss, graph.train]}, product.op

    with graphs.open_session(build, SESSION_CONFIG) as (session, (fetches, product)):
        runs = {kind: lambda fetch=fetch: float(session.run(fetch)[0])
                for kind, fetch in fetches.items()}
        yield (model_info.measure_model(name, request['image_size']),
               dict(runs, product=lambda: session.run(product)))


def logits(request):
    """Write the logits of four images, with the weights that computed them."""
    random, size = np.random.RandomState(1), request['image_size']
    images = random.standard_normal((4, size, size, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.Session(config=SESSION_CONFIG) as session:
        output = models.build(request['logits'], Net(training=False), tf.constant(images))
        weights = [v for v in tf.global_variables() if 'moving_' not in v.op.name]
        session.run(tf.global_variables_initializer())
        for variable in weights:  # biases of zero, for example, would not count
            if variable.shape.ndims == 1:
                variable.load(random.uniform(.5, 1.5, variable.shape.as_list()), session)
        np.savez(request['path'], images=images, logits=session.run(output),
                 **{f'w{i:03}': value for i, value in enumerate(session.run(weights))})
    return {}


server.serve_training(engines.versions()['tensorflow'], load, logits)
