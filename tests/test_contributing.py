"""CONTRIBUTING.md stays true; each lesson keeps to its checklist as far as a machine can tell."""
import ast
import glob
import os
import re
import sys

import pytest

from conftest import ROOT

BELOW = {'checkpoints', 'cluster', 'commandline', 'data', 'dynamics', 'layers', 'plots',
         'summaries', 'utils'}
PACKAGES = {'tensorflow', 'numpy', 'scipy', 'six'}
STANDARD = set(getattr(sys, 'stdlib_module_names', ()))  # empty before Python 3.10: not checked
GONE = r'\btf\.(layers|nn\.rnn_cell|keras|contrib)\b'
ORDER = ['forward', 'build_graph', 'train', 'main']


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


LESSONS = [os.path.basename(path) for path in sorted(glob.glob(os.path.join(ROOT, '*.py')))
           if "\nif __name__ == '__main__':" in read(path)]
TEXT = read('CONTRIBUTING.md')


def imports(tree):
    """The top-level names of the modules that a parsed file imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name.split('.')[0]
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split('.')[0]


@pytest.mark.parametrize('lesson', LESSONS)
def test_a_lesson_keeps_to_the_checklist(lesson):
    source = read(lesson)
    tree = ast.parse(source)
    assert 'python ' + lesson in ast.get_docstring(tree)
    assert 'TensorFlow' in ast.get_docstring(tree)
    foreign = set(imports(tree)) - PACKAGES - BELOW
    assert not foreign & {name[:-3] for name in LESSONS}
    assert not STANDARD or foreign <= STANDARD
    assert re.search(r'^import utils .*\n(import \w+.*\n)*import tensorflow.compat.v1 as tf$',
                     source, re.M)
    first, last = [source[:source.index(rule)].count('\n') for rule in (
        '\n# ' + '-' * 82 + ' constants\n', '\n# ' + '-' * 93 + '\n')]
    assigned = [node.lineno for node in tree.body if isinstance(node, ast.Assign)]
    assert assigned and first < min(assigned) and max(assigned) < last + 2
    assert not re.search(GONE, source)
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [name for name in ORDER if name in defined] == [
        name for name in defined if name in ORDER]
    assert source.endswith("\n\n\nif __name__ == '__main__':\n    utils.run(main)\n")
    assert source.count('\n') <= int(re.search(r'At most (\d+) lines', TEXT).group(1))
    assert '\n| `%s` | ' % lesson in read('README.md')
    assert any(lesson in read(path) or lesson[:-3] + '.' in read(path)
               for path in glob.glob(os.path.join(ROOT, 'tests', 'test_*.py')))


def test_there_are_lessons_and_ground_floor_and_nothing_else():
    assert len(LESSONS) >= 10
    modules = {os.path.basename(path)[:-3] for path in glob.glob(os.path.join(ROOT, '*.py'))}
    assert modules - {name[:-3] for name in LESSONS} == BELOW - {'data'}


def test_every_path_that_is_named_is_there():
    paths = set(re.findall(r'[\w/.-]+\.(?:py|txt|toml|md)\b|\.?\w+/[\w/]*', TEXT))
    paths -= {'.venv/bin/pip', '.venv/bin/python'}
    assert {'plots.py', 'tests/', '.ci/run', 'tests/matrix', 'pyproject.toml'} <= paths
    assert [name for name in sorted(paths) if not os.path.exists(os.path.join(ROOT, name))] == []
    assert 'COMMANDS = ' in read('benchmarks/accuracy.py')
    assert os.access(os.path.join(ROOT, 'tests', 'matrix'), os.R_OK)


def test_style_is_what_ruff_is_told():
    told = read('pyproject.toml')
    length = re.search(r'line-length = (\d+)', told).group(1)
    rules = re.findall(r'"(\w+)"', re.search(r'select = \[(.*)\]', told).group(1))
    assert 'at most %s characters, rules %s and %s' % (
        length, ', '.join(rules[:-1]), rules[-1]) in ' '.join(TEXT.split())


def test_markers_are_those_of_pytest_ini():
    markers = re.findall(r'^    (\w+): ', read('pytest.ini'), re.M)
    said = re.search(r'\nMarkers: (.*?)\n\n|\nMarkers: (.*?)\. To', TEXT, re.S).group(0)
    assert sorted(markers) == sorted(set(re.findall('`([a-z]+)`', said)))
