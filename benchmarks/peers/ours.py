"""The engine of this interpreter as a peer that trains, as train.py would; see serve.serve_runs."""

import contextlib
import os
import sys

import numpy as np

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *up)
                for up in (['..', '..'],)]

from benchmarks.peers import serve
from permafrost import runtime  # noqa: E402

with contextlib.redirect_stdout(sys.stderr):  # stdout is for answers
    SESSION_CONFIG = runtime.prepare()

import tensorflow.compat.v1 as tf  # noqa: E402

import models  # noqa: E402
from benchmarks import graphs  # noqa: E402
from models.layers.net import Net  # noqa: E402
from permafrost.config import Config  # noqa: E402
from permafrost.experiments import model_info  # noqa: E402
from permafrost.recipes import catalog, overrides  # noqa: E402
from permafrost.training.graph import build_train_graph  # noqa: E402


@contextlib.contextmanager
def load(request):
    name = request['load']
    settings = Config(model=name, recipe=overrides.get_recipe(
        catalog.default_recipe(name), ['precision=' + request['precision']]), steps=1)

    def build():
        graph = build_train_graph(settings, 10, *map(graphs.local, serve.batch(request)))
        loss = graph.scalars['loss']
        # One number of each is fetched: an operation that nobody reads is not run.
        gradients = [tf.reshape(gradient, [-1])[0]
                     for gradient in tf.gradients(loss, tf.trainable_variables())]
        return {'forward': [loss], 'backward': [loss, tf.stack(gradients)],
                'step': [loss, graph.train]}

    with graphs.opened(build, SESSION_CONFIG) as (session, fetches), \
            graphs.runner(graphs.product, SESSION_CONFIG) as product:
        runs = {what: lambda wanted=wanted: float(session.run(wanted)[0])
                for what, wanted in fetches.items()}
        yield model_info.measure_model(name, request['image_size']), dict(runs, product=product)


def agree(request):
    """Writes logits of four images, and the weights that they were computed with."""
    name, size = request['agree'], request['image_size']
    draw = np.random.RandomState(1)
    images = draw.standard_normal((4, size, size, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.Session(config=SESSION_CONFIG) as session:
        logits = models.build(name, Net(training=False), tf.constant(images))
        weights = [v for v in tf.global_variables() if 'moving_' not in v.op.name]
        session.run(tf.global_variables_initializer())
        for variable in weights:  # else biases, and what they are added to, would not count
            if variable.shape.ndims == 1:
                variable.load(draw.uniform(.5, 1.5, variable.shape.as_list()), session)
        np.savez(request['path'], images=images, logits=session.run(logits),
                 **{'w%03d' % i: value for i, value in enumerate(session.run(weights))})
    return {}


serve.serve_runs(runtime.versions()['tensorflow'], load, agree)
