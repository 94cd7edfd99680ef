"""Verification: reloads a frozen graph and compares it with the graph that eval.py runs."""

from typing import Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation import inference_graph
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.metrics import Metrics, compute_metrics

TOLERANCE = 1e-5  # of the larger of 1 and the largest logit

# Operations that a frozen graph may hold: arithmetic on tensors, without state, files or chance.
# Add what a new layer of models/layers/net.py needs; label_image refuses what is not for inference.
ALLOWED_OPS = frozenset((
    'Placeholder Const Identity Cast Reshape Squeeze StridedSlice ConcatV2 Pad '
    'Conv2D DepthwiseConv2dNative MatMul BiasAdd MaxPool AvgPool LRN '
    'Relu Relu6 Elu Erf Sigmoid Softmax Mean Sub Mul Add AddV2 Square Sqrt Rsqrt Maximum Minimum '
    'RealDiv'
).split())


def verify(content: bytes, session_config: Optional[tf.ConfigProto], images: np.ndarray,
           labels: np.ndarray, expected_logits: np.ndarray) -> Tuple[Metrics, float]:
    """Return the metrics of the serialized graph `content`, and how far its logits are off.

    That is the largest difference to `expected_logits`, float32 [n, classes], of the first images,
    relative to the larger of 1 and the largest logit. Raises UserError if it is too large, or an
    operation is not allowed.
    """
    graph = tf.GraphDef.FromString(content)
    unknown = sorted({node.op for node in graph.node} - ALLOWED_OPS)
    if unknown:
        raise UserError(f"not written: {', '.join(unknown)} may not be in a frozen graph "
                        '(permafrost/export/verify.py lists ALLOWED_OPS)')
    for node in graph.node:  # a ReLU may hide NaN from the logits
        if node.op == 'Const' and node.attr['dtype'].type == tf.float32.as_datatype_enum and (
                not np.isfinite(graph_def.value_of(node)).all()):
            raise UserError(f'not written: {node.name} has NaN or infinity, so the weights or the '
                            'statistics are damaged, or the training diverged: freeze another '
                            '--step')
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = inference_graph.import_own_graph(graph)
        logits, probabilities = session.run(
            [inference.predictions, inference.probabilities],
            {inference.images: images[:len(expected_logits)]})
        if not np.isfinite(logits).all():
            raise UserError('not written: the network returns NaN or infinity, so its training '
                            'diverged: freeze another --step')
        difference = float(np.abs(logits - expected_logits).max() /
                           max(1., np.abs(expected_logits).max()))
        if not (difference <= TOLERANCE and np.allclose(probabilities.sum(1), 1, atol=1e-4)):
            raise UserError("not written: the logits of the frozen graph differ from eval's by "
                            f'{difference:g} (allowed: {TOLERANCE:g}): freeze with another ENGINE')
        return compute_metrics(session, inference, images, labels), difference
