"""The README's table of results, made from results/*.json."""

import glob
import json
import os

from permafrost.config import UserError, write_atomically

BEGIN = '<!-- results: made by `make readme`, do not edit -->'
END = '<!-- end of results -->'

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


def render(text, lines):
    """`text` with what stands between the marks replaced by `lines`.

    Raises UserError where the marks are not in it.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError('the README must have the lines %r and %r once' % (BEGIN, END))
    before, rest = text.split(BEGIN)
    return before + '\n'.join([BEGIN, ''] + lines + ['', END]) + rest.split(END)[1]


def update(readme, folder, check=False):
    """Renews the table in the file `readme`; with `check` only says whether it is stale.

    Raises UserError where it is.
    """
    with open(readme) as stream:
        old = stream.read()
    new = render(old, table(load(folder)))
    if check and new != old:
        raise UserError('%s is stale: run make readme' % readme)
    if new != old:
        write_atomically(readme, new)
    print('%s: %s' % (readme, 'up to date' if new == old else 'renewed'))
