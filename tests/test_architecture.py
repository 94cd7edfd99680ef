"""The rules that the source code keeps: direction of imports, layout, type hints, wording."""

import ast
import os
import pathlib
import re
import sys

import pytest

from tests.wording import BANNED

pytestmark = pytest.mark.skipif(sys.version_info < (3, 8), reason='needs the ast of Python 3.8')

ROOT = pathlib.Path(__file__).resolve().parent.parent
# permafrost's files and rooms: each imports only those before it.
ORDER = ['errors', 'cli', 'files', 'schema', 'machine', 'engines', 'recipes', 'config', 'runs',
         'flags', 'entry_point', 'datasets', 'inputs', 'training', 'cluster', 'evaluation',
         'export', 'transfer', 'experiments']
ROOMS = sorted(str(path.parent.relative_to(ROOT)) for folder in ('permafrost', 'models')
               for path in (ROOT / folder).glob('*/**/__init__.py'))
# Modules without a test file of their own, and why.
TESTED_ELSEWHERE = {
    'benchmarks/runtimes': 'runs in environments of its own: test_graphs, test_training',
    **{f'permafrost/evaluation/runtimes/{name}_server': 'runs in .venv/' + name
       for name in ('litert', 'onnxruntime', 'openvino')},
    'permafrost/export/conversion/tflite_converter': 'runs in .venv/tf2: test_converters',
    'permafrost/export/conversion/onnx_converter': 'runs in .venv/onnxruntime: test_converters',
    'benchmarks/__main__': 'only flags: tests/test_scripts.py',
}
PRIVATE = re.compile(r'\.\./shared|\bthe issue\b|\bdesign\.md\b', re.IGNORECASE)


def assert_none(problems):
    """Fail with all `problems`, one a line."""
    assert not problems, '\n' + '\n'.join(problems)


