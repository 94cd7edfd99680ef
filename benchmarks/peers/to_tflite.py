"""Converts a frozen graph for LiteRT: python to_tflite.py GRAPH.pb NODE SIDE OUTPUT.tflite."""

import sys

import tensorflow.compat.v1 as tf

graph, node, size, output = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_frozen_graph(
    graph, [node], ['predictions'], {node: [1, int(size), int(size), 3]})
with open(output, 'wb') as stream:
    stream.write(converter.convert())
