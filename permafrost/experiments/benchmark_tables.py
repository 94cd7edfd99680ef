"""The tables of docs/speed.md, made from results/benchmark-*.json."""

import glob
import json
import os
import re

NOT_RECORDED = ['Not recorded yet.']

# Rows or columns of the tables: contestants, as they are shown.
TRAINERS = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`', 'pytorch': 'PyTorch',
            'tf2-bfloat16': '`tf2`, bfloat16', 'pytorch-bfloat16': 'PyTorch, bfloat16'}
RUNTIMES = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`',
            'onnxruntime': 'ONNX Runtime', 'litert': 'LiteRT', 'openvino': 'OpenVINO'}
RUN = re.compile(r'(\w+), batch (\d+), (\d+) threads?: (\S+)( by onnxruntime)?$')


def pipeline(folder):
    """Lines of Markdown: what was wanted of the input pipeline, and what each engine reached."""
    found = [_read(path) for path in sorted(
        glob.glob(os.path.join(folder, 'benchmark-pipeline-*.json')))]
    wanted = {}  # in the order of the files
    for each in found:
        wanted.update((name, figure) for name, figure in each['figures'].items()
                      if 'target' in figure)
    if not wanted:
        return NOT_RECORDED
    lines = ['| | wanted | %s |' % ' | '.join('`%s`' % each['engine'] for each in found),
             '| --- ' * (2 + len(found)) + '|']
    for name, figure in sorted(wanted.items()):
        lines.append('| %s | at %s %s | %s |' % (
            name, figure['bound'], ('{:,g} %s' % figure['unit']).format(figure['target']).strip(),
            ' | '.join(_judged(each['figures'].get(name)) for each in found)))
    return lines


def training(folder):
    """Lines of Markdown: training in images/s of what was compared with PyTorch, from the file of
    `tools/benchmark.py training`, and what was wanted of it."""
    found = _read(os.path.join(folder, 'benchmark-training.json'))
    if not found:
        return NOT_RECORDED
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
    return lines + [''] * bool(targets) + targets + [''] + _whole_recipes(found)


def _whole_recipes(found):
    """Lines of Markdown: what the training of each network's recipe takes at those speeds."""
    lines = ['| network | million images | PFLOP | minutes: the best engine | PyTorch | '
             '`tf2`, bfloat16 | PyTorch, bfloat16 | share of the peak |', '| --- ' * 8 + '|']
    for model, network in found['networks'].items():
        minutes, share = {}, None
        for title, figure in found['figures'].items():
            recipe, colon, name = title.partition(', its whole recipe: ')
            if colon and recipe == model:
                minutes[name if name.startswith('pytorch') or name.endswith('bfloat16') else
                        'best'] = figure['median']
            if title.startswith(model + ' step: ') and title.endswith(', of the peak'):
                share = figure['median']
        lines.append('| %s | %s | %s | %s | %s |' % (
            model, _short(network['images'] / 1e6),
            '%.2g' % (network['images'] * network['training_ops'] / 1e15),
            ' | '.join(_short(minutes.get(name)) for name in (
                'best', 'pytorch', 'tf2-bfloat16', 'pytorch-bfloat16')), _short(share)))
    return lines


def inference(folder):
    """Lines of Markdown: milliseconds a run of frozen graphs, from the file of
    `tools/benchmark.py inference`, the least of each column in bold."""
    found = _read(os.path.join(folder, 'benchmark-inference.json'))
    if not found:
        return NOT_RECORDED
    times, ratios = {}, {}  # (model, batch size, threads) -> {contestant: ms}, and the last row
    for title, figure in found['figures'].items():
        match = RUN.match(title)
        if match:
            model, batch, threads, name, ratio = match.groups()
            setting = model, int(batch), int(threads)
            if ratio:
                ratios[setting] = figure
            else:
                times.setdefault(setting, {})[name] = figure['median']
    settings = sorted(times, key=lambda each: (list(found['graphs']).index(each[0]),) + each[1:])
    lines = ['| | %s |' % ' | '.join(
        '%s, %d image%s%s' % (model, batch, 's' * (batch > 1),
                              ', %d threads' % threads if threads > 1 else '')
        for model, batch, threads in settings), '| --- ' * (1 + len(settings)) + '|']
    for name, shown in RUNTIMES.items():
        lines.append('| %s | %s |' % (shown, ' | '.join(
            ('**%s**' if times[each][name] == min(times[each].values()) else '%s') %
            _short(times[each][name]) for each in settings)))
    return lines + ['| the best engine by ONNX Runtime | %s |' % ' | '.join(
        _judged(ratios[each]) for each in settings)]


def _judged(figure):
    """A figure's median, and what is to be said where it is not what was wanted."""
    if figure is None:
        return '–'
    median = figure['median']
    text = '{:,.0f}'.format(median) if median >= 1000 else _short(median)
    return text if figure.get('met', True) else text + ' (**not met**)'


def _short(value):
    return '–' if value is None else '%.0f' % value if value >= 100 else '%#.3g' % value


def _read(path):
    """What is in the JSON file at `path`; {} where there is no file."""
    if not os.path.exists(path):
        return {}
    with open(path) as stream:
        return json.load(stream)
