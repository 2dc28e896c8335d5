"""tests/matrix: which stacks it takes, what it says of those it cannot run, and its table."""
import os
import subprocess
import sys

import pytest

from conftest import ROOT


def matrix(*words, **environment):
    return subprocess.run([sys.executable, os.path.join('tests', 'matrix')] + list(words), cwd=ROOT,
                          env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)


@pytest.fixture
def fake(tmp_path):
    """A PATH with a python3.8 whose venv, pip and pytest only say so; pytest fails on demand."""
    script = tmp_path / 'bin' / 'python3.8'
    script.parent.mkdir()
    script.write_text('''#!/bin/sh
case "$2" in
    venv) /bin/mkdir -p "$3/bin" && /bin/cp "$0" "$3/bin/python" ;;
    pip) echo "$@" >&2; exit ${PIP:-0} ;;
    pytest) echo "$@"; echo "FAILED tests/test_x.py::test_y"
        echo "1 failed, 7 passed, 2 skipped in 1s"; exit ${PYTEST:-0} ;;
    "") ;;
    *) echo 2.10.1 3.8.18 1.24.4 ;;
esac
''')
    script.chmod(0o755)
    return {'PATH': str(script.parent), 'PYENV_ROOT': str(tmp_path)}


HEAD = '| TensorFlow | Python | NumPy | tests |\n|---|---|---|---|\n'


def test_a_missing_python_is_named_and_left_out(tmp_path):
    done = matrix('--folder', str(tmp_path / 'v'), '2.16', '3.7', PATH='', PYENV_ROOT=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == HEAD + ('| 1.15.5 | 3.7 |  | not run: no Python 3.7 here |\n'
                                  '| 2.16.* | 3.11 |  | not run: no Python 3.11 here |\n')


def test_an_unknown_version_is_refused(tmp_path):
    done = matrix('--folder', str(tmp_path), '3.6')
    assert done.returncode == 2 and done.stdout == '' and len(done.stderr.splitlines()) == 1
    assert 'no stack has the version 3.6' in done.stderr and 'Python 3.13' in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('code', [0, 1])
def test_a_stack_is_installed_tested_and_reported(fake, tmp_path, code):
    words = ['--folder', str(tmp_path / 'v'), '3.8']
    done = matrix(*words, PYTEST=str(code), **fake)
    assert done.returncode == code
    assert done.stdout == HEAD + (
        '| 2.10.1 | 3.8.18 | 1.24.4 | 1 failed, 7 passed, 2 skipped |\n')
    assert 'requirements-dev.txt tensorflow==2.10.*' in done.stderr
    assert 'FAILED tests/test_x.py::test_y' in done.stderr
    log = tmp_path / 'v' / 'tensorflow2.10-python3.8.log'
    assert '-m not slow and not accuracy' in log.read_text()
    matrix(*(words + ['--', 'tests/test_utils.py', '-x']), **fake)
    assert log.read_text().splitlines()[0].endswith('no:cacheprovider tests/test_utils.py -x')


def test_a_stack_that_cannot_be_installed_fails(fake, tmp_path):
    done = matrix('--folder', str(tmp_path / 'v'), '3.8', PIP='1', **fake)
    assert done.returncode == 1 and '| could not be installed |' in done.stdout
