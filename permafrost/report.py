"""The README's table of results and docs/speed.md's of training, made from results/*.json."""

import glob
import json
import os

from permafrost.config import UserError, write_atomically

BEGIN = '<!-- %s: made by `make readme`, do not edit -->'
END = '<!-- end of %s -->'

# Columns of the table of training: contestants, as they are shown.
TRAINERS = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`', 'pytorch': 'PyTorch'}

# (model, recipe): millions of parameters, of operations, and the accuracy at 10,000 steps, in
# per cent, that were published for it (the operations at the recipe's image size).
PUBLISHED = {
    ('tuto', 'tutorial'): ('1.07', '37.75', '81.0 to 81.4'),
    ('tuto', 'plain'): ('1.76', '66.98', '75.3'),
    ('alex0', 'tutorial'): ('1.46', '25.24', '82.2'),
    ('alex1', 'tutorial'): ('0.32', '43.51', '81.8'),
    ('alex2', 'tutorial'): ('1.07', '37.08', '81.4'),
    ('alex3', 'tutorial'): ('1.00', '37.60', '81.2'),
    ('alex4', 'tutorial'): ('1.49', '35.20', '81.2'),
    ('nin0', 'tutorial'): ('0.12', '46.21', '70.9'),
    ('nin1', 'tutorial'): ('0.18', '69.33', '69.7'),
    ('nin2', 'tutorial'): ('0.97', '251.36', '74.2'),
    ('squeeze0', 'tutorial'): ('0.12', '16.04', '63.9'),
    ('squeeze1', 'tutorial'): ('0.15', '22.84', '66.0'),
}


def load(folder):
    """The results of accuracy in `folder`, in the order of the published table, then by name."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, '*.json'))):
        with open(path) as stream:
            value = json.load(stream)
        if 'accuracy' in value:
            found.append(value)
    order = list(PUBLISHED)
    return sorted(found, key=lambda r: (
        order.index(_key(r)) if _key(r) in order else len(order), r['steps']))


def _key(result):
    """As in PUBLISHED, which is of CIFAR-10."""
    other = result['data_set'] != 'cifar10'
    return result['model'], result['recipe'] + (' on ' + result['data_set'] if other else '')


def table(results):
    """Lines of Markdown: a row for each result."""
    lines = ['| model | recipe | parameters (M) | operations (M) | steps | accuracy (%) | '
             'published (%) | seeds | engine |',
             '| --- | --- | --- | --- | --- | --- | --- | --- | --- |']
    for result in results:
        size = _size(result)
        published = PUBLISHED.get(_key(result), ('', '', ''))[2] if result['steps'] == 10000 else ''
        accuracy = '%.2f' % (100 * result['accuracy']['mean'])
        if len(result['seeds']) > 1:
            accuracy += ' ± %.2f' % (100 * result['accuracy']['std'])
        lines.append('| %s | %s | %.2f | %.2f | %s | **%s** | %s | %d | %s |' % (
            *_key(result), size['params'] / 1e6, size['ops'] / 1e6,
            '{:,}'.format(result['steps']), accuracy, published or '–', len(result['seeds']),
            result['engine']))
    return lines


def _size(result):
    from permafrost import info  # imports TensorFlow, which only the table needs
    return info.measure(result['model'], result['settings']['image_size'],
                        result.get('classes', 10))


def training(folder):
    """Lines of Markdown: training in images/s of what was compared with PyTorch, from the file of
    `tools/benchmark.py training`, and what was wanted of it."""
    path = os.path.join(folder, 'benchmark-training.json')
    if not os.path.exists(path):
        return ['Not recorded yet.']
    with open(path) as stream:
        found = json.load(stream)
    lines = ['| network | | %s | the best by PyTorch |' % ' | '.join(TRAINERS.values()),
             '| --- ' * (3 + len(TRAINERS)) + '|']
    for model in found['networks']:
        for kind in ('forward', 'backward', 'step'):
            title, cells = '%s %s: ' % (model, kind), {}
            for name in TRAINERS:
                cells[name] = found['figures'].get(title + name, {}).get('median')
            if cells['pytorch']:
                ratio = max(value['median'] for name, value in found['figures'].items()
                            if name.startswith(title) and name.endswith(' by pytorch'))
                lines.append('| %s | %s | %s | %.2f |' % (
                    model, kind, ' | '.join(_short(cells[name]) for name in TRAINERS), ratio))
    targets = ['- %s: %.2f, %s %g: %s.' % (
        name, value['median'], 'at ' + value['bound'], value['target'],
        'met' if value['met'] else '**not met**')
               for name, value in found['figures'].items() if 'target' in value]
    return lines + [''] * bool(targets) + targets


def _short(value):
    return '%.0f' % value if value >= 100 else '%.3g' % value


def render(text, lines, name='results'):
    """`text` with what stands between the marks of `name` replaced by `lines`.

    Raises UserError where the marks are not in it.
    """
    begin, end = BEGIN % name, END % name
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError('the text must have the lines %r and %r once' % (begin, end))
    before, rest = text.split(begin)
    return before + '\n'.join([begin, ''] + lines + ['', end]) + rest.split(end)[1]


def update(path, lines, name='results', check=False):
    """Renews what is between the marks of `name` in the file `path`; with `check` only says
    whether it is stale.

    Raises UserError where it is.
    """
    with open(path) as stream:
        old = stream.read()
    new = render(old, lines, name)
    if check and new != old:
        raise UserError('%s is stale: run make readme' % path)
    if new != old:
        write_atomically(path, new)
    print('%s: %s' % (path, 'up to date' if new == old else 'renewed'))