def python_files(*folders):
    """Return the paths of the Python files in `folders`, relative to the repository."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob('*.py')]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


PACKAGES = python_files('models', 'permafrost', 'benchmarks')
SCRIPTS = sorted(path.name for path in ROOT.glob('*.py')) + python_files('tools')
PRODUCT = PACKAGES + SCRIPTS
# permafrost/cli/interpreter.py parses on Python 2.
TYPED = [path for path in python_files('models', 'permafrost') if 'interpreter' not in path]
TESTS = [path for path in python_files('tests') if path != 'tests/test_architecture.py']
TREES = {path: ast.parse((ROOT / path).read_text()) for path in PRODUCT + TESTS}


def module_name(path):
    """Return the dotted name of the module at `path`."""
    name = path[:-len('.py')].replace('/', '.')
    return name[:-len('.__init__')] if name.endswith('.__init__') else name


MODULES = {module_name(path): path for path in PRODUCT}


def imports(path):
    """Return the modules of the product that `path` imports, also inside functions.

    Imports under `if TYPE_CHECKING:` do not count: they are not there at run time.
    """
    names = set()
    pending = [TREES[path]]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: relative import'
            for alias in node.names:
                module = f'{node.module}.{alias.name}'
                names.add(module if module in MODULES else node.module)
        else:
            pending += ast.iter_child_nodes(node)
    return {name for name in names if name in MODULES} - {module_name(path)}


def rank(module):
    """Return the place of a module in the direction of imports: a module uses lower ranks."""
    top, *rest = module.split('.')
    if top == 'models':
        return 0
    if top == 'permafrost':
        return 1 + ORDER.index(rest[0]) if rest else 0
    return 1 + len(ORDER)


def test_imports_point_one_way():
    assert_none([f'{path} imports {module}' for path in PRODUCT for module in sorted(imports(path))
                 if rank(module) > rank(module_name(path))])


def test_product_does_not_import_tests():
    assert_none(lines_with(re.compile(r'^ *(from|import) tests\b'), PRODUCT))


def test_modules_do_not_import_each_other_in_a_cycle():
    edges = {module: sorted(imports(path)) for module, path in MODULES.items()}
    finished = set()

    def visit(module, path):
        assert module not in path, ' -> '.join(path[path.index(module):] + [module])
        if module not in finished:
            for target in edges[module]:
                visit(target, path + [module])
            finished.add(module)

    for module in sorted(edges):
        visit(module, [])


def modules_in(room):
    """Return the names of the modules in a folder, without __init__ and __main__."""
    return [name[:-3] for name in sorted(os.listdir(str(ROOT / room)))
            if name.endswith('.py') and not name.startswith('__')]


def test_permafrost_has_at_most_twenty_names():
    names = [name for name in os.listdir(str(ROOT / 'permafrost')) if name != '__pycache__']
    assert len(names) <= 20
    assert {name.split('.')[0] for name in names} - {'__init__'} == set(ORDER)


@pytest.mark.parametrize('room', ROOMS + ['benchmarks'])
def test_a_room_has_at_most_nine_modules(room):
    assert len(modules_in(room)) <= 9, modules_in(room)


@pytest.mark.parametrize('room', ROOMS)
def test_a_rooms_init_has_only_a_docstring(room):
    tree = TREES[room + '/__init__.py']
    assert ast.get_docstring(tree) and len(tree.body) == 1
    assert len(ast.get_docstring(tree).splitlines()) <= 3


@pytest.mark.parametrize('path', [path for path in PACKAGES if not path.endswith('__init__.py')
                                  and not re.match(r'models/\w+\.py', path)])
def test_every_module_has_a_test_file(path):
    if any(path.startswith(name) for name in TESTED_ELSEWHERE):
        return
    folder, name = os.path.split(path)
    test = os.path.join('tests', folder.replace('permafrost', '.', 1), 'test_' + name)
    assert (ROOT / test).exists(), f'{os.path.normpath(test)} is missing'


def test_exceptions_are_still_needed():
    assert_none([name for name in TESTED_ELSEWHERE
                 if not any(path.startswith(name) for path in PACKAGES)])


def public_functions(tree):
    """Return the public functions of a module, and the public methods of its public classes."""
    functions = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            functions += public_functions(node)
        elif isinstance(node, ast.FunctionDef):
            if not node.name.startswith('_') or node.name == '__init__':
                functions.append(node)
    return functions


def missing_hints(function):
    """Return the names of the arguments without a type hint, and 'return'."""
    arguments = function.args
    every = arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]
    missing = [a.arg for a in every if a and a.annotation is None and a.arg not in ('self', 'cls')]
    if function.returns is None and function.name != '__init__':
        missing.append('return')
    return missing


@pytest.mark.parametrize('path', TYPED)
def test_public_functions_have_type_hints(path):
    assert_none([f'{path}:{function.lineno}: {function.name}: {", ".join(missing_hints(function))}'
                 for function in public_functions(TREES[path]) if missing_hints(function)])


TEXTS = PRODUCT + sorted(
    str(path.relative_to(ROOT))
    for pattern in ('*.sh', '*.md', '*.yml', '*.toml', 'docs/*.md', 'deploy/**/*', 'requirements/*',
                    'tools/**/*.sh', 'label_image/**/*.cc', 'label_image/**/*.h', 'Makefile',
                    'Dockerfile', '.ci/run', 'bin/*')
    for path in ROOT.glob(pattern) if path.is_file())


def lines_with(pattern, paths):
    """Return the lines of the files `paths` in which `pattern` occurs, with their places."""
    return [f'{path}:{number}: {line.strip()}' for path in paths
            for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
            if pattern.search(line)]


def test_no_banned_word_in_code_and_documentation():
    assert_none(lines_with(BANNED, TEXTS))


def test_nothing_refers_to_what_is_not_in_the_repository():
    assert_none(lines_with(PRIVATE, TEXTS + TESTS))


def test_json_is_parsed_in_one_place():
    """Elsewhere it would be unbounded. What processes of ours tell each other is no file."""
    own = ('permafrost/cluster/', 'permafrost/evaluation/runtimes/', 'benchmarks/')
    places = lines_with(re.compile(r'\bjson\.loads?\('), PRODUCT)
    assert_none([place for place in places
                 if not place.startswith(own) and not place.startswith('permafrost/files.py')])


def test_scripts_do_not_name_the_module_of_a_flag():
    assert_none(lines_with(re.compile(r'\bmodule_name='), PRODUCT))


def test_docstrings_begin_with_a_verb_or_a_noun():
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [(path, ast.get_docstring(node) or '') for path in PRODUCT
                  for node in ast.walk(TREES[path]) if isinstance(node, kinds)]
    assert_none([f'{path}: {text.splitlines()[0]}' for path, text in docstrings
                 if text.startswith(('What ', 'Whether '))])


def test_strings_are_formatted_with_f_strings():
    def is_text(node):
        return isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str))
    assert_none([f'{path}:{node.lineno}' for path, tree in TREES.items() for node in ast.walk(tree)
                 if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
                 and is_text(node.left)])
