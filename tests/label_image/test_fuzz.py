"""The fuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer."""

import glob
import os

import pytest

from tests.label_image.program import FOLDER, ROOT, execute, make


@pytest.mark.slow
def test_sanitizers_report_nothing(program):
    make('sanitize')
    files = glob.glob(os.path.join(FOLDER, 'fuzz', 'corpus', '*'))
    files.append(os.path.join(ROOT, 'trained_models', 'squeeze1.pb'))
    process = execute(os.path.join(FOLDER, 'build', 'sanitize', 'fuzz', 'fuzz'), 2000, 1,
                      *sorted(files))
    assert process.returncode == 0, process.stderr[-3000:]
    assert '2000 mutants, no report' in process.stdout
