"""Files that people take for a frozen graph: what they are, by their content, and what to do.

label_image/file_kind.cc has the same table. Nothing here imports TensorFlow.
"""

import contextlib
import os
import re
import sys
from typing import Optional

from permafrost import files, runs
from permafrost.cli import trained_models
from permafrost.cli.commands import next_command
from permafrost.errors import UserError, printable

EXPORT = "in Keras, call model.export('DIR') and name DIR instead"
FREEZE = 'python -m tensorflow.python.tools.freeze_graph'
# (offset, bytes) -> kind
SIGNATURES = {
    (0, b'\x89PNG\r\n'): 'is an image (PNG)', (0, b'\xff\xd8\xff'): 'is an image (JPEG)',
    (0, b'BM'): 'is an image (BMP)', (0, b'GIF8'): 'is an image (GIF)',
    (4, b'TFL3'): 'is a TensorFlow Lite model: its name must end in .tflite',
    (0, b'\x89HDF\r\n'): f'is a Keras model or its weights (HDF5): {EXPORT}',
    (0, b'\x1f\x8b'): 'is compressed: unpack it with gunzip first',
    (0, b'\x80\x02'): 'is a Python pickle, such as a PyTorch model: convert it to TensorFlow first',
    (0, b'\x08\x01\x12'): 'is the file of a SavedModel: name its directory',
    (0, b'\x08'): 'is an ONNX model: its name must end in .onnx',
    (8, b'{"'): 'contains only weights (safetensors): convert the model to TensorFlow first'}


def graph_file(path: str) -> str:
    """Return `path` or, of the directory of a run or a name in trained_models/, the frozen graph.

    A model that trained_models/ has in int8 alone is its TFLite file.

    Raises UserError if the run has none, or several. label_image.sh has the same rule.
    """
    if not (runs.exists(path) and os.path.isdir(runs.train_dir(path))):
        return trained_models.path_of(path, trained_models.SUFFIXES)
    graphs = sorted(name for name in os.listdir(path)
                    if name.endswith('.pb') and name != runs.TEACHER)
    if len(graphs) > 1:
        raise UserError(f"{path} has several frozen graphs: name one: {', '.join(graphs)}")
    command = next_command('freeze_graph.py', '--run', path)
    if not graphs:
        raise UserError(f'{path} is not frozen: freeze it first: {command}')
    graph = os.path.join(path, graphs[0])
    with contextlib.suppress(OSError):
        checkpoint = os.path.join(runs.train_dir(path), 'checkpoint')
        if os.path.getmtime(checkpoint) > os.path.getmtime(graph):
            print(f'note: {printable(path)} has been trained on since it was frozen; to freeze it '
                  f'again: {command}', file=sys.stderr)
    return graph


def check_graph_file(path: str) -> None:
    """Raise UserError if `path` is neither a graph nor a SavedModel directory.

    Damaged graphs are left to graph_def.read_graph.
    """
    if os.path.isdir(path):
        kind = _directory_kind(path)
    else:
        try:
            with files.open_regular(path) as stream:
                begin = stream.read(1000)
                stream.seek(-min(8, stream.seek(0, os.SEEK_END)), os.SEEK_END)
                kind = file_kind(begin, stream.read())
        except OSError as error:
            raise UserError(f'cannot read {path} ({error.strerror}): name a frozen graph, or '
                            'freeze a run')
    if kind and path.endswith(('.tflite', '.onnx')):
        kind = f"{kind.partition(':')[0]}: name the .pb file that it was made from"
    if kind:
        raise UserError(f'{path} is not a frozen graph: it {kind}')


def file_kind(begin: bytes, end: bytes) -> Optional[str]:
    """Return 'is a ...: advice' for the first and last bytes of a file; None for a GraphDef."""
    if not begin:
        return 'is empty'
    for (offset, signature), kind in SIGNATURES.items():
        if begin[offset:offset + len(signature)] == signature:
            return kind
    if begin.startswith(b'PK\x03\x04'):
        if any(name in begin for name in (b'metadata.json', b'config.json', b'model.weights.h5')):
            return f'is a Keras model: {EXPORT}'
        return ('is a PyTorch model: convert it to TensorFlow first'
                if b'data.pkl' in begin or b'archive/' in begin else
                'is a zip archive: unpack it first')
    if _is_meta_graph(begin):
        return (f'is a MetaGraph, which has no weights: freeze its checkpoint with {FREEZE} '
                '--input_binary --input_meta_graph=FILE.meta --input_checkpoint=PREFIX '
                '--output_node_names=NODE --output_graph=FILE.pb')
    if end == b'\x57\xfb\x80\x8b\x24\x75\x47\xdb':
        return 'is the index of a checkpoint: freeze the run that it belongs to'
    return _text_kind(begin)


def _directory_kind(path: str) -> Optional[str]:
    names = os.listdir(path)
    if 'saved_model.pb' in names or 'saved_model.pbtxt' in names:
        return None
    if {'config.json', 'train'} <= set(names):
        return ('is a run: name it with --run, or freeze it first: '
                + next_command('freeze_graph.py', '--run', path))
    return 'is a directory: name a frozen graph in it'


def _is_meta_graph(begin: bytes) -> bool:
    """Return whether a serialized MetaGraphDef, not a GraphDef, begins so.

    Its first field has the operations before any name; a node begins with its name.
    """
    index = 1
    while index < len(begin) - 1 and begin[index] & 0x80:
        index += 1
    return begin[:1] == b'\n' and begin[index + 1:index + 2] == b'\x12'


def is_text_graph(begin: bytes) -> bool:
    """Return whether a file that begins so is a GraphDef as text (.pbtxt)."""
    return _is_text(begin) and bool(
        re.match(rb'\s*(#.*\n\s*)*(node|versions|library)\s*[:{]', begin))


def _is_text(begin: bytes) -> bool:
    return not any((byte < 0x20 and byte not in b'\n\r\t') or byte == 0x7f for byte in begin)


def _text_kind(begin: bytes) -> Optional[str]:
    if not _is_text(begin) or is_text_graph(begin):
        return None
    text = begin.lstrip()
    if text[:1] in (b'{', b'['):
        return 'is a JSON file'
    if b'saved_model_schema_version' in text:
        return 'is the text file of a SavedModel: name its directory'
    return 'is a text file'
