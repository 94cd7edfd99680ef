"""The C source of a model for TensorFlow Lite Micro: a header and a file, C99 and C++ alike."""

import re
from typing import Any, Dict, NamedTuple, Sequence

import numpy as np

from permafrost.export.tflite_micro.preprocessing import PerChannel, Preprocessing

# The methods of tflite::MicroMutableOpResolver are named as the operations, but for these words.
WORDS = {'2D': '2D'}
BYTES_PER_LINE = 16


class Model(NamedTuple):
    """An int8 model, and what its interpreter says of it; see interpreter.py."""
    name: str  # a C identifier
    file: str  # name of the files, without .h and .cc
    content: bytes
    sha256: str
    facts: Dict[str, Any]  # arena_bytes, ops, input, output
    classes: Sequence[str]
    preprocessing: Preprocessing

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes: numbers if there are none."""
        return self.classes or [str(i) for i in range(self.facts['output']['shape'][-1])]


def identifier(stem: str) -> str:
    """Return a name for C made of the name of a file."""
    name = re.sub(r'\W', '_', stem, flags=re.ASCII)
    return 'model_' + name if not name[:1].isalpha() else name


def add_method(op: str) -> str:
    """Return the method of tflite::MicroMutableOpResolver that registers `op`, as CONV_2D."""
    return 'Add' + ''.join(WORDS.get(word, word.capitalize()) for word in op.split('_'))


def header(model: Model) -> str:
    """Return the text of the .h file."""
    upper = model.name.upper()
    return f"""\
{_usage(model)}#ifndef {upper}_TFLM_H_
#define {upper}_TFLM_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{_declarations(model)}
#ifdef __cplusplus
}}
#endif

#endif  // {upper}_TFLM_H_
"""


def _usage(model):
    upper = model.name.upper()
    return f"""\
// The model {model.name} for TensorFlow Lite Micro, in int8; freeze_graph.py wrote it.
//
//   #include "{model.file}.h"  // and add {model.file}.cc to the build
//   alignas(16) static uint8_t arena[{upper}_ARENA_BYTES];
//   static tflite::MicroMutableOpResolver<{upper}_OPS> resolver;
//   {upper}_ADD_OPS(resolver);
//   static tflite::MicroInterpreter interpreter(
//       tflite::GetModel({model.name}_model), resolver, arena, {upper}_ARENA_BYTES);
//   interpreter.AllocateTensors();
//   {model.name}_preprocess(image, interpreter.input(0)->data.int8);
//   interpreter.Invoke();
//   int best = {model.name}_best(interpreter.output(0)->data.int8);
//   puts({model.name}_labels[best]);
"""


def _declarations(model):
    upper, facts = model.name.upper(), model.facts
    height, width, _ = model.preprocessing.image_shape
    rows, columns, _ = model.preprocessing.input_shape
    ops = ' '.join(f'(resolver).{add_method(op)}();' for op in facts['ops'])
    return f"""\
// Measured on a 64-bit computer; pointers of 32 bits need less.
#define {upper}_ARENA_BYTES {facts['arena_bytes']}
// The number of kinds of operations, and a macro that adds them.
#define {upper}_OPS {len(facts['ops'])}
#define {upper}_ADD_OPS(resolver) do {{ {ops} }} while (0)
#define {upper}_CLASSES {len(model.labels)}
// A logit is (output - {upper}_OUTPUT_ZERO_POINT) * {upper}_OUTPUT_SCALE.
#define {upper}_OUTPUT_SCALE {_float(facts['output']['scale'])}
#define {upper}_OUTPUT_ZERO_POINT ({facts['output']['zero_point']})

// {len(model.content)} bytes, sha256 {model.sha256}.
extern const unsigned char {model.name}_model[{len(model.content)}];
extern const char *const {model.name}_labels[{upper}_CLASSES];

// From an image of {height} rows of {width} pixels, each R, G and B, to the input of the model,
// {rows} x {columns} x 3: the centre, normalized.
void {model.name}_preprocess(const uint8_t *image, int8_t *input);

// The class of the largest output.
int {model.name}_best(const int8_t *output);
"""


def source(model: Model) -> str:
    """Return the text of the .cc file."""
    body = (_per_channel if isinstance(model.preprocessing, PerChannel) else _per_image)(model)
    labels = '\n'.join(f'    {_c_string(name)},' for name in model.labels)
    return f"""\
