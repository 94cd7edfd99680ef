"""The names of the classes of a frozen graph."""

from typing import List, Optional

import tensorflow.compat.v1 as tf

from permafrost.errors import UserError


def class_names(definition: tf.GraphDef, labels: Optional[str] = None) -> List[str]:
    """Return the lines of the file `labels`, else the strings in the Const `labels`, or none."""
    if labels:
        try:
            with open(labels, encoding='utf-8-sig', errors='surrogateescape') as stream:
                return [line.strip() for line in stream if line.strip()]
        except OSError as error:
            raise UserError(f'cannot read --labels {labels} ({error.strerror}): name a text file '
                            'with a class on each line')
    for node in definition.node:
        if node.name == 'labels' and node.op == 'Const':
            return [name.decode('utf-8', 'surrogateescape')
                    for name in node.attr['value'].tensor.string_val]
    return []
