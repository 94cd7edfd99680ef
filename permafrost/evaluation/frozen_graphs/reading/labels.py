"""Labels: the names of the classes of a frozen graph, in the graph or in the file of --labels."""

import re
from typing import List

import tensorflow.compat.v1 as tf

from permafrost.errors import UserError

MAX_BYTES = 1 << 20  # of a file, as in label_image/commands.cc
ADVICE = 'name a text file with a class on each line'


def in_graph(definition: tf.GraphDef) -> List[str]:
    """Return the strings in the Const `labels`; none if there is no such node."""
    for node in definition.node:
        if node.name == 'labels' and node.op == 'Const':
            return [name.decode('utf-8', 'surrogateescape')
                    for name in node.attr['value'].tensor.string_val]
    return []


def in_file(path: str) -> List[str]:
    """Return the lines of a text file, stripped, without empty ones.

    Raises UserError if it cannot be read, has no line, or is larger than MAX_BYTES.
    """
    try:
        with open(path, 'rb') as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f'cannot read --labels {path} ({error.strerror}): {ADVICE}')
    if len(content) > MAX_BYTES:
        raise UserError(f'{path} is larger than 1 MiB: {ADVICE}')
    lines = re.split('\r\n?|\n', content.decode('utf-8-sig', 'surrogateescape'))
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f'{path} has no class names: {ADVICE}')
    return names
