"""Verification: reloads a frozen graph and compares it with the graph that eval.py runs."""

from typing import Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation import graph_def, inference_graph
from permafrost.evaluation.metrics import Metrics, compute_metrics

COMPARED = 500  # images whose logits are compared
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
    """Load the serialized graph `content` and evaluate it on all images.

    Returns its metrics, and by how much its logits differ from `expected_logits`, those of the
    first images. Raises UserError if they differ too much or an operation is not allowed.
    """
    graph = tf.GraphDef.FromString(content)
    unknown = sorted({node.op for node in graph.node} - ALLOWED_OPS)
    if unknown:
        raise UserError(f"not written: {', '.join(unknown)} may not be in a frozen graph "
                        '(permafrost/export/verify.py lists ALLOWED_OPS)')
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        graph_def.import_graph(graph)
        inference = inference_graph.tensors_by_name(session.graph)
        logits, probabilities = session.run(
            [inference.predictions, inference.probabilities],
            {inference.images: images[:len(expected_logits)]})
        difference = float(np.abs(logits - expected_logits).max() /
                           max(1., np.abs(expected_logits).max()))
        if not (difference <= TOLERANCE and np.allclose(probabilities.sum(1), 1, atol=1e-4)):
            raise UserError("not written: the logits of the frozen graph differ from eval's by "
                            f'{difference:g} (allowed: {TOLERANCE:g})')
        return compute_metrics(session, inference, images, labels, COMPARED), difference
