"""The README's tables of accuracy, made from results/*.json, and what puts a table into a text."""

import glob
import json
import os
import textwrap

import models
from permafrost import files
from permafrost.errors import UserError

BEGIN = '<!-- %s: made by `make readme`, do not edit -->'
END = '<!-- end of %s -->'

# The parts of the table: a title, the column that says how long was trained, and what was published
# for (model, recipe): an accuracy in per cent, and how it was reached where that differs.
FAMILIES = (
    ('The tutorial, Alex, NiN and SqueezeNet', 'steps', {
        ('tuto', 'tutorial'): '81.0 to 81.4', ('tuto', 'plain'): '75.3',
        ('alex0', 'tutorial'): '82.2', ('alex1', 'tutorial'): '81.8',
        ('alex2', 'tutorial'): '81.4', ('alex3', 'tutorial'): '81.2',
        ('alex4', 'tutorial'): '81.2', ('nin0', 'tutorial'): '70.9',
        ('nin1', 'tutorial'): '69.7', ('nin2', 'tutorial'): '74.2',
        ('squeeze0', 'tutorial'): '63.9', ('squeeze1', 'tutorial'): '66.0',
        ('squeeze1', 'squeeze'): '87.8 in 300,000 steps'}),
    ('The fast family', 'epochs', {
        ('davidnet', 'davidnet'): '94 in 24 epochs',
        ('davidnet_tricks', 'davidnet_tricks'): '94.1 in 10 epochs (flip)',
        ('sprint', 'sprint'): '94.01 in 8 epochs (flip_shift)'}),
    ('ResNet, and what came before it', 'epochs', {
        ('resnet20', 'resnet'): '91.25 in 164 epochs',
        ('resnet20', 'resnet_paper'): '91.25 in 164 epochs',
        ('resnet32', 'resnet'): '92.49 in 164 epochs',
        ('resnet44', 'resnet'): '92.83 in 164 epochs',
        ('resnet56', 'resnet'): '93.03 in 164 epochs',
        ('resnet110', 'resnet'): '93.57 in 164 epochs',
        ('cifarnet', 'cifarnet'): '', ('lenet5', 'lenet5'): ''}),
    ('VGG and NiN with batch normalization, Xception', 'epochs', {
        ('vgg_bn_drop', 'vgg_bn_drop'): '92.45 in 300 epochs',
        ('vgg_bn_drop', 'vgg_paper'): '92.45 in 300 epochs',
        ('nin_bn', 'nin_bn'): '92', ('xception_mini', 'xception'): ''}),
    ('Others', 'steps', {}))
PUBLISHED_STEPS = 10000  # of the tutorial's and plain recipes' accuracies


def load(folder):
    """The results of accuracy in `folder`, in the order of the published table, then by name."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, '*.json'))):
        with open(path) as stream:
            value = json.load(stream)
        if 'accuracy' in value:
            found.append(value)
    order = [key for _, _, published in FAMILIES for key in published]
    return sorted(found, key=lambda r: (
        order.index(_key(r)) if _key(r) in order else len(order), r['steps']))


def _key(result):
    """As in FAMILIES, which are of CIFAR-10."""
    other = result['data_set'] != 'cifar10'
    return result['model'], result['recipe'] + (' on ' + result['data_set'] if other else '')


def tables(results):
    """Lines of Markdown: a table for each family that has results, a row for each result."""
    known = {key for _, _, published in FAMILIES for key in published}
    lines = []
    for title, length, published in FAMILIES:
        rows = [result for result in results if _key(result) in (published or {}) or
                not published and _key(result) not in known]
        if rows:
            lines += ['', '### ' + title, ''] if lines else ['### ' + title, '']
            lines += _table(rows, length, published)
    return lines + _missing({result['model'] for result in results})


def _missing(measured):
    names = ['`%s`' % name for name in models.MODELS if name not in measured]
    if not names:
        return []
    return [''] + textwrap.wrap(
        'Not trained to the end here yet: %s. `python train.py --model NAME`, `python eval.py '
        '--run runs/NAME/1 --tta flip_shift --results results` and `make readme` add a row.' %
        ', '.join(names), 100)


def _table(results, length, published):
    lines = ['| model | recipe | parameters (M) | operations (M) | %s | accuracy (%%) | '
             'with TTA (%%) | published (%%) | seeds | minutes | engine |' % length,
             '| --- ' * 11 + '|']
    for result in results:
        size, with_tta = _size(result), result.get('accuracy_tta')
        lines.append('| %s |' % ' | '.join([
            *_key(result), '%.2f' % (size['params'] / 1e6), '%.2f' % (size['ops'] / 1e6),
            '{:,}'.format(result['steps']) if length == 'steps' else '%g' % result['epochs'],
            '**%s**' % _accuracy(result['accuracy']),
            '%s (%s)' % (_accuracy(with_tta), result['tta']) if with_tta else '–',
            _published(result, published) or '–', str(len(result['seeds'])),
            '%.0f' % (result['train_seconds'] / 60), _engine(result)]))
    return lines


def sentence(result):
    """What a recipe's docstring says of its `result`."""
    text = 'Accuracy: %s %%' % _accuracy(result['accuracy'])
    if 'tta' in result:
        text += ', %s %% with --tta %s' % (_accuracy(result['accuracy_tta']), result['tta'])
    seeds = len(result['seeds'])
    return text + ' (%d seed%s, %.0f minutes, %s).' % (
        seeds, 's' * (seeds > 1), result['train_seconds'] / 60, result['engine'])


def _accuracy(summary):
    spread = ' ± %.2f' % (100 * summary['std']) if len(summary['values']) > 1 else ''
    return '%.2f%s' % (100 * summary['mean'], spread)


def _published(result, published):
    """What was published for as many steps as `result` has, or says after how many it was."""
    found = published.get(_key(result), '')
    whole = result['recipe'] not in ('tutorial', 'plain')
    return found if whole or result['steps'] == PUBLISHED_STEPS else ''


def _engine(result):
    rounded = result['settings'].get('precision', 'float32') != 'float32'
    return result['engine'] + (', ' + result['settings']['precision'] if rounded else '')


def _size(result):
    from permafrost.experiments import model_info  # imports TensorFlow, which only the table needs
    return model_info.measure_model(result['model'], result['settings']['image_size'],
                        result.get('classes', 10))


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
        files.write_atomically(path, new)
    print('%s: %s' % (path, 'up to date' if new == old else 'renewed'))
