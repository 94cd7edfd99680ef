"""The results in results/: complete, of today's recipes, on target, and as the pages say."""

import glob
import os

import pytest

from permafrost import files
from permafrost.experiments import model_info, results
from permafrost.recipes import catalog, overrides
from tests.experiments.test_results import FIELDS
from tests.processes import ROOT


def test_recorded_commands_name_no_places():
    for result in results.load(os.path.join(ROOT, 'results')):
        assert '/train.py' not in result['command'], result['command']


def test_recorded_results_are_complete():
    recorded = results.load(os.path.join(ROOT, 'results'))
    assert recorded
    for result in recorded:
        assert FIELDS <= {*result, 'trainings'}, result  # early results lack it
        values = result['accuracy']['values']
        assert len(values) == len(result['seeds'])
        assert result['images'] == 10000
        assert all(0 < v < 1 and abs(v * 10000 - round(v * 10000)) < 1e-6 for v in values)


def test_recorded_sizes_are_those_of_the_models():
    for result in results.load(os.path.join(ROOT, 'results')):
        size = model_info.measure_model(result['model'], result['settings']['image_size'],
                                        result['classes'])
        assert (result['params'], result['ops']) == (size['params'], size['ops']), result['model']


def test_recorded_settings_are_those_of_the_recipes():
    """Or the name of the file says what was changed."""
    for path in glob.glob(os.path.join(ROOT, 'results', '[!b]*.json')):  # not of benchmarks
        result = results.read(path)
        recipe = catalog.RECIPES[result['recipe']]
        recorded = type(recipe).from_json(result['settings']).to_json()
        settings = recipe.to_json()
        changed = {name for name in settings if settings[name] != recorded[name]}
        if {'epochs', 'train_images'} & changed:
            changed -= {*overrides.DERIVED}  # rescaled with the length
        assert all(name == 'compute_dtype' or f'{name}=' in os.path.basename(path)
                   for name in changed), (path, changed)


@pytest.mark.parametrize('model, recipe, steps, accuracy, minimum', [
    ('tuto', 'tutorial', 10000, 'accuracy', 0.805),
    ('alex2', 'tutorial', 10000, 'accuracy', 0.805),
    ('squeeze1', 'tutorial', 10000, 'accuracy', 0.65),
    ('lenet5', 'lenet5', 7813, 'accuracy', 0.65),
    ('davidnet', 'davidnet', 600, 'accuracy', 0.94),
    ('squeeze1', 'squeeze', 30000, 'accuracy', 0.878),
    ('cifarnet', 'cifarnet', 11719, 'accuracy', 0.84),
    ('resnet20', 'resnet', 4000, 'accuracy', 0.9125),
    ('nin_bn', 'nin_bn', 8000, 'accuracy', 0.92),
    ('resnet32', 'resnet_deep', 6000, 'accuracy', 0.9249),
    ('resnet56', 'resnet_deep', 6000, 'accuracy', 0.93),
    ('alex4', 'tutorial_muon', 30000, 'accuracy', 0.875),
    ('tuto', 'tutorial_muon', 30000, 'accuracy_tta', 0.872),
    ('sprint', 'sprint', 400, 'accuracy_tta', 0.94)])
def test_recorded_accuracies_reach_their_targets(model, recipe, steps, accuracy, minimum):
    path = os.path.join(ROOT, 'results', f'{model}-{recipe}-{steps}.json')
    result = files.read_json(path)
    assert result[accuracy]['mean'] >= minimum
    if model == 'sprint':
        assert len(result['seeds']) >= 3 and result['train_seconds'] <= 15 * 60
    assert result['weights'] == ('averaged' if recipe == 'tutorial' else 'raw')


@pytest.mark.parametrize('name', [
    'sparse-80-layer', 'sparse-80-global', 'sparse-80-less-decay', 'structured-50'])
def test_the_page_about_training_has_the_recorded_figures_of_pruning(name):
    path = os.path.join(ROOT, 'results', 'pruning', name)
    accuracy = results.read(path + '.json')['accuracy']['mean']
    frozen = files.read_json(path + '.frozen.json')
    assert frozen['accuracy'] == accuracy
    with open(os.path.join(ROOT, 'docs', 'training.md')) as stream:
        assert (f"| {100 * accuracy:.2f} % | {frozen['gzip_bytes'] / 1000:.0f} kB "
                f"| {frozen['ops'] / 1e6:.1f} M |") in stream.read()


def test_the_page_about_training_has_the_recorded_latency_of_a_pruned_network():
    path = os.path.join(ROOT, 'results', 'pruning', 'structured-50.latency.json')
    dense_tf, pruned_tf, dense_openvino, pruned_openvino = [
        model['latency_ms']['median'] for model in files.read_json(path)['models']]
    with open(os.path.join(ROOT, 'docs', 'training.md')) as stream:
        assert (f'| {pruned_tf / dense_tf:.2f}, {pruned_openvino / dense_openvino:.2f} |'
                in stream.read())


def test_half_of_the_filters_are_half_of_the_operations_at_most_a_point_below():
    folder = os.path.join(ROOT, 'results', 'pruning')
    pruned = files.read_json(os.path.join(folder, 'structured-50.frozen.json'))
    dense = files.read_json(os.path.join(ROOT, 'trained_models', 'squeeze1.json'))
    assert 2 * pruned['macs'] == dense['macs']
    assert pruned['accuracy'] >= dense['accuracy'] - 0.01


def test_the_page_about_training_has_the_recorded_sparsity():
    path = os.path.join(ROOT, 'results', 'pruning', 'sparse-80-less-decay.frozen.json')
    with open(os.path.join(ROOT, 'docs', 'training.md')) as stream:
        text = stream.read()
    assert f"so {100 * files.read_json(path)['sparsity']:.0f} % of all weights are zero" in text


def test_the_pages_have_the_recorded_ratios():
    path = os.path.join(ROOT, 'results', 'trials', 'benchmark-training-sprint.json')
    ratio = files.read_json(path)['figures']['sprint step: tf2-bfloat16 by pytorch-bfloat16']
    with open(os.path.join(ROOT, 'docs', 'speed.md')) as stream:
        assert f"our fastest step is {ratio['median']:.2f} times as" in stream.read()
    models = files.read_json(os.path.join(ROOT, 'results', 'benchmark-deploy.json'))['models']
    ratios = {}
    for name in ('squeeze1', 'tuto'):
        times = {each['runtime'].partition(' 2')[0] + each['runtime'].partition(', ')[2]:
                 each['ms']['1 1'] for each in models[name]
                 if each['file'] == name + '.pb' and each['runtime'].startswith('OpenVINO')}
        ratios[name] = times['OpenVINObfloat16'] / times['OpenVINO']
    with open(os.path.join(ROOT, 'docs', 'label_image.md')) as stream:
        assert (f"{ratios['squeeze1']:.1f} times as long as in float32, but tuto "
                f"{ratios['tuto']:.1f} times as long") in stream.read()
