"""Exporting: a frozen graph becomes files of other formats; each is run on all test images.

    frozen graph -> converter -> file -> its runtime -> accuracy, agreement -> file + json
"""

import contextlib
import gzip
import hashlib
import os
import tempfile
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import engines, files, runs
from permafrost.datasets import loading
from permafrost.errors import UserError, printable
from permafrost.evaluation.runtimes import client
from permafrost.export import freeze
from permafrost.export.conversion import converters, saved_model, source_graph
from permafrost.export.conversion.source_graph import SourceGraph
from permafrost.export.formats import FORMATS, Target
from permafrost.export.tflite_micro import conversion as tflm


def export(path: str, targets: Sequence[Target], dataset: loading.Dataset,
           session_config: Optional[tf.ConfigProto], max_loss: float = 1.,
           output: Optional[str] = None) -> List[Dict[str, Any]]:
    """Write `targets` next to the frozen graph at `path`, or as if that were at `output`.

    Next to each, a json file describes it. `max_loss` is in percentage points of accuracy. Returns
    the values of the json files. When the others are written, raises UserError if a file cannot be
    converted, run or written, or loses more than `max_loss`.
    """
    source = source_graph.read(path, dataset, session_config)
    results, lossy, failed = [], [], []
    with Exporter(source, session_config) as exporter:
        for target in targets:
            place = target.path(output or path)
            try:
                contents, result = exporter.convert(target, place)
                loss = _loss(result, source)
                if loss > max_loss:
                    lossy.append(f'{printable(place)} ' + (
                        f'loses {loss:.2f} percentage points of accuracy' if source.is_test else
                        f'changes the class of {loss:.2f} % of the training images'))
                    continue
                freeze.write({**contents, place + '.json': files.json_text(result)}, place)
            except UserError as error:
                failed.append(str(error))
                continue
            except OSError as error:  # a full disk for temporary files
                failed.append(f'{printable(place)}: {error.strerror}')
                continue
            file = place + '.cc' if target.format == 'tflm' else place
            print(_text(file, result, source), flush=True)
            results.append(result)
    if lossy:
        failed.append(f"not written: {', '.join(lossy)}, more than --max_loss {max_loss:g}: "
                      'allow it with --max_loss, or train with --quantization_aware_epochs')
    if failed:
        raise UserError('; '.join(failed))
    return results


class Exporter:
    """Converts one frozen graph, and runs the results; starts each child once."""

    def __init__(self, source: SourceGraph, session_config: Optional[tf.ConfigProto]):
        self._source, self._session_config = source, session_config
        self._stack = contextlib.ExitStack()
        self._children: Dict[str, client.Child] = {}

    def __enter__(self) -> 'Exporter':
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def convert(self, target: Target, path: str) -> Tuple[Dict[str, bytes], Dict[str, Any]]:
        """Return {path: content} of the file at `path`, and the value of its json file.

        A SavedModel is a directory, which is written at once. Raises UserError.
        """
        source = self._source
        if target.format == 'tflm':
            contents, content, predicted, facts = tflm.convert(source, path, self._session_config)
        elif target.format == 'saved_model':
            saved_model.write(source.graph, path, self._session_config)
            predicted = saved_model.predict(path, source.images, self._session_config).argmax(1)
            contents, content = {}, saved_model.content(path)
            facts = {'runtime': {'name': 'tensorflow', 'version': tf.__version__}}
        else:
            content, predicted, facts = self._convert_file(target, path)
            contents = {path: content}
        qat = bool(converters.trained_ranges(target.format, target.quantize, source.graph))
        calibration = {'images': len(source.calibration), 'dataset': source.facts['dataset'],
                       'split': 'train', 'chosen': 'evenly spaced'}
        facts = dict(source.facts, format=target.format, quantize=target.quantize, qat=qat,
                     calibration=calibration if target.quantize == 'int8' and not qat else None,
                     date=runs.utc_now(), engine=engines.installed(), **_size(content),
                     **_answers(source, predicted), **facts)
        facts['versions'] = dict(engines.versions(), **facts.get('versions', {}))
        return contents, facts

    def _convert_file(self, target: Target, path: str) -> Tuple[bytes, np.ndarray, Dict[str, Any]]:
        """Return the content of the file at `path`, what it answers, and facts for its json."""
        source, name = self._source, FORMATS[target.format].runtime
        with tempfile.TemporaryDirectory() as folder:
            output = os.path.join(folder, os.path.basename(path))
            version = converters.convert(
                target.format, source.graph, output, target.quantize,
                calibration=source.calibration if target.quantize == 'int8' else None,
                labels=source.classes, path=source.path,
                child=self._child(target.format, lambda: converters.start(target.format)))
            run = self._child(name, lambda: client.runtime(name))
            predicted = client.predict(run, output, source.images).argmax(1)
            with open(output, 'rb') as stream:
                content = stream.read()
        return content, predicted, {'versions': {'converter': version},
                                    'runtime': {'name': name, 'version': run.version}}

    def _child(self, name: str, start: Callable[[], client.Child]) -> client.Child:
        if name not in self._children or not self._children[name].is_running:
            self._children[name] = self._stack.enter_context(start())
        return self._children[name]


def _size(content: bytes) -> Dict[str, Any]:
    return {'bytes': len(content), 'gzip_bytes': len(gzip.compress(content)),
            'sha256': hashlib.sha256(content).hexdigest()}


def _loss(result: Dict[str, Any], source: SourceGraph) -> float:
    """Return the percentage points of accuracy that a file loses; without test images, at most."""
    if not source.is_test:
        return 100 * (1 - result['agreement'])
    return 100 * (source.correct - result['correct']) / len(source.images)


def _answers(source: SourceGraph, predicted: np.ndarray) -> Dict[str, Any]:
    """Return what a json file says of the classes that a file answers for all images."""
    agreement = float((predicted == source.predicted).mean())
    if not source.is_test:
        return {'correct': None, 'accuracy': None, 'images': 0, 'agreement': agreement,
                'agreement_of': 'training images'}
    correct, count = int((predicted == source.labels).sum()), len(source.images)
    return {'correct': correct, 'accuracy': correct / count, 'images': count,
            'agreement': agreement, 'agreement_of': 'test images',
            'accuracy_of': 'this file in this runtime, on the test images'}


def _text(path: str, result: Dict[str, Any], source: SourceGraph) -> str:
    runtime_name = f"{result['runtime']['name']} {result['runtime']['version']}"
    accuracy = (f"{result['correct']} of {result['images']} test images correct "
                f"({result['correct'] - source.correct:+d}), accuracy {result['accuracy']:.4f}, "
                if source.is_test else '')
    return (f"{result['format']}: {printable(path)}, {result['bytes']} bytes: {accuracy}"
            f"same class as the frozen graph for {100 * result['agreement']:.2f} % of the images "
            f'({runtime_name})')
