"""What several tests share: running a lesson as a reader does, and a small data set of shapes."""
import contextlib
import importlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import utils
from data import formats

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run_lesson(command, cwd=None, **options):
    """Run `python COMMAND` as a reader does; returns the finished process with text streams."""
    words = command.split()
    words[0] = os.path.join(ROOT, words[0])
    return subprocess.run([sys.executable] + words, cwd=str(cwd or ROOT), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=600, **options)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """Path of a small npz that a linear model can learn: ten noisy patterns, 600/200/200 images."""
    random = np.random.RandomState(0)
    patterns = random.randint(0, 256, [10, 28, 28])
    arrays = {}
    for split, count in (('train', 600), ('valid', 200), ('test', 200)):
        labels = random.randint(0, 10, count)
        noisy = patterns[labels] + random.normal(0, 60, [count, 28, 28])
        arrays[split + '_dataset'] = np.clip(noisy, 0, 255).astype(np.uint8)
        arrays[split + '_labels'] = labels.astype(np.uint8)
    path = str(tmp_path_factory.mktemp('shapes') / 'shapes.npz')
    formats.write(path, arrays)
    return path


@pytest.fixture(scope='session')
def split():
    """Sixty random images in the form that reformat returns."""
    random = np.random.RandomState(3)
    return utils.Split(random.uniform(-0.5, 0.5, [60, 784]).astype(np.float32),
                       np.eye(10, dtype=np.float32)[random.randint(0, 10, 60)])


def run_here(command, monkeypatch, capsys):
    """Run a lesson in this process, which saves an import; returns code, stdout, stderr."""
    words = command if isinstance(command, list) else command.split()
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit) as stop:
        utils.run(importlib.import_module(words[0][:-3]).main)
    return (stop.value.code,) + tuple(capsys.readouterr())


@pytest.fixture
def refused(monkeypatch, capsys):
    """A function that runs a command which must be refused and returns its one sentence."""
    def run(command):
        code, _, sentence = run_here(command, monkeypatch, capsys)
        assert code == 2 and len(sentence.splitlines()) == 1, sentence
        return sentence
    return run


# ---- a machine that is not kind --------------------------------------------------------------


@contextlib.contextmanager
def no_room(size=1000):
    """Every file larger than so many bytes fails, as all do on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def deadline(seconds):
    """What takes longer hangs, and fails."""
    def stop(*_):
        raise pytest.fail.Exception('still at it after %g s' % seconds)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def bound():
    """A folder in which the test is bound by permissions, also where root runs it."""
    folder = tempfile.mkdtemp()
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)  # nobody; root is kept for the way back
    try:
        yield pathlib.Path(folder)
    finally:
        if os.getresuid()[2] == 0:
            os.setresuid(0, 0, 0)
        shutil.rmtree(folder, ignore_errors=True)


def contents(folder):
    """All that lies below a folder: {path: bytes, or what a link points to, or None for others}."""
    found = {}
    for place, folders, names in os.walk(str(folder)):
        for name in folders + names:
            path = os.path.join(place, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif os.path.isfile(path) and os.access(path, os.R_OK, effective_ids=True):
                with open(path, 'rb') as file:
                    found[path] = file.read()
            else:
                found[path] = None
    return found