// The model {model.name} for TensorFlow Lite Micro; see {model.file}.h.
#include "{model.file}.h"

#include <math.h>

#if defined(__cplusplus)
alignas(16)
#elif __STDC_VERSION__ >= 201112L
_Alignas(16)
#else
__attribute__((aligned(16)))
#endif
const unsigned char {model.name}_model[{len(model.content)}] = {{
{_numbers(list(model.content))}
}};

const char *const {model.name}_labels[{len(model.labels)}] = {{
{labels}
}};

int {model.name}_best(const int8_t *output) {{
  int best = 0;
  for (int i = 1; i < {len(model.labels)}; ++i) {{
    if (output[i] > output[best]) best = i;
  }}
  return best;
}}

{body}"""


def _per_channel(model):
    """Return the function as a table: the pixels of a channel have only 256 values."""
    values = np.repeat(np.arange(256.)[:, None], 3, 1)
    table = model.preprocessing.quantize(model.preprocessing.normalize(values),
                                         *_quantization_params(model))
    rows = ',\n'.join('  {\n' + _numbers(row.tolist()) + '}' for row in table.T)
    means, deviations = (', '.join(f'{each:.4f}' for each in values) for values in
                         (model.preprocessing.mean, model.preprocessing.deviation))
    return f"""\
// For each channel and pixel: (pixel - mean) / deviation, as the model holds it. Means: {means};
// deviations: {deviations}.
static const int8_t table[3][256] = {{
{rows}
}};

void {model.name}_preprocess(const uint8_t *image, int8_t *input) {{
{_loop(model, '''
        *input++ = table[c][row[3 * x + c]];''')}}}
"""


def _per_image(model):
    scale, zero_point = _quantization_params(model)
    size = int(np.prod(model.preprocessing.input_shape))
    summed = _loop(model, '''
        const uint32_t pixel = row[3 * x + c];
        sum += pixel;
        squares += pixel * pixel;''')
    written = _loop(model, f'''
        const float value =
            floorf(((float)row[3 * x + c] - mean) * factor + 0.5f) + {zero_point}.f;
        *input++ = (int8_t)(value < -128.f ? -128.f : value > 127.f ? 127.f : value);''')
    return f"""\
// (pixel - mean) / deviation of this image, which has at least the deviation 1 / sqrt(its numbers).
void {model.name}_preprocess(const uint8_t *image, int8_t *input) {{
  uint64_t sum = 0, squares = 0;
{summed}  const float mean = (float)sum / {size}.f;
  float deviation = sqrtf((float)({size}u * squares - sum * sum)) / {size}.f;
  const float least = {_float(size ** -0.5)};
  if (deviation < least) deviation = least;
  const float factor = 1.f / (deviation * {_float(scale)});
{written}}}
"""


def _loop(model, body):
    """Return a loop over the crop with `body` for each number, row[3 * x + c]."""
    preprocessing = model.preprocessing
    height, width, _ = preprocessing.input_shape
    return f"""\
  for (int y = {preprocessing.top}; y < {preprocessing.top + height}; ++y) {{
    const uint8_t *row = image + (y * {preprocessing.image_shape[1]} + {preprocessing.left}) * 3;
    for (int x = 0; x < {width}; ++x) {{
      for (int c = 0; c < 3; ++c) {{{body}
      }}
    }}
  }}
"""


def _quantization_params(model):
    return model.facts['input']['scale'], model.facts['input']['zero_point']


def _numbers(values):
    return ',\n'.join('    ' + ', '.join(map(str, values[first:first + BYTES_PER_LINE]))
                      for first in range(0, len(values), BYTES_PER_LINE))


def _float(value):
    """Return a C float literal that reads back as the same number."""
    return repr(float(np.float32(value))) + 'f'


def _c_string(text):
    """Return a C string literal of the bytes of `text`, whatever is in it."""
    plain = set(range(32, 127)) - set(b'"\\?')  # ??/ would be a backslash
    return '"' + ''.join(chr(byte) if byte in plain else f'\\{byte:03o}'
                         for byte in text.encode('utf-8', 'surrogateescape')) + '"'
