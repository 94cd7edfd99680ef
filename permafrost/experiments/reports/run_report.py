"""report.html of a run: one file, updated as the training is evaluated, that reloads itself."""

import os
import time
from typing import Any, Dict, List, Sequence, Tuple

from permafrost import files, runs
from permafrost.datasets import registry
from permafrost.errors import UserError, one_line, pluralize, printable
from permafrost.evaluation import history
from permafrost.recipes import catalog, overrides

NAME = 'report.html'
RELOAD_SECS = 15
SPLITS = ('validation', 'test')

_renewed: Dict[str, float] = {}  # when, by run

Tile = Tuple[str, str, str]  # name, value, unit


def observer(run: str, metrics: Any, row: Any) -> None:
    """Renew the report of `run`: an observer of evaluation_hook.

    Drawing takes half a second of CPU time, so not more often than the page reloads.
    """
    now = time.monotonic()
    if now - _renewed.get(run, -RELOAD_SECS) >= RELOAD_SECS:
        _renewed[run] = now
        write(run)


def write(run: str) -> str:
    """Write the report of `run`; return its path, or '' after a note.

    A report never ends a training: whatever goes wrong is a line of text.
    """
    path = os.path.join(run, NAME)
    try:
        files.write_atomically(path, page(run))
        return path
    except ImportError as error:
        reason = f'{error.name} is missing: make setup installs it'
    except OSError as error:
        reason = str(error.strerror)
    except UserError as error:
        reason = str(error)
    except Exception as error:  # of a library, or a mistake here
        reason = f'{type(error).__name__}: {one_line(error)}'
    print(f'note: {printable(path)} is not written ({reason})', flush=True)
    return ''


def page(run: str) -> str:
    """Return the report of `run`. Raises UserError, or ImportError without Jinja2 or matplotlib."""
    from permafrost.experiments.reports import (
        page as pages,  # import the libraries
        run_facts,
    )
    config, extra = runs.read_config(run)
    classes, status = extra['classes'], runs.read_status(run)
    rows = history.read(run)
    step = max(rows[-1].step if rows else 0, status.get('step', 0))
    state, is_live = run_facts.page_state(run, config, step)
    by_split = {split: metrics for split in SPLITS for metrics in [
        run_facts.metrics(run, split, len(classes), config.recipe.default_weights)] if metrics}
    split = rows[-1].eval_split if rows else next(iter(by_split), 'test')
    metrics = by_split.get(split)
    by_class, confusion = (run_facts.class_metrics(metrics['confusion'], classes) if metrics
                           else ([], []))
    try:
        mistakes = run_facts.mistakes(run, config, split, classes)
        about = (f'The {split} images that the network misclassified with the highest confidence.'
                 if mistakes else '')
    except UserError as error:
        mistakes, about = [], f'No pictures: {error}'
    versions = [(each.get('engine', 'engine'),
                 ', '.join(f'{name} {number}' for name, number in each.items() if name != 'engine'),
                 None) for each in extra.get('versions', ())]
    if extra.get('dataset_identity'):
        versions.append(('dataset', extra['dataset_identity'][:16], None))
    return pages.render(
        'run.html', run=os.path.normpath(run), model=config.model, recipe=config.recipe.name,
        dataset=registry.display_name(config.dataset, config.data_dir), state=state, live=is_live,
        step=step, steps=config.steps, reload_secs=RELOAD_SECS, date=runs.utc_now(),
        charts=_charts(rows),
        tiles=_tiles(run, config, classes, rows, by_split, status, is_live), classes=by_class,
        classes_of=metrics and (f"Step {metrics['step']:,}, {metrics['images']:,} {split} images, "
                                f"accuracy {100 * metrics['accuracy']:.2f} %."),
        confusion=confusion, mistakes=mistakes, mistakes_of=about,
        changes=(overrides.differences(config.recipe) if config.recipe.name in catalog.RECIPES
                 else None),
        tables=[*run_facts.settings(config), ('Versions', versions)],
        command=extra.get('command', ''))


def _charts(rows: Sequence[Any]) -> List[Any]:
    from permafrost.experiments.reports import charts
    if not rows:
        return []
    epochs, split = [row.epoch for row in rows], rows[-1].eval_split

    def both(trained: str, evaluated: str) -> List[charts.Series]:
        return [charts.Series('training', epochs, [getattr(row, trained) for row in rows], 0),
                charts.Series(split, epochs, [getattr(row, evaluated) for row in rows], 1)]

    return [
        charts.curves('accuracy', 'Accuracy', 'accuracy, %',
                      both('train_accuracy', 'eval_accuracy'), 100),
        charts.curves('loss', 'Loss', 'cross entropy', both('train_loss', 'eval_loss'), log=True),
        charts.curves('rate', 'Learning rate', 'learning rate', [charts.Series(
            'learning rate', epochs, [row.learning_rate for row in rows])], zero=True),
        charts.curves('speed', 'Speed of training', 'images/s', [charts.Series(
            'training', epochs, [row.images_per_second for row in rows])], zero=True)]


def _tiles(run: str, config: Any, classes: Sequence[str], rows: Sequence[Any],
           by_split: Dict[str, Dict[str, Any]], status: Dict[str, Any], is_live: bool
           ) -> List[Tile]:
    from permafrost.experiments.reports import run_facts
    tiles: List[Tile] = [
        (f'{split} accuracy', f"{100 * metrics['accuracy']:.2f}", f"% at step {metrics['step']:,}")
        for split, metrics in by_split.items()]
    best = history.best(history.of_compressed(rows, config))
    if best:
        tiles.append(('best validation accuracy', f'{100 * best.eval_accuracy:.2f}',
                      f'% at step {best.step:,}'))
    seconds = status.get('train_seconds', rows[-1].train_seconds if rows else 0)
    if seconds:
        tiles.append(_time_tile('training time', seconds))
        step = status.get('step', 0)
        if is_live and step:
            tiles.append(_time_tile('time left, about', (config.steps - step) * seconds / step))
    if status.get('images_per_second'):
        tiles.append(('speed', f"{status['images_per_second']:,.0f}", 'images/s'))
    card = run_facts.frozen(run, config.model)
    counts = run_facts.counts(config.model, config.recipe.image_size, len(classes))
    if config.recipe.structured_sparsity:  # freezing removes filters
        counts = {'params': card.params, 'ops': card.ops} if card and card.ops else {}
    if counts:
        tiles += [('parameters', f"{counts['params']:,}", ''),
                  ('operations per image', f"{counts['ops'] / 1e6:,.2f}", 'million')]
    if card:
        tiles.append(('frozen graph', f'{card.bytes:,}', f'bytes, of step {card.step:,}'))
    latency = run_facts.latency(run, card) if card else {}
    if latency:
        threads = latency.get('threads', 1)
        tiles.append(('latency in C++', f"{latency['latency_ms']:.3g}",
                      f"ms, {pluralize(threads, 'thread')}, {latency.get('engine', '')}"))
    return tiles


def _time_tile(name: str, seconds: float) -> Tile:
    from permafrost.experiments.comparison import formats
    value, unit = formats.duration(seconds).split()
    return name, value, unit
