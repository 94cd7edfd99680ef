"""The formats of exported files, and the flags that choose them.

Importing this module does not import TensorFlow, so that a wrong flag fails at once.
"""

import os
import re
from typing import Any, Dict, List, NamedTuple, Sequence

from absl import flags

from permafrost.errors import UsageError, unknown_name_error

flags.disclaim_key_flags()

QUANTIZE = ('none', 'float16', 'int8')


class Format(NamedTuple):
    """A format of exported files."""
    suffix: str
    quantize: Sequence[str]  # what it may be quantized to
    environments: Sequence[str] = ()  # that convert to it, and run it
    runtime: str = ''  # that measures its files, one of client.RUNTIMES


FORMATS: Dict[str, Format] = {
    'pb': Format('.pb', ('none',)),
    'saved_model': Format('.saved_model', ('none',)),
    'tflite': Format('.tflite', QUANTIZE, ('tf2', 'litert'), 'litert'),
    'onnx': Format('.onnx', QUANTIZE, ('onnxruntime',), 'onnxruntime'),
    'tflm': Format('.tflm', ('int8',), ('tf2', 'tflite-micro')),
}


class Target(NamedTuple):
    """A file to write."""
    format: str
    quantize: str  # one of QUANTIZE

    def path(self, frozen: str) -> str:
        """Return the path of this file, next to the frozen graph at the path `frozen`.

        That of tflm has no .h or .cc yet, and an underscore for each character that #include cannot
        have.
        """
        folder, stem = os.path.split(os.path.splitext(frozen)[0])
        if self.format == 'tflm':  # always int8
            stem = re.sub(r'[^\w.+-]', '_', stem, flags=re.ASCII)
        elif self.quantize != 'none':
            stem += '.' + self.quantize
        return os.path.join(folder, stem + FORMATS[self.format].suffix)


def define_flags() -> None:
    """Define the flags that choose formats."""
    flags.DEFINE_list('formats', ['pb'], 'Formats to write, next to the frozen graph: '
                      f"{', '.join(FORMATS)}. saved_model is a directory; tflm is C code for "
                      'TensorFlow Lite Micro, in int8.')
    flags.DEFINE_list('quantize', ['none'], f"Quantization of tflite and onnx files: "
                      f"{', '.join(QUANTIZE)}; one file for each. int8 is calibrated on training "
                      'images.')
    flags.DEFINE_float('max_loss', 1., 'Largest drop in accuracy against the frozen graph, in '
                       'percentage points; a file that drops more is not written. Without test '
                       'images: largest percentage of training images whose class may change.',
                       0, 100)
    flags.DEFINE_string('saved_model', None, 'Also write a SavedModel for TensorFlow Serving to '
                        'this new directory.')
    flags.DEFINE_string('graph', None, 'Frozen graph (.pb) of freeze_graph.py to convert, instead '
                        'of a run.')


def targets(formats: Sequence[str], quantize: Sequence[str]) -> List[Target]:
    """Return the files to write, without the .pb. Raises UsageError for a wrong name."""
    for kind, names, known in (('format', formats, FORMATS), ('quantization', quantize, QUANTIZE)):
        for name in names:
            if name not in known:
                raise unknown_name_error(kind, name, known)
    chosen = []
    for name in FORMATS:
        possible = FORMATS[name].quantize
        if name in formats and name != 'pb':
            chosen += [Target(name, each) for each in possible
                       if len(possible) == 1 or each in quantize]
    unused = set(quantize) - {each.quantize for each in chosen} - {'none'}
    if unused:
        names = [name for name, each in FORMATS.items() if len(each.quantize) > 1]
        raise UsageError(f"--quantize {min(unused)} is for {' and '.join(names)}: add e.g. "
                         f'--formats pb,{names[0]}')
    return chosen


def chosen(values: Any) -> List[Target]:
    """Return the files that the flags (absl FlagValues) ask for. Raises UsageError."""
    return targets(values.formats, values.quantize)
